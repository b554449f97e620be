"""Compare degraded tiles that a degradation model made with the real ones, without truth: distance.json.

Sliced Wasserstein distances (x 1e3, and of each pyramid level, finest first) to the dataset's degraded tiles: of the made ones, of the
clean tiles that they were made of, and between two halves of the degraded photos, which is what other content alone amounts to.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from nopairs import command
from nopairs.data.images import evenly, read_rgb
from nopairs.data.index import read_index
from nopairs.data.tiles import like_degraded
from nopairs.errors import NopairsError
from nopairs.files import write_json
from nopairs.metrics.swd import sliced_wasserstein
from nopairs.training.pairs import load_pairs


def main(args: argparse.Namespace) -> None:
    if args.tiles < 2:
        raise NopairsError(f"--tiles {args.tiles}: expected at least 2")
    degraded = tiles_of(args.dataset, "degraded", args.tiles)
    made = load_pairs(args.pairs)[1]
    found = {
        "made": distance(degraded, list(made[evenly(len(made), args.tiles)]), args.seed),
        "clean": distance(
            degraded, tiles_of(args.dataset, like_degraded(args.dataset).name, args.tiles), args.seed
        ),
        "degraded_halves": distance(
            tiles_of(args.dataset, "degraded", args.tiles, 0),
            tiles_of(args.dataset, "degraded", args.tiles, 1),
            args.seed,
        ),
    }
    write_json(args.out, {"swd_tiles": args.tiles, **found})


def tiles_of(dataset: Path, role: str, most: int, half: int | None = None) -> list[np.ndarray]:
    """Read at most `most` tiles of a role, evenly spread; those of every second photo, from `half` on, if it is given."""
    table = read_index(dataset)
    table = table[table.role == role]
    if half is not None:
        photos = sorted(set(table.photo))
        if len(photos) < 2:
            raise NopairsError(f"{dataset}: one degraded photo cannot be halved; at least two are needed")
        table = table[table.photo.isin(photos[half::2])]
    return [read_rgb(dataset / path) for path in table.path.iloc[evenly(len(table), most)]]


def distance(reference: list[np.ndarray], tiles: list[np.ndarray], seed: int) -> dict[str, Any]:
    """Return two sets' distance and that of each level."""
    found = sliced_wasserstein(reference, tiles, paired=False, seed=seed, draws=2)
    return {"swd": round(found.value, 2), "levels": [round(level, 1) for level in found.levels]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", type=Path, required=True, help="the dataset's folder")
    parser.add_argument("--pairs", type=Path, required=True, help="folder of clean.npy and degraded.npy")
    parser.add_argument("--tiles", type=int, default=256, help="of each set at most (default: 256)")
    parser.add_argument("--seed", type=int, default=0, help="of patches and directions (default: 0)")
    parser.add_argument("--out", type=Path, required=True, help="distance.json")
    sys.exit(command.run(main, parser))
