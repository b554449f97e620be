"""The one way to save and to load a model: `model.safetensors` beside `model.json`."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from nopairs import __version__, registry
from nopairs.errors import NopairsError, one_line
from nopairs.files import atomic_file, read_json, write_json
from nopairs.option_types import check_types

WEIGHTS, DESCRIPTION = "model.safetensors", "model.json"
FAMILIES = {
    "degradation": registry.DEGRADATIONS,
    "restorer": registry.RESTORERS,
    "prior": registry.PRIORS,
    "autoencoder": registry.AUTOENCODERS,
    "transport": registry.TRANSPORTS,
}


def make(family: str, kind: str, options: dict[str, Any]) -> Any:
    """Build the `kind` of a `family` (degradation, restorer ...) with untrained weights."""
    made = registry.find(FAMILIES[family], kind)
    return made(make_options(made.Options, kind, options))


def make_options(options_class: Any, kind: str, options: dict[str, Any]) -> Any:
    """Build an options dataclass, lists becoming tuples.

    Raises:
        NopairsError: an unknown option, a value of another type, or an option without a default is missing.
    """
    known = {field.name: field for field in dataclasses.fields(options_class)}
    for name in options:
        if name not in known:
            raise NopairsError(f"{kind}: unknown option {name!r}; {registry.suggest(name, known)}")
    check_types(options_class, kind, options)
    for name, field in known.items():
        if name not in options and field.default is field.default_factory is dataclasses.MISSING:
            raise NopairsError(f"{kind}: {name} is missing; it has no default")
    return options_class(**{name: _tuples(value) for name, value in options.items()})


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def training_roles(family: str, entry: dict[str, Any]) -> tuple[str, ...]:
    """Return the roles of a dataset that a method learns from by itself, for its entry in the configuration.

    None for one that learns nothing, and for a restorer that learns from a degradation's pairs.
    """
    made = registry.find(FAMILIES[family], entry["kind"])
    if not getattr(made, "learned", False):
        return ()
    return getattr(make_options(made.Options, entry["kind"], entry.get("options", {})), "roles", ())


def save_model(
    folder: Path,
    family: str,
    kind: str,
    options: dict[str, Any],
    weights: dict[str, torch.Tensor],
    facts: dict[str, Any],
) -> None:
    """Write a model; `facts` (seed, steps, data hash, wall time ...) go into model.json.

    The description is written last: a folder with a model.json holds whole weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_file(folder / WEIGHTS) as temporary:
        save_file({key: value.contiguous() for key, value in weights.items()}, temporary)
    write_json(
        folder / DESCRIPTION,
        {"family": family, "kind": kind, "options": options, "nopairs": __version__, **facts},
    )


def load_model(folder: Path) -> Any:
    """Load a model that `save_model` wrote, in evaluation mode.

    Raises:
        NopairsError: no model there, or its weights and description do not fit.
    """
    if not (folder / DESCRIPTION).is_file():
        raise NopairsError(
            f"{folder}: no {DESCRIPTION} there; name the folder of a trained model, such as results/models/photos/..."
        )
    family, kind, options = _read_description(folder)
    copied = getattr(registry.find(FAMILIES[family], kind), "copied", None)
    if copied in options and not Path(options[copied]).is_file():
        options[copied] = str(folder / WEIGHTS)
    network = make(family, kind, options)
    load_weights(network, folder)
    return network.eval()


def weights_digest(network: nn.Module) -> str:
    """Return a digest of a network's weights, by which another one's are told from them."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def load_weights(network: nn.Module, folder: Path) -> None:
    """Load the weights of the model in `folder` into `network`; raises NopairsError if they are another architecture's."""
    try:
        network.load_state_dict(load_file(folder / WEIGHTS))
    except (SafetensorError, RuntimeError, OSError) as error:
        raise NopairsError(
            f"{folder / WEIGHTS}: not the weights of this {type(network).__name__.lower()} ({one_line(error)}); train it again"
        ) from None


def _read_description(folder: Path) -> tuple[str, str, dict[str, Any]]:
    """Return the family, the kind and the options of the model in `folder`."""
    description = read_json(folder / DESCRIPTION)
    try:
        family, kind, options = (description[key] for key in ("family", "kind", "options"))
        FAMILIES[family]
    except (KeyError, TypeError):
        raise NopairsError(
            f"{folder / DESCRIPTION}: not a model's description; name the folder of a trained model"
        ) from None
    return family, kind, options


def load_restorer(path: Path) -> nn.Module:
    """Load a restorer from a trained model's folder or .safetensors, or from any weight file that spandrel recognises."""
    path = Path(path)
    if path.name == WEIGHTS and (path.parent / DESCRIPTION).is_file():
        path = path.parent
    if path.is_dir():
        family = _read_description(path)[0] if (path / DESCRIPTION).is_file() else "restorer"
        if family != "restorer":
            raise NopairsError(
                f"{path}: is a {family} model, not a restorer; name a folder such as results/models/photos/ludvae+dncnn/seed0"
            )
        return load_model(path)
    pretrained: nn.Module = make("restorer", "pretrained", {"weights": str(path)})
    return pretrained.eval()
