"""Draw training logs as small multiples: loss against step, and the validation PSNR where it was logged."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nopairs import command
from nopairs.reporting import figures, style
from nopairs.reporting.reading import named_path, read_log


def main(args: argparse.Namespace) -> None:
    style.save(figures.losses({name: read_log(path) for name, path in args.log}), args.out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--log",
        required=True,
        nargs="+",
        type=named_path,
        metavar="MODEL/RUN=CSV",
        help="training logs; the runs of one model share a panel",
    )
    parser.add_argument(
        "--out", required=True, type=Path, metavar="PNG", help="figure; a PDF is written beside it"
    )
    sys.exit(command.run(main, parser))
