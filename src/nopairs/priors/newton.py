"""Newton's steps for a Gaussian model of images: what makes descents of patch densities short.

Blurred directions are flat in the data term and steep in the prior, by factors of thousands. For images that are stationary and Gaussian,
with precision K, and an operator that is a convolution, H = A* A / noise^2 + K is inverted exactly in the frequencies: with D = K^-1,
H^-1 = D - D A* (noise^2 + A D A*)^-1 A D, where A D A* is a convolution on the grid of observations (Zhao et al., 2016).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from nopairs.errors import NopairsError
from nopairs.priors.operators import Convolution, Operator, Size


class Newton:
    """H^-1 for images of one size, all of which end periodically here: near their edges it is a good guess only."""

    def __init__(self, operator: Operator, size: Size, precision: torch.Tensor) -> None:
        """`size` is that of the images; `precision`: K by frequency, as `patch_precision` gives, of all or (batch, 1, ...) of each."""
        if not isinstance(operator, Convolution):
            raise NopairsError(
                "precondition: needs an operator that is a convolution, such as blur_downsample; set `precondition: false`"
            )
        self.operator, self.size, self.precision = operator, size, precision
        self.around = operator.periodic()
        self.small = self.around.observed_size(size)
        impulse = torch.zeros(1, 1, *self.small, device=precision.device)
        impulse[..., 0, 0] = 1
        response = self.around(self._filtered(self.around.adjoint(impulse), 1 / precision))
        self.seen = torch.fft.rfft2(response).real.clamp(min=0) + operator.noise**2

    def __call__(self, gradient: torch.Tensor) -> torch.Tensor:
        """Map gradients (batch, channels, H, W) to steps."""
        spread = self._filtered(gradient, 1 / self.precision)
        seen = torch.fft.irfft2(torch.fft.rfft2(self.around(spread)) / self.seen, s=self.small)
        return spread - self._filtered(self.around.adjoint(seen), 1 / self.precision)

    def start(self, observed: torch.Tensor) -> torch.Tensor:
        """Return the Gaussian model's best images, but for the edges: a step from interpolated ones; each keeps its mean."""
        image = self.operator.start(observed)
        data = self.operator.adjoint(self.operator(image) - observed) / self.operator.noise**2
        centred = image - image.mean((-2, -1), keepdim=True)
        return image - self(data + self._filtered(centred, self.precision))

    def _filtered(self, values: torch.Tensor, gains: torch.Tensor) -> torch.Tensor:
        return torch.fft.irfft2(torch.fft.rfft2(values) * gains, s=self.size)


class Preconditioned(torch.optim.Optimizer):
    """Gradient descent whose steps Newton's matrix makes."""

    def __init__(self, parameters: Iterable[torch.Tensor], newton: Newton, lr: float) -> None:
        super().__init__(parameters, {"lr": lr})
        self.newton = newton

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Take one step."""
        for group in self.param_groups:
            for image in group["params"]:
                image -= group["lr"] * self.newton(image.grad)


def patch_precision(whiten: torch.Tensor, size: Size) -> torch.Tensor:
    """Return by frequency, (H, W // 2 + 1), the precision of images whose patches |whiten p|^2 / 2 is the energy of, by pixel.

    `whiten` is (side^2, side^2); all overlapping patches of an image (H, W) are averaged, and a pixel is in side^2 of them.
    """
    squared = (whiten.T @ whiten).double()
    side = round(len(whiten) ** 0.5)
    row, column = (
        torch.arange(side**2, device=whiten.device) // side,
        torch.arange(side**2, device=whiten.device) % side,
    )
    kernel = torch.zeros(size, dtype=torch.float64, device=whiten.device)
    places = (
        ((row[None] - row[:, None]) % size[0]).flatten(),
        ((column[None] - column[:, None]) % size[1]).flatten(),
    )
    kernel.index_put_(places, squared.flatten() / side**2, accumulate=True)
    found = torch.fft.rfft2(kernel).real
    return found.clamp(min=1e-9 * float(found.max())).float()
