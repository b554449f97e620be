"""Choose the strength of a prior's reconstruction on parts of the validation images, which the operator observes for that."""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
import yaml

from nopairs import command, registry
from nopairs.data.images import evenly, read_rgb
from nopairs.data.tiles import to_uint8
from nopairs.errors import NopairsError
from nopairs.files import write_json
from nopairs.metrics.quality import psnr
from nopairs.models import load_model, make_options
from nopairs.priors import operators
from nopairs.priors.base import Prior, to_planes
from nopairs.priors.operators import Operator
from nopairs.training import hardware

# Validation images at most, and how much of the middle of each, pixels a side: a candidate costs a reconstruction.
MOST_JUDGES = 4
LARGEST_JUDGE = 256


def main(args: argparse.Namespace) -> None:
    entry = yaml.safe_load(args.entry)
    candidates, settings = entry.get("candidates", []), entry.get("reconstruction", {})
    if len(candidates) < 2:
        only = candidates[0] if candidates else settings.get("strength")
        write_json(args.out, {"strength": only, "candidates": candidates, "val_psnr": []})
        return
    operator = operators.read(args.operator)
    kind = registry.find(registry.PRIORS, entry["kind"])
    device = hardware.start(args)
    prior = load_model(args.model).to(device)
    judges = [
        np.ascontiguousarray(image[operators.middle(image.shape[:2], operator, LARGEST_JUDGE)])
        for image in validation_images(args.dataset)
    ]
    scores = []
    for strength in candidates:
        options = make_options(kind.Reconstruction, entry["kind"], {**settings, "strength": strength})
        values = [score(prior, operator, options, image, args.border, args.seed, device) for image in judges]
        scores.append(float(np.mean(values)))
        print(f"strength {strength}: {scores[-1]:.2f} dB on val", flush=True)
    best = candidates[int(np.argmax(scores))]
    write_json(args.out, {"strength": best, "candidates": candidates, "val_psnr": scores})


def validation_images(dataset: Path) -> list[np.ndarray]:
    """Read some validation images, uint8 (H, W, 3), evenly spread."""
    paths = sorted((dataset / "val/clean").glob("*.png"))
    if not paths:
        raise NopairsError(f"{dataset}: no validation images to choose a strength on; name a `strength`")
    return [read_rgb(paths[place]) for place in evenly(len(paths), MOST_JUDGES)]


def score(
    prior: Prior,
    operator: Operator,
    options: object,
    clean: np.ndarray,
    border: int,
    seed: int,
    device: torch.device,
) -> float:
    """Return the PSNR of a reconstruction, within the border as the table has it; a small image keeps its middle half."""
    observed = operator.observe(to_planes(clean)[None], torch.Generator().manual_seed(seed))
    found = prior.reconstruct(observed.to(device), operator, options, seed)
    border = min(border, min(clean.shape[:2]) // 4)
    inner = (slice(border, clean.shape[0] - border), slice(border, clean.shape[1] - border))
    restored = np.broadcast_to(to_uint8(found)[0], clean.shape)
    return psnr(clean[inner], np.ascontiguousarray(restored[inner]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", type=Path, required=True, help="the dataset's folder")
    parser.add_argument("--model", type=Path, required=True, help="the fitted prior's folder")
    parser.add_argument("--entry", required=True, help="kind, reconstruction and candidates, as YAML or JSON")
    parser.add_argument("--operator", required=True, help="kind and options, as YAML or JSON")
    parser.add_argument("--border", type=int, default=0, help="pixels at each edge that do not count")
    parser.add_argument("--seed", type=int, default=0)
    hardware.add_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, help="JSON: strength, candidates, val_psnr")
    sys.exit(command.run(main, parser))
