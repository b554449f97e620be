"""Turn source photographs into a dataset folder: tiles for training, whole images for val and test, and index.csv."""

import argparse
import sys
from pathlib import Path

import yaml

from nopairs import command
from nopairs.command import positive_int
from nopairs.data.camera import Camera
from nopairs.data.degrading import Degrading
from nopairs.data.photos import read_sources
from nopairs.data.preprocess import Recipe, write_dataset


def main(args: argparse.Namespace) -> None:
    entry = yaml.safe_load(args.entry)
    camera = Camera(**entry["camera"]) if "camera" in entry else None
    degrading = Degrading(**entry["recipe"]) if "recipe" in entry else None
    tiles = entry["tile"], entry["tile"] // entry["scale"]
    multiple, normalise = entry.get("multiple", 1), entry["normalise_channels"]
    recipe = Recipe(*tiles, camera, entry["seed"], degrading, multiple, normalise)
    write_dataset(read_sources(args.sources), args.out, recipe, args.jobs)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entry", required=True, help="the dataset's config entry, as YAML or JSON")
    parser.add_argument("--sources", type=Path, required=True, help="sources.csv")
    parser.add_argument("--out", type=Path, required=True, help="the dataset's folder")
    parser.add_argument("--jobs", type=positive_int, default=1, help="processes (default: 1)")
    sys.exit(command.run(main, parser))
