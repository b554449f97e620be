"""An operator that is not known but learned: the kernel and the noise that explain pairs best.

The pairs may be synthetic: what a degradation model makes of clean images. Priors, which need an operator, then restore where none is
known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from nopairs.data.images import evenly
from nopairs.errors import NopairsError
from nopairs.priors.operators import Convolution, check_noise

# The share of the taps' mean energy that is added to each, so that images without detail in a direction give no wild taps there.
RIDGE = 1e-6
# Outputs that are looked at in one image, and pairs, at most: there are far more than unknowns.
MOST_OUTPUTS = 100_000
MOST_PAIRS = 300


@dataclass(frozen=True)
class KernelOptions:
    """Any kernel, square, of `factor` more or fewer taps by an even number; rows of numbers.

    factor: every so many-th pixel is seen. noise: deviation of the white noise.
    """

    kernel: tuple[tuple[float, ...], ...]
    noise: float
    factor: int = 1

    def __post_init__(self) -> None:
        check_noise(self.noise)
        size = len(self.kernel)
        if any(len(row) != size for row in self.kernel) or not 1 <= self.factor <= size:
            raise NopairsError(
                f"kernel: {size} rows must have as many taps each, and at least factor {self.factor}"
            )
        if (size - self.factor) % 2:
            raise NopairsError(
                f"kernel: size {size} and factor {self.factor} must both be even or both be odd"
            )


class Kernel(Convolution):
    """A given kernel, centred on the pixels that it is seen at; the image is continued periodically."""

    Options = KernelOptions

    def __init__(self, options: KernelOptions) -> None:
        kernel = torch.tensor(options.kernel, dtype=torch.float32)
        before = (len(kernel) - options.factor) // 2
        super().__init__(kernel, options.factor, before, options.noise)


def estimate(clean: np.ndarray, degraded: np.ndarray, size: int) -> dict[str, Any]:
    """Return the settings of the `kernel` operator of `size` x `size` taps that explains pairs best, by least squares.

    An offset, which a camera's black level or clipping makes, is fitted with the kernel and dropped. Colours are treated alike.

    Args:
        clean: uint8 (count, H, W, 3).
        degraded: uint8 (count, h, w, 3); h and w are H and W or, for super-resolution, the same whole part of them.
        size: of the kernel.

    Raises:
        NopairsError: sizes that do not fit, or too few pixels for so many unknowns.
    """
    factor = clean.shape[1] // degraded.shape[1]
    fits = (degraded.shape[1] * factor, degraded.shape[2] * factor) == clean.shape[1:3]
    if not fits or len(clean) != len(degraded) or (size - factor) % 2 or size < factor:
        raise NopairsError(
            f"estimated: pairs of {clean.shape[:3]} and {degraded.shape[:3]} do not fit each other and a kernel of {size}"
        )
    before = (size - factor) // 2
    unknowns = size**2 + 1
    normal, right = np.zeros((unknowns, unknowns)), np.zeros(unknowns)
    energy, count = 0.0, 0
    for pair in evenly(len(clean), MOST_PAIRS):
        sharp, seen = clean[pair], degraded[pair]
        rows, values = _equations(sharp, seen, size, factor, before)
        normal, right = normal + rows.T @ rows, right + rows.T @ values
        energy, count = energy + values @ values, count + len(values)
    if count < 2 * unknowns:
        raise NopairsError(
            f"estimated: {count} pixels are too few for a kernel of {size}x{size}; lower `size`"
        )
    ridge = RIDGE * np.trace(normal[:-1, :-1]) / size**2 * np.eye(unknowns)
    ridge[-1, -1] = 0
    # Towards the identity: what pairs say nothing of stays as it is.
    guess = np.zeros((size, size))
    guess[before : before + factor, before : before + factor] = 1 / factor**2
    towards = np.append(guess.ravel(), 0)
    found = np.linalg.solve(normal + ridge, right + ridge @ towards)
    residual = energy - 2 * found @ right + found @ normal @ found
    noise = float(np.sqrt(max(float(residual), 0.0) / (count - unknowns)))
    kernel = found[:-1].reshape(size, size)
    return {"kind": "kernel", "kernel": kernel.tolist(), "noise": max(noise, 1e-4), "factor": factor}


def _equations(
    sharp: np.ndarray, seen: np.ndarray, size: int, factor: int, before: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return what the kernel sees (pixels, size^2 + 1), ones in the last column, and what came of it (pixels,)."""
    first = -(-before // factor)
    windows = np.lib.stride_tricks.sliding_window_view(sharp / 255, (size, size), (0, 1))
    windows = windows[first * factor - before :: factor, first * factor - before :: factor]
    values = (seen / 255)[first : first + windows.shape[0], first : first + windows.shape[1]]
    windows = windows[: values.shape[0], : values.shape[1]]
    pixels = windows.reshape(-1, 3, size**2)
    step = max(1, 3 * len(pixels) // MOST_OUTPUTS)
    rows, values = pixels[::step].reshape(-1, size**2), values.reshape(-1, 3)[::step].ravel()
    return np.column_stack([rows, np.ones(len(rows))]), values
