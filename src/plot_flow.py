"""Draw what trace_flow.py wrote: trajectories, and restorations with different auxiliary variables; or a table against the steps."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd

from nopairs import command
from nopairs.reporting import flow, style


def main(args: argparse.Namespace) -> None:
    if args.table:
        points = {name: int(count) for name, _, count in (point.partition("=") for point in args.evaluations)}
        style.save(flow.quality(pd.read_csv(args.table), points, flow.read_flow(args.flow)), args.out)
        return
    style.save(flow.trajectories(args.flow, args.method), args.out.with_name("trajectories.png"))
    style.save(flow.draws(args.flow, args.method), args.out.with_name("draws.png"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flow", required=True, type=Path, help="folder that trace_flow.py wrote")
    parser.add_argument("--method", default="", help="how titles call it")
    parser.add_argument("--table", type=Path, help="a table in long form: it is drawn against the steps")
    parser.add_argument(
        "--evaluations", nargs="*", default=[], metavar="METHOD=NUMBER", help="of the table's flows"
    )
    parser.add_argument(
        "--out", required=True, type=Path, metavar="PNG", help="figure; a PDF is written beside it"
    )
    sys.exit(command.run(main, parser))
