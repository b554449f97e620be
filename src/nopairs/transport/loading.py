"""Autoencoders and fitted transports as scripts and commands name them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml

from nopairs.errors import NopairsError
from nopairs.models import load_model, make
from nopairs.transport.dot import Dot, Enhancer


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
    return Enhancer(dot, autoencoder, **settings)
