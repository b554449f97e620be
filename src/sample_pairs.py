"""Sample synthetic pairs of the training tiles from a degradation model, at the strength that `val` chooses.

Chosen is the candidate range whose pairs train the restorer of highest PSNR; each gets the same short training from the same
start. Where the dataset has no validation pairs, held-out pairs of
another degradation (`--stand-in`) take their place, and their tiles are not trained on. Without candidates, or without either,
the configured strength stands.
"""

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from nopairs import command
from nopairs.data.channels import Channels
from nopairs.degradation.sampling import (
    PairMaker,
    SamplingOptions,
    read_sources,
    ready_to_sample,
    sample_pairs,
)
from nopairs.files import write_json
from nopairs.models import make, make_options
from nopairs.training import hardware
from nopairs.training.data import Images, PairedData, hold_out
from nopairs.training.options import TrainingOptions
from nopairs.training.pairs import load_pairs, read_validation, save_pairs
from nopairs.training.run import train_in_passing

REAL_PAIRS = "pairs/clean"


def main(args: argparse.Namespace) -> None:
    device = hardware.start(args)
    entry = yaml.safe_load(args.entry)
    options = make_options(SamplingOptions, "sampling", entry.get("sampling", {}))
    model, channels = ready_to_sample(entry, args.model, args.dataset, args.seed)
    model.to(device, memory_format=torch.channels_last)
    sources = read_sources(args.dataset, entry["kind"], options.mode)
    scores = score_candidates(model, channels, sources, options, args, device) if options.candidates else {}
    chosen = max(scores, key=lambda strength: scores[strength], default=options.strength)
    val_psnr = {str(list(strength)): score for strength, score in scores.items()}
    write_json(args.out / "strength.json", {"strength": list(chosen), "val_psnr": val_psnr})
    save_pairs(args.out, *sample_pairs(model, sources, options, chosen, args.seed, channels=channels))


def score_candidates(
    model: PairMaker,
    channels: Channels | None,
    sources: dict[str, np.ndarray],
    options: SamplingOptions,
    args: argparse.Namespace,
    device: torch.device,
) -> dict[tuple[float, float], float]:
    """Return each candidate's validation PSNR (dB); nothing where there are no pairs to validate on."""
    selection = yaml.safe_load(args.selection)
    val, held_tiles = read_validation(args.dataset), 0
    if args.stand_in and not val:
        val, held_tiles = hold_out_tiles(args.stand_in, args.dataset, args.stand_in_part)
    trained_on = {side: tiles[held_tiles:] for side, tiles in sources.items()}
    scores = {}
    for strength in options.candidates if val else ():
        short = dataclasses.replace(options, strength=strength, copies=selection["copies"])
        pairs = sample_pairs(model, trained_on, short, strength, args.seed, channels=channels)
        scores[strength] = score(pairs, selection, val, device, args.seed)
        print(f"strength {list(strength)}: {scores[strength]:.2f} dB on val", flush=True)
    return scores


def hold_out_tiles(pairs: Path, dataset: Path, part: str) -> tuple[Images, int]:
    """Return held-out pairs of a folder, and of how many tiles of the dataset's `part` (the first ones) they were made.

    Real pairs were made of no tile that others train on.
    """
    clean, degraded = load_pairs(pairs)
    held = hold_out(clean, degraded)
    if part == REAL_PAIRS:
        return held, 0
    copies = len(clean) // len(list((dataset / part).rglob("*.png")))
    return held, -(-len(held) // copies)


def score(
    pairs: tuple[np.ndarray, np.ndarray],
    selection: dict[str, Any],
    val: Images,
    device: torch.device,
    seed: int,
) -> float:
    """Return the validation PSNR (dB) of a restorer that a short training on pairs gives."""
    restorer = selection["entry"]
    changed = {
        "steps": selection["steps"],
        "validate_every": selection["steps"],
        "warmup": min(50, selection["steps"] // 4),
    }
    options = make_options(TrainingOptions, "training", restorer["training"] | changed)
    torch.manual_seed(seed)
    network = make("restorer", restorer["kind"], restorer.get("options", {}))
    result = train_in_passing(network, PairedData(*pairs, val, options), options, seed, device)
    assert result.best is not None  # there are images to validate on
    return result.best


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entry", required=True, help="the degradation's config entry, as YAML or JSON")
    parser.add_argument(
        "--selection",
        help="the short training that judges candidates: steps, copies and the restorer's entry",
    )
    parser.add_argument("--model", type=Path, help="folder of the trained degradation model, if it has one")
    parser.add_argument("--dataset", type=Path, required=True, help="the dataset's folder")
    parser.add_argument(
        "--stand-in", type=Path, help="pairs of another degradation, for a dataset without `val`"
    )
    parser.add_argument(
        "--stand-in-part",
        default="clean",
        help="the part of the dataset that those pairs are of (default: clean)",
    )
    parser.add_argument("--seed", type=int, required=True)
    hardware.add_arguments(parser)
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for strength.json, clean.npy and degraded.npy"
    )
    sys.exit(command.run(main, parser))
