"""Draw real and synthetic noise: the same patches side by side, and the noise's statistics."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nopairs import command
from nopairs.reporting import noise, style
from nopairs.reporting.reading import named_path


def main(args: argparse.Namespace) -> None:
    sources = {name: noise.read_noise(folder) for name, folder in args.noise}
    style.save(noise.noise_patches(sources), args.patches)
    style.save(noise.noise_statistics(sources), args.statistics)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--noise",
        required=True,
        nargs="+",
        type=named_path,
        metavar="SOURCE=FOLDER",
        help="folders with clean.png, degraded.png and noise.json; the others are compared with `real`",
    )
    parser.add_argument(
        "--patches", required=True, type=Path, metavar="PNG", help="figure of the patches, PDF beside"
    )
    parser.add_argument(
        "--statistics", required=True, type=Path, metavar="PNG", help="figure of the statistics, PDF beside"
    )
    sys.exit(command.run(main, parser))
