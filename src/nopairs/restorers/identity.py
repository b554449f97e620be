"""The degraded input itself, as a row of every table."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from nopairs.data.resizing import REACH, enlarge


@dataclass(frozen=True)
class IdentityOptions:
    """scale: how many times the input is enlarged, by MATLAB's bicubic interpolation, to be compared on a super-resolution dataset."""

    scale: int = 1


class Identity(nn.Module):
    """Returns its input, or enlarges it without learning anything."""

    Options = IdentityOptions
    learned = False
    multiple = 1

    def __init__(self, options: IdentityOptions) -> None:
        super().__init__()
        self.scale = options.scale
        self.margin = REACH if options.scale > 1 else 0

    def forward(self, degraded: torch.Tensor) -> torch.Tensor:
        """Return the images (batch, 3, H, W), or enlarged ones, not clipped."""
        return enlarge(degraded, self.scale)
