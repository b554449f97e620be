"""EDSR: residual blocks without normalisation, then sub-pixel convolutions (Lim et al., CVPR workshops 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from nopairs.data.resizing import enlarge
from nopairs.errors import NopairsError


@dataclass(frozen=True)
class EdsrOptions:
    """Size of the network: 32 blocks of 256 channels in the paper; 64 of 128 as the map of OTS.

    scale: how many times it enlarges, a power of two.
    residual_scale: what each block's output is multiplied by.
    residual: whether it adds to the bicubic enlargement, from which a short training begins.
    """

    scale: int = 4
    width: int = 256
    blocks: int = 32
    residual_scale: float = 0.1
    residual: bool = False

    def __post_init__(self) -> None:
        if self.scale not in (1, 2, 4, 8) or self.width < 1 or self.blocks < 1:
            raise NopairsError(
                f"edsr: scale {self.scale} must be 1, 2, 4 or 8, width {self.width} and blocks {self.blocks} at least 1"
            )


class Block(nn.Module):
    """x + scale conv(relu(conv(x)))."""

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1),
        )
        self.scale = scale

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map features to features of the same shape."""
        return features + self.scale * self.body(features)


class Edsr(nn.Module):
    """Enlarges with all of its depth at the small size."""

    Options: type[Any] = EdsrOptions
    learned = True
    multiple = 1

    def __init__(self, options: EdsrOptions) -> None:
        super().__init__()
        self.options, self.scale = options, options.scale
        width = options.width
        self.head = nn.Conv2d(3, width, 3, padding=1)
        blocks = [Block(width, options.residual_scale) for _ in range(options.blocks)]
        self.body = nn.Sequential(*blocks, nn.Conv2d(width, width, 3, padding=1))
        doublings = options.scale.bit_length() - 1
        larger = [
            part
            for _ in range(doublings)
            for part in (nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2))
        ]
        last = nn.Conv2d(width, 3, 3, padding=1)
        self.tail = nn.Sequential(*larger, last)
        self.margin = min(2 * options.blocks, 48) + 4
        if options.residual:
            last.weight.data.mul_(0.1)
            nn.init.zeros_(last.bias)  # type: ignore[arg-type]  # it has one

    def forward(self, degraded: torch.Tensor) -> torch.Tensor:
        """Map (batch, 3, h, w) in [0, 1] to (batch, 3, scale h, scale w), not clipped."""
        features = self.head(degraded)
        enlarged = self.tail(features + self.body(features))
        return enlarged + enlarge(degraded, self.scale) if self.options.residual else enlarged

    def losses(
        self, progress: float, *, clean: torch.Tensor, degraded: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return the mean absolute error of the enlarged image."""
        return {"loss": F.l1_loss(self(degraded).float(), clean)}
