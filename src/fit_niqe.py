"""Fit NIQE's model of clean statistics on a dataset's own clean training images."""

import argparse
import sys
from pathlib import Path

from nopairs import command
from nopairs.data.images import evenly, read_rgb
from nopairs.data.index import read_index
from nopairs.errors import NopairsError
from nopairs.metrics.niqe import fit_largest

MOST_TILES = 2000  # far more than the 36 x 36 covariance needs


def main(args: argparse.Namespace) -> None:
    index = read_index(args.dataset_dir)
    clean = index[index.role == "clean"]
    if clean.empty:
        raise NopairsError(f"{args.dataset_dir}: the index has no clean images; NIQE is fitted on them")
    clean = clean.iloc[evenly(len(clean), MOST_TILES)]
    photos = [
        [read_rgb(args.dataset_dir / path) for path in tiles] for _, tiles in clean.groupby("photo").path
    ]
    model = fit_largest(photos)
    model.save(args.out)
    print(f"NIQE: fitted on {model.patches} patches of {model.patch} pixels from {len(photos)} clean photos")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--dataset-dir", type=Path, required=True, help="the dataset's folder, with index.csv"
    )
    parser.add_argument("--out", type=Path, required=True, help="the model, JSON")
    sys.exit(command.run(main, parser))
