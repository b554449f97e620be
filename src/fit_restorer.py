"""Fit a restorer: train it on pairs, or choose a classical one's strength on `val`, or just write down that it needs neither.

Both are done on the dataset's real validation pairs; where it has none, training is validated on some of the training pairs, held
out, and a strength is chosen on held-out pairs of another degradation (`--stand-in`).
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

from nopairs import errors, registry
from nopairs.files import write_csv
from nopairs.models import make, save_model
from nopairs.training.data import Images, PairedData, hold_out, validation_psnr
from nopairs.training.options import TrainingOptions
from nopairs.training.pairs import load_pairs, read_pairs
from nopairs.training.run import add_training_arguments, train_and_save


def main(args: argparse.Namespace) -> None:
    entry = yaml.safe_load(args.entry)
    if getattr(registry.find(registry.RESTORERS, entry["kind"]), "learned", False):
        train_and_save("restorer", args, lambda options: training_data(args, options))
        return
    val = read_pairs(args.dataset / "val")
    if args.stand_in and not val:
        val = hold_out(*load_pairs(args.stand_in))
    options, log = choose_options(entry, val)
    write_csv(args.out / "log.csv", log)
    save_model(args.out, "restorer", entry["kind"], options, {}, {"seed": args.seed})


def training_data(args: argparse.Namespace, options: TrainingOptions) -> PairedData:
    clean, degraded = load_pairs(args.pairs)
    return PairedData.with_validation(clean, degraded, read_pairs(args.dataset / "val"), options)


def choose_options(entry: dict[str, Any], val: Images) -> tuple[dict[str, Any], list[dict[str, float]]]:
    """Return the options with the strength of highest mean PSNR on the validation pairs, and what each candidate scored."""
    options = entry.get("options", {})
    log = []
    for strength in entry.get("candidates", []):
        restorer = make("restorer", entry["kind"], {**options, "strength": strength})
        log.append({"strength": strength, "val_psnr": validation_psnr(restorer, val)})
    if log:
        options = {**options, "strength": max(log, key=lambda row: row["val_psnr"])["strength"]}
    return options, log


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", type=Path, required=True, help="the dataset's folder")
    parser.add_argument("--pairs", type=Path, help="folder of the training pairs, for a restorer that learns")
    parser.add_argument(
        "--stand-in", type=Path, help="pairs of another degradation, for a dataset without `val`"
    )
    add_training_arguments(parser)
    sys.exit(errors.run(main, parser))
