"""Pairs on disk: two arrays that training maps into memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nopairs.data.images import read_rgb
from nopairs.files import atomic_file


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


def read_pairs(folder: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Read (clean, degraded) images of equal names, uint8 (H, W, 3), from clean/ and degraded/ in `folder`; none if there are none."""
    names = sorted(path.name for path in (folder / "clean").glob("*.png"))
    return [(read_rgb(folder / "clean" / name), read_rgb(folder / "degraded" / name)) for name in names]
