"""Entries of degradations, restorers, autoencoders, priors and transports: inherited, then checked against the code."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from nopairs import registry
from nopairs.data.weights import is_reference
from nopairs.degradation.sampling import SamplingOptions
from nopairs.errors import NopairsError
from nopairs.models import make_options, training_roles
from nopairs.training.options import TrainingOptions
from nopairs.transport.bias import BiasOptions
from nopairs.transport.dot import ALPHAS


def inherit(entries: dict[str, Any], name: str, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return an entry with the entry that its `base` names merged under it."""
    entry = dict(entries[name])
    base = entry.pop("base", None)
    if base is None:
        return entry
    if base not in entries or base in (*seen, name):
        raise NopairsError(f"config: {name}: base {base!r}: {registry.suggest(base, set(entries) - {name})}")
    return merge(inherit(entries, base, (*seen, name)), entry)


def merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Return `under` updated by `over`, mappings within mappings too."""
    merged = dict(under)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def check_entry(place: str, entry: dict[str, Any], kinds: dict[str, str]) -> None:
    """Check what an entry of a method says of its kind, options, sampling and training against the code."""
    try:
        if "kind" not in entry:
            raise NopairsError(f"no `kind:`; known are {', '.join(sorted(kinds))}")
        made = registry.find(kinds, entry["kind"])
        for strength in entry.get("candidates", [None]):
            chosen = {} if strength is None else {"strength": strength}
            make_options(made.Options, entry["kind"], entry.get("options", {}) | chosen)
        for key, file in _named(
            kinds, entry, "weight_files"
        ):  # a trained model does without what it started from
            if not Path(file).is_file():
                raise NopairsError(f"{key}: {file}: no such weight file")
        if "training" in entry:
            make_options(TrainingOptions, "training", entry["training"])
        elif getattr(made, "learned", False) and "model" not in entry:
            raise NopairsError("is learned, so it needs a `training:` with at least `steps`")
        if kinds is registry.DEGRADATIONS:
            sampling = make_options(SamplingOptions, "sampling", entry.get("sampling", {}))
            if sampling.mode and sampling.mode not in made.MODES:
                raise NopairsError(
                    f"sampling: unknown mode {sampling.mode!r}; {registry.suggest(sampling.mode, made.MODES)}"
                )
            _check_sigma(sampling, getattr(made, "most_strength", math.inf))
    except (NopairsError, TypeError) as error:
        raise NopairsError(f"config: {place}: {error}") from None


def _check_sigma(sampling: SamplingOptions, most: float) -> None:
    """Raise NopairsError for strengths above the largest of a degradation whose strength is a noise's deviation."""
    for low, high in (sampling.strength, *sampling.candidates):
        if high > most:
            raise NopairsError(
                f"sampling: strength [{low}, {high}] is above {most:g}; it is sigma in [0, 1] units, 0.1 for noise of 25 in 255"
            )


def own_weights(kinds: dict[str, str], entry: dict[str, Any]) -> list[str]:
    """Return the weight files of the user's own that an entry names, one by one where it names their folder."""
    files = [file for _, file in _named(kinds, entry, "weight_files")]
    folders = [Path(folder) for _, folder in _named(kinds, entry, "weight_folders")]
    return files + [str(file) for folder in folders for file in sorted(folder.glob("*")) if file.is_file()]


def image_folders(restorer: dict[str, Any]) -> list[str]:
    """Return the folders of a restorer's entry that hold what another tool has restored."""
    return [folder for _, folder in _named(registry.RESTORERS, restorer, "image_folders")]


def _named(kinds: dict[str, str], entry: dict[str, Any], group: str) -> list[tuple[str, str]]:
    """Those options of a `group`, as the kind's options list them, that name a path: with it, but for the catalogue's."""
    keys = getattr(registry.find(kinds, entry["kind"]).Options, group, ())
    options = entry.get("options", {})
    return [(key, options[key]) for key in keys if options.get(key) and not is_reference(options[key])]


