"""Uncertainty of means over images: a cluster bootstrap over scenes, and over training seeds where there are
several.

Crops of one scene are not independent, and neither are two images restored by one trained network: so whole
scenes and whole seeds are resampled with replacement (Davison and Hinkley, 1997, section 3.8), and percentile
intervals are taken. Distances of whole sets are measured again on the resampled images; the draws are kept, so that any two
methods can be compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nopairs.errors import NopairsError

DRAWS = 10_000
LEVEL = 0.95
FEWEST_SCENES = 5  # below it an interval is descriptive only


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval; `low` and `high` are nan with fewer than two scenes."""

    mean: float
    low: float
    high: float


def mean_interval(values: np.ndarray, scenes: Sequence[str], seed: int = 0, draws: int = DRAWS) -> Interval:
    """Mean over all images and seeds.

    Args:
        values: (seeds, images), finite.
        scenes: the scene of each image.
        seed: of the resampling.
        draws: number of resamplings.

    Raises:
        NopairsError: the shapes don't fit or values are missing.
    """
    sums, sizes = _scene_sums(values, scenes)
    rng = np.random.default_rng(seed)
    scene_counts = _resample(len(sizes), draws, rng)
    means = _resampled_means(sums, sizes, scene_counts, rng)
    return _interval(float(values.mean()), means, len(sizes))


def difference_interval(
    values: np.ndarray, rival: np.ndarray, scenes: Sequence[str], seed: int = 0, draws: int = DRAWS
) -> Interval:
    """Mean of `values - rival` over the same images; both sides see the same resampled scenes.

    Seeds are resampled apart: seed 1 of one method has nothing in common with seed 1 of another. Where one network is behind both
    (a stack, a student) the interval is wider than it had to be.

    Args:
        values: (seeds, images), finite.
        rival: (seeds of the rival, images), finite, the same images in the same order.
        scenes: the scene of each image.
        seed: of the resampling.
        draws: number of resamplings.

    Raises:
        NopairsError: the shapes don't fit or values are missing.
    """
    sums, sizes = _scene_sums(values, scenes)
    rival_sums, _ = _scene_sums(rival, scenes)
    rng = np.random.default_rng(seed)
    scene_counts = _resample(len(sizes), draws, rng)
    means = _resampled_means(sums, sizes, scene_counts, rng) - _resampled_means(
        rival_sums, sizes, scene_counts, rng
    )
    return _interval(float(values.mean() - rival.mean()), means, len(sizes))


def image_counts(scenes: Sequence[str], draws: int, seed: int = 0) -> np.ndarray:
    """How often each image is taken when whole scenes are resampled, (draws, images).

    Equal scenes and seeds give equal counts, whatever is measured: distances of two methods' sets, resampled so, are paired. Other
    scenes give others, so that sets of different splits are resampled apart.
    """
    names, index = np.unique(np.asarray(scenes), return_inverse=True)
    of_names = int.from_bytes(hashlib.sha256("\n".join(map(str, names)).encode()).digest()[:8], "big")
    return _resample(len(names), draws, np.random.default_rng([seed, of_names]))[:, index]


def resampled_difference(
    difference: float, values: np.ndarray, rival: np.ndarray, scenes: int, seed: int = 0
) -> Interval:
    """The interval of a difference between two sets' distances, from those of the resampled sets.

    Args:
        difference: between the distances of the whole sets.
        values: (seeds, draws), distances of one method's set when its images are resampled by `image_counts`.
        rival: (seeds of the rival, draws), the same of the other's, resampled alike. Seeds are resampled apart, as above.
        scenes: how many scenes were resampled.
        seed: of the resampling of seeds.

    Raises:
        NopairsError: they were not resampled equally often.
    """
    if values.shape[1] != rival.shape[1]:
        raise NopairsError(
            f"bootstrap: {values.shape[1]} and {rival.shape[1]} resamplings of two sets; measure both again"
        )
    rng = np.random.default_rng(seed)
    of_each = [
        (side * (_resample(len(side), side.shape[1], rng) / len(side)).T).sum(0) for side in (values, rival)
    ]
    return _interval(difference, of_each[0] - of_each[1], scenes)


def _scene_sums(values: np.ndarray, scenes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums over each scene's images (seeds, scenes) and the number of images (scenes,)."""
    if values.ndim != 2 or values.shape[1] != len(scenes) or values.size == 0:
        raise NopairsError(
            f"bootstrap: values of shape {values.shape} for {len(scenes)} images; expected (seeds, images)"
        )
    if not np.isfinite(values).all():
        raise NopairsError("bootstrap: a value is missing or infinite; leave those images out")
    names, index = np.unique(np.asarray(scenes), return_inverse=True)
    member = np.eye(len(names))[index]
    return values @ member, member.sum(0)


def _resample(items: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """How often each item was drawn, (draws, items)."""
    return rng.multinomial(items, np.full(items, 1 / items), size=draws)


def _resampled_means(
    sums: np.ndarray, sizes: np.ndarray, scene_counts: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    seed_weights = _resample(len(sums), len(scene_counts), rng) / len(sums)
    return np.einsum("dk,ks,ds->d", seed_weights, sums, scene_counts, optimize=True) / (scene_counts @ sizes)


def _interval(mean: float, resampled: np.ndarray, scenes: int) -> Interval:
    if scenes < 2:  # nothing to resample: a zero-width interval would claim certainty
        return Interval(mean, float("nan"), float("nan"))
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(mean, float(low), float(high))
