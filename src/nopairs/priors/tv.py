"""Total variation (Rudin, Osher, Fatemi, 1992), the rival that learns nothing; and interpolation, which has no prior."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from nopairs.priors.base import NoOptions, Prior
from nopairs.priors.operators import Operator
from nopairs.priors.variational import DescentOptions, minimise


class Interpolation(Prior):
    """The operator's first guess: bicubic where the observation is smaller than the image."""

    Options = Reconstruction = NoOptions
    from_images = False

    def __init__(self, options: NoOptions) -> None:
        super().__init__()

    def reconstruct(
        self, observed: torch.Tensor, operator: Operator, options: NoOptions, seed: int = 0
    ) -> torch.Tensor:
        """Map observations (batch, channels, h, w) to interpolated images."""
        operator.check_observed(observed)
        return operator.start(observed)


@dataclass(frozen=True, kw_only=True)
class TVDescent(DescentOptions):
    """As `DescentOptions`; `smoothing` rounds the penalty's corner off, in units of the gradient."""

    strength: float = 10.0
    smoothing: float = 1e-3


class TV(Prior):
    """L2-TV: least squares with the mean length of the gradient as the penalty."""

    Options = NoOptions
    Reconstruction = TVDescent
    from_images = False

    def __init__(self, options: NoOptions) -> None:
        super().__init__()

    def reconstruct(
        self, observed: torch.Tensor, operator: Operator, options: TVDescent, seed: int = 0
    ) -> torch.Tensor:
        """Map observations (batch, channels, h, w) to images."""
        return minimise(
            observed, operator, lambda image, _: variation(image, options.smoothing), options, seed
        )


def variation(image: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Return the mean over pixels of sqrt(|gradient|^2 + smoothing^2), (batch,), by forward differences that end at the edges."""
    down = F.pad(image.diff(dim=-2), (0, 0, 0, 1))
    right = F.pad(image.diff(dim=-1), (0, 1))
    return (down.square() + right.square() + smoothing**2).sqrt().mean((1, 2, 3))
