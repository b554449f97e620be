"""Draw a results table as dots with their 95 % intervals, a panel a metric."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nopairs import command
from nopairs.reporting import figures, style
from nopairs.reporting.reading import read_table


def main(args: argparse.Namespace) -> None:
    style.save(figures.table_plot(read_table(args.table)), args.out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", required=True, type=Path, metavar="CSV", help="table in long form")
    parser.add_argument(
        "--out", required=True, type=Path, metavar="PNG", help="figure; a PDF is written beside it"
    )
    sys.exit(command.run(main, parser))
