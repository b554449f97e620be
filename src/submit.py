"""Write what the SIDD benchmark scores, from a folder of restored blocks: SubmitSrgb.mat and SubmitSrgb.csv."""

import argparse
import sys
from pathlib import Path

import pandas as pd

from nopairs import command
from nopairs.reporting.submission import read_blocks, write_blocks_csv, write_mat


def main(args: argparse.Namespace) -> None:
    blocks = read_blocks(args.restored)
    megapixels = blocks[..., 0].size / 1e6
    seconds = (
        pd.read_csv(args.timing, sep="\t").s.mean() if args.timing and args.timing.is_file() else float("nan")
    )
    write_mat(args.out / "SubmitSrgb.mat", blocks, seconds / megapixels, args.method)
    write_blocks_csv(args.out / "SubmitSrgb.csv", blocks)
    print(f"{args.out}: {blocks.shape[0]} images of {blocks.shape[1]} blocks")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--restored", type=Path, required=True, help="folder of <image>__<block>.png")
    parser.add_argument("--method", required=True, help="its name, for the file")
    parser.add_argument(
        "--timing", type=Path, help="Snakemake's benchmark of the restoration, for its seconds"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for SubmitSrgb.mat and SubmitSrgb.csv"
    )
    sys.exit(command.run(main, parser))
