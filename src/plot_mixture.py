"""Draw a denoising problem in the plane whose best estimates are known: the posterior mean, posterior draws, and the mean moved."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from matplotlib.figure import Figure

from nopairs import command
from nopairs.reporting import style
from nopairs.transport.mixture import ESTIMATES, Estimates, estimate

SHOWN = 1500  # points a panel
TITLES = {"mmse": "posterior mean", "posterior": "posterior draws", "transported": "mean, transported"}


def main(args: argparse.Namespace) -> None:
    style.save(draw(estimate(args.points, args.seed)), args.out)


@style.styled()
def draw(estimates: Estimates) -> Figure:
    """Scatter plots of the clean and the noisy points and of each estimate, with its error and its distance from the clean ones."""
    errors_, distances = estimates.errors(), estimates.distances()
    clouds: dict[str, torch.Tensor] = {"clean": estimates.clean, "noisy": estimates.noisy}
    clouds |= {TITLES[name]: getattr(estimates, name) for name in ESTIMATES}
    told = {TITLES[name]: f"error {errors_[name]:.2f}, distance {distances[name]:.2f}" for name in ESTIMATES}
    figure = Figure(figsize=(12.5, 3.2))
    for axes, (name, points) in zip(
        figure.subplots(1, len(clouds), sharex=True, sharey=True), clouds.items(), strict=True
    ):
        axes.plot(
            *points[:SHOWN].T,
            ".",
            markersize=1.5,
            color=style.color("clean" if name == "clean" else "ludvae"),
        )
        axes.set(title=name, aspect="equal", xlabel=told.get(name, ""))
    style.set_title(
        figure, "Denoising in the plane: mean squared error, and Gelbrich distance from the clean points"
    )
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=20_000, help="points of each kind (default: 20000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--out", required=True, type=Path, metavar="PNG", help="figure; a PDF is written beside it"
    )
    sys.exit(command.run(main, parser))
