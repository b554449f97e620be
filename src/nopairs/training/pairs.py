"""Pairs on disk: two arrays that training maps into memory."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from nopairs.data.images import evenly, read_rgb
from nopairs.files import atomic_file

# Of many validation images the middle is enough, and whole photos would take most of a short training's time to restore: so many
# pixels in all, but no less than squares of SIDD's size.
ENOUGH_PIXELS, SMALLEST_MIDDLE = 2**21, 256


def save_pairs(folder: Path, clean: np.ndarray, degraded: np.ndarray) -> None:
    """Write uint8 (tiles, H, W, 3) arrays as clean.npy and degraded.npy."""
    for side, tiles in (("clean", clean), ("degraded", degraded)):
        with atomic_file(folder / f"{side}.npy") as temporary:
            np.save(temporary, tiles)


def load_pairs(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Map the clean and degraded tiles that `save_pairs` wrote into memory."""
    clean, degraded = (
        np.load(folder / f"{side}.npy", mmap_mode="r", allow_pickle=False) for side in ("clean", "degraded")
    )
    return clean, degraded


def read_validation(dataset: Path, most: int | None = None) -> list[tuple[np.ndarray, np.ndarray]]:
    """Read a dataset's validation pairs, (clean, degraded) uint8 (H, W, 3), at most `most` of them, evenly spread.

    Of many the middles, the same ones whatever `most` is; none if no degraded ones are there.
    """
    clean, degraded = (dataset / "val" / side for side in ("clean", "degraded"))
    names = sorted(path.name for path in degraded.glob("*.png"))
    side = _enough(len(names))
    read = names if most is None else [names[place] for place in evenly(len(names), most)]
    return [middles(read_rgb(clean / name), read_rgb(degraded / name), side) for name in read]


def read_clean_validation(dataset: Path) -> list[np.ndarray]:
    """Read the clean halves of a dataset's validation images, uint8 (H, W, 3), of many the middles; none if it has none."""
    paths = sorted((dataset / "val/clean").glob("*.png"))
    images = (read_rgb(path) for path in paths)
    return [middles(image, image, _enough(len(paths)))[0] for image in images]


def _enough(count: int) -> int:
    return max(SMALLEST_MIDDLE, math.isqrt(ENOUGH_PIXELS // max(1, count)))


def middles(clean: np.ndarray, degraded: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the middles of a pair (H, W, C), at most `most` pixels a side of the clean image, which may be larger by a factor."""
    factor = clean.shape[0] // degraded.shape[0]
    most //= factor
    top, left = ((side - min(side, most)) // 2 for side in degraded.shape[:2])
    large = [slice(factor * start, factor * (start + most)) for start in (top, left)]
    return clean[large[0], large[1]], degraded[top : top + most, left : left + most]
