"""The experiment's configuration: merged, checked in full, and resolved before any job starts."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from nopairs import registry
from nopairs.data import entries
from nopairs.data.camera import Camera
from nopairs.data.degrading import Degrading
from nopairs.data.images import list_images
from nopairs.data.photos import PAIRED_ROLES
from nopairs.degradation.sampling import SamplingOptions
from nopairs.errors import NopairsError
from nopairs.metrics.names import NEED_TRUTH
from nopairs.models import make_options, training_roles
from nopairs.priors import operators
from nopairs.training.options import TrainingOptions
from nopairs.transport.bias import BiasOptions
from nopairs.transport.dot import ALPHAS, HIGHEST_ALPHA, LOWEST_ALPHA

# Keys of a user's own photos; a dataset of the catalogue knows its roles itself.
OWN_PHOTOS = ("clean", "degraded", *PAIRED_ROLES, "test_every")


# What an `@` after a transport may say in place of a number: which alpha `val` is to choose.
CHOSEN_ALPHAS = ("psnr", "perception")


@dataclasses.dataclass(frozen=True)
class Method:
    """A chain: `degradation` + `restorer` + `transport`, of which degradation and transport are optional (None).

    alpha: of a transport: a number, or one of `CHOSEN_ALPHAS`.
    autoencoder: in place of a chain, the autoencoder that the clean test images pass through: the bound of its transports.
    prior: in place of a chain, the prior that reconstructs what a dataset's operator has observed.
    """

    name: str
    degradation: str | None
    restorer: str
    transport: str | None = None
    alpha: str = "0"
    autoencoder: str | None = None
    prior: str | None = None

    @property
    def base(self) -> str:
        """The method without its transport."""
        return "+".join(filter(None, (self.degradation, self.restorer)))

    def trained(self, restorers: dict[str, Any]) -> str:
        """The method whose training this one's restorer has its weights from: `base`, unless its entry names another `model`."""
        lender = restorers[self.restorer]["model"]
        return "+".join(filter(None, (self.degradation, lender)))

    @property
    def fitted(self) -> str:
        """The method without its alpha, which one fit serves all of."""
        return f"{self.base}+{self.transport}" if self.transport else self.base


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
        config[family] = {name: _inherit(config[family], name) for name in config.get(family, {})}
        for name, entry in config[family].items():
            _check_entry(f"{family}: {name}", entry, kinds)
    for name, entry in config["degradations"].items():
        trained = entry.setdefault("model", name)
        if trained not in config["degradations"]:
            raise NopairsError(
                f"degradations: {name}: model {trained!r}: {registry.suggest(trained, config['degradations'])}"
            )
    for name in config["restorers"]:
        _check_lender(config["restorers"], name)
    config["priors"] = {name: _inherit(config["priors"], name) for name in config.get("priors", {})}
    for name, entry in config["priors"].items():
        _check_prior(name, entry)
    _check_bias(config)
    _check_selection(config)
    config["transports"] = {
        name: _inherit(config["transports"], name) for name in config.get("transports", {})
    }
    _check_names(config)
    for name in config["transports"]:
        _check_transport(config, name)
    for name, entry in config["datasets"].items():
        config["datasets"][name] = _resolve_dataset(name, entry)
    for name in config["datasets"]:
        _check_trained_on(config, name)
        _check_estimated(config, name)
    for name, table in config["tables"].items():
        config["tables"][name] = _resolve_table(config, name, table)
    config["curves"] = {
        name: _resolve_curve(config, name, curve) for name, curve in config.get("curves", {}).items()
    }
    return config


