"""localAR: a penalty that a critic of patches has learned (Prost, Houdard, Almansa, Papadakis, SSVM 2021).

The critic learns to tell patches of clean images from those of what the operator's first guess makes of them, as in a Wasserstein GAN
with gradient penalty; then it is no adversary but the prior: its mean over an image's patches is the penalty. It takes away what first
guesses have and clean images have not: noise and streaks, where the guess is an inverse (scans, denoising). Where it is an interpolation
of a small image it is smooth, and the critic knows nothing of noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from nopairs.errors import NopairsError
from nopairs.priors.base import Prior, frozen
from nopairs.priors.operators import Operator
from nopairs.priors.patches import within
from nopairs.priors.supervised import PairData
from nopairs.priors.variational import DescentOptions, minimise
from nopairs.training.hardware import autocast
from nopairs.training.minimax import gradient_penalty
from nopairs.training.options import TrainingOptions

# Of the critic's rectifiers below zero.
SLOPE = 0.2


@dataclass(frozen=True)
class LocalAROptions:
    """The critic, and how it learns.

    depth, width: of its convolutions; it sees patches of 2 depth + 1 pixels a side, 15 in the paper.
    gradient_penalty: weight of the square of what its gradient's norm is above 1.
    edge: pixels at the edges of a crop that do not count, where the operator sees what is not there.
    """

    depth: int = 7
    width: int = 64
    gradient_penalty: float = 10.0
    edge: int = 16

    def __post_init__(self) -> None:
        if min(self.depth, self.width) < 1 or self.gradient_penalty <= 0 or self.edge < 0:
            raise NopairsError(
                f"local_ar: depth {self.depth}, width {self.width} and gradient_penalty {self.gradient_penalty} must be positive,"
                f" edge {self.edge} not negative"
            )

    @property
    def patch_size(self) -> int:
        """Side of the patches that the critic sees."""
        return 2 * self.depth + 1


@dataclass(frozen=True, kw_only=True)
class LocalARDescent(DescentOptions):
    """As `DescentOptions`. The critic has no unit, so `strength` is chosen on `val`."""

    strength: float = 10.0


class CriticData(PairData):
    """Crops and first guesses, as for a supervised network. A critic that tells them better is no better prior: nothing is validated."""

    def __init__(
        self,
        images: np.ndarray,
        val: Sequence[np.ndarray],
        options: LocalAROptions,
        training: TrainingOptions,
        operator: Operator | None,
    ) -> None:
        """`images`: uint8, or float32 in [0, 1], (count, H, W) to learn from; `val` is not looked at."""
        super().__init__(images, [], options, training, operator)
        if training.crop - 2 * options.edge < options.patch_size:
            raise NopairsError(
                f"local_ar: a crop of {training.crop} within an edge of {options.edge} is smaller than a patch of {options.patch_size};"
                " take a larger crop"
            )

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return nothing."""
        return {}


class LocalAR(Prior):
    """The critic, and the reconstruction that it regularises."""

    Options = LocalAROptions
    Reconstruction = LocalARDescent
    Data = CriticData
    learned = True
    from_crops = True
    needs_operator = True

    def __init__(self, options: LocalAROptions) -> None:
        super().__init__()
        self.options = options
        layers: list[nn.Module] = []
        for depth in range(options.depth):
            layers += [nn.Conv2d(options.width if depth else 1, options.width, 3), nn.LeakyReLU(SLOPE)]
        self.critic = nn.Sequential(*layers, nn.Conv2d(options.width, 1, 1))
        for layer in self.critic:
            if isinstance(
                layer, nn.Conv2d
            ):  # with torch's own start a deep critic is flat, and long in learning
                nn.init.kaiming_normal_(layer.weight, a=SLOPE, nonlinearity="leaky_relu")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return how little each patch of (batch, 1, H, W) looks like a clean one: (batch, 1, H - 2 depth, W - 2 depth)."""
        return self.critic(images)

    def losses(self, progress: float, *, clean: torch.Tensor, start: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the critic's mean of clean patches less that of first guesses' ones, and the gradient penalty between them."""
        real, guessed = (self._patches(images) for images in (clean, start))
        distance = self(guessed).float().mean() - self(real).float().mean()
        with torch.autocast(real.device.type, enabled=False):
            steepness = gradient_penalty(self, guessed, real)
        return {"loss": self.options.gradient_penalty * steepness - distance, "distance": distance.detach()}

    def _patches(self, images: torch.Tensor) -> torch.Tensor:
        """Cut what is within the edge of (batch, 1, H, W) into patches that the critic sees whole: (count, 1, size, size)."""
        size = self.options.patch_size
        columns = F.unfold(within(images, self.options.edge), size, stride=size)
        return columns.transpose(1, 2).reshape(-1, 1, size, size)

    def reconstruct(
        self, observed: torch.Tensor, operator: Operator, options: LocalARDescent, seed: int = 0
    ) -> torch.Tensor:
        """Map observations (batch, channels, h, w) to images; the penalty is the critic's mean over all patches, mirrored at the edges."""
        reach = (self.options.depth,) * 4

        def penalty(image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
            with autocast(image.device, "auto"):
                values = self(F.pad(image.flatten(0, 1)[:, None], reach, mode="reflect"))
            return values.float().view(len(image), -1).mean(1)

        with frozen(self):
            return minimise(observed, operator, penalty, options, seed)
