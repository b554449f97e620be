"""Describe real or synthetic noise on clean images: noise.json, and strips of clean and degraded patches.

The noise is that of a folder of degraded images, or of a degradation model at the strength that was chosen for it.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import yaml

from nopairs import command
from nopairs.data.images import evenly, read_rgb, write_png
from nopairs.errors import NopairsError
from nopairs.files import atomic_folder, read_json, write_json
from nopairs.metrics.noise import noise_statistics, pick_patches

# That are looked at, more or less: eight large photos, or all of SIDD's validation blocks.
MOST_PIXELS = 100_000_000


def main(args: argparse.Namespace) -> None:
    names = sorted(path.name for path in args.clean.glob("*.png"))
    if not names:
        raise NopairsError(f"{args.clean}: no PNG in it; name the folder of clean images")
    first = read_rgb(args.clean / names[0])
    names = [names[k] for k in evenly(len(names), max(1, MOST_PIXELS // (first.shape[0] * first.shape[1])))]
    clean = [read_rgb(args.clean / name) for name in names]
    degraded = [read_rgb(args.degraded / name) for name in names] if args.degraded else degrade(clean, args)
    statistics = noise_statistics(clean, degraded)
    strips = pick_patches(clean, degraded, seed=0)
    with atomic_folder(args.out) as folder:
        write_json(folder / "noise.json", statistics)
        for name, strip in zip(("clean.png", "degraded.png"), strips, strict=True):
            write_png(folder / name, strip)


def degrade(clean: list[np.ndarray], args: argparse.Namespace) -> list[np.ndarray]:
    """Return the clean images, uint8 (H, W, 3), degraded by the model that the arguments describe."""
    # Imported here: with torch it takes seconds, which measuring a folder need not spend.
    import torch

    from nopairs.degradation.sampling import SamplingOptions, ready_to_sample, sample_pairs
    from nopairs.models import make_options

    torch.set_num_threads(args.threads)
    entry = yaml.safe_load(args.entry)
    options = make_options(SamplingOptions, "sampling", {**entry.get("sampling", {}), "copies": 1})
    model, channels = ready_to_sample(entry, args.model, args.dataset, args.seed)
    strength = read_json(args.strength)["strength"]
    return [
        sample_pairs(model, {"clean": image[None]}, options, strength, seed, channels=channels)[1][0]
        for seed, image in enumerate(clean, start=1000 * args.seed)
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clean", type=Path, required=True, help="folder of clean PNGs")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--degraded", type=Path, help="folder of degraded PNGs of equal names")
    source.add_argument(
        "--entry", help="a degradation's config entry, as YAML or JSON; with --strength and --dataset"
    )
    parser.add_argument("--dataset", type=Path, help="the dataset's folder; with --entry")
    parser.add_argument("--model", type=Path, help="folder of the trained degradation model, if it has one")
    parser.add_argument("--strength", type=Path, help="strength.json")
    parser.add_argument("--seed", type=int, default=0, help="of the sampled noise (default: 0)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for noise.json, clean.png and degraded.png"
    )
    sys.exit(command.run(main, parser))
