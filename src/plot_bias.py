"""Make the table and the figure of how biased regularised GANs are, from what measure_bias.py wrote."""

import argparse
import sys
from pathlib import Path

from nopairs import command
from nopairs.reporting import style
from nopairs.reporting.bias import bias_figure, bias_table
from nopairs.reporting.tables import write_table


def main(args: argparse.Namespace) -> None:
    write_table(bias_table(args.runs), args.table)
    style.save(bias_figure(args.runs), args.figure)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, nargs="+", required=True, help="CSVs of measure_bias.py")
    parser.add_argument(
        "--table", type=Path, required=True, help="CSV; Markdown, LaTeX and a page are written beside it"
    )
    parser.add_argument(
        "--figure", type=Path, required=True, metavar="PNG", help="a PDF is written beside it"
    )
    sys.exit(command.run(main, parser))
