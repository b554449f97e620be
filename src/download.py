"""Find a dataset's photographs: copy the embedded ones, list a user's own. Writes `sources.csv`."""

import argparse
import sys
from pathlib import Path

import yaml

from nopairs import errors
from nopairs.data.sources import collect_embedded, collect_folders, write_sources


def main(args: argparse.Namespace) -> None:
    entry = yaml.safe_load(args.entry)
    photos = (
        collect_embedded(args.out / "photos") if entry["source"] == "embedded" else collect_folders(entry)
    )
    write_sources(photos, args.out / "sources.csv")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entry", required=True, help="the dataset's config entry, as YAML or JSON")
    parser.add_argument("--out", type=Path, required=True, help="folder for the photos and sources.csv")
    sys.exit(errors.run(main, parser))
