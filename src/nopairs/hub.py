"""Published weights in torch hub's folder, where torchvision and torch-fidelity keep them too; TORCH_HOME moves it."""

from __future__ import annotations

from pathlib import Path

import torch

from nopairs.files import sha256


def weight_file(name: str) -> Path:
    """Return where the file of that name lies, or would."""
    return Path(torch.hub.get_dir()) / "checkpoints" / name


def missing(name: str) -> str | None:
    """Return why the file cannot be used, or None where it can. Its name ends in the first digits of its SHA-256, which are checked."""
    file = weight_file(name)
    if not file.is_file():
        return f"no {name} in torch hub's folder (TORCH_HOME/hub/checkpoints); put it there"
    if not sha256(file).startswith(file.stem.rsplit("-", 1)[1]):
        return f"{name} is damaged or another file (its SHA-256 differs); replace it"
    return None
