"""Reconstruction as the minimum of a data term and a penalty, found by Adam from an interpolated start."""

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
    """

    strength: float
    steps: int = 300
    lr: float = 0.03
    decay: bool = True

    def __post_init__(self) -> None:
        if self.strength < 0 or self.lr <= 0 or self.steps < 1:
            raise NopairsError(
                f"strength {self.strength} must not be negative, lr {self.lr} and steps {self.steps} must be positive"
            )


def minimise(
    observed: torch.Tensor, operator: Operator, penalty: Penalty, options: DescentOptions, seed: int = 0
) -> torch.Tensor:
    """Return argmin |A x - y|^2 / (2 noise^2) + strength * pixels * penalty(x), for each image of a batch by itself.

    Where a loss is not finite or far above that of the start, the best images so far are returned and stderr says so.

    Args:
        observed: y, (batch, channels, h, w).
        operator: A.
        penalty: may draw numbers, the same ones for every image, so that one in a batch has the result that it has alone.
        options: of the descent.
        seed: of what the penalty draws.
    """
    operator.check_observed(observed)
    image = operator.start(observed).requires_grad_(True)
    optimiser = torch.optim.Adam([image], lr=options.lr)
    generator = torch.Generator().manual_seed(seed)
    pixels = image[0].numel()
    best, best_losses, first = image.detach().clone(), None, None
    for step in range(options.steps):
        if options.decay:
            optimiser.param_groups[0]["lr"] = options.lr * (1 - step / options.steps)
        misfit = (operator(image) - observed).square().sum((1, 2, 3)) / (2 * operator.noise**2)
        losses = misfit + options.strength * pixels * penalty(image, generator)
        now = losses.detach() / pixels
        if first is None or best_losses is None:
            first = best_losses = now
        if not bool((now <= DIVERGED * (first.abs() + 1)).all()):  # also where one is no number
            told = f"the descent diverged at step {step} of {options.steps}; its best images so far are kept; lower lr {options.lr}"
            print(told, file=sys.stderr)
            return best
        better = now <= best_losses
        best_losses = torch.where(better, now, best_losses)
        best[better] = image.detach()[better]
        optimiser.zero_grad(set_to_none=True)
        losses.sum().backward()
        optimiser.step()
    return image.detach()
