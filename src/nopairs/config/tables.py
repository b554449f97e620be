"""Tables and curves: their methods checked against their datasets, and those that a dataset cannot have left out."""

from __future__ import annotations

import itertools
from typing import Any

from nopairs import registry
from nopairs.config.datasets import (
    can_sample,
    has_role,
    is_withheld,
    roles,
    trained_on,
    with_dataset_defaults,
)
from nopairs.config.entries import any_strength, check_borrowed, learns
from nopairs.config.methods import CHOSEN_ALPHAS, Method, parse_method, statistics_of
from nopairs.errors import NopairsError
from nopairs.metrics.names import NEED_TRUTH
from nopairs.models import FAMILIES, make_options, training_roles
from nopairs.training.options import TrainingOptions


def _check_shares(config: dict[str, Any], method: Method) -> None:
    """Refuse a batch that the processes of a method's trainings cannot share equally."""
    used = {
        "degradations": method.degradation and config["degradations"][method.degradation]["model"],
        "restorers": method.restorer and config["restorers"][method.restorer]["model"],
        "autoencoders": method.autoencoder
        or (method.transport and config["transports"][method.transport]["autoencoder"]),
        "priors": method.prior,
    }
    for family, name in used.items():
        entry = config[family][name] if name else {}
        if "training" not in entry or config["processes"] == 1:
            continue
        # What learns from two domains takes half of its batch from each.
        domains = (
            2 if family == "degradations" else max(1, len(training_roles(family.removesuffix("s"), entry)))
        )
        batch, multiple = entry["training"].get("batch", TrainingOptions.batch), config["processes"] * domains
        if batch % multiple:
            raise NopairsError(
                f"config: {family}: {name}: training: {config['processes']} processes cannot share a batch of {batch} equally; "
                f"make it a multiple of {multiple}"
            )


def resolve_table(
    config: dict[str, Any], name: str, table: dict[str, Any], family: str = "tables"
) -> dict[str, Any]:
    """Fill in the datasets, and leave out what one of them cannot have. A table over several is called by all their names."""
    table = {"dataset": config["dataset"], "rivals": [], "in_all": True, **table}
    datasets = [table["dataset"]] if isinstance(table["dataset"], str) else table["dataset"]
    table |= {"dataset": ", ".join(datasets), "datasets": datasets}
    for dataset in datasets:
        if dataset not in config["datasets"]:
            raise NopairsError(
                f"config: {family}: {name}: dataset {dataset!r}: {registry.suggest(dataset, config['datasets'])}"
            )
        if not (is_withheld(config, dataset) or {"degraded", "test"} & roles(config, dataset)):
            raise NopairsError(
                f"config: {family}: {name}: dataset {dataset!r} has clean images only; a table needs degraded ones"
            )
    sources = [trained_on(config, dataset) for dataset in datasets]
    for rival in table["rivals"]:
        parse_method(config, rival)  # one that is misspelt; one that the table has not is left out below
    methods = [parse_method(config, method) for method in table["methods"]]
    for method in _with_teachers(config, methods):
        _check_shares(config, method)
        if not (method.autoencoder or method.prior):
            _check_chain(config, method)
    methods = [method for method in methods if all(_fits(config, dataset, method) for dataset in datasets)]
    for method in _with_teachers(config, methods):
        if method.restorer:
            check_borrowed(config["restorers"], method.restorer)
        for source in sources:
            _check_crops(config, source, method)
    for method, dataset in itertools.product(_with_teachers(config, methods), datasets):
        _check_scale(config, dataset, method)
    table["methods"] = [method.name for method in methods]
    table["rivals"] = [rival for rival in table["rivals"] if rival in table["methods"]]
    if not all(is_withheld(config, one) or has_role(config, one, "test") for one in datasets):
        table["metrics"] = [metric for metric in table["metrics"] if metric not in NEED_TRUTH]
    if not all(has_role(config, source, "clean") for source in sources):  # NIQE is fitted on them
        table["metrics"] = [metric for metric in table["metrics"] if metric != "niqe"]
    for key in ("methods", "metrics"):
        if not table[key] and table["in_all"] and family == "tables":
            raise NopairsError(
                f"config: tables: {name}: {table['dataset']} has not what any of its {key} needs; name others, or leave it out of"
                " `all` with `in_all: false`"
            )
    return table