def parse_method(config: dict[str, Any], name: str) -> Method:
    """Split a method's name into its chain.

    That is `<restorer>` or `<degradation>+<restorer>`, behind which `+<transport>` and `+<transport>@<alpha>` may stand; or an
    autoencoder's name, for the clean images that it encodes and decodes; or a prior's.

    Raises:
        NopairsError: a part that the configuration does not define, or no such alpha.
    """
    if name in config["autoencoders"]:
        return Method(name, None, "", autoencoder=name)
    if name in config["priors"]:
        return Method(name, None, "", prior=name)
    chain, at, alpha = name.partition("@")
    parts = chain.split("+")
    transport = parts.pop() if len(parts) > 1 and parts[-1] in config["transports"] else None
    *head, restorer = parts
    if len(head) > 1 or (at and transport is None):
        raise NopairsError(
            f"method {name!r}: a method is <restorer> or <degradation>+<restorer>; behind it may stand +<transport> or"
            " +<transport>@<alpha>"
        )
    for part, family in (*((part, "degradations") for part in head), (restorer, "restorers")):
        if part not in config[family]:
            raise NopairsError(
                f"method {name!r}: no {part!r} among the {family}; {registry.suggest(part, config[family])}"
            )
    if at:
        _check_alpha(name, alpha)
    return Method(name, head[0] if head else None, restorer, transport, alpha if at else "0")


def _check_alpha(name: str, alpha: str) -> None:
    try:
        possible = alpha in CHOSEN_ALPHAS or LOWEST_ALPHA <= float(alpha) <= HIGHEST_ALPHA
    except ValueError:
        possible = False
    if not possible:
        raise NopairsError(
            f"method {name!r}: alpha {alpha!r} must be a number from {LOWEST_ALPHA} to {HIGHEST_ALPHA}, or "
            f"{' or '.join(CHOSEN_ALPHAS)}, for the one that is best on val"
        )


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


def samples_from_clean(degradation: dict[str, Any]) -> bool:
    """Whether a degradation makes degraded images from clean ones (method 2 of LUD-VAE goes the other way)."""
    return degradation.get("sampling", {}).get("mode") != "method2"


def part_of(degradation: dict[str, Any]) -> str:
    """The folder of a dataset, below its own, that holds the tiles which a degradation's pairs are of."""
    if degradation["kind"] == "real_pairs":
        return "pairs/clean"
    return "clean" if samples_from_clean(degradation) else "degraded"


def folder_listing(dataset: dict[str, Any]) -> list[tuple[str, int, int]]:
    """Return path, size and modification time (ns) of every image in a user's folders; none for a dataset that is fetched.

    Raises:
        NopairsError: a folder is missing or holds no image.
    """
    folders = [dataset[side] for side in ("clean", "degraded", "folder") if side in dataset]
    folders += [
        dataset[role][side] for role in PAIRED_ROLES if role in dataset for side in ("clean", "degraded")
    ]
    images = [path for folder in folders for path in list_images(Path(folder))]
    return [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in images]


def unused_folders(config: dict[str, Any]) -> list[str]:
    """Return the user's own datasets that neither a table nor a curve is over."""
    shown = [*config["tables"].values(), *config["curves"].values()]
    used = {name for one in shown for name in one["datasets"]}
    return [
        name
        for name, entry in config["datasets"].items()
        if entry["source"] == entries.FOLDER and name not in used
    ]


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
        make_options(made.Options, entry["kind"], _any_strength(entry))
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


def _check_lender(restorers: dict[str, Any], name: str) -> None:
    """Fill in the restorer whose weights one applies: its own, or those of another one of its kind, which has its own."""
    entry = restorers[name]
    lender = entry.setdefault("model", name)
    if lender not in restorers:
        raise NopairsError(
            f"config: restorers: {name}: model {lender!r}: {registry.suggest(lender, restorers)}"
        )
    other = restorers[lender]
    if lender != name and (
        other["kind"] != entry["kind"] or other.get("model", lender) != lender or not learns(other)
    ):
        raise NopairsError(
            f"config: restorers: {name}: model {lender!r} must be a {entry['kind']} that is trained itself"
        )


