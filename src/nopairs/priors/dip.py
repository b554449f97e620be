"""DIP+TV: the deep image prior (Ulyanov, Vedaldi, Lempitsky, 2018) with total variation (Baguer, Leuschner, Schmidt, 2020).

An untrained network, fitted to one observation, makes images before it makes noise; nothing is learned from images. Here it makes what
is to be added to an interpolated image, which saves most of the steps, and it does so at the image's own resolution from noise that stays
the same: pixels shuffled out of channels, and an input disturbed anew in each step, cost 0.3 dB (docs/experiments.md, 45).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from nopairs.errors import NopairsError
from nopairs.priors.base import NoOptions, Prior
from nopairs.priors.networks import UNet
from nopairs.priors.operators import Operator
from nopairs.priors.tv import variation
from nopairs.priors.variational import DescentOptions, descend
from nopairs.training.hardware import autocast

# Largest value of the network's input, as its authors have it.
INPUT_SCALE = 0.1


@dataclass(frozen=True, kw_only=True)
class DIPDescent(DescentOptions):
    """As `DescentOptions`, whose strength is total variation's, and the network.

    smoothing: rounds total variation's corner off, in units of the gradient.
    width: channels.
    scales: how many times the network halves the image.
    precision: of the network, as in a training.
    """

    strength: float = 2.0
    steps: int = 500
    lr: float = 0.003
    smoothing: float = 1e-3
    width: int = 16
    scales: int = 3
    precision: str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.width, self.scales) < 1:
            raise NopairsError(f"dip: width {self.width} and scales {self.scales} must be at least 1")


class DIP(Prior):
    """The deep image prior with total variation: a network for each image."""

    Options = NoOptions
    Reconstruction = DIPDescent
    from_images = False

    def __init__(self, options: NoOptions) -> None:
        super().__init__()

    def reconstruct(
        self, observed: torch.Tensor, operator: Operator, options: DIPDescent, seed: int = 0
    ) -> torch.Tensor:
        """Map observations (batch, channels, h, w) to images, each channel by a network of its own."""
        operator.check_observed(observed)
        planes = observed.flatten(0, 1)[:, None, None]
        found = torch.cat([_fit(plane, operator, options, seed) for plane in planes])
        return found.view(*observed.shape[:2], *found.shape[-2:])


def _fit(observed: torch.Tensor, operator: Operator, options: DIPDescent, seed: int) -> torch.Tensor:
    """Fit a network to one observation (1, 1, h, w)."""
    start = operator.start(observed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generated = Generated(start, options)
    generated.to(observed.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return descend(
        torch.optim.Adam(generated.parameters(), lr=options.lr),
        generated,
        observed,
        operator,
        lambda image, _: variation(image, options.smoothing),
        options,
        seed,
    )


class Generated(nn.Module):
    """An image, and what a network makes of noise on top of it: nothing at first."""

    def __init__(self, start: torch.Tensor, options: DIPDescent) -> None:
        super().__init__()
        self.precision = options.precision
        self.network = UNet(options.width, 1, options.width, options.scales)
        for parameter in self.network.last.parameters():
            nn.init.zeros_(parameter)
        self.start: torch.Tensor
        self.noise: torch.Tensor
        self.register_buffer("start", start)
        self.register_buffer("noise", INPUT_SCALE * torch.rand(1, options.width, *start.shape[-2:]))

    def forward(self) -> torch.Tensor:
        """Return the image, (1, 1, H, W)."""
        with autocast(self.noise.device, self.precision):
            made = self.network(self.noise)
        return self.start + made.float()
