"""No degradation but the smaller size: the pairs of ESRGAN-B (LUD-VAE, section 4.3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class BicubicOptions:
    """No options."""


class Bicubic(nn.Module):
    """Hands clean images on; of a super-resolution dataset they are the reduced ones."""

    Options = BicubicOptions
    MODES = ("clean",)
    learned = False

    def __init__(self, options: BicubicOptions) -> None:
        super().__init__()

    def make_pairs(
        self,
        clean: torch.Tensor,
        degraded: torch.Tensor | None,
        mode: str,
        strength: torch.Tensor,
        generator: torch.Generator,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the clean images twice."""
        return clean, clean
