"""Stacking: a mean of a trained DnCNN's image, of classical restorers' ones and of the degraded one (Wolpert, 1992).

A network that learned a noise from few photos, BM3D and MCWNNM, which compare patches far apart and shrink them differently, err
differently, and a mean of them can be better than each (docs/experiments.md, sections 23, 35 and 63). How much each is worth depends on
how wide the detail is, so each band of frequencies has weights of its own, those of highest mean PSNR on `val`; they sum to one, so that
what all agree on stays.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

from nopairs.data.tiles import to_tensor
from nopairs.errors import NopairsError
from nopairs.restorers.classical import BM3D, NLM, BM3DOptions, ClassicalRestorer, NLMOptions
from nopairs.restorers.dncnn import DnCNN, DnCNNOptions
from nopairs.restorers.mcwnnm import MCWNNM, MCWNNMOptions
from nopairs.restorers.tiling import surveyed

# Widths of the Gaussian filters between the bands, in pixels.
SIGMAS = (1.0, 2.0, 4.0, 8.0)
# Below a hundredth of a level: an image that is matched exactly must not weigh without bound.
SMALLEST_ERROR = (0.01 / 255) ** 2
# One pass of MCWNNM, on patches side by side, is worth as much to a mean as the authors' two on overlapping ones, in a third of the time;
# it asks for twice their strength (docs/experiments.md, section 63).
QUICK_MCWNNM = partial(MCWNNMOptions, passes=1, step=6)
CLASSICAL: dict[str, tuple[type[ClassicalRestorer], Callable[[float], Any]]] = {
    "bm3d": (BM3D, BM3DOptions),
    "nlm": (NLM, NLMOptions),
    "mcwnnm": (MCWNNM, QUICK_MCWNNM),
}


@dataclass(frozen=True)
class StackedOptions(DnCNNOptions):
    """Size of the DnCNN whose weights are applied, and the classical restorers beside it.

    guides: (kind, strength) each, a kind of `CLASSICAL`; between several strengths of one the weights choose.
    """

    guides: tuple[tuple[str, float], ...] = (("bm3d", 0.05), ("bm3d", 0.1), ("mcwnnm", 2), ("mcwnnm", 8))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.self_ensemble:
            raise NopairsError("stacked: its guides for eight views take too long; leave `self_ensemble` out")
        classical(self.guides)


class Stacked(DnCNN):
    """A mean of images by `shares`, of each member in each band; it is not trained: it takes a trained DnCNN's weights."""

    Options = StackedOptions
    lenders = ("dncnn",)
    with_classical = True  # which take longer than a network

    def __init__(self, options: StackedOptions) -> None:
        super().__init__(options)
        self.names = ("network", *(f"{kind} {strength}" for kind, strength in options.guides), "degraded")
        guides = classical(options.guides)
        self.guides: list[nn.Module] = [*guides]
        self.margin = max(self.margin, *(guide.margin for guide in guides)) + math.ceil(4 * SIGMAS[-1])
        self.shares: torch.Tensor
        shares = torch.zeros(len(self.names), 1 + len(SIGMAS))
        shares[0] = 1
        self.register_buffer("shares", shares)
        self.register_load_state_dict_pre_hook(_keep_shares)

    def survey(self, tiles: Callable[[], Iterable[torch.Tensor]]) -> Stacked:
        """Return the restorer for an image of several tiles (1, 3, h, w): its guides know the whole image."""
        known = copy.copy(self)
        known.guides = [surveyed(guide, tiles) for guide in self.guides]
        return known

    def members(self, degraded: torch.Tensor) -> torch.Tensor:
        """Return the images of (batch, 3, H, W) in [0, 1] that are averaged, the network's first: (members, batch, 3, H, W)."""
        return torch.stack(
            [super().forward(degraded).float(), *(guide(degraded) for guide in self.guides), degraded]
        )

    def forward(self, degraded: torch.Tensor) -> torch.Tensor:
        """Map (batch, 3, H, W) in [0, 1] to the mean image of the same shape, not clipped."""
        network, *others = self.members(degraded)
        mean = network
        for shares, other in zip(self.shares[1:], others, strict=True):
            mean = mean + torch.einsum("k,k...->...", shares, bands(other - network))
        return mean

    @torch.inference_mode()
    def choose(self, val: Sequence[tuple[np.ndarray, np.ndarray]]) -> dict[str, list[float]]:
        """Set the shares of highest mean PSNR on (clean, degraded) images, uint8 (H, W, 3); returns each member's by its name.

        Raises NopairsError if there are none.
        """
        if not val:
            raise NopairsError(
                "stacked: its weights are chosen on validation pairs, and this dataset has none; leave the method out"
            )
        self.eval()
        found = least_log_error([self._moments(*pair) for pair in val]).view(-1, self.shares.shape[1])
        self.shares.copy_(torch.cat([1 - found.sum(0, keepdim=True), found]))
        return dict(zip(self.names, self.shares.tolist(), strict=True))

    def _moments(self, clean: np.ndarray, degraded: np.ndarray) -> Moments:
        network, *others = self.members(to_tensor(degraded[None])).double()
        away = torch.cat([bands(other - network).flatten(1) for other in others])
        missing = (to_tensor(clean[None]).double() - network).flatten()
        scale = 1 / missing.numel()
        return Moments(away @ away.T * scale, away @ missing * scale, float(missing.square().mean()))


