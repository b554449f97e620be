"""Sample from a flow's posterior of some observed test images: a figure of each, and how often intervals hold the truth."""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from nopairs import command
from nopairs.data.images import read_rgb
from nopairs.errors import NopairsError
from nopairs.files import atomic_folder, write_csv
from nopairs.models import load_model
from nopairs.priors import operators
from nopairs.priors.base import to_planes
from nopairs.reporting import style
from nopairs.reporting.uncertainty import coverage, uncertainty
from nopairs.training import hardware


def main(args: argparse.Namespace) -> None:
    operator = operators.read(args.operator)
    device = hardware.start(args)
    prior = load_model(args.model).to(device)
    if not hasattr(prior, "sample"):
        raise NopairsError(f"{args.model}: this prior has no samples to show; name a wppflow")
    if not isinstance(operator, operators.Convolution):
        raise NopairsError(
            f"{args.operator}: its observations are no images to show; name a dataset whose operator blurs or reduces"
        )
    files = sorted(args.observations.glob("*.npy"))[: args.images]
    if not files:
        raise NopairsError(f"{args.observations}: no observations; run observe.py first")
    found = []
    with atomic_folder(args.out) as folder:
        for file in files:
            observed = torch.from_numpy(np.load(file, allow_pickle=False))
            samples = prior.sample(observed[None].to(device), operator, args.samples, args.seed)
            inside = slice(args.border, -args.border or None)
            truth = to_planes(read_rgb(args.dataset / f"test/clean/{file.stem}.png")).numpy()
            drawn = samples[:, 0, :, inside, inside].cpu().numpy()
            covered = [
                coverage(clean, drawn[:, channel]) for channel, clean in enumerate(truth[:, inside, inside])
            ]
            found += [rows.assign(image=file.stem) for rows in covered]
            figure = uncertainty(
                truth[0],
                operator.pixels(observed)[0].numpy(),
                samples[:, 0, 0].cpu().numpy(),
                f"{args.model.parent.name}, {file.stem}: a part of it, and three of {args.samples} samples",
            )
            style.save(figure, folder / f"{file.stem}.png")
        by_level = pd.concat(found).groupby("level")["coverage"]
        rows = [
            {"level": level, "mean": shares.mean(), "min": shares.min(), "max": shares.max()}
            for level, shares in by_level
        ]
        write_csv(folder / "coverage.csv", rows)
        for row in rows:
            print(f"{row['level']:.0%} intervals hold {row['mean']:.1%} of the pixels", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", type=Path, required=True, help="the dataset's folder")
    parser.add_argument("--model", type=Path, required=True, help="the trained flow's folder")
    parser.add_argument("--operator", required=True, help="kind and options, as YAML or JSON")
    parser.add_argument("--observations", type=Path, required=True, help="folder that observe.py wrote")
    parser.add_argument("--border", type=int, default=0, help="pixels at each edge that do not count")
    parser.add_argument(
        "--images", type=int, default=4, help="how many, in the order of their names (default: 4)"
    )
    parser.add_argument("--samples", type=int, default=39, help="of each image (default: 39)")
    parser.add_argument("--seed", type=int, default=0)
    hardware.add_arguments(parser)
    parser.add_argument(
        "--out", type=Path, required=True, help="folder: a PNG and PDF of each image, and coverage.csv"
    )
    sys.exit(command.run(main, parser))
