"""What noise looks like: spectrum, dependence on intensity, correlation in space and between channels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from nopairs.errors import NopairsError

WINDOW = 64  # side of a spectrum's window, in pixels
FREQUENCIES = 16  # radial bins between 0 and 0.5 cycles per pixel
LEVELS = 16  # intensity bins between 0 and 1
FEWEST_PIXELS = 200  # in an intensity bin; below it the deviation is uncertain by more than 5 %
LAG = 5
PATCHES, SIDE = 6, 96  # that are shown: how many, and their side in pixels


def noise_statistics(clean: Sequence[np.ndarray], degraded: Sequence[np.ndarray]) -> dict[str, Any]:
    """Describe the noise `degraded - clean`.

    Args:
        clean: images (height, width, 3), uint8 or float in [0, 1], of any sizes above 11 pixels.
        degraded: their degraded versions, in the same order.

    One image at a time is held in double precision: SIDD's 1,280 blocks would take 13 GB together.

    Returns:
        A dictionary that JSON can hold:
        `power_spectrum`: `frequency` in cycles per pixel and `power` [r, g, b], in squared units of intensity
            (white noise of deviation s has s^2 everywhere, and a shift of colours power at the lowest), averaged over
            directions; Welch's method with half-overlapping Hann windows.
        `intensity`: `level`, the middle of bins of clean intensity, and `std` [r, g, b] of the noise there,
            None where a bin has fewer than 200 pixels.
        `autocorrelation`: 11 x 11, lags -5 to 5 down and across, mean over channels, 1 in the centre.
        `channel_correlation`: 3 x 3.
        `std`: [r, g, b] over all pixels.

    Raises:
        NopairsError: the sets don't fit together, are empty, or hold no noise.
    """
    _check(clean, degraded)
    count = sum(image.shape[0] * image.shape[1] for image in clean)
    mean = sum(_noise(*pair).sum((0, 1)) for pair in zip(clean, degraded, strict=True)) / count
    covariance = np.zeros((3, 3))
    spectrum, intensity, correlation = _Spectrum(), _Intensity(), _Correlation()
    for c, d in zip(clean, degraded, strict=True):
        noise = _noise(c, d)
        spectrum.add(noise)
        noise -= mean
        covariance += np.einsum("ija,ijb->ab", noise, noise) / count
        intensity.add(_unit(c), noise)
        correlation.add(noise)
    std = np.sqrt(covariance.diagonal())
    if (std < 1e-9).any():
        raise NopairsError(
            "noise: the degraded images differ from the clean ones by a constant only; nothing to describe"
        )
    return {
        "power_spectrum": spectrum.result(),
        "intensity": intensity.result(),
        "autocorrelation": correlation.result().tolist(),
        "channel_correlation": (covariance / np.outer(std, std)).tolist(),
        "std": std.tolist(),
    }


def _unit(image: np.ndarray) -> np.ndarray:
    """An image as float64 in [0, 1]."""
    return image / 255 if image.dtype == np.uint8 else np.asarray(image, float)


def _noise(clean: np.ndarray, degraded: np.ndarray) -> np.ndarray:
    return _unit(degraded) - _unit(clean)


def _check(clean: Sequence[np.ndarray], degraded: Sequence[np.ndarray]) -> None:
    if not clean or len(clean) != len(degraded):
        raise NopairsError(
            f"noise: {len(clean)} clean and {len(degraded)} degraded images; give equally many, at least one"
        )
    for position, (c, d) in enumerate(zip(clean, degraded, strict=True)):
        if c.shape != d.shape or c.ndim != 3 or c.shape[2] != 3 or min(c.shape[:2]) <= 2 * LAG:
            raise NopairsError(
                f"noise: pair {position} has shapes {c.shape}, {d.shape}; expected equal (H, W, 3) above 10"
            )


class _Spectrum:
    """Welch's method, averaged over directions."""

    def __init__(self) -> None:
        self.power = np.zeros((3, WINDOW, WINDOW))
        self.windows = 0

    def add(self, noise: np.ndarray) -> None:
        for segments in _windows(noise):
            self.power += (np.abs(np.fft.fft2(segments)) ** 2).sum(0)
            self.windows += len(segments)

    def result(self) -> dict[str, Any]:
        frequency = np.fft.fftfreq(WINDOW)
        radius = np.hypot(frequency[:, None], frequency[None, :])
        edges = np.linspace(0, 0.5, FREQUENCIES + 1)
        # The corners beyond 0.5 fall into one ring more, which is dropped.
        ring = (np.digitize(radius, edges) - 1).ravel()
        power = self.power.reshape(3, -1) / self.windows
        sums = np.stack([np.bincount(ring, channel)[:FREQUENCIES] for channel in power])
        counts = np.bincount(ring)[:FREQUENCIES]
        return {"frequency": ((edges[:-1] + edges[1:]) / 2).tolist(), "power": (sums / counts).tolist()}


