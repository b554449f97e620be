"""The fixed recipe that makes the embedded dataset's noisy photographs: a simple camera.

It is a *dataset*, not a prior: nothing that learns or restores may read it. The sensor noise is added in linear light,
depends on the signal, is correlated in space as demosaicing leaves it, and is then bent by gamma, clipped and compressed.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import convolve

from nopairs.errors import NopairsError

# Bilinear demosaicing of an RGGB mosaic: each missing sample is the mean of its nearest neighbours of that colour.
_GREEN = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]]) / 4
_RED_BLUE = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4


@dataclass(frozen=True)
class Camera:
    """Parameters of the camera.

    shot_noise: variance of the sensor noise per unit of linear signal (full scale 1).
    read_noise: standard deviation of the signal-independent noise, in linear units.
    gain_spread: each photo's gain is drawn log-uniformly from [1 / gain_spread, gain_spread] and multiplies the variance.
    jpeg_quality: quality of the JPEG that the camera writes (4:2:0 chroma, Pillow's scale).
    exposures: how many times each training or validation photo is taken (independent noise, each with its own gain).
    light_spread: training photos are taken in white light first, then in coloured light, each channel of which is drawn
        log-uniformly from [1 / light_spread, 1]; 1 is white. A handful of photos has too few colours to learn from.
    """

    shot_noise: float = 0.012
    read_noise: float = 0.016
    gain_spread: float = 1.5
    jpeg_quality: int = 95
    exposures: int = 4
    light_spread: float = 1.0

    def __post_init__(self) -> None:
        if min(self.shot_noise, self.read_noise) < 0 or min(self.gain_spread, self.light_spread) < 1:
            raise NopairsError(
                "camera: shot_noise and read_noise must be at least 0, gain_spread and light_spread at least 1"
            )
        if not 1 <= self.jpeg_quality <= 100 or self.exposures < 1:
            raise NopairsError("camera: jpeg_quality must be within 1..100 and exposures at least 1")


def srgb_to_linear(value: np.ndarray) -> np.ndarray:
    """Undo the sRGB transfer curve (IEC 61966-2-1); values in [0, 1]."""
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(value: np.ndarray) -> np.ndarray:
    """Apply the sRGB transfer curve (IEC 61966-2-1) to values clipped to [0, 1]."""
    value = np.clip(value, 0, 1)
    return np.where(value <= 0.0031308, value * 12.92, 1.055 * value ** (1 / 2.4) - 0.055)


def demosaic_noise(noise: np.ndarray) -> np.ndarray:
    """Keep the samples of an RGGB mosaic of `noise` (H, W, 3) and interpolate the others bilinearly."""
    mask = np.zeros(noise.shape)
    mask[::2, ::2, 0] = mask[1::2, 1::2, 2] = 1
    mask[::2, 1::2, 1] = mask[1::2, ::2, 1] = 1
    kernels = (_RED_BLUE, _GREEN, _RED_BLUE)
    return np.stack([convolve(noise[..., c] * mask[..., c], kernels[c], mode="mirror") for c in range(3)], -1)


def illuminate(clean: np.ndarray, camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Return the scene in light of a random colour: uint8 (H, W, 3) in, uint8 (H, W, 3) out, no noise."""
    light = np.exp(-rng.uniform(0, 1, 3) * np.log(camera.light_spread))
    return np.round(linear_to_srgb(light * srgb_to_linear(clean / 255.0)) * 255).astype(np.uint8)


def photograph(clean: np.ndarray, camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Return what the camera makes of a clean photo: uint8 (H, W, 3) in, uint8 (H, W, 3) out."""
    linear = srgb_to_linear(clean / 255.0)
    gain = np.exp(rng.uniform(-1, 1) * np.log(camera.gain_spread))
    deviation = np.sqrt(gain * (camera.shot_noise * linear + camera.read_noise**2))
    noisy = linear + demosaic_noise(deviation * rng.standard_normal(clean.shape))
    image = Image.fromarray(np.round(linear_to_srgb(noisy) * 255).astype(np.uint8))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=camera.jpeg_quality)
    return np.asarray(Image.open(buffer))
