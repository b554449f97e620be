"""Draw perception against distortion over alpha, and crops over alpha, of several transported methods."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nopairs import command
from nopairs.reporting import style, transport
from nopairs.reporting.reading import named_path


def main(args: argparse.Namespace) -> None:
    curves = {name: transport.read_curve(folder / "curve.csv") for name, folder in args.transport}
    crops = {name: transport.read_crops(folder / "crops")[0] for name, folder in args.transport}
    style.save(transport.perception_distortion(curves, crops), args.out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--transport",
        required=True,
        nargs="+",
        type=named_path,
        metavar="METHOD=FOLDER",
        help="folders with curve.csv and crops, of measure_curve.py",
    )
    parser.add_argument(
        "--out", required=True, type=Path, metavar="PNG", help="figure; a PDF is written beside it"
    )
    sys.exit(command.run(main, parser))
