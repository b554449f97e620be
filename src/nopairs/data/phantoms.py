"""Phantoms for computed tomography, drawn by the code: slices of a chest in ellipses, where the real ones are gigabytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nopairs.data.images import write_png

# Pixels a side, and by how many times finer they are drawn.
SIDE, FINER = 64, 4
# Small things in a body: vessels, nodules, bones.
SMALL_THINGS = 14


def write_phantom(path: Path, seed: int) -> None:
    """Write phantom number `seed` as a grey PNG."""
    grey = np.rint(255 * phantom(seed)).astype(np.uint8)
    write_png(path, np.repeat(grey[..., None], 3, axis=2))


def phantom(seed: int) -> np.ndarray:
    """Return a phantom, float64 (SIDE, SIDE) in [0, 1]; air is 0, bone near 0.8."""
    rng = np.random.default_rng(seed)
    places = (np.arange(SIDE * FINER) + 0.5) / (SIDE * FINER) * 2 - 1
    image = np.zeros((SIDE * FINER, SIDE * FINER))

    def draw(centre: tuple[float, float], axes: tuple[float, float], angle: float, value: float) -> None:
        down, right = places[:, None] - centre[0], places[None] - centre[1]
        along, across = (
            np.cos(angle) * right + np.sin(angle) * down,
            np.cos(angle) * down - np.sin(angle) * right,
        )
        image[(along / axes[0]) ** 2 + (across / axes[1]) ** 2 <= 1] = value

    wide, high = rng.uniform(0.78, 0.9), rng.uniform(0.58, 0.7)
    draw((0, 0), (wide, high), 0, 0.45)
    draw((0, 0), (wide - 0.06, high - 0.06), 0, rng.uniform(0.36, 0.4))
    for side in (-1, 1):
        draw(
            (rng.uniform(-0.1, 0.05), side * 0.4),
            (rng.uniform(0.22, 0.3), rng.uniform(0.32, 0.42)),
            side * rng.uniform(0, 0.3),
            0.08,
        )
    draw((high - 0.2, 0), (0.12, 0.1), 0, 0.8)
    draw((high - 0.2, 0), (0.05, 0.04), 0, 0.4)
    for _ in range(SMALL_THINGS):
        centre = rng.uniform(-0.55, 0.55) * high / 0.7, rng.uniform(-0.65, 0.65) * wide / 0.9
        draw(
            centre,
            (rng.uniform(0.02, 0.1), rng.uniform(0.02, 0.06)),
            rng.uniform(0, np.pi),
            rng.choice([0.2, 0.42, 0.5, 0.7]),
        )
    return image.reshape(SIDE, FINER, SIDE, FINER).mean((1, 3))
