"""The degraded input itself, as a row of every table."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class IdentityOptions:
    """No options."""


class Identity(nn.Module):
    """Returns its input."""

    Options = IdentityOptions
    learned = False
    multiple = 1
    margin = 0

    def __init__(self, options: IdentityOptions) -> None:
        super().__init__()

    def forward(self, degraded: torch.Tensor) -> torch.Tensor:
        """Return the same images."""
        return degraded
