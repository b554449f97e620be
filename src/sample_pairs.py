"""Sample synthetic pairs of the training tiles from a degradation model, at the strength that `val` chooses.

With candidates, the strength is the range whose pairs train the restorer of highest PSNR on `val`; each gets the same short
training from the same start. Without candidates or without validation pairs the configured strength stands.
"""

import argparse
import dataclasses
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from nopairs import errors
from nopairs.degradation.sampling import PairMaker, SamplingOptions, read_sources, sample_pairs
from nopairs.files import write_json
from nopairs.models import load_model, make, make_options
from nopairs.training.data import PairedData
from nopairs.training.hardware import pick_device
from nopairs.training.loop import Trainer
from nopairs.training.options import TrainingOptions
from nopairs.training.pairs import read_pairs, save_pairs

Images = list[tuple[np.ndarray, np.ndarray]]


def main(args: argparse.Namespace) -> None:
    torch.set_num_threads(args.threads)
    entry, selection = yaml.safe_load(args.entry), yaml.safe_load(args.selection)
    options = make_options(SamplingOptions, "sampling", entry.get("sampling", {}))
    device = pick_device(args.device)
    model = (
        load_model(args.model) if args.model else make("degradation", entry["kind"], entry.get("options", {}))
    ).to(device)
    sources = read_sources(args.dataset, entry["kind"], options.mode)
    val = read_pairs(args.dataset / "val") if options.candidates else []
    scores: dict[str, float] = {}
    chosen = options.strength
    if val:
        for strength in options.candidates:
            short = dataclasses.replace(options, strength=strength, copies=selection["copies"])
            scores[str(list(strength))] = score(model, sources, short, selection, val, device, args.seed)
            print(f"strength {list(strength)}: {scores[str(list(strength))]:.2f} dB on val", flush=True)
        chosen = max(options.candidates, key=lambda strength: scores[str(list(strength))])
    write_json(args.out / "strength.json", {"strength": list(chosen), "val_psnr": scores})
    clean, degraded = sample_pairs(model, sources, options, chosen, args.seed)
    save_pairs(args.out, clean, degraded)


def score(
    model: PairMaker,
    sources: dict[str, np.ndarray],
    sampling: SamplingOptions,
    selection: dict[str, Any],
    val: Images,
    device: torch.device,
    seed: int,
) -> float:
    """Return the validation PSNR (dB) of a restorer that a short training on pairs sampled so gives."""
    restorer = selection["entry"]
    changed = {
        "steps": selection["steps"],
        "validate_every": selection["steps"],
        "warmup": min(50, selection["steps"] // 4),
    }
    options = make_options(TrainingOptions, "training", restorer["training"] | changed)
    clean, degraded = sample_pairs(model, sources, sampling, sampling.strength, seed)
    torch.manual_seed(seed)
    network = make("restorer", restorer["kind"], restorer.get("options", {}))
    with tempfile.TemporaryDirectory() as folder:
        data = PairedData(clean, degraded, val, options)
        result = Trainer(network, data, options, Path(folder), seed=seed, device=device, fingerprint="").run()
    return result.best if result.best is not None else float("nan")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entry", required=True, help="the degradation's config entry, as YAML or JSON")
    parser.add_argument(
        "--selection", required=True, help="the short training: steps, copies and the restorer's entry"
    )
    parser.add_argument("--model", type=Path, help="folder of the trained degradation model, if it has one")
    parser.add_argument("--dataset", type=Path, required=True, help="the dataset's folder")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for strength.json, clean.npy and degraded.npy"
    )
    sys.exit(errors.run(main, parser))
