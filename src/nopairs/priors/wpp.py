"""The Wasserstein patch prior: the distance of an image's patches from those of a reference (Hertrich, Houdard, Redenbach, 2022).

On each of several scales, half of the squared 2-Wasserstein distance between the two sets of patches by its semi-dual form,

    max over psi of  mean_j psi^c(x_j) + mean_k psi_k,   psi^c(x) = min_k |x - q_k|^2 / 2 - psi_k.

The gradient in x is that of the first mean at the best psi (the envelope theorem): each patch is drawn to the q_k of its minimum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from nopairs.data.gaussian import gaussian_taps
from nopairs.errors import NopairsError
from nopairs.priors import patches
from nopairs.priors.base import Log, Prior
from nopairs.priors.operators import Operator
from nopairs.priors.variational import DescentOptions, minimise
from nopairs.training import parallel

# Distances held in memory at a time: 16 MB of them.
BLOCK = 1 << 22
# Taps and deviation of the blur before every second pixel is taken.
TAPS, SIGMA = 4, 1.0


@dataclass(frozen=True)
class WPPOptions:
    """patch_size: side of a patch, pixels. scales: the image itself, its half, and so on."""

    patch_size: int = 6
    scales: int = 2

    def __post_init__(self) -> None:
        if self.patch_size < 1 or self.scales < 1:
            raise NopairsError(
                f"wpp: patch_size {self.patch_size} and scales {self.scales} must be at least 1"
            )


@dataclass(frozen=True, kw_only=True)
class WPPDescent(DescentOptions):
    """As `DescentOptions`; the penalty of a pixel is the distance divided by the pixels of a patch.

    references: patches of the reference on each scale, drawn once.
    stride: of the grid of the image's patches; 1 takes all of them.
    dual_steps: towards the best psi in each step; psi goes on from where the last step left it.
    dual_lr: their length at first, in units of the patches' mean cost.
    """

    strength: float = 300.0
    steps: int = 500
    lr: float = 0.01
    references: int = 10_000
    stride: int = 3
    dual_steps: int = 10
    dual_lr: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("references", "stride", "dual_steps", "dual_lr"):
            if getattr(self, name) <= 0:
                raise NopairsError(f"wpp: {name} is {getattr(self, name)}; it must be positive")


class WPP(Prior):
    """Keeps the reference images; there is nothing else to learn."""

    Options = WPPOptions
    Reconstruction = WPPDescent

    def __init__(self, options: WPPOptions) -> None:
        super().__init__()
        self.options = options
        self.reference: torch.Tensor
        self.register_buffer("reference", torch.zeros(0, 0, 0))
        self.register_load_state_dict_pre_hook(_take_size)

    def fit(self, images: torch.Tensor, seed: int) -> Log:
        """Keep images (count, H, W) as the reference."""
        smallest = self.options.patch_size * 2 ** (self.options.scales - 1)
        if min(images.shape[1:]) < smallest + 2 * TAPS:
            raise NopairsError(
                f"a reference of {images.shape[1]}x{images.shape[2]} pixels is smaller than a patch on scale {self.options.scales}"
            )
        self.reference = images.clone()
        return []

    def reconstruct(
        self, observed: torch.Tensor, operator: Operator, options: WPPDescent, seed: int = 0
    ) -> torch.Tensor:
        """Map observations (batch, channels, h, w) to images."""
        size = self.options.patch_size
        generator = torch.Generator().manual_seed(seed)
        drawn = [
            patches.references(scale[0], size, options.references, generator)
            for scale in pyramid(self.reference[None], self.options.scales)
        ]
        # A potential for each image of the batch, on each scale.
        duals = [[Dual(rows, options.dual_lr) for rows in drawn] for _ in observed]

        def penalty(image: torch.Tensor, source: torch.Generator) -> torch.Tensor:
            scales = [
                patches.grid(scale, size, options.stride, source)
                for scale in pyramid(image, self.options.scales)
            ]
            distances = [
                torch.stack(
                    [dual(rows[k], options.dual_steps) for dual, rows in zip(own, scales, strict=True)]
                ).sum()
                for k, own in enumerate(duals)
            ]
            return torch.stack(distances) / size**2

        return minimise(observed, operator, penalty, options, seed)


class Dual(torch.nn.Module):
    """The potential psi on reference patches (count, size), and how it is improved. All of its state is saved with a model."""

    def __init__(self, reference: torch.Tensor, lr: float) -> None:
        super().__init__()
        self.lr = lr
        self.reference: torch.Tensor
        self.psi: torch.Tensor
        self.steps: torch.Tensor
        self.unit: torch.Tensor
        self.register_buffer("reference", reference.clone())
        self.register_buffer("psi", torch.zeros_like(reference[:, 0]))
        self.register_buffer("steps", torch.zeros((), dtype=torch.float64))
        self.register_buffer("unit", torch.zeros((), dtype=torch.float64))

    def forward(self, rows: torch.Tensor, steps: int) -> torch.Tensor:
        """Return half of the squared distance of patches (count, size) after `steps` of ascent, differentiable by the patches.

        Each step moves psi against how much more than its share of the patches a reference patch has, by a length that falls with
        the square root of the steps so far; the psi that is used is the mean over these steps (Polyak's averaging).
        """
        with torch.no_grad():
            average = torch.zeros_like(self.psi)
            for _ in range(steps):
                nearest = self.nearest(rows, self.psi)
                if not self.steps:
                    unit = (rows - self.reference[nearest]).square().sum(1).mean() / 2
                    self.unit = parallel.total(unit.double()) / parallel.size()
                counts = parallel.total(nearest.bincount(minlength=len(self.psi)))
                share = counts * (len(self.psi) / (len(rows) * parallel.size()))
                self.psi = self.psi + float(self.lr * self.unit * (1 + self.steps) ** -0.5) * (1 - share)
                self.steps = self.steps + 1
                average += self.psi / steps
            nearest = self.nearest(rows, average)
        costs = (rows - self.reference[nearest]).square().sum(1) / 2 - average[nearest]
        return costs.mean() + average.mean()

    def nearest(self, rows: torch.Tensor, psi: torch.Tensor) -> torch.Tensor:
        """Return for each patch the reference patch of least |x - q|^2 / 2 - psi, (count,), a block of distances at a time."""
        offset, reference = self.reference.square().sum(1) / 2 - psi, self.reference.T
        parts = rows.split(max(1, BLOCK // len(self.psi)))
        return torch.cat([torch.addmm(offset, part, reference, alpha=-1).argmin(1) for part in parts])


def pyramid(image: torch.Tensor, scales: int) -> list[torch.Tensor]:
    """Return images (batch, channels, H, W) and, blurred and taken at every second pixel, their smaller versions."""
    taps = gaussian_taps(TAPS, SIGMA).to(image)
    kernel = torch.outer(taps, taps)[None, None]
    found = [image]
    for _ in range(scales - 1):
        height, width = found[-1].shape[-2:]
        smaller = F.conv2d(found[-1].reshape(-1, 1, height, width), kernel, stride=2)
        found.append(smaller.view(*image.shape[:2], *smaller.shape[-2:]))
    return found


def _take_size(module: torch.nn.Module, weights: dict[str, Any], prefix: str, *_: Any) -> None:
    """Let a model be loaded whose reference has another size than the empty one that it begins with."""
    if (saved := weights.get(f"{prefix}reference")) is not None:
        module.reference = torch.empty_like(saved)
