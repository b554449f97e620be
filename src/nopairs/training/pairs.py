"""Pairs on disk: two arrays that training maps into memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nopairs.data.images import read_rgb
from nopairs.files import atomic_file

# Pixels a side of validation images: the side of SIDD's. Whole photos would take most of a short training's time to restore.
LARGEST_JUDGE = 256


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


def read_validation(dataset: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Read the middles of a dataset's validation pairs, (clean, degraded) uint8 (H, W, 3); none if it has none."""
    clean, degraded = (dataset / "val" / side for side in ("clean", "degraded"))
    names = sorted(path.name for path in clean.glob("*.png"))
    return [(middle(read_rgb(clean / name)), middle(read_rgb(degraded / name))) for name in names]


def middle(image: np.ndarray) -> np.ndarray:
    """Return the middle of (H, W, C), at most `LARGEST_JUDGE` pixels a side."""
    top, left = ((side - min(side, LARGEST_JUDGE)) // 2 for side in image.shape[:2])
    return image[top : top + LARGEST_JUDGE, left : left + LARGEST_JUDGE]
