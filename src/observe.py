"""Observe the clean test images of a dataset by its operator: NAME.npy for NAME.png, float32 (channels, height, width)."""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
import yaml

from nopairs import command
from nopairs.data.images import read_rgb
from nopairs.data.index import read_index
from nopairs.errors import NopairsError
from nopairs.files import atomic_folder
from nopairs.priors import operators
from nopairs.priors.base import to_planes


def main(args: argparse.Namespace) -> None:
    settings = yaml.safe_load(args.operator)
    if settings["kind"] == operators.ESTIMATED:
        take_degraded(args.dataset / "test/degraded", args.out)
        return
    operator = operators.make(settings)
    index = read_index(args.dataset)
    tests = index[index.path.str.startswith("test/clean/")]
    with atomic_folder(args.out) as folder:
        for path, digest in zip(tests.path, tests.sha256, strict=True):
            # An image has its noise whichever others are there. Torch takes 32 bits of a seed only.
            seed = int(np.random.SeedSequence([args.seed, int(digest[:8], 16)]).generate_state(1)[0])
            generator = torch.Generator().manual_seed(seed)
            image = to_planes(read_rgb(args.dataset / path))
            try:
                observed = operator.observe(image[None], generator)[0]
            except NopairsError as error:
                raise NopairsError(f"{args.dataset / path}: {error}") from None
            np.save(folder / f"{Path(path).stem}.npy", observed.numpy())


def take_degraded(degraded: Path, out: Path) -> None:
    """The degraded test images are the observations of an operator that nobody knows."""
    with atomic_folder(out) as folder:
        for path in sorted(degraded.glob("*.png")):
            np.save(folder / f"{path.stem}.npy", to_planes(read_rgb(path)).numpy())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", type=Path, required=True, help="the dataset's folder")
    parser.add_argument("--operator", required=True, help="kind and options, as YAML or JSON")
    parser.add_argument("--seed", type=int, default=0, help="of the noise (default: 0)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the observations")
    sys.exit(command.run(main, parser))
