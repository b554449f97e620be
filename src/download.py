"""Find a dataset's photographs: fetch those of the catalogue, list a user's own. Writes `sources.csv`."""

import argparse
import sys
from pathlib import Path

import yaml

from nopairs import command
from nopairs.data.images import tell_left_out
from nopairs.data.photos import write_sources
from nopairs.data.sources import collect
from nopairs.data.store import Store


def main(args: argparse.Namespace) -> None:
    entry = yaml.safe_load(args.entry)
    photos = collect(entry, Store(args.data, args.lock))
    write_sources(photos, args.out)
    print(f"{args.out}: {len(photos)} photos")
    for folder in (entry[side] for side in ("clean", "degraded", "folder") if side in entry):
        if told := tell_left_out(folder):
            print(told)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entry", required=True, help="the dataset's config entry, as YAML or JSON")
    parser.add_argument("--data", type=Path, required=True, help="folder of downloaded datasets")
    parser.add_argument(
        "--lock", type=Path, required=True, help="file with hashes that were trusted on first use"
    )
    parser.add_argument("--out", type=Path, required=True, help="sources.csv")
    sys.exit(command.run(main, parser))
