"""The experiment's configuration: merged, checked in full, and resolved before any job starts."""

from __future__ import annotations

import copy
import re
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
    check_model,
    check_names,
    check_prior,
    check_selection,
    check_teacher,
    check_transport,
    image_folders,
    inherit,
    learns,
    merge,
    own_weights,
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
    "NAMED",
    "Method",
    "folder_listing",
    "from_pairs",
    "has_role",
    "image_folders",
    "learns",
    "listing",
    "merge",
    "own_weights",
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

# Sections whose keys are names. They become parts of paths, and stand in the workflow's commands as they are.
NAMED = (
    "datasets",
    "degradations",
    "restorers",
    "priors",
    "autoencoders",
    "transports",
    "tables",
    "curves",
)
NAME = re.compile(r"[^\W_][\w.-]*")
# Of the table of biases, and of the noise that is not made.
RESERVED = {"tables": ("ots_bias",), "degradations": ("real",)}


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
    for name in config["degradations"]:
        check_model(config["degradations"], name)
    for name in config["restorers"]:
        check_lender(config["restorers"], name)
    for name in config["restorers"]:
        check_teacher(config["restorers"], name)
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
    _check_keys(config, "the top level")
    _check_spelling(config)
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


def _check_keys(entries: dict[Any, Any], place: str) -> None:
    """Raise NopairsError for a key that YAML reads as a number, a truth value or nothing."""
    for key, value in entries.items():
        if not isinstance(key, str):
            raise NopairsError(f"config: {place}: key {key!r} is no text; put it in quotes")
        if isinstance(value, dict):
            _check_keys(value, key if place == "the top level" else f"{place}.{key}")


def _check_spelling(config: dict[str, Any]) -> None:
    """Raise NopairsError for a name that cannot stand in paths, in commands or between the + and @ of methods."""
    for family in NAMED:
        names = config.get(family)
        for name in names if isinstance(names, dict) else ():
            if not NAME.fullmatch(name):
                raise NopairsError(
                    f"config: {family}: {name!r} is no name; take letters, digits, _, - and ., of which a letter or a digit comes first"
                )
            if name in RESERVED.get(family, ()):
                raise NopairsError(
                    f"config: {family}: {name!r} is a name of the workflow's own; take another"
                )