def _with_teachers(config: dict[str, Any], methods: list[Method]) -> list[Method]:
    """Return the methods, and behind them those whose restored photos some of them learn from."""
    restoring = (method for method in methods if not (method.autoencoder or method.prior))
    return [*methods, *(teacher for method in restoring for teacher in method.teachers(config["restorers"]))]


def resolve_curve(config: dict[str, Any], name: str, curve: dict[str, Any]) -> dict[str, Any]:
    """Check a curve as a table of each of its datasets would be, and that each says how many photos it trains on."""
    curve = {"metric": "psnr", **curve}
    for dataset in curve["datasets"]:
        table = {"dataset": dataset, "methods": curve["methods"], "metrics": [curve["metric"]]}
        table = resolve_table(config, name, table, "curves")
        if "train_photos" not in config["datasets"][dataset]:
            raise NopairsError(
                f"config: curves: {name}: dataset {dataset!r} says no `train_photos:`, its place on the curve"
            )
        if missing := [method for method in curve["methods"] if method not in table["methods"]]:
            raise NopairsError(
                f"config: curves: {name}: dataset {dataset!r} has not what {missing[0]!r} needs"
            )
        if not table["metrics"]:
            raise NopairsError(
                f"config: curves: {name}: dataset {dataset!r} has not what {curve['metric']!r} needs"
            )
    return curve


def _check_chain(config: dict[str, Any], method: Method) -> None:
    """Raise NopairsError if a restorer that learns from pairs is not told which, or one that learns by itself, or nothing, is."""
    entry = config["restorers"][method.restorer]
    by_itself = bool(training_roles("restorer", entry))
    if method.degradation and by_itself:
        raise NopairsError(
            f"method {method.name!r}: {method.restorer} learns from the dataset itself; name it without a degradation"
        )
    if method.degradation and not learns(entry):
        told = "; a transport has its degradation as `statistics:`" if method.transport else ""
        raise NopairsError(
            f"method {method.name!r}: {method.restorer} does not learn from pairs; name it without a degradation{told}"
        )
    if not (method.degradation or by_itself) and learns(entry):
        raise NopairsError(
            f"method {method.name!r}: {method.restorer} learns from pairs; name a degradation, as in awgn+{method.restorer}"
        )


def _check_crops(config: dict[str, Any], dataset: str, method: Method) -> None:
    """Raise NopairsError if something that a method trains crops more than a tile of the dataset has, or what it cannot divide or blur."""
    scale = config["datasets"][dataset]["scale"]
    tile = config["datasets"][dataset]["tile"] // scale
    for family, name in _trained(config, method):
        entry = config[family][name]
        if family == "degradations":
            entry = with_dataset_defaults(config, dataset, entry)
        if "training" not in entry:
            continue
        place = f"config: {family}: {name}: crop"
        crop = make_options(TrainingOptions, "training", entry["training"]).crop
        if crop > tile:
            raise NopairsError(
                f"{place} {crop} is larger than the {'degraded ' if scale > 1 else ''}tiles of dataset {dataset} ({tile}); "
                "lower `crop` or raise `tile`"
            )
        made = registry.find(FAMILIES[family.removesuffix("s")], entry["kind"])
        options = make_options(made.Options, entry["kind"], entry.get("options", {}))
        multiple, least = getattr(options, "multiple", 1), getattr(options, "least_crop", 1)
        if crop % multiple:
            raise NopairsError(
                f"{place} {crop} is no multiple of {multiple}, which the model needs; take {max(1, crop // multiple) * multiple}"
            )
        if crop < least:
            raise NopairsError(
                f"{place} {crop} is too small for the blur that its options ask for, which needs {least} pixels; raise it, or blur less"
            )


def _trained(config: dict[str, Any], method: Method) -> list[tuple[str, str]]:
    """Return family and name of each entry that a method trains on crops of tiles."""
    found = []
    if method.degradation is not None:
        found.append(("degradations", config["degradations"][method.degradation]["model"]))
    if not (method.autoencoder or method.prior):
        found.append(("restorers", config["restorers"][method.restorer]["model"]))
    if method.prior and registry.find(registry.PRIORS, config["priors"][method.prior]["kind"]).from_crops:
        found.append(("priors", method.prior))
    autoencoder = method.autoencoder or (
        method.transport and config["transports"][method.transport]["autoencoder"]
    )
    return [*found, ("autoencoders", autoencoder)] if autoencoder else found


