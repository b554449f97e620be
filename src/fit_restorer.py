"""Fit a restorer: train it on pairs, or choose a classical one's strength on `val`, or just write down that it needs neither.

Training is validated on the dataset's real validation pairs, or where it has none on some of the training pairs, held out.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

from nopairs import errors, registry
from nopairs.files import write_csv
from nopairs.models import make, save_model
from nopairs.training.data import PairedData, validation_psnr
from nopairs.training.options import TrainingOptions
from nopairs.training.pairs import load_pairs, read_pairs
from nopairs.training.run import add_training_arguments, train_and_save


def main(args: argparse.Namespace) -> None:
    entry = yaml.safe_load(args.entry)
    if getattr(registry.find(registry.RESTORERS, entry["kind"]), "learned", False):
        train_and_save("restorer", args, lambda options: training_data(args, options))
        return
    options, log = choose_options(entry, args.dataset)
    write_csv(args.out / "log.csv", log)
    save_model(args.out, "restorer", entry["kind"], options, {}, {"seed": args.seed})


def training_data(args: argparse.Namespace, options: TrainingOptions) -> PairedData:
    clean, degraded = load_pairs(args.pairs)
    return PairedData.with_validation(clean, degraded, read_pairs(args.dataset / "val"), options)


def choose_options(entry: dict[str, Any], dataset: Path) -> tuple[dict[str, Any], list[dict[str, float]]]:
    """Return the options with the strength of highest mean PSNR on `val`, and what each candidate scored."""
    options, candidates = entry.get("options", {}), entry.get("candidates", [])
    val = read_pairs(dataset / "val") if candidates else []
    log = []
    for strength in candidates:
        restorer = make("restorer", entry["kind"], {**options, "strength": strength})
        log.append({"strength": strength, "val_psnr": validation_psnr(restorer, val)})
    if log:
        options = {**options, "strength": max(log, key=lambda row: row["val_psnr"])["strength"]}
    return options, log


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", type=Path, required=True, help="the dataset's folder")
    parser.add_argument("--pairs", type=Path, help="folder of the training pairs, for a restorer that learns")
    add_training_arguments(parser)
    sys.exit(errors.run(main, parser))
