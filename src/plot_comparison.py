"""Draw one test image, a part of it enlarged as every method restores it, and that part's PSNR."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nopairs import errors
from nopairs.data.images import read_rgb
from nopairs.reporting import style
from nopairs.reporting.comparison import Box, comparison
from nopairs.reporting.reading import named_path


def main(args: argparse.Namespace) -> None:
    test = args.dataset_dir / "test"
    truth = test / "clean" / args.image
    figure = comparison(
        f"{args.dataset_dir.name}, {Path(args.image).stem}: restored by each method",
        read_rgb(test / "degraded" / args.image),
        {method: read_rgb(folder / args.image) for method, folder in args.restored},
        read_rgb(truth) if truth.exists() else None,
        Box(*args.zoom) if args.zoom else None,
    )
    style.save(figure, args.out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--dataset-dir", required=True, type=Path, help="folder with test/degraded and perhaps test/clean"
    )
    parser.add_argument("--image", required=True, help="file name of the test image")
    parser.add_argument(
        "--restored",
        required=True,
        nargs="+",
        type=named_path,
        metavar="METHOD=FOLDER",
        help="restored test images",
    )
    parser.add_argument(
        "--zoom",
        nargs=3,
        type=int,
        metavar=("X", "Y", "SIZE"),
        help="part to enlarge, in pixels (default: where the detail is)",
    )
    parser.add_argument(
        "--out", required=True, type=Path, metavar="PNG", help="figure; a PDF is written beside it"
    )
    sys.exit(errors.run(main, parser))