@dataclass(frozen=True)
class Moments:
    """What an image's mean squared error |missing - shares away|^2 / n depends on.

    gram: away away^T / n; right: away missing / n; power: |missing|^2 / n.
    """

    gram: torch.Tensor
    right: torch.Tensor
    power: float

    def error(self, shares: torch.Tensor) -> float:
        """Return the mean squared error of `shares`."""
        return float(self.power - 2 * shares @ self.right + shares @ self.gram @ shares)


def least_log_error(images: Sequence[Moments], steps: int = 10) -> torch.Tensor:
    """Return the shares whose images have the least mean logarithm of the squared error, hence the highest mean PSNR.

    Least squares, repeated with each image weighted by the inverse of its error so far: with equal weights the noisiest image would decide.
    """
    weights = [1.0] * len(images)
    for _ in range(1 + steps):
        gram = torch.stack([weight * one.gram for weight, one in zip(weights, images, strict=True)]).sum(0)
        right = torch.stack([weight * one.right for weight, one in zip(weights, images, strict=True)]).sum(0)
        # The solution of least length: two members may be equal.
        shares = torch.linalg.lstsq(gram, right, driver="gelsd").solution
        weights = [1 / max(one.error(shares), SMALLEST_ERROR) for one in images]
    return shares


def bands(images: torch.Tensor) -> torch.Tensor:
    """Return what is finer than each of SIGMAS but not finer than the one before, (bands, ..., H, W); their sum is the images."""
    axes = [0] * (images.ndim - 2) + [1, 1]
    pixels = images.detach().cpu().numpy()
    levels = [pixels, *(gaussian_filter(pixels, [sigma * axis for axis in axes]) for sigma in SIGMAS)]
    finer = [fine - coarse for fine, coarse in itertools.pairwise(levels)]
    return torch.from_numpy(np.stack([*finer, levels[-1]])).to(images)


def classical(wanted: Sequence[tuple[str, float]]) -> list[ClassicalRestorer]:
    """Return the restorers of (kind, strength).

    Raises NopairsError for none, one that is not known, or whose strength is not between 0 and 1.
    """
    if not wanted:
        raise NopairsError("stacked: give one of `guides` at least")
    made: list[ClassicalRestorer] = []
    for kind, strength in wanted:
        if kind not in CLASSICAL:
            raise NopairsError(f"stacked: unknown guide {kind!r}; guides are {', '.join(CLASSICAL)}")
        restorer, options = CLASSICAL[kind]
        made.append(restorer(options(strength)))
    return made


def _keep_shares(module: nn.Module, weights: dict[str, Any], prefix: str, *_: Any) -> None:
    """Let the weights of a network be loaded that has no shares."""
    weights.setdefault(f"{prefix}shares", module.shares)
