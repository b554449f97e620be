"""A known degradation by a recipe, for pairs to learn from where the test images are degraded alike."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from nopairs.data.degrading import Degrading, degrade
from nopairs.data.tiles import to_tensor, to_uint8
from nopairs.errors import NopairsError


class Recipe(nn.Module):
    """Smaller, noisier, compressed: see `nopairs.data.degrading`. The strength of sampling takes no part."""

    Options = Degrading
    MODES = ("clean",)
    learned = False

    def __init__(self, options: Degrading) -> None:
        super().__init__()
        self.options = options

    def make_pairs(
        self,
        clean: torch.Tensor,
        degraded: torch.Tensor | None,
        mode: str,
        strength: torch.Tensor,
        generator: torch.Generator,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (clean, degraded), both (batch, 3, H, W), sides multiples of the scale."""
        if any(side % self.options.scale for side in clean.shape[2:]):
            raise NopairsError(
                f"recipe: tiles of {tuple(clean.shape[2:])} pixels, for scale {self.options.scale}; choose `tile:` so that it divides"
            )
        seed = int(torch.randint(2**31, (), generator=generator))
        tiles = to_uint8(clean.cpu())
        rng = np.random.default_rng(seed)
        made = np.stack([degrade(tile, self.options, rng) for tile in tiles])
        return clean, to_tensor(made).to(clean)
