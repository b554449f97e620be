"""Distance of two image sets as distributions of patches: Wasserstein-2, between Gaussians of the patches' moments.

Of the patches themselves it is a lower bound (Gelbrich, 1990), which needs no sampling, and is the distance that deep optimal
transport lowers; but here it is taken of pixels, and there of an autoencoder's latents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from nopairs.errors import NopairsError
from nopairs.metrics.bootstrap import image_counts
from nopairs.metrics.gaussian import Moments, gelbrich

PATCH = 6
DIMENSION = 3 * PATCH**2
ROWS = 32  # of patches that are looked at together
DRAWS = 200


@dataclass(frozen=True)
class PatchWasserstein:
    """A distance, root mean square per value of a patch in units of 1/255, and its standard error.

    std: standard deviation of `value` when images are resampled; nan for a single image.
    draws: of `value` when images are resampled; none for a single image.
    """

    value: float
    std: float
    draws: list[float] = field(default_factory=list, repr=False)


def patch_wasserstein(
    reference: Sequence[np.ndarray],
    images: Sequence[np.ndarray],
    seed: int = 0,
    draws: int = DRAWS,
    scenes: Sequence[str] | None = None,
) -> PatchWasserstein:
    """Compare the 6x6 RGB patches of two sets of uint8 images (H, W, 3) of any sizes, every second row and column.

    Where both sets have as many images, they are resampled together, as versions of the same scenes, `draws` times; `scenes` are
    those of `images`, each image's own if None.

    Raises:
        NopairsError: an image is smaller than a patch, or a set is empty.
    """
    if not reference or not images:
        raise NopairsError("pwd: a set has no image")
    sets = [[_moments(image) for image in one] for one in (reference, images)]
    value = _distance(*(_merged(one) for one in sets))
    scenes = scenes or list(map(str, range(len(images))))
    if len(set(scenes)) < 2 or draws < 2:
        return PatchWasserstein(value, float("nan"))
    counts = image_counts(scenes, draws, seed)
    others = counts
    if len(reference) != len(images):
        others = image_counts(list(map(str, range(len(reference)))), draws, seed + 1)
    values = [
        _distance(*(_merged(_repeated(one, taken)) for one, taken in zip(sets, drawn, strict=True)))
        for drawn in zip(others, counts, strict=True)
    ]
    return PatchWasserstein(value, float(np.std(values)), values)


def _repeated(parts: Sequence[Moments], counts: np.ndarray) -> list[Moments]:
    """Each part as often as it counts."""
    return [part for part, count in zip(parts, counts, strict=True) for _ in range(count)]


def _moments(image: np.ndarray) -> Moments:
    if min(image.shape[:2]) < PATCH:
        raise NopairsError(
            f"pwd: an image of {image.shape[1]}x{image.shape[0]} pixels; its patches have {PATCH}"
        )
    windows = np.lib.stride_tricks.sliding_window_view(image, (PATCH, PATCH), axis=(0, 1))[::2, ::2]
    moments = Moments(DIMENSION)
    for top in range(
        0, len(windows), ROWS
    ):  # a photo's patches, all at once, would take half a gigabyte a megapixel
        rows = windows[top : top + ROWS].reshape(-1, DIMENSION)
        moments.add(torch.from_numpy(rows.astype(np.float64)))
    return moments


def _merged(parts: Sequence[Moments]) -> Moments:
    moments = Moments(DIMENSION)
    for part in parts:
        moments.merge(part)
    return moments


def _distance(first: Moments, second: Moments) -> float:
    # A single patch has no covariance; shrinkage would hide that a set is tiny.
    distance = gelbrich(first.mean, first.covariance, second.mean, second.covariance)
    return distance / DIMENSION**0.5
