"""Draw a metric's mean over the test images against the number of training photos: a dot a run, a line a method."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd

from nopairs import command
from nopairs.files import atomic_file
from nopairs.reporting import figures, style
from nopairs.reporting.reading import named_path, read_run_mean


def main(args: argparse.Namespace) -> None:
    rows = []
    for name, path in args.run:
        photos, _, method = name.partition("/")
        value = read_run_mean(path, args.metric)
        rows.append(
            {"method": method, "photos": int(photos), "run": path.parent.as_posix(), args.metric: value}
        )
    runs = pd.DataFrame(rows)
    with atomic_file(args.csv) as temporary:
        runs.to_csv(temporary, index=False)
    style.save(figures.curve(runs, args.metric), args.out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--run",
        required=True,
        nargs="+",
        type=named_path,
        metavar="PHOTOS/METHOD=CSV",
        help="images.csv of each run, by its number of training photos and its method",
    )
    parser.add_argument("--metric", required=True, help="column of those files")
    parser.add_argument("--csv", required=True, type=Path, help="gets what is drawn, a row a run")
    parser.add_argument(
        "--out", required=True, type=Path, metavar="PNG", help="figure; a PDF is written beside it"
    )
    sys.exit(command.run(main, parser))