def check_model(degradations: dict[str, Any], name: str) -> None:
    """Fill in the degradation whose trained model one samples: its own, or another one's, of the same kind and options.

    Raises:
        NopairsError: there is no such model, or it is another one than the entry describes.
    """
    entry = degradations[name]
    lender = entry.setdefault("model", name)
    place = f"config: degradations: {name}: model {lender!r}"
    if lender not in degradations:
        raise NopairsError(f"{place}: {registry.suggest(lender, degradations)}")
    if lender == name:
        return
    other = degradations[lender]
    made = registry.find(registry.DEGRADATIONS, entry["kind"])
    learned = getattr(made, "learned", False)
    if other["kind"] != entry["kind"] or other.get("model", lender) != lender or not learned:
        raise NopairsError(f"{place} must be of kind {entry['kind']}, and trained itself")
    own, lent = (make_options(made.Options, one["kind"], one.get("options", {})) for one in (entry, other))
    different = [key for key, value in vars(own).items() if vars(lent)[key] != value]
    if different:
        raise NopairsError(
            f"{place} has other options, {', '.join(different)}; take its own, or leave `model:` out and train this one"
        )


def check_lender(restorers: dict[str, Any], name: str) -> None:
    """Fill in the restorer whose weights one applies: its own, or those of another one of its kind, which has its own.

    A kind that says `lenders` has no training, and takes weights of such kinds.
    """
    entry = restorers[name]
    lender = entry.setdefault("model", name)
    if lender not in restorers:
        raise NopairsError(
            f"config: restorers: {name}: model {lender!r}: {registry.suggest(lender, restorers)}"
        )
    other = restorers[lender]
    lenders = getattr(registry.find(registry.RESTORERS, entry["kind"]), "lenders", ())
    kinds = lenders or (entry["kind"],)
    if (lender != name or lenders) and (
        other["kind"] not in kinds or other.get("model", lender) != lender or not learns(other)
    ):
        raise NopairsError(
            f"config: restorers: {name}: model {lender!r} must be a {' or '.join(kinds)} that is trained itself"
        )


def check_teacher(restorers: dict[str, Any], name: str) -> None:
    """Raise NopairsError where a restorer's `teacher` is none that can be: one that learns from pairs, and not from this student."""
    teacher = restorers[name].get("teacher")
    if teacher is None:
        return
    place = f"config: restorers: {name}: teacher {teacher!r}"
    if teacher not in restorers:
        raise NopairsError(f"{place}: {registry.suggest(teacher, restorers)}")
    for one in (name, teacher):
        if not learns(restorers[one]) or training_roles("restorer", restorers[one]):
            raise NopairsError(f"{place}: {one} does not learn from pairs; both have to")
    if restorers[restorers[teacher]["model"]]["kind"] != restorers[restorers[name]["model"]]["kind"]:
        raise NopairsError(
            f"{place}: applies another kind of network; take one whose weights it can begin with"
        )
    if restorers[name].get("options", {}).get("start"):
        raise NopairsError(
            f'{place}: {name} begins with its teacher\'s network and not with published weights; set `options: {{start: ""}}`'
        )
    student, seen = restorers[name]["model"], []
    while teacher in restorers and (network := restorers[teacher]["model"]) not in seen:
        if network == student:
            raise NopairsError(
                f"{place}: learns from {name} in turn; the first of them needs a degradation's pairs"
            )
        seen.append(network)
        teacher = restorers[network].get("teacher")


def check_borrowed(restorers: dict[str, Any], name: str) -> None:
    """Raise NopairsError if the weights that a restorer borrows, or begins with, do not fit the network that its own options make."""
    entry = restorers[name]
    if entry["model"] != name:
        lender, advice = entry["model"], "take its options, or leave `model:` out and train this one"
    elif "teacher" in entry:  # it begins with the network that its teacher applies
        lender, advice = restorers[entry["teacher"]]["model"], "take its options"
    else:
        return
    pair = [entry, restorers[lender]]
    kinds = [registry.find(registry.RESTORERS, one["kind"]) for one in pair]
    options = [
        make_options(kind.Options, one["kind"], one.get("options", {}))
        for kind, one in zip(kinds, pair, strict=True)
    ]
    with torch.device("meta"), _Unfilled():  # shapes alone
        networks = [kind(some) for kind, some in zip(kinds, options, strict=True)]
    shapes, others = ({key: value.shape for key, value in one.named_parameters()} for one in networks)
    if shapes == others:
        return
    own, lent = map(vars, options)
    different = ", ".join(key for key in own if key in lent and own[key] != lent[key])
    raise NopairsError(
        f"config: restorers: {name}: the weights of model {lender!r} are another network's, whose {different} differ; {advice}"
    )


