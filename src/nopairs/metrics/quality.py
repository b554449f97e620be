"""Fidelity to a known clean image: PSNR and SSIM on 8-bit RGB."""

from __future__ import annotations

import math

import numpy as np
from skimage.metrics import structural_similarity

from nopairs.errors import NopairsError


def psnr(clean: np.ndarray, restored: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB over all RGB channels, data range 255; infinite for equal images.

    Args:
        clean: uint8 (height, width, 3).
        restored: uint8 of the same shape.

    Raises:
        NopairsError: the images are not 8-bit RGB of one shape.
    """
    _check(clean, restored)
    # skimage's function imports scipy.stats, which takes longer than measuring an image.
    error = float(np.mean((clean.astype(np.float64) - restored) ** 2))
    return 10 * math.log10(255**2 / error) if error else math.inf


def ssim(clean: np.ndarray, restored: np.ndarray) -> float:
    """Structural similarity (Wang et al., 2004), skimage's defaults: 7x7 uniform window, mean over RGB
    channels.

    Args:
        clean: uint8 (height, width, 3), at least 7 pixels each way.
        restored: uint8 of the same shape.

    Raises:
        NopairsError: the images are not 8-bit RGB of one shape, or too small.
    """
    _check(clean, restored)
    if min(clean.shape[:2]) < 7:
        raise NopairsError(f"ssim: {clean.shape[1]}x{clean.shape[0]} pixels; its window needs at least 7x7")
    return float(structural_similarity(clean, restored, data_range=255, channel_axis=-1))


def _check(clean: np.ndarray, restored: np.ndarray) -> None:
    for name, image in (("clean", clean), ("restored", restored)):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise NopairsError(
                f"{name} image: {image.dtype} {image.shape}; expected uint8 (height, width, 3)"
            )
    if clean.shape != restored.shape:
        raise NopairsError(
            f"restored image: {restored.shape}, but the clean one is {clean.shape}; they must be equal"
        )