def _check_scale(config: dict[str, Any], dataset: str, method: Method) -> None:
    """Raise NopairsError if a restorer enlarges images by another factor than a dataset's; that of published weights is not known yet."""
    entry = config["restorers"].get(method.restorer)
    if entry is None or entry["kind"] in ("pretrained", "folder"):
        return
    made = registry.find(registry.RESTORERS, entry["kind"])
    scale = getattr(make_options(made.Options, entry["kind"], any_strength(entry)), "scale", 1)
    wanted = config["datasets"][dataset]["scale"]
    if scale != wanted:
        raise NopairsError(
            f"method {method.name!r}: {method.restorer} has scale {scale}, but clean images of dataset {dataset} are {wanted} times"
            " as large as degraded ones"
        )


def _fits(config: dict[str, Any], dataset: str, method: Method) -> bool:
    """Whether a dataset has what a method needs. Observations of an operator, of other sizes than its images, are for priors only."""
    if method.prior:
        return _can_reconstruct(config, dataset, config["priors"][method.prior])
    if method.autoencoder and not has_role(config, dataset, "test"):  # its row is of clean test images
        return False
    observed = "operator" in config["datasets"][dataset]
    return not observed and _possible(config, trained_on(config, dataset), method)


def _possible(config: dict[str, Any], dataset: str, method: Method) -> bool:
    """Whether a dataset has the images that a method needs: to train on, and to choose a strength that has no default."""
    if method.autoencoder:
        autoencoder = config["autoencoders"][method.autoencoder]
        trained_on_roles = training_roles("autoencoder", autoencoder)
        return all(has_role(config, dataset, role) for role in trained_on_roles)
    if method.transport and not _can_transport(config, dataset, method):
        return False
    if teacher := method.teacher(config["restorers"]):
        return has_role(config, dataset, "degraded") and _possible(config, dataset, teacher)
    stand_in = config["degradations"][config["selection"]["stand_in"]]
    can_choose = has_role(config, dataset, "val") or can_sample(config, dataset, stand_in)
    if method.degradation is None:
        restorer = config["restorers"][method.restorer]
        trainable = all(has_role(config, dataset, role) for role in training_roles("restorer", restorer))
        return trainable and (can_choose or "candidates" not in restorer)
    entry = config["degradations"][method.degradation]
    sampling = entry.get("sampling", {})
    chosen = "candidates" in sampling and "strength" not in sampling
    return can_sample(config, dataset, entry) and (can_choose or not chosen)


def _can_transport(config: dict[str, Any], dataset: str, method: Method) -> bool:
    """Whether a dataset has the images that a transport and its autoencoder learn from, and those to choose an alpha on.

    Raises:
        NopairsError: the transport's own `content` does not say how it is degraded.
    """
    transport = config["transports"][str(method.transport)]
    needed = training_roles("autoencoder", config["autoencoders"][transport["autoencoder"]])
    pairs, content = statistics_of(config, method), transport.get("content", dataset)
    if pairs is None and content != dataset:
        raise NopairsError(
            f"method {method.name!r}: content {content!r} has no degraded images of its own; name a degradation as the transport's"
            " `statistics:`"
        )
    if pairs is None:
        needed = (*needed, "clean", "degraded")
    elif not can_sample(config, content, config["degradations"][pairs]):
        return False
    can_choose = pairs is not None or has_role(config, dataset, "val")
    return all(has_role(config, dataset, role) for role in needed) and (
        can_choose or method.alpha not in CHOSEN_ALPHAS
    )


def _can_reconstruct(config: dict[str, Any], dataset: str, prior: dict[str, Any]) -> bool:
    """Whether a dataset has an operator, and what a prior learns from and is chosen on.

    Raises:
        NopairsError: the prior does not take what such an operator observes.
    """
    source = trained_on(config, dataset)
    made = registry.find(registry.PRIORS, prior["kind"])
    operator = config["datasets"][dataset].get("operator", {})
    if made.needs_kernel and operator.get("kind") == "radon":
        raise NopairsError(
            f"config: datasets: {dataset}: {prior['kind']} does not take projections, which operator radon observes; leave it out"
        )
    return (
        bool(operator)
        and (not made.from_images or has_role(config, source, "clean"))
        and (not made.needs_operator or "operator" in config["datasets"][source])
        and ("candidates" not in prior or has_role(config, source, "val"))
    )
