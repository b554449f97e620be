"""From the command line of a training script to a saved model."""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
import yaml

from nopairs.digest import code_digest, module_file
from nopairs.files import sha256
from nopairs.models import WEIGHTS, make, make_options, save_model
from nopairs.training import hardware, parallel
from nopairs.training.loop import Data, Result, Trainer
from nopairs.training.options import TrainingOptions


@runtime_checkable
class NeedsTutors(Protocol):
    """A network that is trained with others (a critic, a discriminator, features to compare), which are not saved with it."""

    def add_tutors(self) -> None:
        """Add them, before training; what a saved model is loaded into does without."""


def train_in_passing(
    network: Any, data: Data, options: TrainingOptions, seed: int, device: torch.device
) -> Result:
    """Train a network that is not saved, and leave it with the weights that were chosen."""
    if isinstance(network, NeedsTutors):
        network.add_tutors()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(network, data, options, Path(folder), seed=seed, device=device, fingerprint="")
        result = trainer.run()
    network.load_state_dict(result.weights)
    return result


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every training script takes."""
    parser.add_argument(
        "--entry", required=True, help="the method's config entry (kind, options, training), as YAML or JSON"
    )
    parser.add_argument("--seed", type=int, required=True)
    hardware.add_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder of the model")


def train_and_save(
    family: str,
    args: argparse.Namespace,
    make_data: Callable[[TrainingOptions], Data],
    prepare: Callable[[Any], object] | None = None,
) -> Result | None:
    """Train the model that `args.entry` describes, after what `prepare` does to it, and save it with its facts into `args.out`.

    Under torchrun the processes share each batch, and `args.threads`; the first one saves, and to the others nothing is returned.
    """
    with parallel.joined():
        return _train_and_save(family, args, make_data, prepare)


def _train_and_save(
    family: str,
    args: argparse.Namespace,
    make_data: Callable[[TrainingOptions], Data],
    prepare: Callable[[Any], object] | None,
) -> Result | None:
    threads = max(1, args.threads // parallel.size())
    torch.set_num_threads(threads)
    entry = yaml.safe_load(args.entry)
    options = make_options(TrainingOptions, "training", entry["training"])
    data = make_data(options)
    torch.manual_seed(args.seed)
    network = make(family, entry["kind"], entry.get("options", {}))
    if prepare is not None:
        prepare(network)
    kept, parameters = set(network.state_dict()), sum(p.numel() for p in network.parameters())
    if isinstance(network, NeedsTutors):
        network.add_tutors()
    device = parallel.own(hardware.pick_device(args.device))
    data_hash = hashlib.sha256((args.dataset / "index.csv").read_bytes()).hexdigest()
    # A state that a killed run left is resumed only with equal configuration, data, other inputs and code; how often states are saved
    # does not matter.
    modules = (module_file(type(made).__module__) for made in (network, data))
    code = code_digest(*modules, "nopairs/training/run.py")
    trainer = Trainer(
        network,
        data,
        options,
        args.out,
        seed=args.seed,
        device=device,
        fingerprint=_digest(_without_saving(entry), args.seed)
        + data_hash
        + inputs_digest(args, entry)
        + code,
    )
    result = trainer.run()
    if not trainer.leads:
        return None
    facts = {
        "training": entry["training"],
        "parameters": parameters,
        "seed": args.seed,
        "steps": result.steps,
        "chosen_step": result.best_step,
        "chosen_val": result.best,
        "skipped": result.skipped,
        "seconds": round(result.seconds, 1),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else f"cpu, {threads} threads",
        "processes": parallel.size(),
        "config_sha256": _digest(entry, args.seed),
        "data_sha256": data_hash,
    }
    weights = {name: value for name, value in result.weights.items() if name in kept}
    save_model(args.out, family, entry["kind"], entry.get("options", {}), weights, facts)
    return result


def _digest(*what: Any) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def _without_saving(entry: dict[str, Any]) -> dict[str, Any]:
    training = {name: value for name, value in entry["training"].items() if name != "save_every"}
    return {**entry, "training": training}


def inputs_digest(args: argparse.Namespace, entry: dict[str, Any]) -> str:
    """Digest what a training reads beside its dataset: pairs, observations, an operator, and files that its options name."""
    operator = getattr(args, "operator", None) or ""
    folders = [folder for name in ("pairs", "observations") if (folder := getattr(args, name, None))]
    files = [file for folder in folders for file in sorted(folder.glob("*.npy"))]
    if start := getattr(args, "start_from", None):
        files.append(start / WEIGHTS)
    named = [value for value in entry.get("options", {}).values() if isinstance(value, str)]
    if operator.endswith(".json"):
        named.append(operator)
    files += [path for path in map(Path, named) if path.is_file()]
    return hashlib.sha256(" ".join([operator, *map(sha256, files)]).encode()).hexdigest()
