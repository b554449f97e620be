"""Plug and play: a denoiser in place of a prior's proximal step (Zhang et al., DPIR, 2021).

The published rows of DPIR are of a denoiser that was trained on thousands of photos. This one is a small network that is trained here,
on the dataset's own clean images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from nopairs.errors import NopairsError
from nopairs.priors import patches
from nopairs.priors.base import Prior, validate
from nopairs.priors.networks import Folded
from nopairs.priors.operators import Operator
from nopairs.priors.variational import solve
from nopairs.training.hardware import autocast
from nopairs.training.loop import Batch
from nopairs.training.options import TrainingOptions


@dataclass(frozen=True)
class DenoiserOptions:
    """fold, width, depth: of the `Folded` network. most: deviation of the strongest noise that it learns."""

    fold: int = 2
    width: int = 48
    depth: int = 8
    most: float = 0.2

    def __post_init__(self) -> None:
        if min(self.fold, self.width, self.depth) < 1 or self.most <= 0:
            raise NopairsError(
                f"pnp: fold {self.fold}, width {self.width}, depth {self.depth} and most {self.most} must be positive"
            )


@dataclass(frozen=True, kw_only=True)
class PlugAndPlaySteps:
    """How images are found.

    strength: weight of the denoiser's say, DPIR's lambda.
    steps: of denoising, each with a smaller deviation than the one before.
    first, last: deviations of the first and the last step, the latter in units of the observation's noise.
    solver_steps: of conjugate gradients, at each of them.
    """

    strength: float = 0.23
    steps: int = 16
    first: float = 0.15
    last: float = 1.0
    solver_steps: int = 15

    def __post_init__(self) -> None:
        for name in ("strength", "steps", "first", "last", "solver_steps"):
            if getattr(self, name) <= 0:
                raise NopairsError(f"pnp: {name} is {getattr(self, name)}; it must be positive")


class NoiseData:
    """Crops, and such with white noise of levels from 0 to `most`."""

    def __init__(
        self,
        images: np.ndarray,
        val: Sequence[np.ndarray],
        options: DenoiserOptions,
        training: TrainingOptions,
        operator: Operator | None = None,
    ) -> None:
        """`images`: uint8, or float32 in [0, 1], (count, H, W) to learn from; `val`: such arrays, to measure on."""
        self.images, self.options, self.training = images, options, training
        patches.check_size(images, training.crop)
        rng = np.random.default_rng(0)
        self.val = [self._noisy(some, 8, rng) for some in val]

    def _noisy(self, images: np.ndarray, count: int, rng: np.random.Generator) -> Batch:
        crops = patches.cut(images, self.training.crop, count, rng, symmetries=True)
        level = (self.options.most * rng.random((count, 1, 1, 1))).astype(np.float32)
        clean = np.ascontiguousarray(crops)[:, None]
        noisy = clean + level * rng.standard_normal(clean.shape, dtype=np.float32)
        return {
            "clean": torch.from_numpy(clean),
            "noisy": torch.from_numpy(noisy),
            "level": torch.from_numpy(level),
        }

    def batch(self, rng: np.random.Generator) -> Batch:
        """Return `clean` and `noisy`, (batch, 1, crop, crop), and `level`, (batch, 1, 1, 1)."""
        return self._noisy(self.images, self.training.batch, rng)

    def describe(self) -> str:
        """Name the images that batches are cut from."""
        return f"crops of {len(self.images)} images"

    def validate(self, network: torch.nn.Module) -> dict[str, float]:
        """Return the PSNR of denoised validation crops in dB; nothing where there are none."""
        return validate(network, self.val)


class PlugAndPlay(Prior):
    """A denoiser, and half-quadratic splitting around it."""

    Options = DenoiserOptions
    Reconstruction = PlugAndPlaySteps
    Data = NoiseData
    learned = True
    from_crops = True

    def __init__(self, options: DenoiserOptions) -> None:
        super().__init__()
        self.options = options
        self.network = Folded(options.fold, options.width, options.depth, extra=1)

    def denoise(self, noisy: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        """Map (batch, 1, H, W) with white noise of deviation `level`, (batch, 1, 1, 1), to what it was."""
        return self.network(noisy, level.expand_as(noisy))

    def losses(
        self, progress: float, *, clean: torch.Tensor, noisy: torch.Tensor, level: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return the mean squared error."""
        return {"loss": (self.denoise(noisy, level) - clean).square().mean()}

    @torch.no_grad()
    def reconstruct(
        self, observed: torch.Tensor, operator: Operator, options: PlugAndPlaySteps, seed: int = 0
    ) -> torch.Tensor:
        """Map observations (batch, channels, h, w) to images; nothing is random.

        In turns x = argmin |A x - y|^2 / (2 noise^2) + strength |x - z|^2 / (2 deviation^2) and z, which is x denoised.
        """
        operator.check_observed(observed)
        image = operator.start(observed)
        back = operator.adjoint(observed)
        logs = torch.linspace(math.log(options.first), math.log(options.last * operator.noise), options.steps)
        for deviation in logs.exp().tolist():
            pull = options.strength * operator.noise**2 / deviation**2
            target = image

            def normal(x: torch.Tensor, pull: float = pull) -> torch.Tensor:
                return operator.adjoint(operator(x)) + pull * x

            found = solve(normal, back + pull * target, image, options.solver_steps)
            with autocast(observed.device, "auto"):
                single = found.flatten(0, 1)[:, None]
                denoised = self.denoise(single, single.new_full((len(single), 1, 1, 1), deviation))
            image = denoised.view_as(found)
        return image
