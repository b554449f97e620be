"""NIQE: distance of an image's local statistics from those of clean photographs (Mittal, Soundararajan,
Bovik, 2013).

The published model was fitted on other photographs; here it is fitted on the dataset's own clean images, so
scores compare methods on one dataset, and are not to be compared with published ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import correlate1d
from scipy.special import gamma

from nopairs.errors import NopairsError
from nopairs.files import read_json, write_json

PATCH = 96  # of the paper
PATCHES = (PATCH, 64, 48, 32)
SHARP = 0.75  # a patch is used for fitting when it is this sharp against the sharpest of its photo
SCALES = 2
FEATURES = 18 * SCALES
ENOUGH_PATCHES = 4 * FEATURES  # below it the covariance is rough, and scores say less

_LUMA = np.array([0.299, 0.587, 0.114])
_SHAPES = np.arange(0.2, 10.001, 0.001)
_SHAPE_RATIOS = gamma(2 / _SHAPES) ** 2 / (gamma(1 / _SHAPES) * gamma(3 / _SHAPES))


@dataclass(frozen=True)
class NiqeModel:
    """The clean images' multivariate Gaussian.

    Attributes:
        patch: side of a patch in pixels.
        patches: how many patches it was fitted on.
        mean: (36,).
        covariance: (36, 36).
    """

    patch: int
    patches: int
    mean: list[float]
    covariance: list[list[float]]

    def save(self, path: str | Path) -> None:
        """Write the model as JSON."""
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: str | Path) -> NiqeModel:
        """Read what `save` wrote.

        Raises:
            NopairsError: the file is no such model.
        """
        try:
            model = cls(**read_json(path))
            if np.shape(model.covariance) == (FEATURES, FEATURES) and np.shape(model.mean) == (FEATURES,):
                return model
        except (TypeError, ValueError):
            pass
        raise NopairsError(f"{path}: not a NIQE model; fit it again with fit_niqe.py")


def fit(photos: Sequence[Sequence[np.ndarray]], patch: int) -> NiqeModel:
    """Fit the model on the sharp patches of clean photos.

    Args:
        photos: per photo its tiles (or the whole photo as one), uint8 (height, width, 3). Sharpness is judged
            within a photo, so that a tile of plain sky gives no patch.
        patch: side of a patch, a multiple of four. Patches overlap by half, since clean photos may be few.

    Raises:
        NopairsError: no tile is large enough, or fewer than two patches were found.
    """
    rows = []
    for tiles in photos:
        found = [patch_features(tile, patch, patch // 2) for tile in tiles if min(tile.shape[:2]) >= patch]
        if found:
            features = np.concatenate([features for features, _ in found])
            sharpness = np.concatenate([sharpness for _, sharpness in found])
            rows.append(features[sharpness > SHARP * sharpness.max()])
    chosen = _finite(np.concatenate(rows)) if rows else np.empty((0, FEATURES))
    if len(chosen) < 2:
        raise NopairsError(
            f"niqe: {len(chosen)} sharp {patch}-pixel patches in the clean images; give more or larger ones"
        )
    covariance = np.cov(chosen, rowvar=False)
    return NiqeModel(patch, len(chosen), chosen.mean(0).tolist(), covariance.tolist())


def fit_largest(photos: Sequence[Sequence[np.ndarray]]) -> NiqeModel:
    """Fit with the largest patch (96, 64, 48, 32) that leaves four times as many patches as features, else
    with 32.

    Raises:
        NopairsError: see `fit`.
    """
    for patch in PATCHES[:-1]:
        try:
            model = fit(photos, patch)
        except NopairsError:
            continue
        if model.patches >= ENOUGH_PATCHES:
            return model
    return fit(photos, PATCHES[-1])


def score(image: np.ndarray, model: NiqeModel) -> float:
    """Return the distance from the clean statistics, lower is better; nan where no patch of the image has any
    structure.

    Equation (10) of the paper, over all patches of the image.

    Args:
        image: uint8 (height, width, 3), at least one patch in size.
        model: what `fit` returned.

    Raises:
        NopairsError: the image is smaller than a patch.
    """
    if min(image.shape[:2]) < model.patch:
        raise NopairsError(
            f"niqe: {image.shape[1]}x{image.shape[0]} pixels, smaller than the model's patch of {model.patch}"
        )
    features = _finite(patch_features(image, model.patch, model.patch)[0])
    if len(features) == 0:
        return float("nan")
    own = np.cov(features, rowvar=False) if len(features) > 1 else np.zeros((FEATURES, FEATURES))
    difference = features.mean(0) - np.asarray(model.mean)
    pooled = (np.asarray(model.covariance) + own) / 2
    return float(np.sqrt(difference @ np.linalg.pinv(pooled) @ difference))


def patch_features(image: np.ndarray, patch: int, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the features (patches, 36) and the sharpness (patches,) of an image's patches.

    Sharpness is the patch's mean local deviation at full size. Features are nan where a patch has no
    structure at all.

    Args:
        image: uint8 (height, width, 3).
        patch: side of a patch, even.
        stride: from one patch to the next, even.
    """
    height, width = ((side - patch) // stride * stride + patch for side in image.shape[:2])
    grey = image[:height, :width] @ _LUMA
    features = []
    sharpness = np.empty(0)
    for scale in range(SCALES):
        coefficients, deviation = _mscn(grey)
        features.append(_statistics(_blocks(coefficients, patch >> scale, stride >> scale)))
        if scale == 0:
            sharpness = _blocks(deviation, patch, stride).mean((1, 2))
        half = (grey.shape[1] // 2, grey.shape[0] // 2)
        grey = np.asarray(
            Image.fromarray(grey.astype(np.float32)).resize(half, Image.Resampling.BICUBIC), float
        )
    return np.concatenate(features, 1), sharpness


def fit_aggd(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Fit asymmetric generalised Gaussians by moments (Lasmar et al., 2009), one a row.

    Args:
        values: (rows, samples).

    Returns:
        Shape, mean, left scale and right scale, each (rows,). A Gaussian of deviation s has shape 2 and
        scales s * sqrt(2).
    """
    squares = values**2
    left, right = values < 0, values > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        left_std = np.sqrt((squares * left).sum(1) / left.sum(1))
        right_std = np.sqrt((squares * right).sum(1) / right.sum(1))
        ratio = left_std / right_std
        moment = np.abs(values).mean(1) ** 2 / squares.mean(1)
        moment *= (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    shape = np.interp(moment, _SHAPE_RATIOS, _SHAPES)
    shape = np.where(np.isfinite(moment), shape, np.nan)
    scale = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
    mean = (right_std - left_std) * scale * gamma(2 / shape) / gamma(1 / shape)
    return shape, mean, left_std * scale, right_std * scale


def _mscn(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean-subtracted, contrast-normalised coefficients and local deviation of 0 to 255 (eqs 1 to 3)."""
    taps = np.exp(-0.5 * (np.arange(-3, 4) / (7 / 6)) ** 2)
    taps /= taps.sum()

    def blur(values: np.ndarray) -> np.ndarray:
        return correlate1d(correlate1d(values, taps, 0, mode="nearest"), taps, 1, mode="nearest")

    mean = blur(grey)
    deviation = np.sqrt(np.abs(blur(grey**2) - mean**2))
    return (grey - mean) / (deviation + 1), deviation


def _blocks(values: np.ndarray, side: int, stride: int) -> np.ndarray:
    """Cut (height, width) into (blocks, side, side)."""
    return np.lib.stride_tricks.sliding_window_view(values, (side, side))[::stride, ::stride].reshape(
        -1, side, side
    )


def _statistics(blocks: np.ndarray) -> np.ndarray:
    """Return 18 features a block: shape and scale of the coefficients, and four of each product with a
    neighbour.

    The neighbour wraps around within its block, as in the authors' code.
    """
    shape, _, left, right = fit_aggd(blocks.reshape(len(blocks), -1))
    features = [shape, (left + right) / 2]
    for shift in ((0, 1), (1, 0), (1, 1), (1, -1)):
        products = blocks * np.roll(blocks, shift, axis=(1, 2))
        features += fit_aggd(products.reshape(len(blocks), -1))
    return np.stack(features, 1)


def _finite(features: np.ndarray) -> np.ndarray:
    return features[np.isfinite(features).all(1)]
