"""The experiment's configuration: merged, checked in full, and resolved before any job starts."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from nopairs import registry
from nopairs.config.datasets import (
    check_estimated,
    check_trained_on,
    folder_listing,
    has_role,
    listing,
    resolve_dataset,
    trained_on,
    unused_folders,
    used_datasets,
    with_dataset_defaults,
)
from nopairs.config.entries import (
    check_bias,
    check_entry,
    check_lender,
    check_names,
    check_prior,
    check_selection,
    check_transport,
    inherit,
    learns,
    merge,
)
from nopairs.config.methods import (
    Method,
    from_pairs,
    parse_method,
    part_of,
    samples_from_clean,
    statistics_of,
)
from nopairs.config.tables import resolve_curve, resolve_table
from nopairs.errors import NopairsError

__all__ = [
    "Method",
    "folder_listing",
    "from_pairs",
    "has_role",
    "learns",
    "listing",
    "merge",
    "parse_method",
    "part_of",
    "resolve",
    "samples_from_clean",
    "statistics_of",
    "trained_on",
    "unused_folders",
    "used_datasets",
    "with_dataset_defaults",
]


def resolve(raw: dict[str, Any], schema: Path) -> dict[str, Any]:
    """Check a configuration and return it with `base:` entries, tables and curves filled in.

    Raises:
        NopairsError: a misspelt key, an impossible value, an unknown method, a folder that is not there; one line each.
    """
    config = copy.deepcopy(raw)
    _check_structure(config, yaml.safe_load(schema.read_text()))
    families = {
        "degradations": registry.DEGRADATIONS,
        "restorers": registry.RESTORERS,
        "autoencoders": registry.AUTOENCODERS,
    }
    for family, kinds in families.items():
        config[family] = {name: inherit(config[family], name) for name in config.get(family, {})}
        for name, entry in config[family].items():
            check_entry(f"{family}: {name}", entry, kinds)
    for name, entry in config["degradations"].items():
        trained = entry.setdefault("model", name)
        if trained not in config["degradations"]:
            raise NopairsError(
                f"degradations: {name}: model {trained!r}: {registry.suggest(trained, config['degradations'])}"
            )
    for name in config["restorers"]:
        check_lender(config["restorers"], name)
    config["priors"] = {name: inherit(config["priors"], name) for name in config.get("priors", {})}
    for name, entry in config["priors"].items():
        check_prior(name, entry)
    check_bias(config)
    check_selection(config)
    config["transports"] = {
        name: inherit(config["transports"], name) for name in config.get("transports", {})
    }
    check_names(config)
    for name in config["transports"]:
        check_transport(config, name)
    for name, entry in config["datasets"].items():
        config["datasets"][name] = resolve_dataset(name, entry)
    for name in config["datasets"]:
        check_trained_on(config, name)
        check_estimated(config, name)
    for name, table in config["tables"].items():
        config["tables"][name] = resolve_table(config, name, table)
    config["curves"] = {
        name: resolve_curve(config, name, curve) for name, curve in config.get("curves", {}).items()
    }
    return config


def _check_structure(config: dict[str, Any], schema: dict[str, Any]) -> None:
    validator = jsonschema.Draft202012Validator(schema)
    error = jsonschema.exceptions.best_match(validator.iter_errors(config))
    if error is None:
        return
    place = ".".join(map(str, error.absolute_path)) or "the top level"
    if error.instance is None:
        raise NopairsError(f"config: {place}: is empty; indent what belongs to it, or leave it out")
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        unknown = next(key for key in error.instance if key not in known)
        raise NopairsError(f"config: unknown key {unknown!r} at {place}; {registry.suggest(unknown, known)}")
    raise NopairsError(f"config: {place}: {error.message}")
