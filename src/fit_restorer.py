"""Fit a restorer: train it on pairs or on the dataset's own images, or take another one's weights, or choose a strength on `val`.

All is judged on the dataset's real validation pairs. Where it has none, training on pairs is validated on some of them, held out; a
strength is chosen on held-out pairs of another degradation (`--stand-in`); and what learns from unpaired images keeps its last weights.
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml

from nopairs import command, registry
from nopairs.data.images import evenly
from nopairs.files import atomic_file, read_json, write_csv
from nopairs.models import DESCRIPTION, load_weights, make, save_model, training_roles
from nopairs.training.data import Images, PairedData, dataset_data, hold_out, validation_psnr
from nopairs.training.loop import Data
from nopairs.training.options import TrainingOptions
from nopairs.training.pairs import load_pairs, read_validation
from nopairs.training.run import add_training_arguments, train_and_save

# Validation images that a strength, or a stack's weights, are chosen on, at most: SIDD has 1,280, and some take ten seconds for each.
MOST_JUDGES = 12


def main(args: argparse.Namespace) -> None:
    entry = yaml.safe_load(args.entry)
    restorer = registry.find(registry.RESTORERS, entry["kind"])
    if "seed" in {field.name for field in dataclasses.fields(restorer.Options)}:
        # What a restorer draws when it is applied differs between seeds as its training does, where the entry does not fix it.
        entry["options"] = {"seed": args.seed} | entry.get("options", {})
        args.entry = yaml.safe_dump(entry)
    borrows = args.weights_of is not None
    if not borrows and getattr(restorer, "learned", False):
        roles = training_roles("restorer", entry)
        begin = partial(load_weights, folder=args.start_from) if args.start_from else None
        result = train_and_save("restorer", args, lambda options: training_data(args, roles, options), begin)
        if result and result.best is not None:
            tell_if_no_better(args, result.best)
        return
    torch.set_num_threads(args.threads)
    val = read_validation(args.dataset, MOST_JUDGES)
    if args.stand_in and not val:
        val = hold_out(*load_pairs(args.stand_in))
        val = [val[place] for place in evenly(len(val), MOST_JUDGES)]
    if borrows:
        borrow(args.weights_of, entry, val, args.out)
        return
    options, log = choose_options(entry, val)
    write_csv(args.out / "log.csv", log)
    # A published network brings weights.
    weights = make("restorer", entry["kind"], options).state_dict()
    save_model(args.out, "restorer", entry["kind"], options, weights, {"seed": args.seed})


def borrow(lender: Path, entry: dict[str, Any], val: Images, out: Path) -> None:
    """Save a trained model's weights with the options of `entry`: those of its architecture must be the same.

    What such a restorer has to choose itself it chooses on `val`.
    """
    network = make("restorer", entry["kind"], entry.get("options", {}))
    load_weights(network, lender)
    facts = read_json(lender / DESCRIPTION)
    log = (lender / "log.csv").read_text()
    with atomic_file(out / "log.csv") as temporary:
        temporary.write_text(log)
    kept = {name: facts[name] for name in ("parameters", "seed", "steps", "seconds", "device")}
    if hasattr(network, "choose"):
        kept["chosen"] = network.choose(val)
    weights = network.state_dict()
    options = entry.get("options", {})
    save_model(out, "restorer", entry["kind"], options, weights, {"weights_of": lender.parent.name, **kept})


def tell_if_no_better(args: argparse.Namespace, best: float) -> None:
    """Say on stderr where the validation images are no better restored (`best`, dB) than as they are."""
    val = read_validation(args.dataset) or hold_out(*load_pairs(args.pairs))
    if any(clean.shape != degraded.shape for clean, degraded in val):
        return
    before = validation_psnr(make("restorer", "identity", {}), val)
    if best <= before:
        told = f"{args.out}: {best:.2f} dB on validation images that have {before:.2f} dB unrestored: it is no better than they are;"
        cause = (
            "its pairs show another degradation, or its training fell short (take more `steps`, a lower `lr`)"
        )
        print(f"{told} {cause}", file=sys.stderr)


def training_data(args: argparse.Namespace, roles: Sequence[str], options: TrainingOptions) -> Data:
    val = read_validation(args.dataset)
    if roles:
        return dataset_data(args.dataset, roles, val, options)
    return PairedData.with_validation(*load_pairs(args.pairs), val, options)


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
    parser.add_argument(
        "--pairs", type=Path, help="folder of the training pairs, for a restorer that learns from them"
    )
    parser.add_argument(
        "--weights-of",
        type=Path,
        help="folder of a trained model whose weights are applied with this entry's options",
    )
    parser.add_argument(
        "--start-from", type=Path, help="folder of a trained model whose weights training begins with"
    )
    parser.add_argument(
        "--stand-in", type=Path, help="pairs of another degradation, for a dataset without `val`"
    )
    add_training_arguments(parser)
    sys.exit(command.run(main, parser))
