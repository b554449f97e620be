"""Describe the noise of real or synthetic pairs: noise.json, and strips of clean and degraded patches."""

import argparse
import sys
from pathlib import Path

import numpy as np

from nopairs import errors
from nopairs.data.images import read_rgb, write_png
from nopairs.files import atomic_folder, write_json
from nopairs.metrics.noise import noise_statistics, pick_patches


def main(args: argparse.Namespace) -> None:
    names = sorted(path.name for path in args.clean.glob("*.png"))
    if not names:
        raise errors.NopairsError(f"{args.clean}: no PNG in it; name the folder of clean images")
    if args.limit:
        names = [names[i] for i in np.unique(np.linspace(0, len(names) - 1, args.limit).round().astype(int))]
    clean, degraded = ([read_rgb(folder / name) for name in names] for folder in (args.clean, args.degraded))
    statistics = noise_statistics([image / 255 for image in clean], [image / 255 for image in degraded])
    strips = pick_patches(clean, degraded, args.seed)
    with atomic_folder(args.out) as folder:
        write_json(folder / "noise.json", statistics)
        for name, strip in zip(("clean.png", "degraded.png"), strips, strict=True):
            write_png(folder / name, strip)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clean", type=Path, required=True, help="folder of clean PNGs")
    parser.add_argument("--degraded", type=Path, required=True, help="folder of degraded PNGs of equal names")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for noise.json, clean.png and degraded.png"
    )
    parser.add_argument("--limit", type=int, help="use at most this many pairs, evenly spread over the names")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of patches (default: 0)")
    sys.exit(errors.run(main, parser))
