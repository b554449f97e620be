"""patchNR: the density of patches by a normalizing flow (Altekrüger, Denker, Hagemann, Hertrich, Maass, Steidl, 2023).

The flow is a sequence of GLOW coupling blocks with fixed permutations, as in the paper. An option goes beyond it: patches are
first made white by a fixed linear map, so that training begins at the Gaussian that fits them best.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from nopairs.errors import NopairsError
from nopairs.priors import patches
from nopairs.priors.base import Log, Prior, frozen
from nopairs.priors.newton import Newton, Preconditioned, patch_precision
from nopairs.priors.operators import Operator
from nopairs.priors.variational import DescentOptions, descend, minimise
from nopairs.training.hardware import autocast
from nopairs.training.loop import Batch
from nopairs.training.options import PRECISIONS, TrainingOptions

# Patches that the whitening is fitted on, and the share of their largest variance that the least one counts as.
WHITENING_PATCHES, LEAST_VARIANCE = 200_000, 1e-6
# Patches of the validation images that a likelihood is measured on.
VALIDATION_PATCHES = 20_000


@dataclass(frozen=True)
class PatchNROptions:
    """The flow; the defaults are the paper's.

    patch_size: side of a patch, pixels.
    blocks: coupling blocks.
    width: of the two hidden layers in each of a block's two networks.
    clamp: largest logarithm of a scale in a block.
    whitening: whether patches are made white before the first block.
    symmetries: whether training patches are also flipped and turned.
    """

    patch_size: int = 6
    blocks: int = 5
    width: int = 512
    clamp: float = 1.6
    whitening: bool = False
    symmetries: bool = False

    def __post_init__(self) -> None:
        for name in ("blocks", "width", "clamp"):
            if getattr(self, name) <= 0:
                raise NopairsError(f"patchnr: {name} is {getattr(self, name)}; it must be positive")
        if self.patch_size < 2:
            raise NopairsError(f"patchnr: patch_size is {self.patch_size}; it must be at least 2")


@dataclass(frozen=True, kw_only=True)
class PatchNRDescent(DescentOptions):
    """As `DescentOptions`; the paper's are strength 0.075 (its lambda 0.15), no decay, 130,000 patches, float32.

    patches: random patches a step; 0 takes a grid at a random offset.
    stride: of that grid; half the side of a patch covers each pixel four times.
    precondition: whether Newton's steps for Gaussian patches take the place of Adam's, and their best images that of interpolated ones;
        needs a flow with whitening, and a rate of about 0.1.
    precision: of the flow, as in a training.
    """

    strength: float = 0.075
    patches: int = 0
    stride: int = 3
    precondition: bool = False
    precision: str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.patches < 0 or self.stride < 1 or self.precision not in PRECISIONS:
            raise NopairsError(
                f"patchnr: patches {self.patches} must not be negative, stride {self.stride} must be positive,"
                f" precision {self.precision!r} one of {', '.join(PRECISIONS)}"
            )


class PatchData:
    """Batches of patches for the training loop."""

    def __init__(
        self,
        images: np.ndarray,
        val: Sequence[np.ndarray],
        options: PatchNROptions,
        training: TrainingOptions,
        operator: Operator | None = None,
    ) -> None:
        """`images`: uint8, or float32 in [0, 1], (count, H, W) to learn from; `val`: such arrays, of any sizes, to measure on."""
        self.images, self.options, self.size = images, options, training.batch
        patches.check_size(images, options.patch_size)
        rng = np.random.default_rng(0)
        self.val = [self._draw(some, VALIDATION_PATCHES // len(val), rng) for some in val]

    def _draw(self, images: np.ndarray, count: int, rng: np.random.Generator) -> torch.Tensor:
        return patches.training_patches(images, self.options.patch_size, count, rng, self.options.symmetries)

    def batch(self, rng: np.random.Generator) -> Batch:
        """Return `patches`, (batch, size^2)."""
        return {"patches": self._draw(self.images, self.size, rng)}

    def describe(self) -> str:
        """Name the images that batches are cut from."""
        return f"patches of {len(self.images)} images"

    @torch.inference_mode()
    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return the mean log density of a pixel of the validation images; nothing where there are none."""
        if not self.val:
            return {}
        device = next(network.parameters()).device
        parts = torch.cat(self.val).split(4096)
        densities = [network.negative_log_density(part.to(device)) for part in parts]  # type: ignore[operator]
        return {"likelihood": -float(torch.cat(densities).mean())}


