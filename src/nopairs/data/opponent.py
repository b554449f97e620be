"""Opponent colours: brightness and two colour differences, in which the channels of photographs and of their noise hardly correlate."""

from __future__ import annotations

import torch

# Brightness, red - blue, green - magenta: orthonormal.
OPPONENT = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]])
OPPONENT = OPPONENT / OPPONENT.norm(dim=1, keepdim=True)
# Brightness has several times the contrast of colour differences: each is brought to about the same.
GAIN = torch.tensor([2.0, 8.0, 8.0]).view(3, 1, 1)


def to_opponent(images: torch.Tensor) -> torch.Tensor:
    """Rotate the channels of (batch, 3, H, W) from RGB to opponent colours."""
    return in_float32("bchw,dc->bdhw", images, OPPONENT)


def from_opponent(images: torch.Tensor) -> torch.Tensor:
    """Undo `to_opponent`."""
    return in_float32("bdhw,dc->bchw", images, OPPONENT)


def in_float32(equation: str, images: torch.Tensor, *matrices: torch.Tensor) -> torch.Tensor:
    """Return `torch.einsum` in float32 whatever the autocast type: variances and small noise span many orders of magnitude."""
    with torch.autocast(images.device.type, enabled=False):
        return torch.einsum(equation, images.float(), *(matrix.to(images.device) for matrix in matrices))