def _check_names(config: dict[str, Any]) -> None:
    """Raise NopairsError if a name stands for two things where methods and files tell them by their names alone."""
    for family, others in (
        ("autoencoders", ("degradations", "restorers")),
        ("transports", ("degradations", "restorers", "autoencoders")),
        ("priors", ("degradations", "restorers", "autoencoders", "transports")),
    ):
        for other in others:
            if both := sorted(set(config[family]) & set(config[other])):
                raise NopairsError(
                    f"config: {family}: {both[0]}: is the name of one of the {other} too; take another"
                )


def _check_transport(config: dict[str, Any], name: str) -> None:
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


def _check_prior(name: str, entry: dict[str, Any]) -> None:
    place = f"priors: {name}"
    found = entry.get("reconstruction", {})
    _check_entry(place, {key: value for key, value in entry.items() if key != "candidates"}, registry.PRIORS)
    made = registry.find(registry.PRIORS, entry["kind"])
    try:
        for strength in entry.get("candidates", [None]):
            chosen = {} if strength is None else {"strength": strength}
            make_options(made.Reconstruction, entry["kind"], found | chosen)
    except (NopairsError, TypeError) as error:
        raise NopairsError(f"config: {place}: {error}") from None


def _check_bias(config: dict[str, Any]) -> None:
    """Check the section of known maps, and fill in its options; without one there is nothing to compare."""
    if "bias" not in config:
        return
    try:
        options = make_options(BiasOptions, "options", config["bias"].get("options", {}))
        make_options(TrainingOptions, "training", config["bias"]["training"])
    except (NopairsError, TypeError) as error:
        raise NopairsError(f"config: bias: {error}") from None
    config["bias"]["options"] = dataclasses.asdict(options)


def _check_selection(config: dict[str, Any]) -> None:
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


def _resolve_dataset(name: str, settings: dict[str, Any]) -> dict[str, Any]:
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
        "catalogue": entries.digest(entry.name),
    }
    if tile % scale:
        raise NopairsError(
            f"config: datasets: {name}: tile {tile} must be a multiple of {scale},"
            " by which clean images are larger than degraded ones"
        )
    if entry.name == entries.FOLDER:
        roles = ["clean", "degraded", *(role for role in PAIRED_ROLES if role in settings)]
        return {"test_every": 10, **resolved, "roles": roles}
    if entry.camera:
        camera = make_options(Camera, "camera", settings.get("camera", {}))
        resolved["camera"] = dataclasses.asdict(camera)
    unpaired = [role for role in ("clean", "degraded") if entry.sides(role)]
    observed = []
    if {"operator", "assumed", "recipe"} & set(settings):
        try:
            if "operator" in settings and "recipe" in settings:
                raise NopairsError("has an operator and a recipe; choose one")
            if "assumed" in settings and "operator" not in settings:
                raise NopairsError("has an assumed operator, but no `operator:` that observes")
            if "operator" in settings:
                for key in ("operator", "assumed"):
                    if key in settings:
                        _check_operator(settings[key], only_clean)
            else:
                recipe = make_options(Degrading, "recipe", settings["recipe"])
                if recipe.scale > 1 and scale > 1:
                    raise NopairsError("has a `scale:` and its recipe another; leave the recipe's out")
        except (NopairsError, TypeError) as error:
            raise NopairsError(f"config: datasets: {name}: {error}") from None
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


def _has_both_halves(entry: entries.Entry) -> bool:
    return entry.name == entries.FOLDER or all(entry.sides(half) for half in entries.TRAINING_SCENES)


def _check_operator(settings: dict[str, Any], only_clean: bool) -> None:
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
    if set(settings) != {"kind", "degradation", "size"} or not isinstance(settings["size"], int):
        raise NopairsError(
            "operator: kind estimated takes the degradation whose pairs tell of it, and the size of a kernel"
        )


