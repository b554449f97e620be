"""Print differences between two methods' means, with their intervals, as a Markdown table: a row for each pair asked for.

The intervals are those of the tables: a paired cluster bootstrap over scenes and seeds. Of measures of whole sets (swd, pwd) the
distances of the resampled sets are compared.
"""

import argparse
import sys
from pathlib import Path

from nopairs import command
from nopairs.errors import NopairsError
from nopairs.reporting import style
from nopairs.reporting.aggregate import compare, read_measured


def pair(text: str) -> tuple[str, str]:
    """Split METHOD:OTHER."""
    method, _, other = text.partition(":")
    if not method or not other:
        raise argparse.ArgumentTypeError(f"{text!r}: expected METHOD:OTHER")
    return method, other


def main(args: argparse.Namespace) -> None:
    names = dict.fromkeys(name for names in args.pairs for name in names)
    measured = {name: read_measured(args.metrics_dir, name, args.seeds) for name in names}
    print(f"| method | against | {args.metric} | difference | 95 % interval | images, scenes |")
    print("| --- | --- | ---: | ---: | --- | ---: |")
    for method, other in args.pairs:
        found = compare(measured[method], measured[other], args.metric)
        if found is None:
            raise NopairsError(
                f"{method}, {other}: {args.metric} was not measured of both, or not of the same images"
            )
        d = max(2, style.metric(args.metric).precision([found.mean, found.other]))
        print(
            f"| {method} | {other} | {found.mean:.{d}f}, {found.other:.{d}f} | {found.difference.mean:+.{d}f}"
            f" | {found.difference.low:+.{d}f} to {found.difference.high:+.{d}f} | {found.images}, {found.scenes} |"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--metrics-dir", type=Path, nargs="+", required=True, help="results/metrics/<dataset> of each dataset"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--metric", default="psnr", help="(default: psnr)")
    parser.add_argument("--pairs", nargs="+", type=pair, required=True, metavar="METHOD:OTHER")
    sys.exit(command.run(main, parser))
