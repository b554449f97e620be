"""Make a student's training pairs: degraded training tiles, and what a fitted restorer, its teacher, makes of them."""

import argparse
import sys
from pathlib import Path

import numpy as np

from nopairs import command
from nopairs.data.tiles import read_tiles, to_tensor, to_uint8
from nopairs.models import load_restorer
from nopairs.restorers.tiling import restore_tiled
from nopairs.training import hardware
from nopairs.training.pairs import save_pairs


def main(args: argparse.Namespace) -> None:
    device = hardware.start(args)
    degraded, _ = read_tiles(args.dataset / "degraded")
    chosen = np.random.default_rng(args.seed).permutation(len(degraded))[: args.most]
    degraded = degraded[chosen]
    teacher = load_restorer(args.model).to(device)
    restored = [to_uint8(restore_tiled(teacher, to_tensor(tile[None]))) for tile in degraded]
    save_pairs(args.out, np.concatenate(restored), degraded)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="the teacher: a fitted restorer's folder")
    parser.add_argument("--dataset", type=Path, required=True, help="the dataset's folder")
    parser.add_argument("--seed", type=int, required=True, help="of the tiles that are drawn")
    parser.add_argument(
        "--most",
        type=int,
        default=512,
        help="tiles to restore: a stack takes seconds for each, and SIDD has tens of thousands (default: 512)",
    )
    hardware.add_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder for clean.npy and degraded.npy")
    sys.exit(command.run(main, parser))
