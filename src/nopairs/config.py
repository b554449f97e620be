"""The experiment's configuration: merged, checked in full, and resolved before any job starts."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from nopairs import registry
from nopairs.data.camera import Camera
from nopairs.data.images import list_images
from nopairs.data.sources import PAIRED_ROLES
from nopairs.degradation.sampling import SamplingOptions
from nopairs.errors import NopairsError
from nopairs.metrics.names import NEED_TRUTH
from nopairs.models import make_options
from nopairs.training.options import TrainingOptions


@dataclasses.dataclass(frozen=True)
class Method:
    """A chain: `degradation` + `restorer`, or a restorer alone (`degradation` is None)."""

    name: str
    degradation: str | None
    restorer: str


def resolve(raw: dict[str, Any], schema: Path) -> dict[str, Any]:
    """Check a configuration and return it with `base:` entries and tables filled in.

    Raises:
        NopairsError: a misspelt key, an impossible value, an unknown method, a folder that is not there; one line each.
    """
    config = copy.deepcopy(raw)
    _check_structure(config, yaml.safe_load(schema.read_text()))
    for family, kinds in (("degradations", registry.DEGRADATIONS), ("restorers", registry.RESTORERS)):
        config[family] = {name: _inherit(config[family], name) for name in config[family]}
        for name, entry in config[family].items():
            _check_entry(f"{family}: {name}", entry, kinds)
    for name, entry in config["degradations"].items():
        trained = entry.setdefault("model", name)
        if trained not in config["degradations"]:
            raise NopairsError(
                f"degradations: {name}: model {trained!r}: {registry.suggest(trained, config['degradations'])}"
            )
    for name, entry in config["datasets"].items():
        config["datasets"][name] = _resolve_dataset(name, entry)
    for name, table in config["tables"].items():
        config["tables"][name] = _resolve_table(config, name, table)
    return config


def parse_method(config: dict[str, Any], name: str) -> Method:
    """Split a method's name, `<restorer>` or `<degradation>+<restorer>`, into its chain.

    Raises:
        NopairsError: a part that the configuration does not define.
    """
    *head, restorer = name.split("+")
    if len(head) > 1:
        raise NopairsError(f"method {name!r}: a method is <restorer> or <degradation>+<restorer>")
    for part, family in (*((part, "degradations") for part in head), (restorer, "restorers")):
        if part not in config[family]:
            raise NopairsError(
                f"method {name!r}: no {part!r} among the {family}; {registry.suggest(part, config[family])}"
            )
    return Method(name, head[0] if head else None, restorer)


def has_role(config: dict[str, Any], dataset: str, role: str) -> bool:
    """Whether a dataset has pairs in `role` (pairs, val or test)."""
    entry = config["datasets"][dataset]
    return entry["source"] == "embedded" or role in entry


def samples_from_clean(degradation: dict[str, Any]) -> bool:
    """Whether a degradation makes degraded images from clean ones (method 2 of LUD-VAE goes the other way)."""
    return degradation.get("sampling", {}).get("mode") != "method2"


def folder_listing(dataset: dict[str, Any]) -> list[tuple[str, int, int]]:
    """Return path, size and modification time (ns) of every image in a dataset's folders; none for the embedded dataset.

    Raises:
        NopairsError: a folder is missing or holds no image.
    """
    folders = [dataset[side] for side in ("clean", "degraded") if side in dataset]
    folders += [
        dataset[role][side] for role in PAIRED_ROLES if role in dataset for side in ("clean", "degraded")
    ]
    images = [path for folder in folders for path in list_images(Path(folder))]
    return [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in images]


def _check_structure(config: dict[str, Any], schema: dict[str, Any]) -> None:
    validator = jsonschema.Draft202012Validator(schema)
    error = jsonschema.exceptions.best_match(validator.iter_errors(config))
    if error is None:
        return
    place = ".".join(map(str, error.absolute_path)) or "the top level"
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        unknown = next(key for key in error.instance if key not in known)
        raise NopairsError(f"config: unknown key {unknown!r} at {place}; {registry.suggest(unknown, known)}")
    raise NopairsError(f"config: {place}: {error.message}")


def _inherit(entries: dict[str, Any], name: str, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return an entry with the entry that its `base` names merged under it."""
    entry = dict(entries[name])
    base = entry.pop("base", None)
    if base is None:
        return entry
    if base not in entries or base in (*seen, name):
        raise NopairsError(f"config: {name}: base {base!r}: {registry.suggest(base, set(entries) - {name})}")
    return merge(_inherit(entries, base, (*seen, name)), entry)


def merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Return `under` updated by `over`, mappings within mappings too."""
    merged = dict(under)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def _check_entry(place: str, entry: dict[str, Any], kinds: dict[str, str]) -> None:
    try:
        if "kind" not in entry:
            raise NopairsError(f"no `kind:`; known are {', '.join(sorted(kinds))}")
        made = registry.find(kinds, entry["kind"])
        strength = {"strength": entry["candidates"][0]} if "candidates" in entry else {}
        make_options(made.Options, entry["kind"], entry.get("options", {}) | strength)
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
    except (NopairsError, TypeError) as error:
        raise NopairsError(f"config: {place}: {error}") from None


def _resolve_dataset(name: str, entry: dict[str, Any]) -> dict[str, Any]:
    entry = {"source": "folder", "seed": 0, **entry}
    if entry["source"] == "embedded":
        camera = make_options(Camera, "camera", entry.get("camera", {}))
        return {"tile": 128, **entry, "camera": dataclasses.asdict(camera)}
    for role in ("clean", "degraded"):
        if role not in entry:
            raise NopairsError(f"config: datasets: {name}: no `{role}:`; name a folder of {role} photos")
    return {"tile": 256, "test_every": 10, **entry}


def _resolve_table(config: dict[str, Any], name: str, table: dict[str, Any]) -> dict[str, Any]:
    """Fill in the dataset, and leave out what the dataset cannot have."""
    table = {"dataset": config["dataset"], "rivals": [], "in_all": True, **table}
    dataset = table["dataset"]
    if dataset not in config["datasets"]:
        raise NopairsError(
            f"config: tables: {name}: dataset {dataset!r}: {registry.suggest(dataset, config['datasets'])}"
        )
    methods = [parse_method(config, method) for method in table["methods"]]
    table["methods"] = [method.name for method in methods if _possible(config, dataset, method)]
    table["rivals"] = [rival for rival in table["rivals"] if rival in table["methods"]]
    if not has_role(config, dataset, "test"):
        table["metrics"] = [metric for metric in table["metrics"] if metric not in NEED_TRUTH]
    return table


def _possible(config: dict[str, Any], dataset: str, method: Method) -> bool:
    """Whether a dataset has the pairs that a method needs: to train on, or to choose a strength that has no default."""
    if method.degradation is None:
        return "candidates" not in config["restorers"][method.restorer] or has_role(config, dataset, "val")
    entry = config["degradations"][method.degradation]
    if entry["kind"] == "real_pairs":
        return has_role(config, dataset, "pairs")
    sampling = entry.get("sampling", {})
    return "candidates" not in sampling or "strength" in sampling or has_role(config, dataset, "val")
