"""Reconstruction as the minimum of a data term and a penalty: by Adam, or where the problem is quadratic by conjugate gradients."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch

from nopairs.errors import NopairsError
from nopairs.priors.operators import Operator

# A loss so many times that of the start means that the steps are too long.
DIVERGED = 10.0

# (batch, channels, H, W) and the source of randomness in; the negative log density of a pixel, (batch,), out.
Penalty = Callable[[torch.Tensor, torch.Generator], torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class DescentOptions:
    """How a penalised reconstruction is found.

    strength: weight of the penalty, the negative log density of a pixel: with 1 the result is a posterior mode where the penalty is
        the true density of images. Densities of overlapping or dependent parts want less.
    steps: of Adam.
    lr: its learning rate.
    decay: whether the rate falls linearly to zero; a penalty that is drawn at random leaves less noise then.
    discrepancy: an image is done when its mean squared residual is so many noise variances; 0 takes all steps.
    """

    strength: float
    steps: int = 300
    lr: float = 0.03
    decay: bool = True
    discrepancy: float = 0.0

    def __post_init__(self) -> None:
        if min(self.strength, self.discrepancy) < 0 or self.lr <= 0 or self.steps < 1:
            raise NopairsError(
                f"strength {self.strength} and discrepancy {self.discrepancy} must not be negative,"
                f" lr {self.lr} and steps {self.steps} must be positive"
            )


def minimise(
    observed: torch.Tensor,
    operator: Operator,
    penalty: Penalty,
    options: DescentOptions,
    seed: int = 0,
    start: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return argmin |A x - y|^2 / (2 noise^2) + strength * pixels * penalty(x), for each image of a batch by itself.

    Adam begins at an interpolated image. Where an image's loss is not finite or far above that of the start, its best version so far
    is returned and stderr says so; the others go on.

    Args:
        observed: y, (batch, channels, h, w).
        operator: A.
        penalty: may draw numbers, the same ones for every image, so that one in a batch has the result that it has alone.
        options: of the descent.
        seed: of what the penalty draws.
        start: images to begin at, in place of interpolated ones.
    """
    operator.check_observed(observed)
    image = (operator.start(observed) if start is None else start.clone()).requires_grad_(True)
    adam = torch.optim.Adam([image], lr=options.lr)
    return descend(adam, lambda: image, observed, operator, penalty, options, seed)


def descend(
    optimiser: torch.optim.Optimizer,
    make_image: Callable[[], torch.Tensor],
    observed: torch.Tensor,
    operator: Operator,
    penalty: Penalty,
    options: DescentOptions,
    seed: int,
) -> torch.Tensor:
    """As `minimise`, by any optimiser of the parameters of what makes the images."""
    generator = torch.Generator().manual_seed(seed)
    settled = Settled(options.discrepancy)
    best, best_losses, first = torch.empty(0), None, None
    diverged = torch.zeros(len(observed), dtype=torch.bool, device=observed.device)
    for step in range(options.steps):
        if options.decay:
            optimiser.param_groups[0]["lr"] = options.lr * (1 - step / options.steps)
        image = make_image()
        pixels = image[0].numel()
        misfit = operator.misfit(image, observed)
        losses = misfit + options.strength * pixels * penalty(image, generator)
        now = losses.detach() / pixels
        if first is None or best_losses is None:
            first, best_losses, best = now, now, image.detach().clone()
        lost = ~diverged & ~(now <= DIVERGED * (first.abs() + 1))  # also where one is no number
        if bool(lost.any()):
            _tell(lost, step, options)
            diverged |= lost
            if bool(diverged.all()):
                break
        if settled.all(image.detach(), misfit.detach() * (2 / observed[0].numel()), diverged):
            break
        better = (now <= best_losses) & ~diverged
        best_losses = torch.where(better, now, best_losses)
        best[better] = image.detach()[better]
        optimiser.zero_grad(set_to_none=True)
        losses[~diverged].sum().backward()
        optimiser.step()
    with torch.no_grad():
        images = make_image().detach()
        diverged |= ~images.isfinite().flatten(1).all(1)
        images[diverged] = best[diverged]
        return settled.put_in(images)


def _tell(lost: torch.Tensor, step: int, options: DescentOptions) -> None:
    which = (
        f" of images {[k + 1 for k in lost.nonzero()[:, 0].tolist()]} of {len(lost)}" if len(lost) > 1 else ""
    )
    told = f"the descent{which} diverged at step {step} of {options.steps}; the best so far is kept; lower lr {options.lr}"
    print(told, file=sys.stderr)


class Settled:
    """Images of a batch whose residuals have fallen to the size of the noise (Morozov's discrepancy principle): they stay as they are."""

    def __init__(self, discrepancy: float) -> None:
        self.discrepancy = discrepancy
        self.images: dict[int, torch.Tensor] = {}
        self._larger = torch.empty(0, dtype=torch.bool)

    def all(self, images: torch.Tensor, residuals: torch.Tensor, diverged: torch.Tensor) -> bool:
        """Keep the images whose mean squared residual, in noise variances, has fallen far enough; tell whether all are kept, or lost.

        A start with a smaller one, such as an observation that is not blurred, is not done before it has begun.
        """
        small = residuals <= self.discrepancy
        if not len(self._larger):
            self._larger = ~small
        for k in (small & self._larger & ~diverged).nonzero()[:, 0].tolist():
            self.images.setdefault(k, images[k].clone())
        self._larger |= ~small
        return all(lost or k in self.images for k, lost in enumerate(diverged.tolist()))

    def put_in(self, images: torch.Tensor) -> torch.Tensor:
        """Return `images` with the kept ones in their places."""
        for k, image in self.images.items():
            images[k] = image
        return images


def solve(
    normal: Callable[[torch.Tensor], torch.Tensor], right: torch.Tensor, start: torch.Tensor, steps: int
) -> torch.Tensor:
    """Solve normal(x) = right by conjugate gradients, for each image of (batch, ...) by itself."""

    def dot(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return (one * other).flatten(1).sum(1).view(-1, *[1] * (one.ndim - 1))

    x, residual = start, right - normal(start)
    direction, power = residual, dot(residual, residual)
    for _ in range(steps):
        image = normal(direction)
        length = power / dot(direction, image).clamp(min=1e-30)
        x, residual = x + length * direction, residual - length * image
        previous, power = power, dot(residual, residual)
        direction = residual + power / previous.clamp(min=1e-30) * direction
    return x
