"""Draw test images, each with a part enlarged as every method restores it, and that part's PSNR."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from nopairs import command
from nopairs.data.showing import Box, choose_images
from nopairs.files import atomic_folder
from nopairs.reporting import style
from nopairs.reporting.comparison import comparison
from nopairs.reporting.reading import named_path, read_versions

IMAGES = 3  # drawn where none is named


def main(args: argparse.Namespace) -> None:
    zoom = Box(*args.zoom) if args.zoom else None
    with atomic_folder(args.out) as folder:
        for name in args.image or choose_images(args.dataset_dir, IMAGES):
            figure = compare(args.dataset_dir, name, dict(args.restored), zoom)
            style.save(figure, folder / f"{Path(name).stem}.png")


def compare(dataset: Path, name: str, restored: Mapping[str, Path], zoom: Box | None) -> Figure:
    """Draw the test image `name` of a dataset's folder; `restored` holds each method's folder."""
    title = f"{dataset.name}, {Path(name).stem}: restored by each method"
    return comparison(title, *read_versions(dataset, name, restored), zoom)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--dataset-dir",
        required=True,
        type=Path,
        help="folder with index.csv, test/degraded and perhaps test/clean",
    )
    parser.add_argument(
        "--restored",
        required=True,
        nargs="+",
        type=named_path,
        metavar="METHOD=FOLDER",
        help="restored test images",
    )
    parser.add_argument(
        "--image", nargs="+", metavar="FILE", help=f"test images (default: {IMAGES} of different scenes)"
    )
    parser.add_argument(
        "--zoom",
        nargs=3,
        type=int,
        metavar=("X", "Y", "SIZE"),
        help="part to enlarge, in pixels (default: where the detail is)",
    )
    parser.add_argument(
        "--out", required=True, type=Path, metavar="FOLDER", help="gets IMAGE.png and IMAGE.pdf"
    )
    sys.exit(command.run(main, parser))
