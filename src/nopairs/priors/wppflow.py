"""WPPFlows: a conditional normalizing flow that samples from a posterior (Altekrüger, Hertrich, 2023).

For an observation y it makes images x = T(z; y) of standard normal z. It is trained by the backward Kullback-Leibler divergence from the
posterior whose prior is exp(-strength x distance of patches): mean over z of  misfit + strength x distance - log |det dT/dz|.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from nopairs.errors import NopairsError
from nopairs.priors.operators import Operator
from nopairs.priors.patches import within
from nopairs.priors.wppnet import WPPNet, WPPNetOptions
from nopairs.training import parallel
from nopairs.training.hardware import autocast


@dataclass(frozen=True)
class WPPFlowOptions(WPPNetOptions):
    """As `WPPNetOptions`, whose network tells the flow of the observation, and the flow.

    blocks: coupling blocks. hidden: channels of a block's networks. clamp: largest logarithm of a scale in a block.
    spread: deviation of the images' pixels around the network's image before training.
    """

    blocks: int = 4
    hidden: int = 32
    clamp: float = 1.0
    spread: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("blocks", "hidden", "clamp", "spread"):
            if getattr(self, name) <= 0:
                raise NopairsError(f"wppflow: {name} is {getattr(self, name)}; it must be positive")
        if self.fold < 2:
            raise NopairsError(
                "wppflow: fold must be at least 2: halves of a block's pixels tell of the others"
            )


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """samples: how many images of the posterior the reconstruction is the mean of."""

    samples: int = 16

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise NopairsError(f"wppflow: samples {self.samples} must be at least 1")


class ConditionalCoupling(nn.Module):
    """A coupling block on the pixels of blocks, told of an image: each half of them is scaled and moved by what the other half says."""

    def __init__(self, channels: int, options: WPPFlowOptions, order: np.ndarray) -> None:
        super().__init__()
        self.sizes, self.clamp = [channels // 2, channels - channels // 2], options.clamp
        self.order: torch.Tensor
        self.register_buffer("order", torch.from_numpy(order))
        self.of_second = _network(self.sizes[1] + channels, options.hidden, 2 * self.sizes[0])
        self.of_first = _network(self.sizes[0] + channels, options.hidden, 2 * self.sizes[1])

    def forward(self, values: torch.Tensor, told: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map (batch, channels, h, w) to the same and the logarithms of the scales, (batch, channels, h, w)."""
        first, second = values[:, self.order].split(self.sizes, 1)
        scale, shift = self._scale_and_shift(self.of_second, second, told)
        first = first * scale.exp() + shift
        other, shift = self._scale_and_shift(self.of_first, first, told)
        second = second * other.exp() + shift
        return torch.cat([first, second], 1), torch.cat([scale, other], 1)

    def _scale_and_shift(
        self, network: nn.Module, values: torch.Tensor, told: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        scale, shift = network(torch.cat([values, told], 1)).float().chunk(2, 1)
        return self.clamp * 2 / math.pi * torch.atan(scale / self.clamp), shift


def _network(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two layers; the last one begins at zero, so that a block begins as a permutation."""
    last = nn.Conv2d(hidden, outputs, 3, padding=1)
    nn.init.zeros_(last.weight)
    if last.bias is not None:
        nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Conv2d(inputs, hidden, 3, padding=1), nn.ReLU(), last)


class WPPFlow(WPPNet):
    """The network's image, and a flow around it."""

    Options = WPPFlowOptions
    Reconstruction = Sampling

    def __init__(self, options: WPPFlowOptions) -> None:
        super().__init__(options)
        self.flow_options = options
        channels = options.fold**2
        orders = np.random.default_rng(0)
        self.blocks = nn.ModuleList(
            ConditionalCoupling(channels, options, orders.permutation(channels))
            for _ in range(options.blocks)
        )

    def to_images(self, latent: torch.Tensor, start: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map standard normal (batch, 1, H, W) to images, given first guesses (batch, 1, H, W).

        Returns them and, for each pixel, its logarithm of the Jacobian's determinant; the sum over all pixels is the map's.
        """
        fold = self.flow_options.fold
        centre = self.network(start)
        told = F.pixel_unshuffle(centre, fold)
        values = F.pixel_unshuffle(latent, fold)
        logarithms = torch.full_like(values, math.log(self.flow_options.spread))
        for block in self.blocks:
            values, change = block(values, told)
            logarithms = logarithms + change
        spread = self.flow_options.spread * F.pixel_shuffle(values, fold)
        return centre + spread, F.pixel_shuffle(logarithms, fold)

    def losses(self, progress: float, *, observed: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the divergence by pixel, but for its constant, with one z for each observation (batch, 1, h, w)."""
        assert self.operator is not None
        start = self.operator.start(observed)
        images, logarithms = self.to_images(parallel.randn_like(start), start)
        costs = self.costs(images, observed)
        volume = within(logarithms, self.options.edge).mean()
        return {**costs, "loss": costs["loss"] - volume, "volume": volume.detach()}

    @torch.no_grad()
    def sample(self, observed: torch.Tensor, operator: Operator, count: int, seed: int) -> torch.Tensor:
        """Return `count` images of the posterior of each observation (batch, channels, h, w): (count, batch, channels, H, W)."""
        operator.check_observed(observed)
        start = operator.start(observed)
        single = start.flatten(0, 1)[:, None]
        found = []
        for number in range(count):
            generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
            # One z for all, so that an image's samples do not depend on the others in its batch.
            latent = torch.randn(single.shape[1:], generator=generator).to(single).expand_as(single)
            with autocast(observed.device, "auto"):
                images, _ = self.to_images(latent, single)
            found.append(images.view_as(start))
        return torch.stack(found)

    def reconstruct(
        self, observed: torch.Tensor, operator: Operator, options: Sampling, seed: int = 0
    ) -> torch.Tensor:
        """Return the mean of samples."""
        return self.sample(observed, operator, options.samples, seed).mean(0)
