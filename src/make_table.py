"""Make a results table from the methods' measures: long CSV, and its views as Markdown, LaTeX and a page."""

import argparse
import sys
from pathlib import Path

from nopairs import command
from nopairs.errors import NopairsError
from nopairs.files import read_json
from nopairs.reporting.aggregate import build_table, read_measured, read_published
from nopairs.reporting.reading import named_path
from nopairs.reporting.tables import write_table


def main(args: argparse.Namespace) -> None:
    if (args.published is None) != (args.reference is None):
        raise NopairsError("--published and --reference belong together; give both or neither")
    for name in ("methods", "metrics"):
        if not getattr(args, name):
            raise NopairsError(f"table {args.table}: {args.dataset} has not what any of its {name} needs")
    published = read_published(args.published, args.reference) if args.published else None
    measured = {method: read_measured(args.metrics_dir, method, args.seeds) for method in args.methods}
    told = {method: read_json(path)["remark"] for method, path in args.told}
    counted = {method: read_json(path)["parameters"] / 1e6 for method, path in args.parameters}
    table = build_table(
        args.table, args.dataset, measured, args.rivals, args.metrics, published, args.remark, told, counted
    )
    write_table(table, args.out_dir / f"{args.table}.csv")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", required=True, help="name of the table")
    parser.add_argument("--dataset", required=True, help="how the table calls it")
    parser.add_argument("--methods", nargs="*", required=True, help="rows, in this order")
    parser.add_argument(
        "--rivals", nargs="*", default=[], help="methods whose best one the others are compared with"
    )
    parser.add_argument(
        "--metrics-dir", type=Path, nargs="+", required=True, help="results/metrics/<dataset> of each dataset"
    )
    parser.add_argument("--seeds", nargs="+", type=int, required=True)
    parser.add_argument("--metrics", nargs="*", required=True, help="columns, in this order")
    parser.add_argument("--published", type=Path, help="CSV of published values")
    parser.add_argument("--reference", help="key of the published values that stand beside ours")
    parser.add_argument("--remark", default="", help="what is to be said of every measured value")
    parser.add_argument(
        "--told",
        nargs="*",
        default=[],
        type=named_path,
        metavar="METHOD=JSON",
        help="its `remark` is said of a method",
    )
    parser.add_argument(
        "--parameters",
        nargs="*",
        default=[],
        type=named_path,
        metavar="METHOD=JSON",
        help="the model.json that tells how many parameters a method's model has",
    )
    parser.add_argument("--out-dir", type=Path, required=True, help="gets <table>.csv, .md, .tex and .html")
    sys.exit(command.run(main, parser))
