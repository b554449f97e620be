"""Autoencoders and fitted transports as scripts and commands name them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
import yaml

from nopairs.data import entries
from nopairs.errors import NopairsError
from nopairs.files import read_json
from nopairs.models import DESCRIPTION, load_model, make, weights_digest
from nopairs.transport.dot import Dot, Enhancer

# In a transport's description: of the weights of the autoencoder in whose latents it was fitted.
DIGEST = "autoencoder_weights"
_HUB_NAME = re.compile(r"(tiny:)?\w[\w.-]*/[\w.-]+")


def load_autoencoder(named: str) -> torch.nn.Module:
    """Load an autoencoder that is named by the folder of a trained model, or by its config entry (kind, options) as JSON.

    Raises:
        NopairsError: there is none, or it has no weights.
    """
    entry = yaml.safe_load(named)
    is_entry = isinstance(entry, dict)
    model = (
        make("autoencoder", entry["kind"], entry.get("options", {})) if is_entry else load_model(Path(named))
    )
    if not hasattr(model, "encode"):
        raise NopairsError(f"{named}: is no autoencoder; name one that the workflow trained")
    return model.eval()


def find_autoencoder(named: str) -> torch.nn.Module:
    """Load the autoencoder that a user names: a trained model's folder, a folder of TAEF2's files, or one of diffusers.

    What is no folder is a name on the hub, of an AutoencoderKL, or behind `tiny:` of an AutoencoderTiny, if it has the form of one
    and does not end as an entry of the catalogue, which was to be fetched.

    Raises:
        NopairsError: there is none of these.
    """
    folder = Path(named)
    taef2 = {part: folder / f"taef2_{part}.pth" for part in ("encoder", "decoder")}
    if (folder / DESCRIPTION).is_file():
        return load_autoencoder(named)
    if all(path.is_file() for path in taef2.values()):
        return make("autoencoder", "taef2", {part: str(path) for part, path in taef2.items()})
    if (folder / "config.json").is_file():
        kinds = {"AutoencoderKL": "kl", "AutoencoderTiny": "tiny"}
        kind = read_json(folder / "config.json").get("_class_name")
        if kind not in kinds:
            raise NopairsError(f"{named}: is a {kind}; known are {', '.join(kinds)}")
        return make("autoencoder", kinds[kind], {"folder": named})
    if folder.exists() or folder.name in entries.names() or not _HUB_NAME.fullmatch(named):
        raise NopairsError(
            f"{named}: no autoencoder there; name a folder that the workflow trained, data/taef2 (`nopairs data fetch taef2`), "
            "a folder in diffusers' format, or a hub name such as stabilityai/sd-vae-ft-mse"
        )
    kind = "tiny" if named.startswith("tiny:") else "kl"
    return make("autoencoder", kind, {"folder": named.removeprefix("tiny:")})


def load_transport(folder: Path, autoencoder: torch.nn.Module, **settings: Any) -> Enhancer:
    """Load a fitted transport with its autoencoder.

    Raises:
        NopairsError: it is none, or another autoencoder's.
    """
    dot = load_model(folder)
    if not isinstance(dot, Dot):
        raise NopairsError(
            f"{folder}: is no transport; name a folder that fit_transport.py or `nopairs enhance` wrote"
        )
    facts = read_json(folder / DESCRIPTION)
    if DIGEST in facts and facts[DIGEST] != weights_digest(autoencoder):
        raise NopairsError(
            f"{folder}: was fitted in the latents of another autoencoder, {facts['autoencoder']}; name that one, or fit it again"
        )
    return Enhancer(dot, autoencoder, **settings)
