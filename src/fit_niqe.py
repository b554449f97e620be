"""Fit NIQE's model of clean statistics on a dataset's own clean training images."""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from nopairs import command
from nopairs.data.images import read_rgb
from nopairs.errors import NopairsError
from nopairs.metrics.niqe import fit_largest

MOST_TILES = 2000  # far more than the 36 x 36 covariance needs


def main(args: argparse.Namespace) -> None:
    index = pd.read_csv(args.dataset_dir / "index.csv", dtype=str, keep_default_na=False)
    clean = index[index.role == "clean"]
    if clean.empty:
        raise NopairsError(f"{args.dataset_dir}: the index has no clean images; NIQE is fitted on them")
    clean = clean.iloc[np.unique(np.linspace(0, len(clean) - 1, MOST_TILES).astype(int))]
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
