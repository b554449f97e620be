"""Degrade a folder of clean PNGs with a degradation model, at the strength that was chosen for it."""

import argparse
import sys
from pathlib import Path

import torch
import yaml

from nopairs import errors
from nopairs.data.images import read_rgb, write_png
from nopairs.degradation.sampling import SamplingOptions, sample_pairs
from nopairs.files import atomic_folder, read_json
from nopairs.models import load_model, make, make_options


def main(args: argparse.Namespace) -> None:
    torch.set_num_threads(args.threads)
    entry = yaml.safe_load(args.entry)
    options = make_options(SamplingOptions, "sampling", {**entry.get("sampling", {}), "copies": 1})
    model = (
        load_model(args.model) if args.model else make("degradation", entry["kind"], entry.get("options", {}))
    )
    strength = read_json(args.strength)["strength"]
    with atomic_folder(args.out) as folder:
        for seed, path in enumerate(sorted(args.images.glob("*.png")), start=1000 * args.seed):
            _, degraded = sample_pairs(model, {"clean": read_rgb(path)[None]}, options, strength, seed)
            write_png(folder / path.name, degraded[0])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entry", required=True, help="the degradation's config entry, as YAML or JSON")
    parser.add_argument("--model", type=Path, help="folder of the trained degradation model, if it has one")
    parser.add_argument("--strength", type=Path, required=True, help="strength.json")
    parser.add_argument("--images", type=Path, required=True, help="folder of clean PNGs")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, required=True, help="folder for the degraded PNGs")
    sys.exit(errors.run(main, parser))