def _check_estimated(config: dict[str, Any], name: str) -> None:
    """Raise NopairsError where the pairs that an operator is estimated from cannot be had."""
    settings = config["datasets"][name].get("operator", {})
    if settings.get("kind") != operators.ESTIMATED:
        return
    degradation = settings["degradation"]
    if degradation not in config["degradations"]:
        suggested = registry.suggest(degradation, config["degradations"])
        raise NopairsError(f"config: datasets: {name}: operator: degradation {degradation!r}: {suggested}")
    if not _can_sample(config, trained_on(config, name), config["degradations"][degradation]):
        raise NopairsError(
            f"config: datasets: {name}: operator: {degradation} has no images there to learn from"
        )


def _only_clean(entry: entries.Entry) -> bool:
    """Whether test images are clean ones, which an operator may observe, or others learn from."""
    return entry.sides("test") == {"clean"}


def _check_trained_on(config: dict[str, Any], name: str) -> None:
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
        "unpaired": ("normalise_channels",) if _has_both_halves(entry) else (),
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


def _resolve_table(
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
        if not (_is_withheld(config, dataset) or {"degraded", "test"} & _roles(config, dataset)):
            raise NopairsError(
                f"config: {family}: {name}: dataset {dataset!r} has clean images only; a table needs degraded ones"
            )
    sources = [trained_on(config, dataset) for dataset in datasets]
    methods = [parse_method(config, method) for method in table["methods"]]
    for method in methods:
        _check_shares(config, method)
        if not (method.autoencoder or method.prior):
            _check_chain(config, method)
    methods = [method for method in methods if all(_fits(config, dataset, method) for dataset in datasets)]
    for method, source in itertools.product(methods, sources):
        _check_crops(config, source, method)
    for method, dataset in itertools.product(methods, datasets):
        _check_scale(config, dataset, method)
    table["methods"] = [method.name for method in methods]
    table["rivals"] = [rival for rival in table["rivals"] if rival in table["methods"]]
    if not all(_is_withheld(config, one) or has_role(config, one, "test") for one in datasets):
        table["metrics"] = [metric for metric in table["metrics"] if metric not in NEED_TRUTH]
    if not all(has_role(config, source, "clean") for source in sources):  # NIQE is fitted on them
        table["metrics"] = [metric for metric in table["metrics"] if metric != "niqe"]
    return table


def _resolve_curve(config: dict[str, Any], name: str, curve: dict[str, Any]) -> dict[str, Any]:
    """Check a curve as a table of each of its datasets would be, and that each says how many photos it trains on."""
    curve = {"metric": "psnr", **curve}
    for dataset in curve["datasets"]:
        table = {"dataset": dataset, "methods": curve["methods"], "metrics": [curve["metric"]]}
        table = _resolve_table(config, name, table, "curves")
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
    """Raise NopairsError if a restorer that learns from pairs is not told which, or one that learns by itself is."""
    entry = config["restorers"][method.restorer]
    by_itself = bool(training_roles("restorer", entry))
    if method.degradation and by_itself:
        raise NopairsError(
            f"method {method.name!r}: {method.restorer} learns from the dataset itself; name it without a degradation"
        )
    if not (method.degradation or by_itself) and learns(entry):
        raise NopairsError(
            f"method {method.name!r}: {method.restorer} learns from pairs; name a degradation, as in awgn+{method.restorer}"
        )


def learns(restorer: dict[str, Any]) -> bool:
    """Whether a restorer's entry is of a kind that is trained."""
    return bool(getattr(registry.find(registry.RESTORERS, restorer["kind"]), "learned", False))


def _roles(config: dict[str, Any], dataset: str) -> set[str]:
    return set(config["datasets"][dataset]["roles"])


def _is_withheld(config: dict[str, Any], dataset: str) -> bool:
    """Whether the truth of the test images is kept by others, who score what is sent to them."""
    return "withheld" in config["datasets"][dataset]


def _check_crops(config: dict[str, Any], dataset: str, method: Method) -> None:
    """Raise NopairsError if something that a method trains crops more than a tile of the dataset has."""
    scale = config["datasets"][dataset]["scale"]
    tile = config["datasets"][dataset]["tile"] // scale
    trained = (
        []
        if method.autoencoder or method.prior
        else [(f"restorers: {method.restorer}", config["restorers"][method.restorer])]
    )
    autoencoder = method.autoencoder or (
        method.transport and config["transports"][method.transport]["autoencoder"]
    )
    if autoencoder:
        trained.append((f"autoencoders: {autoencoder}", config["autoencoders"][autoencoder]))
    if method.degradation is not None:
        model = config["degradations"][method.degradation]["model"]
        trained.insert(0, (f"degradations: {model}", config["degradations"][model]))
    for place, entry in trained:
        crop = make_options(TrainingOptions, "training", entry["training"]).crop if "training" in entry else 0
        if crop > tile:
            raise NopairsError(
                f"config: {place}: crop {crop} is larger than the {'degraded ' if scale > 1 else ''}tiles of dataset {dataset} ({tile}); "
                "lower `crop` or raise `tile`"
            )


def _check_scale(config: dict[str, Any], dataset: str, method: Method) -> None:
    """Raise NopairsError if a restorer enlarges images by another factor than a dataset's; that of published weights is not known yet."""
    entry = config["restorers"].get(method.restorer)
    if entry is None or entry["kind"] in ("pretrained", "folder"):
        return
    made = registry.find(registry.RESTORERS, entry["kind"])
    scale = getattr(make_options(made.Options, entry["kind"], _any_strength(entry)), "scale", 1)
    wanted = config["datasets"][dataset]["scale"]
    if scale != wanted:
        raise NopairsError(
            f"method {method.name!r}: {method.restorer} has scale {scale}, but clean images of dataset {dataset} are {wanted} times"
            " as large as degraded ones"
        )


def _any_strength(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry's options, with the first of its candidates for those that need a strength."""
    strength = {"strength": entry["candidates"][0]} if "candidates" in entry else {}
    return {**entry.get("options", {}), **strength}


def _fits(config: dict[str, Any], dataset: str, method: Method) -> bool:
    """Whether a dataset has what a method needs. Observations of an operator, of other sizes than its images, are for priors only."""
    if method.prior:
        return _can_reconstruct(config, dataset, config["priors"][method.prior])
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
    stand_in = config["degradations"][config["selection"]["stand_in"]]
    can_choose = has_role(config, dataset, "val") or _can_sample(config, dataset, stand_in)
    if method.degradation is None:
        restorer = config["restorers"][method.restorer]
        trainable = all(has_role(config, dataset, role) for role in training_roles("restorer", restorer))
        return trainable and (can_choose or "candidates" not in restorer)
    entry = config["degradations"][method.degradation]
    sampling = entry.get("sampling", {})
    chosen = "candidates" in sampling and "strength" not in sampling
    return _can_sample(config, dataset, entry) and (can_choose or not chosen)


def statistics_of(config: dict[str, Any], method: Method) -> str | None:
    """The degradation whose pairs a transport's statistics come from; None takes the dataset's unpaired halves."""
    if method.transport is None:
        return None
    return config["transports"][method.transport].get("statistics", method.degradation)


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
    elif not _can_sample(config, content, config["degradations"][pairs]):
        return False
    can_choose = pairs is not None or has_role(config, dataset, "val")
    return all(has_role(config, dataset, role) for role in needed) and (
        can_choose or method.alpha not in CHOSEN_ALPHAS
    )


def _can_reconstruct(config: dict[str, Any], dataset: str, prior: dict[str, Any]) -> bool:
    """Whether a dataset has an operator, and what a prior learns from and is chosen on."""
    source = trained_on(config, dataset)
    made = registry.find(registry.PRIORS, prior["kind"])
    return (
        "operator" in config["datasets"][dataset]
        and (not made.from_images or has_role(config, source, "clean"))
        and (not made.needs_operator or "operator" in config["datasets"][source])
        and ("candidates" not in prior or has_role(config, source, "val"))
    )


def _can_sample(config: dict[str, Any], dataset: str, degradation: dict[str, Any]) -> bool:
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
