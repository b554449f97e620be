"""Turn source photographs into a dataset folder: tiles for training, whole images for val and test, and index.csv."""

import argparse
import sys
from pathlib import Path

import yaml

from nopairs import errors
from nopairs.data.camera import Camera
from nopairs.data.preprocess import write_dataset
from nopairs.data.sources import read_sources
from nopairs.files import atomic_folder


def main(args: argparse.Namespace) -> None:
    entry = yaml.safe_load(args.entry)
    camera = Camera(**entry.get("camera", {})) if entry["source"] == "embedded" else None
    with atomic_folder(args.out) as folder:
        write_dataset(read_sources(args.sources), folder, entry["tile"], camera, entry["seed"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entry", required=True, help="the dataset's config entry, as YAML or JSON")
    parser.add_argument("--sources", type=Path, required=True, help="sources.csv")
    parser.add_argument("--out", type=Path, required=True, help="the dataset's folder")
    sys.exit(errors.run(main, parser))
