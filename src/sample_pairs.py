"""Sample synthetic pairs of the training tiles from a degradation model, at the strength that was chosen for it."""

import argparse
import sys
from pathlib import Path

import torch
import yaml

from nopairs import errors
from nopairs.degradation.sampling import SamplingOptions, read_sources, sample_pairs
from nopairs.files import read_json
from nopairs.models import load_model, make, make_options
from nopairs.training.hardware import pick_device
from nopairs.training.pairs import save_pairs


def main(args: argparse.Namespace) -> None:
    torch.set_num_threads(args.threads)
    entry = yaml.safe_load(args.entry)
    options = make_options(SamplingOptions, "sampling", entry.get("sampling", {}))
    model = (
        load_model(args.model) if args.model else make("degradation", entry["kind"], entry.get("options", {}))
    )
    sources = read_sources(args.dataset, entry["kind"], options.mode)
    strength = read_json(args.strength)["strength"]
    clean, degraded = sample_pairs(model.to(pick_device(args.device)), sources, options, strength, args.seed)
    save_pairs(args.out, clean, degraded)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entry", required=True, help="the degradation's config entry, as YAML or JSON")
    parser.add_argument("--model", type=Path, help="folder of the trained degradation model, if it has one")
    parser.add_argument("--strength", type=Path, required=True, help="strength.json")
    parser.add_argument("--dataset", type=Path, required=True, help="the dataset's folder")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--out", type=Path, required=True, help="folder for clean.npy and degraded.npy")
    sys.exit(errors.run(main, parser))
