"""What is wider than a network sees is kept as it was.

A network that sees 35 pixels cannot tell the tint or the shade of a whole surface from noise, and what it makes of them it has from its
training photos: on another camera's photos it moves colours and brightness. Noise has hardly any power there, since it averages out,
so that the degraded photo is nearer to the truth (docs/experiments.md, section 59).
"""

from __future__ import annotations

import math

import torch

from nopairs.data.gaussian import gaussian_blur
from nopairs.errors import NopairsError


def check_width(sigma: float) -> None:
    """Raise NopairsError unless `sigma` is a width, or 0 for none."""
    if sigma < 0:
        raise NopairsError(
            f"keep_wide {sigma} must be a width in pixels, for instance 12, or 0 to keep nothing"
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