class Coupling(nn.Module):
    """A GLOW coupling block: each half of the variables is scaled and moved by what a network makes of the other half."""

    def __init__(self, size: int, width: int, clamp: float) -> None:
        super().__init__()
        self.sizes, self.clamp = [size // 2, size - size // 2], clamp
        self.of_second = _network(self.sizes[1], width, 2 * self.sizes[0])
        self.of_first = _network(self.sizes[0], width, 2 * self.sizes[1])

    def forward(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map (count, size) to (count, size) and the logarithm of the Jacobian's determinant, (count,)."""
        first, second = values.split(self.sizes, 1)
        scale, shift = self._scale_and_shift(self.of_second, second)
        first = first * scale.exp() + shift
        other_scale, shift = self._scale_and_shift(self.of_first, first)
        second = second * other_scale.exp() + shift
        return torch.cat([first, second], 1), scale.sum(1) + other_scale.sum(1)

    def inverse(self, values: torch.Tensor) -> torch.Tensor:
        """Undo `forward`."""
        first, second = values.split(self.sizes, 1)
        scale, shift = self._scale_and_shift(self.of_first, first)
        second = (second - shift) * (-scale).exp()
        scale, shift = self._scale_and_shift(self.of_second, second)
        return torch.cat([(first - shift) * (-scale).exp(), second], 1)

    def _scale_and_shift(self, network: nn.Module, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        # In the precision of the values: autocast computes the networks only.
        scale, shift = network(values).to(values).chunk(2, 1)
        return self.clamp * 2 / math.pi * torch.atan(scale / self.clamp), shift


def _network(inputs: int, width: int, outputs: int) -> nn.Sequential:
    """Two hidden layers; the last layer begins at zero, so that a block begins as the identity."""
    last = nn.Linear(width, outputs)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), last)


class PatchNR(Prior):
    """A flow from patches to standard normal variables, and the reconstruction that it regularises."""

    Options = PatchNROptions
    Reconstruction = PatchNRDescent
    Data = PatchData
    learned = True

    def __init__(self, options: PatchNROptions) -> None:
        super().__init__()
        self.options = options
        size = options.patch_size**2
        self.blocks = nn.ModuleList(
            Coupling(size, options.width, options.clamp) for _ in range(options.blocks)
        )
        order = np.random.default_rng(0)
        permutations = np.stack([order.permutation(size) for _ in range(options.blocks)])
        self.permutations: torch.Tensor
        self.centre: torch.Tensor
        self.whiten: torch.Tensor
        self.register_buffer("permutations", torch.from_numpy(permutations))
        self.register_buffer("centre", torch.full((size,), 0.5))
        self.register_buffer("whiten", torch.eye(size))

    def fit(self, images: torch.Tensor, seed: int) -> Log:
        """Set the whitening from images (count, H, W): the inverse Cholesky factor of the patches' covariance."""
        if self.options.whitening:
            seen = patches.some(
                images[None],
                self.options.patch_size,
                max(1, WHITENING_PATCHES // len(images)),
                torch.Generator().manual_seed(seed),
            )[0].double()
            covariance = torch.cov(seen.T, correction=0)
            floor = LEAST_VARIANCE * torch.linalg.eigvalsh(covariance)[-1]
            factor = torch.linalg.cholesky(covariance + floor * torch.eye(len(covariance)))
            self.centre.copy_(seen.mean(0))
            self.whiten.copy_(torch.linalg.inv(factor))
        return []

    def to_latent(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map patches (count, size^2) to latent variables, and the logarithm of the Jacobian's determinant, (count,)."""
        with torch.autocast(rows.device.type, enabled=False):
            values = (rows - self.centre) @ self.whiten.T
        determinant = self.whiten.diagonal().log().sum().expand(len(rows))
        for block, permutation in self._steps():
            values, change = block(values.index_select(1, permutation))
            determinant = determinant + change
        return values, determinant

    def to_patches(self, latent: torch.Tensor) -> torch.Tensor:
        """Undo `to_latent`."""
        for block, permutation in reversed(self._steps()):
            latent = block.inverse(latent)[:, permutation.argsort()]
        return torch.linalg.solve_triangular(self.whiten, latent.T, upper=False).T + self.centre

    def _steps(self) -> list[tuple[Coupling, torch.Tensor]]:
        return list(zip(self.blocks, self.permutations, strict=True))  # type: ignore[arg-type]

    def negative_log_density(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the negative log density of each patch (count, size^2), by pixel: (count,)."""
        latent, determinant = self.to_latent(rows)
        size = latent.shape[1]
        return (latent.square().sum(1) / 2 - determinant) / size + math.log(2 * math.pi) / 2

    def densities(self, rows: torch.Tensor) -> torch.Tensor:
        """As `negative_log_density`, of (images, patches, size^2) as (images, patches)."""
        return self.negative_log_density(rows.flatten(0, 1)).view(rows.shape[:2])

    def losses(self, progress: float, *, patches: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the mean negative log density of a pixel."""
        return {"loss": self.negative_log_density(patches).mean()}

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """As `negative_log_density`."""
        return self.negative_log_density(rows)

    def reconstruct(
        self, observed: torch.Tensor, operator: Operator, options: PatchNRDescent, seed: int = 0
    ) -> torch.Tensor:
        """Map observations (batch, channels, h, w) to images; the penalty is the mean over patches that are drawn in each step."""
        with frozen(self):
            return find(self.densities, self.options, self.whiten[None], observed, operator, options, seed)


@dataclass(frozen=True)
class Anchor:
    """What images are near to: estimates (batch, channels, H, W), and the deviation of their errors."""

    estimate: torch.Tensor
    deviation: float

    def misfit(self, image: torch.Tensor) -> torch.Tensor:
        """Return (batch,): half of the squared distance in deviations, by pixel."""
        return (image - self.estimate).square().flatten(1).mean(1) / (2 * self.deviation**2)


def find(
    density: Callable[[torch.Tensor], torch.Tensor],
    flow: PatchNROptions,
    whiten: torch.Tensor,
    observed: torch.Tensor,
    operator: Operator,
    options: PatchNRDescent,
    seed: int,
    anchor: Anchor | None = None,
) -> torch.Tensor:
    """Return the images behind observations (batch, channels, h, w), of patches of high density.

    Args:
        density: maps patches (batch, patches, size^2), each image's own, to their negative log densities by pixel (batch, patches).
        flow: the flow's options.
        whiten: its fixed map, (1, size^2, size^2), or one for each image.
        observed: by `operator`, to which `options` weigh the density.
        seed: of which patches are drawn in each step.
        anchor: what the images are near to, where there is such a thing; the descent begins there.
    """

    def penalty(image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        drawn = (
            patches.some(image, flow.patch_size, options.patches, generator)
            if options.patches
            else patches.grid(image, flow.patch_size, options.stride, generator)
        )
        with autocast(image.device, options.precision):
            mean = density(drawn).mean(1)
        return mean if anchor is None else mean + anchor.misfit(image) / options.strength

    estimate = None if anchor is None else anchor.estimate
    if not options.precondition:
        return minimise(observed, operator, penalty, options, seed, estimate)
    if not flow.whitening:
        raise NopairsError("patchnr: `precondition` needs a flow with `whitening: true`")
    operator.check_observed(observed)
    size = operator.image_size((observed.shape[-2], observed.shape[-1]))
    precision = torch.stack([patch_precision(one, size) for one in whiten])[:, None]
    of_anchor = 0.0 if anchor is None else anchor.deviation**-2
    newton = Newton(operator, size, options.strength * precision + of_anchor)
    image = (newton.start(observed) if estimate is None else estimate.clone()).requires_grad_(True)
    steps = Preconditioned([image], newton, options.lr)
    return descend(steps, lambda: image, observed, operator, penalty, options, seed)
