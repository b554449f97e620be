"""What is wider than a network sees is kept as it was.

A network that sees 35 pixels cannot tell the tint or the shade of a whole surface from noise, and what it makes of them it has from its
training photos: on another camera's photos it moves colours and brightness. Noise has hardly any power there, since it averages out,
so that the degraded photo is nearer to the truth (docs/experiments.md, section 59).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import nn

from nopairs.data.gaussian import gaussian_blur
from nopairs.errors import NopairsError
from nopairs.restorers.tiling import scale_of, surveyed

# Pixels; a tile has three times as much of its surroundings to see.
WIDEST = 64


def check_width(sigma: float, scale: int = 1) -> None:
    """Raise NopairsError unless `sigma` is a width, or 0 for none, and the images have the size of the degraded ones."""
    if not 0 <= sigma <= WIDEST:
        raise NopairsError(
            f"keep_wide {sigma} must be a width of up to {WIDEST} pixels, for instance 12, or 0 to keep nothing"
        )
    if sigma and scale != 1:
        raise NopairsError(
            f"keep_wide: what enlarges {scale} times has no degraded image of its size to keep; leave it out"
        )


def reach(sigma: float) -> int:
    """Return how many pixels around one `keep_wide` looks at."""
    return math.ceil(3 * sigma)


def keep_wide(restored: torch.Tensor, degraded: torch.Tensor, sigma: float) -> torch.Tensor:
    """Return `restored` with what a Gaussian of `sigma` pixels leaves of `degraded` in place of what it leaves of `restored`.

    Both (batch, channels, H, W), of one size; with a `sigma` of 0 `restored` as it is.
    """
    if not sigma:
        return restored
    return restored + gaussian_blur(degraded - restored, 2 * reach(sigma) + 1, sigma, "replicate")


class KeepWide(nn.Module):
    """Any restorer, with what is wider than `sigma` pixels kept; raises NopairsError for one that enlarges."""

    def __init__(self, restorer: nn.Module, sigma: float) -> None:
        super().__init__()
        check_width(sigma, scale_of(restorer))
        self.restorer, self.sigma = restorer, sigma
        self.multiple, self.margin = restorer.multiple, restorer.margin + reach(sigma)  # type: ignore[operator]
        self.positioned = getattr(restorer, "positioned", False)
        self.self_ensemble = getattr(restorer, "self_ensemble", False)

    def survey(self, tiles: Callable[[], Iterable[torch.Tensor]]) -> KeepWide:
        """Return it for an image of several tiles (1, C, h, w), as its restorer has it."""
        return KeepWide(surveyed(self.restorer, tiles), self.sigma)

    def forward(self, degraded: torch.Tensor, *place: torch.Tensor) -> torch.Tensor:
        """Map (batch, 3, H, W) in [0, 1] to the restored image of the same shape, not clipped."""
        return keep_wide(self.restorer(degraded, *place), degraded, self.sigma)
