"""patchNR: PSNR against seconds of the configured version beside the published sizes and steps, on a texture, in one run."""

from __future__ import annotations

import copy
import dataclasses
import os
import time
from typing import Any

import numpy as np
import torch
from skimage import data
from table import Row

from nopairs.models import make_options
from nopairs.priors import operators
from nopairs.priors.operators import Operator
from nopairs.priors.patchnr import PatchData, PatchNR, PatchNRDescent, PatchNROptions
from nopairs.training.options import TrainingOptions
from nopairs.training.run import train_in_passing

# The reconstructed image's side, what is not measured at its edges, and the part of the configured training that is enough here.
SIDE, EDGE, TRAINING = 64, 12, 4
# The published descent: random patches by pixel, of 130,000 for 600 x 600, steps and their length; and the published training.
PATCHES, STEPS, LR, STRENGTH = 130_000 / 600**2, 300, 0.03, 0.075
# Its first steps tell how many are to be had in our time.
PUBLISHED = TrainingOptions(50, batch=32, lr=1e-4, precision="float32")
FASTER, LOSS = 20, 0.1


def measure(config: dict[str, Any]) -> list[Row]:
    """Train and reconstruct with the configured sizes, and with the published ones for as long a training."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    entry, dataset = config["priors"]["patchnr"], config["datasets"]["textures"]
    operator = operators.make(dataset["operator"])
    image = data.gravel()
    learned, clean = image[None, :, :256], image[256 : 256 + SIDE, 256 : 256 + SIDE]
    observed = operator.observe(as_tensor(clean), torch.Generator().manual_seed(0))
    training = copy.deepcopy(entry["training"]) | {
        "steps": entry["training"]["steps"] // TRAINING,
        "validate_every": 0,
    }
    ours, seconds = trained(
        make_options(PatchNROptions, "patchnr", entry["options"]),
        make_options(TrainingOptions, "training", training),
        learned,
    )
    _, some = trained(PatchNROptions(), PUBLISHED, learned)
    steps = max(1, round(PUBLISHED.steps * seconds / some))
    theirs, their_seconds = trained(PatchNROptions(), dataclasses.replace(PUBLISHED, steps=steps), learned)
    how = make_options(PatchNRDescent, "patchnr", entry["reconstruction"] | {"strength": 0.1})
    published = PatchNRDescent(
        strength=STRENGTH,
        steps=STEPS,
        lr=LR,
        decay=False,
        patches=round(PATCHES * SIDE**2),
        precision="float32",
    )
    fast, plain, same = (
        reconstructed(flow, observed, operator, options, clean)
        for flow, options in ((ours, how), (theirs, published), (ours, published))
    )
    start = psnr(operator.start(observed), clean)
    return [
        Row(
            f"patchNR: PSNR after a training of {seconds:.0f} s (interpolated: {start:.2f} dB)",
            f"{fast[1]:.2f} dB",
            f"{plain[1]:.2f} dB: published flow, steps and batches, {their_seconds:.0f} s of them",
            f"{fast[1] - plain[1]:+.2f} dB",
        ),
        Row(
            f"patchNR: reconstruction of {SIDE} x {SIDE} pixels",
            f"{fast[0]:.2f} s",
            f"{plain[0]:.1f} s: published flow and descent",
            f"{plain[0] / fast[0]:.0f}",
            f"at least {FASTER}",
            plain[0] / fast[0] >= FASTER,
        ),
        Row(
            "patchNR: the same flow with the published descent",
            f"{fast[0]:.2f} s, {fast[1]:.2f} dB",
            f"{same[0]:.1f} s, {same[1]:.2f} dB",
            f"{same[0] / fast[0]:.0f}",
            f"no more than {LOSS} dB worse",
            fast[1] >= same[1] - LOSS,
        ),
    ]


def trained(options: PatchNROptions, training: TrainingOptions, images: np.ndarray) -> tuple[PatchNR, float]:
    """Return a flow and the seconds of its training."""
    torch.manual_seed(0)
    flow = PatchNR(options)
    flow.fit(torch.from_numpy(images).float() / 255, 0)
    started = time.perf_counter()
    train_in_passing(flow, PatchData(images, [], options, training), training, 0, torch.device("cpu"))
    return flow.eval(), time.perf_counter() - started


def reconstructed(
    flow: PatchNR, observed: torch.Tensor, operator: Operator, options: PatchNRDescent, clean: np.ndarray
) -> tuple[float, float]:
    """Return seconds and PSNR of a reconstruction."""
    started = time.perf_counter()
    found = flow.reconstruct(observed, operator, options)
    return time.perf_counter() - started, psnr(found, clean)


def as_tensor(image: np.ndarray) -> torch.Tensor:
    """Turn uint8 (H, W) into float32 (1, 1, H, W) in [0, 1]."""
    return torch.from_numpy(image / 255).float()[None, None]


def psnr(found: torch.Tensor, clean: np.ndarray) -> float:
    """Return the PSNR within the edge, in dB."""
    error = (found - as_tensor(clean))[..., EDGE:-EDGE, EDGE:-EDGE]
    return -10 * float(error.square().mean().log10())