class _Unfilled(TorchFunctionMode):
    """Leaves tensors without content unfilled: to draw normal numbers for them, torch would import sympy, for a second."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0] if func is torch.Tensor.normal_ else func(*args, **(kwargs or {}))


def check_names(config: dict[str, Any]) -> None:
    """Raise NopairsError if a name stands for two things where methods and files tell them by their names alone."""
    for family, others in (
        ("restorers", ("degradations",)),
        ("autoencoders", ("degradations", "restorers")),
        ("transports", ("degradations", "restorers", "autoencoders")),
        ("priors", ("degradations", "restorers", "autoencoders", "transports")),
    ):
        for other in others:
            if both := sorted(set(config[family]) & set(config[other])):
                raise NopairsError(
                    f"config: {family}: {both[0]}: is the name of one of the {other} too; take another"
                )


def check_transport(config: dict[str, Any], name: str) -> None:
    """Check a transport's entry, and fill in the grid of its alphas. Its datasets' roles are checked with the methods."""
    entry = config["transports"][name]
    try:
        for key in ("kind", "autoencoder"):
            if key not in entry:
                raise NopairsError(f"no `{key}:`")
        made = registry.find(registry.TRANSPORTS, entry["kind"])
        make_options(made.Options, entry["kind"], entry.get("options", {}))
    except (NopairsError, TypeError) as error:
        raise NopairsError(f"config: transports: {name}: {error}") from None
    for key, known in (
        ("autoencoder", config["autoencoders"]),
        ("statistics", config["degradations"]),
        ("natural", config["datasets"]),
        ("content", config["datasets"]),
    ):
        if key in entry and entry[key] not in known:
            raise NopairsError(
                f"config: transports: {name}: {key} {entry[key]!r}: {registry.suggest(entry[key], known)}"
            )
    entry.setdefault("alphas", list(ALPHAS))


def check_prior(name: str, entry: dict[str, Any]) -> None:
    """Check a prior's entry: its options with its first candidate, its reconstruction and its training."""
    place = f"priors: {name}"
    found = entry.get("reconstruction", {})
    check_entry(place, {key: value for key, value in entry.items() if key != "candidates"}, registry.PRIORS)
    made = registry.find(registry.PRIORS, entry["kind"])
    try:
        for strength in entry.get("candidates", [None]):
            chosen = {} if strength is None else {"strength": strength}
            make_options(made.Reconstruction, entry["kind"], found | chosen)
        options = make_options(made.Options, entry["kind"], entry.get("options", {}))
        if found.get("precondition") and not getattr(options, "whitening", True):
            raise NopairsError("reconstruction: `precondition: true` needs a flow with `whitening: true`")
    except (NopairsError, TypeError) as error:
        raise NopairsError(f"config: {place}: {error}") from None


def check_bias(config: dict[str, Any]) -> None:
    """Check the section of known maps, and fill in its options; without one there is nothing to compare."""
    if "bias" not in config:
        return
    try:
        options = make_options(BiasOptions, "options", config["bias"].get("options", {}))
        make_options(TrainingOptions, "training", config["bias"]["training"])
    except (NopairsError, TypeError) as error:
        raise NopairsError(f"config: bias: {error}") from None
    config["bias"]["options"] = dataclasses.asdict(options)


def check_selection(config: dict[str, Any]) -> None:
    """Check which restorer judges candidates, and what stands in where a dataset has no `val`."""
    judge = config["selection"]["restorer"]
    if judge not in config["restorers"]:
        raise NopairsError(
            f"config: selection: restorer {judge!r}: {registry.suggest(judge, config['restorers'])}"
        )
    if not learns(config["restorers"][judge]) or training_roles("restorer", config["restorers"][judge]):
        raise NopairsError(
            f"config: selection: restorer {judge!r} is none that learns from pairs; take dncnn"
        )
    name = config["selection"]["stand_in"]
    if name not in config["degradations"]:
        raise NopairsError(
            f"config: selection: stand_in {name!r}: {registry.suggest(name, config['degradations'])}"
        )
    sampling = config["degradations"][name].get("sampling", {})
    if "strength" not in sampling and "candidates" in sampling:
        raise NopairsError(
            f"config: selection: stand_in {name!r} needs a `strength` of its own, since others' are chosen on it"
        )


def learns(restorer: dict[str, Any]) -> bool:
    """Whether a restorer's entry is of a kind that is trained."""
    return bool(getattr(registry.find(registry.RESTORERS, restorer["kind"]), "learned", False))


def any_strength(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry's options, with the first of its candidates for those that need a strength."""
    strength = {"strength": entry["candidates"][0]} if "candidates" in entry else {}
    return {**entry.get("options", {}), **strength}
