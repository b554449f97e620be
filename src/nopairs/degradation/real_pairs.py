"""The dataset's own pairs in place of a degradation model: what a method could reach if pairs existed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class RealPairsOptions:
    """No options."""


class RealPairs(nn.Module):
    """Hands real pairs on unchanged."""

    Options = RealPairsOptions
    MODES = ("pairs",)
    learned = False

    def __init__(self, options: RealPairsOptions) -> None:
        super().__init__()

    def make_pairs(
        self,
        clean: torch.Tensor,
        degraded: torch.Tensor,
        mode: str,
        strength: torch.Tensor,
        generator: torch.Generator,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the given pairs."""
        return clean, degraded
