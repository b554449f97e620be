"""Fetch published weights of the catalogue, from a mirror or their own address, and verify them. Writes where each one lies."""

import argparse
import sys
from pathlib import Path

from nopairs import command
from nopairs.data import weights
from nopairs.data.store import Store
from nopairs.files import sha256, write_json


def main(args: argparse.Namespace) -> None:
    store = Store(args.data, args.lock)
    fetched = {}
    for reference in args.weights:
        name, file = weights.find(reference)
        (path,) = store.fetch(name, [file])
        fetched[reference] = {"path": str(path), "sha256": sha256(path)}
    write_json(args.out, fetched)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--weights", nargs="+", required=True, help="catalogue:<entry>/<path>, one or several"
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of downloads")
    parser.add_argument(
        "--lock", type=Path, required=True, help="file with hashes that were trusted on first use"
    )
    parser.add_argument("--out", type=Path, required=True, help="JSON: path and sha256 of each")
    return parser


if __name__ == "__main__":
    sys.exit(command.run(main, make_parser()))
