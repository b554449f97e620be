"""Measure a method's restored test images: images.csv a row an image, set.csv a row a set-wide measure, draws.csv a row a resampling."""

import argparse
import sys
from pathlib import Path

from nopairs import command
from nopairs.files import atomic_file
from nopairs.metrics.evaluate import measure
from nopairs.metrics.names import METRICS, USUAL


def main(args: argparse.Namespace) -> None:
    withheld = {"withheld": args.withheld} if args.withheld else {}
    images, whole_set, draws = measure(
        args.dataset_dir,
        args.restored,
        args.metrics,
        args.niqe_model,
        args.seed,
        **withheld,
        border=args.border,
    )
    for frame, path in ((images, args.out_images), (whole_set, args.out_set), (draws, args.out_draws)):
        with atomic_file(path) as temporary:
            frame.to_csv(temporary, index=False)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--restored", type=Path, required=True, help="folder with a restored PNG for every test image"
    )
    parser.add_argument("--dataset-dir", type=Path, required=True, help="the dataset's folder")
    parser.add_argument(
        "--niqe-model", type=Path, help="written by fit_niqe.py; needed when niqe is measured"
    )
    parser.add_argument(
        "--out-images", type=Path, required=True, help="CSV: image, scene and a column a measure"
    )
    parser.add_argument("--out-set", type=Path, required=True, help="CSV: metric, value, std, n, note")
    parser.add_argument(
        "--out-draws",
        type=Path,
        required=True,
        help="CSV: draw and a column a set-wide measure, when scenes are resampled",
    )
    parser.add_argument(
        "--metrics", nargs="+", choices=METRICS, default=USUAL, help=f"default: {' '.join(USUAL)}"
    )
    parser.add_argument("--withheld", help="why the test images have no clean versions, if that is known")
    parser.add_argument(
        "--border", type=int, default=0, help="pixels at each edge that are not measured (default: 0)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of random patches and resampling (default: 0)")
    sys.exit(command.run(main, parser))
