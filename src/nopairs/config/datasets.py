"""Datasets: what the catalogue knows of them filled in, and what does not belong to them refused."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from nopairs import registry
from nopairs.config.methods import parse_method, samples_from_clean
from nopairs.data import entries
from nopairs.data.camera import Camera
from nopairs.data.degrading import Degrading
from nopairs.data.images import list_images
from nopairs.data.photos import PAIRED_ROLES
from nopairs.errors import NopairsError
from nopairs.models import make_options, training_roles
from nopairs.priors import operators

# Keys of a user's own photos; a dataset of the catalogue knows its roles itself.
OWN_PHOTOS = ("clean", "degraded", *PAIRED_ROLES, "test_every")


def has_role(config: dict[str, Any], dataset: str, role: str) -> bool:
    """Whether a dataset has images in `role` (clean, degraded), or pairs of them (pairs, val, test)."""
    return role in config["datasets"][dataset]["roles"]


def trained_on(config: dict[str, Any], dataset: str) -> str:
    """The dataset whose models restore a dataset's test images: itself, or the one that it names."""
    return str(config["datasets"][dataset].get("trained_on", dataset))


def with_dataset_defaults(
    config: dict[str, Any], dataset: str, degradation: dict[str, Any]
) -> dict[str, Any]:
    """Fill in a LUD-VAE's crop and blur where neither its entry nor an entry below it says them: the dataset has its own."""
    if degradation["kind"] != "ludvae":
        return degradation
    defaults = entries.load(config["datasets"][dataset]["source"]).defaults
    blur = {f"blur_{key}": value for key, value in defaults.get("blur", {}).items()}
    crop = {"crop": defaults["crop"]} if "crop" in defaults else {}
    filled = {"options": blur, "training": crop}
    return degradation | {key: value | degradation.get(key, {}) for key, value in filled.items()}


def folder_listing(dataset: dict[str, Any]) -> list[tuple[str, int, int]]:
    """Return path, size and modification time (ns) of every image in a user's folders; none for a dataset that is fetched.

    Raises:
        NopairsError: a folder is missing or holds no image.
    """
    folders = [dataset[side] for side in ("clean", "degraded", "folder") if side in dataset]
    folders += [
        dataset[role][side] for role in PAIRED_ROLES if role in dataset for side in ("clean", "degraded")
    ]
    return listing(folders)


def listing(folders: Iterable[str]) -> list[tuple[str, int, int]]:
    """Return path, size and modification time (ns) of every image in folders; raises NopairsError where there is none."""
    images = [path for folder in folders for path in list_images(Path(folder))]
    return [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in images]


def used_datasets(config: dict[str, Any]) -> set[str]:
    """Return the datasets that tables and curves are over, those whose models restore them, and what their transports name."""
    shown = [*config["tables"].values(), *config["curves"].values()]
    over = {name for one in shown for name in one["datasets"]}
    transports = {parse_method(config, method).transport for one in shown for method in one["methods"]}
    named = {
        entry[key]
        for name, entry in config["transports"].items()
        for key in ("natural", "content")
        if key in entry and name in transports
    }
    return over | named | {trained_on(config, name) for name in over}


def unused_folders(config: dict[str, Any]) -> list[str]:
    """Return the user's own datasets that nothing uses."""
    used = used_datasets(config)
    return [
        name
        for name, entry in config["datasets"].items()
        if entry["source"] == entries.FOLDER and name not in used
    ]


