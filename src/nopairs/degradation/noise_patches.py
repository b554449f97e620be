"""Noise cut from flat parts of degraded images, added to clean ones: the degradation of Impressionism (Ji et al., CVPR workshops 2020)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from nopairs.errors import NopairsError

MOST = 4096  # patches that are kept


@dataclass(frozen=True)
class NoisePatchesOptions:
    """Which patches count as flat.

    patch: their side, pixels; 256 in the paper. Larger images get them continued by reflection.
    max_variance: largest variance of their grey values, in levels of 255 squared; 20 in the paper.
    share: in place of that, this share of all patches, the flattest: noise that is stronger leaves no patch below a fixed variance.
    """

    patch: int = 256
    max_variance: float = 20.0
    share: float = 0.0

    def __post_init__(self) -> None:
        if self.patch < 2 or self.max_variance <= 0 or not 0 <= self.share <= 1:
            raise NopairsError(
                f"noise_patches: patch {self.patch} must be at least 2, max_variance {self.max_variance} positive and share"
                f" {self.share} within [0, 1]"
            )


class NoisePatches(nn.Module):
    """y = x + t n, with n a flat patch of a degraded image less its mean, turned and mirrored at random; t is the strength."""

    Options = NoisePatchesOptions
    MODES = ("clean",)
    learned = False

    def __init__(self, options: NoisePatchesOptions) -> None:
        super().__init__()
        self.options = options
        self.noise = torch.zeros(0, 3, options.patch, options.patch)

    def collect(self, degraded: np.ndarray, seed: int) -> None:
        """Cut flat patches from degraded tiles, uint8 (tiles, H, W, 3), side by side.

        Raises:
            NopairsError: the tiles are smaller than a patch, or none is flat.
        """
        side = self.options.patch
        if min(degraded.shape[1:3]) < side:
            raise NopairsError(
                f"noise_patches: patches of {side} pixels, but tiles of {degraded.shape[2]}x{degraded.shape[1]}; make `patch` smaller"
            )
        rows, columns = (range(0, length - side + 1, side) for length in degraded.shape[1:3])
        patches = np.concatenate([degraded[:, y : y + side, x : x + side] for y in rows for x in columns])
        variances = np.array([patch.mean(2).var() for patch in patches])
        order = np.argsort(variances, kind="stable")
        if self.options.share:
            chosen = order[: max(1, round(self.options.share * len(order)))]
        else:
            chosen = order[: int((variances < self.options.max_variance).sum())]
        if not len(chosen):
            raise NopairsError(
                f"noise_patches: no patch varies less than {self.options.max_variance}, the flattest by {variances.min():.0f}; "
                "raise `max_variance`, or name a `share`"
            )
        chosen = np.random.default_rng(seed).permutation(chosen)[:MOST]
        flat = torch.from_numpy(patches[chosen]).permute(0, 3, 1, 2).float() / 255
        self.noise = flat - flat.mean((2, 3), keepdim=True)

    def make_pairs(
        self,
        clean: torch.Tensor,
        degraded: torch.Tensor | None,
        mode: str,
        strength: torch.Tensor,
        generator: torch.Generator,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (clean, noisy), both (batch, 3, H, W); raises NopairsError where nothing was collected."""
        if not len(self.noise):
            raise NopairsError("noise_patches: no patches were collected; sample_pairs.py does it")
        index = torch.randint(len(self.noise), (len(clean),), generator=generator)
        symmetries = torch.randint(8, (len(clean),), generator=generator).tolist()
        rows, columns = (_continued(self.options.patch, side) for side in clean.shape[2:])
        chosen = zip(self.noise[index], symmetries, strict=True)
        noise = torch.stack([_turned(patch, way)[:, rows[:, None], columns] for patch, way in chosen])
        return clean, clean + strength.view(-1, 1, 1, 1) * noise.to(clean)


def _continued(patch: int, side: int) -> torch.Tensor:
    """Return the places in a patch of which a side of so many pixels is made: cut, or continued by reflection."""
    places = np.pad(np.arange(patch), (0, max(0, side - patch)), mode="symmetric")[:side]
    return torch.from_numpy(places.copy())


def _turned(patch: torch.Tensor, way: int) -> torch.Tensor:
    """Return one of the eight symmetries of a square (channels, side, side)."""
    patch = patch.rot90(way % 4, (1, 2))
    return patch.flip(2) if way >= 4 else patch
