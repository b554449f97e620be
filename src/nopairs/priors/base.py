"""What every prior is: something that may learn from a few images, and then reconstructs what an operator has observed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from nopairs.errors import NopairsError
from nopairs.priors.operators import Operator
from nopairs.training.hardware import autocast

Log = list[dict[str, float]]
Network = TypeVar("Network", bound=nn.Module)


class Prior(nn.Module, ABC):
    """A prior. It learns from images unless `from_images` says not; `learned` ones are trained by the training loop, after `fit`.

    Those that learn from crops of the clean tiles say so (`from_crops`), since a crop must not be larger than a tile.

    Some must know the operator to learn (`needs_operator`), and serve no other one; some take operators that are a filter's kernel only
    (`needs_kernel`), whose observations lie as their images do; some learn from a dataset's observations too
    (`from_observations`), and have their `operator` set for it.

    A GPU reconstructs `at_once` images of one size together.

    Colour images are reconstructed channel by channel: a prior sees images of one channel, as `planes` makes them.
    """

    learned = False
    from_images = True
    from_crops = False
    needs_operator = False
    needs_kernel = False
    from_observations = False
    at_once = 10
    operator: Operator | None
    Options: type  # of what is learned, or of nothing
    Reconstruction: type  # of how images are found; has a `strength` where there is a weight to be chosen

    def fit(self, images: torch.Tensor, seed: int) -> Log:
        """Learn from images (count, height, width) in [0, 1]; returns rows of a log. Nothing where there is nothing to learn."""
        return []

    @abstractmethod
    def reconstruct(
        self, observed: torch.Tensor, operator: Operator, options: Any, seed: int = 0
    ) -> torch.Tensor:
        """Map observations (batch, channels, h, w) to images of the size that `operator` says, not clipped.

        `options` is a `Reconstruction`. Equal seeds give equal results; but for rounding, an image's result does not depend on
        the others in its batch.
        """


@dataclass(frozen=True)
class NoOptions:
    """No options."""


class NetworkPrior(Prior):
    """A `network` that maps the operator's first guess to the image; it serves the operator that it was trained for."""

    needs_operator = True
    network: nn.Module

    @torch.no_grad()
    def reconstruct(
        self, observed: torch.Tensor, operator: Operator, options: Any, seed: int = 0
    ) -> torch.Tensor:
        """Map observations (batch, channels, h, w) to images."""
        operator.check_observed(observed)
        start = operator.start(observed)
        with autocast(observed.device, "auto"):
            found = self.network(start.flatten(0, 1)[:, None])
        return found.view_as(start)


def planes(images: np.ndarray) -> np.ndarray:
    """Turn uint8 (count, H, W, 3) into (count, H, W) where all are grey, else into (3 count, H, W), every channel an image."""
    if (images == images[..., :1]).all():
        return np.ascontiguousarray(images[..., 0])
    return np.ascontiguousarray(np.moveaxis(images, -1, 1).reshape(-1, *images.shape[1:3]))


def to_planes(image: np.ndarray) -> torch.Tensor:
    """Turn uint8 (H, W, 3) into float32 (channels, H, W) in [0, 1], of one channel where it is grey."""
    return torch.from_numpy(planes(image[None])).float() / 255


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Keep a module's parameters without gradients."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)


@torch.inference_mode()
def validate(network: nn.Module, val: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, float]:
    """Return the PSNR in dB of batches whose loss is the mean squared error; nothing where there are none."""
    if not val:
        return {}
    device = next(network.parameters()).device
    errors = [
        network.losses(1.0, **{key: value.to(device) for key, value in batch.items()})["loss"]  # type: ignore[operator]
        for batch in val
    ]
    return {"psnr": -10 * float(torch.stack(errors).mean().log10())}


def seeded(make: Callable[[], Network], seed: int) -> Network:
    """Make a network, with the random numbers of `seed` and no effect on others."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def as_images(observed: torch.Tensor) -> np.ndarray:
    """Return an observation (channels, h, w) as float32 images."""
    return observed.float().cpu().numpy()


def check_training(kind: str, steps: int, batch: int, lr: float) -> None:
    """Raise NopairsError for a training that is none."""
    if min(steps, batch) < 1 or lr <= 0:
        raise NopairsError(
            f"{kind}: training steps {steps}, batch {batch} and learning rate {lr} must be positive"
        )