def resolve_dataset(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Fill in what the catalogue knows of a dataset, and refuse what does not belong to it."""
    settings = {"source": entries.FOLDER, "seed": 0, **settings}
    try:
        entry = entries.load(settings["source"])
        entry.wanted_files(settings.get("only", ""))
    except NopairsError as error:
        raise NopairsError(f"config: datasets: {name}: {error}") from None
    if entry.weights:
        raise NopairsError(
            f"config: datasets: {name}: source {entry.name!r} is weights of networks, no photos"
        )
    _check_dataset_keys(name, settings, entry)
    only_clean = _only_clean(entry)
    entry = entry.in_role(settings["role"]) if "role" in settings else entry
    tile = settings.get("tile", entry.defaults.get("tile", 256))
    scale = settings.get("scale", entry.upscale)
    resolved = {
        "normalise_channels": entry.defaults.get("normalise_channels", False),
        **settings,
        "tile": tile,
        "scale": scale,
        "catalogue": "".join(
            entries.digest(part) for part in (entry.name, *_more_clean(name, settings, scale))
        ),
    }
    if tile % scale:
        raise NopairsError(
            f"config: datasets: {name}: tile {tile} must be a multiple of {scale},"
            " by which clean images are larger than degraded ones"
        )
    with _placed(name):
        _check_observation(settings, only_clean, scale)
        if entry.camera:
            camera = make_options(Camera, "camera", settings.get("camera", {}))
            resolved["camera"] = dataclasses.asdict(camera)
    if entry.name == entries.FOLDER:
        roles = ["clean", "degraded", *(role for role in PAIRED_ROLES if role in settings)]
        return {"test_every": 10, **resolved, "roles": roles}
    unpaired = [role for role in ("clean", "degraded") if entry.sides(role)]
    observed = []
    if {"operator", "recipe"} & set(settings):
        observed = [role for role in ("val", "test") if entry.sides(role)]
    elif _only_clean(entry) and entry.sides("degraded"):
        raise NopairsError(
            f"config: datasets: {name}: the photos of source {entry.name!r} are all clean; give the `recipe:` that degrades some"
        )
    benchmark = {"withheld": entry.withheld, "submission": entry.submission} if entry.withheld else {}
    return {
        "split": 0,
        "selection": "held_out",
        "only": entry.only,
        **resolved,
        **benchmark,
        "roles": [*unpaired, *entry.paired(), *observed],
    }


def _more_clean(name: str, settings: dict[str, Any], scale: int) -> list[str]:
    """The datasets that are learned from with the clean half; raises NopairsError for one that is not of clean photos to fetch."""
    wanted = settings.get("more_clean", [])
    if wanted and scale > 1:
        raise NopairsError(f"config: datasets: {name}: more_clean: not for super-resolution; leave it out")
    known = [one for one in entries.names() if _is_clean_collection(entries.load(one))]
    for one in wanted:
        if one not in known or one == settings["source"]:
            raise NopairsError(
                f"config: datasets: {name}: more_clean: {one!r} is no collection of clean photos; "
                f"{registry.suggest(one, [other for other in known if other != settings['source']])}"
            )
    return list(wanted)


def _is_clean_collection(entry: entries.Entry) -> bool:
    return bool(entry.files) and not entry.weights and {rule.side for rule in entry.images} == {"clean"}


def _has_both_halves(entry: entries.Entry) -> bool:
    return entry.name == entries.FOLDER or all(entry.sides(half) for half in entries.TRAINING_SCENES)


def _check_observation(settings: dict[str, Any], only_clean: bool, scale: int) -> None:
    """Raise NopairsError, or TypeError, for an operator or a recipe that cannot degrade the test images, or for both."""
    if "operator" in settings and "recipe" in settings:
        raise NopairsError("has an operator and a recipe; choose one")
    if "assumed" in settings and "operator" not in settings:
        raise NopairsError("has an assumed operator, but no `operator:` that observes")
    for key in ("operator", "assumed"):
        if key in settings:
            _check_operator(settings[key], only_clean, scale)
    if "recipe" in settings:
        recipe = make_options(Degrading, "recipe", settings["recipe"])
        if recipe.scale > 1 and scale > 1:
            raise NopairsError("has a `scale:` and its recipe another; leave the recipe's out")


def _check_operator(settings: dict[str, Any], only_clean: bool, scale: int) -> None:
    """Check an operator: with options of its own, or one to be estimated where test images are not `only_clean`."""
    if settings.get("kind") != operators.ESTIMATED:
        if not only_clean:
            raise NopairsError(
                "its test images are degraded already; take an operator of kind estimated, from pairs"
            )
        operators.make(settings)
        return
    if only_clean:
        raise NopairsError("operator: kind estimated is for test images that are degraded already")
    size = settings.get("size")
    if (
        set(settings) != {"kind", "degradation", "size"}
        or not isinstance(settings["degradation"], str)
        or type(size) is not int
    ):
        raise NopairsError(
            "operator: kind estimated takes the degradation whose pairs tell of it, and the size of a kernel"
        )
    if size < scale or (size - scale) % 2:
        raise NopairsError(
            f"operator: the kernel's size {size} must be at least {scale}, and {'odd' if scale % 2 else 'even'} as that is"
        )


@contextlib.contextmanager
def _placed(name: str) -> Iterator[None]:
    """Say of errors which dataset they are in."""
    try:
        yield
    except (NopairsError, TypeError) as error:
        raise NopairsError(f"config: datasets: {name}: {error}") from None


def check_estimated(config: dict[str, Any], name: str) -> None:
    """Raise NopairsError where the pairs that an operator is estimated from cannot be had."""
    settings = config["datasets"][name].get("operator", {})
    if settings.get("kind") != operators.ESTIMATED:
        return
    degradation = settings["degradation"]
    if degradation not in config["degradations"]:
        suggested = registry.suggest(degradation, config["degradations"])
        raise NopairsError(f"config: datasets: {name}: operator: degradation {degradation!r}: {suggested}")
    if not can_sample(config, trained_on(config, name), config["degradations"][degradation]):
        raise NopairsError(
            f"config: datasets: {name}: operator: {degradation} has no images there to learn from"
        )


def _only_clean(entry: entries.Entry) -> bool:
    """Whether test images are clean ones, which an operator may observe, or others learn from."""
    return entry.sides("test") == {"clean"}


def check_trained_on(config: dict[str, Any], name: str) -> None:
    """Check that the dataset whose models restore another one is there, and says so of no third."""
    other = trained_on(config, name)
    if other not in config["datasets"]:
        raise NopairsError(
            f"config: datasets: {name}: trained_on {other!r}: {registry.suggest(other, config['datasets'])}"
        )
    if other != name and "trained_on" in config["datasets"][other]:
        raise NopairsError(
            f"config: datasets: {name}: trained_on {other!r} names another dataset itself; name that one"
        )


def _check_dataset_keys(name: str, settings: dict[str, Any], entry: entries.Entry) -> None:
    known = {
        "": ("source", "seed", "tile", "train_photos"),
        "trained": () if entry.name == entries.FOLDER else ("trained_on",),
        "photos": OWN_PHOTOS if entry.name == entries.FOLDER else (),
        "scaled": ("scale",) if entry.name == entries.FOLDER or _only_clean(entry) else (),
        "unpaired": ("normalise_channels", "more_clean") if _has_both_halves(entry) else (),
        "files": ("only",) if entry.files else (),
        "split": ("split", "selection") if entry.split else (),
        "pairs": ("pairs_from",) if set(entries.TRAINING_SCENES) <= set(entry.split) else (),
        "camera": ("camera",) if entry.camera else (),
        "own": ("folder",) if entry.own else (),
        "clean": (
            ("operator", "assumed", "multiple", "border", "recipe", "role")
            if _only_clean(entry)
            else ("operator", "border")
        ),
    }
    keys = [key for group in known.values() for key in group]
    for key in settings:
        if key not in keys:
            raise NopairsError(
                f"config: datasets: {name}: `{key}:` does not belong to source {entry.name!r};"
                f" {registry.suggest(key, keys)}"
            )
    if settings.get("scale", 1) > 1 and _only_clean(entry) and "recipe" not in settings:
        raise NopairsError(
            f"config: datasets: {name}: `scale:` of clean photos needs a `recipe:`, which degrades the small ones"
        )
    for key in (*known["photos"][:2], *known["own"]):
        if key not in settings:
            photos = "your copy of its" if entry.own else key
            raise NopairsError(f"config: datasets: {name}: no `{key}:`; name a folder of {photos} photos")


def roles(config: dict[str, Any], dataset: str) -> set[str]:
    """Return the roles of images that a dataset has."""
    return set(config["datasets"][dataset]["roles"])


def is_withheld(config: dict[str, Any], dataset: str) -> bool:
    """Whether the truth of the test images is kept by others, who score what is sent to them."""
    return "withheld" in config["datasets"][dataset]


def can_sample(config: dict[str, Any], dataset: str, degradation: dict[str, Any]) -> bool:
    """Whether a dataset has what a degradation learns and makes its pairs from."""
    if degradation["kind"] == "real_pairs":
        return has_role(config, dataset, "pairs")
    learned_from = training_roles("degradation", config["degradations"][degradation["model"]])
    if config["datasets"][dataset]["scale"] > 1 and (
        "pairs" in learned_from or not samples_from_clean(degradation)
    ):
        return False  # there are no pairs of equal sizes, and no larger clean image for a degraded one
    source = "clean" if samples_from_clean(degradation) else "degraded"
    return all(has_role(config, dataset, role) for role in (*learned_from, source))