def _windows(noise: np.ndarray) -> Iterator[np.ndarray]:
    """Cut (H, W, 3) into half-overlapping tapered windows, rows of (n, 3, 64, 64); pad small images."""
    height, width = (min(side, WINDOW) for side in noise.shape[:2])
    taper = np.outer(_hann(height), _hann(width))
    taper /= np.sqrt((taper**2).sum())
    padding = ((0, 0), (0, 0), (0, WINDOW - height), (0, WINDOW - width))
    segments = np.lib.stride_tricks.sliding_window_view(noise, (height, width), axis=(0, 1))
    for row in segments[:: height // 2, :: width // 2]:
        yield np.pad(row * taper, padding)


def _hann(length: int) -> np.ndarray:
    """Hann's window without its two zeros."""
    return np.hanning(length + 2)[1:-1]


class _Intensity:
    """Deviation of noise, whose mean over all is zero, in bins of clean intensity, about each bin's own mean."""

    def __init__(self) -> None:
        self.moments = np.zeros((3, 3, LEVELS))  # by channel: pixels, their sum, and that of their squares

    def add(self, clean: np.ndarray, noise: np.ndarray) -> None:
        bins = np.clip((clean * LEVELS).astype(int), 0, LEVELS - 1)
        for channel, moments in enumerate(self.moments):
            index, values = bins[..., channel].ravel(), noise[..., channel].ravel()
            for order, moment in enumerate(moments):
                moment += np.bincount(index, values**order, LEVELS)

    def result(self) -> dict[str, Any]:
        curves: list[list[float | None]] = []
        for count, total, squares in self.moments:
            some = np.maximum(count, 1)
            deviations = np.sqrt(np.maximum(squares / some - (total / some) ** 2, 0))
            curves.append(
                [float(one) if n >= FEWEST_PIXELS else None for one, n in zip(deviations, count, strict=True)]
            )
        return {"level": ((np.arange(LEVELS) + 0.5) / LEVELS).tolist(), "std": curves}


class _Correlation:
    """Normalised autocorrelation of mean-free noise: the mean product of pixels at each lag, and of channels."""

    def __init__(self) -> None:
        self.products = np.zeros((2 * LAG + 1, 2 * LAG + 1, 3))
        self.counts = np.zeros((2 * LAG + 1, 2 * LAG + 1, 1))

    def add(self, noise: np.ndarray) -> None:
        height, width = noise.shape[:2]
        lags = np.arange(-LAG, LAG + 1)
        padded = (height + LAG, width + LAG)  # no lag wraps around
        transform = np.fft.rfft2(noise, padded, axes=(0, 1))
        correlation = np.fft.irfft2(np.abs(transform) ** 2, padded, axes=(0, 1))
        self.products += correlation[lags[:, None], lags[None, :]]
        self.counts += ((height - np.abs(lags))[:, None] * (width - np.abs(lags)))[..., None]

    def result(self) -> np.ndarray:
        covariance = self.products / self.counts
        return (covariance / covariance[LAG, LAG]).mean(2)


def pick_patches(
    clean: Sequence[np.ndarray], degraded: Sequence[np.ndarray], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pick `PATCHES` patches that show noise well, each the closest to middle intensity of 16 random ones, as two strips.

    The choice depends on the clean images and the seed only, so that the strips of several noise sources over
    one set of clean images show the same places.

    Args:
        clean: uint8 images (height, width, 3).
        degraded: their degraded versions.
        seed: of the candidates.

    Returns:
        The clean and the degraded strip, each uint8 (side, PATCHES * side, 3); side is `SIDE`, less where an image is smaller.
    """
    side = min(SIDE, *(length for image in clean for length in image.shape[:2]))
    rng = np.random.default_rng(seed)

    def candidate() -> tuple[float, int, tuple[slice, slice]]:
        position = int(rng.integers(len(clean)))
        top, left = (int(rng.integers(length - side + 1)) for length in clean[position].shape[:2])
        place = (slice(top, top + side), slice(left, left + side))
        return abs(clean[position][place].mean() - 127.5), position, place

    chosen = [min((candidate() for _ in range(16)), key=lambda found: found[0]) for _ in range(PATCHES)]
    clean_strip, degraded_strip = (
        np.concatenate([images[position][place] for _, position, place in chosen], 1)
        for images in (clean, degraded)
    )
    return clean_strip, degraded_strip
