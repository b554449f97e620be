"""Reconstruct the observed test images by a prior, as 8-bit PNGs."""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
import yaml

from nopairs import command, registry
from nopairs.data.images import write_png
from nopairs.data.tiles import to_uint8
from nopairs.errors import NopairsError
from nopairs.files import atomic_folder, read_json
from nopairs.models import load_model, make_options
from nopairs.priors import operators
from nopairs.training import hardware


def main(args: argparse.Namespace) -> None:
    entry = yaml.safe_load(args.entry)
    chosen = read_json(args.strength)["strength"]
    settings = entry.get("reconstruction", {}) | ({} if chosen is None else {"strength": chosen})
    kind = registry.find(registry.PRIORS, entry["kind"])
    options = make_options(kind.Reconstruction, entry["kind"], settings)
    operator = operators.read(args.operator)
    device = hardware.start(args)
    prior = load_model(args.model).to(device)
    files = sorted(args.observations.glob("*.npy"))
    if not files:
        raise NopairsError(f"{args.observations}: no observations; run observe.py first")
    with atomic_folder(args.out) as folder:
        for group in batches(files, prior.at_once if device.type == "cuda" else 1):
            started = time.monotonic()
            observed = torch.from_numpy(np.stack([np.load(file, allow_pickle=False) for file in group]))
            try:
                found = prior.reconstruct(observed.to(device), operator, options, args.seed)
            except NopairsError as error:
                raise NopairsError(f"{group[0]}: {error}") from None
            for file, image in zip(group, to_uint8(found), strict=True):
                rgb = np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))
                write_png(folder / f"{file.stem}.png", rgb)
                print(f"{file.stem}: {(time.monotonic() - started) / len(group):.1f} s", flush=True)


def batches(files: list[Path], most: int) -> list[list[Path]]:
    """Put files of one shape together, `most` at a time."""
    groups: dict[tuple[int, ...], list[Path]] = {}
    for file in files:
        shape = np.load(file, mmap_mode="r", allow_pickle=False).shape
        groups.setdefault(shape, []).append(file)
    return [group[k : k + most] for group in groups.values() for k in range(0, len(group), most)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="the fitted prior's folder")
    parser.add_argument("--entry", required=True, help="kind and reconstruction, as YAML or JSON")
    parser.add_argument("--strength", type=Path, required=True, help="JSON with the chosen strength")
    parser.add_argument("--operator", required=True, help="kind and options, as YAML or JSON")
    parser.add_argument("--observations", type=Path, required=True, help="folder that observe.py wrote")
    parser.add_argument("--seed", type=int, default=0)
    hardware.add_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder for the reconstructed PNGs")
    sys.exit(command.run(main, parser))
