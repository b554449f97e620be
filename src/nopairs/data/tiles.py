"""Training tiles in memory, and random crops of them in one gather: the data loader never starves the step."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from nopairs.data.images import read_rgb
from nopairs.data.paging import allocate
from nopairs.errors import NopairsError

# Above this share of the memory that a process may take the tiles of a role go to a temporary file that the system pages in as needed.
MEMORY_SHARE = 0.25
# Of a super-resolution dataset: its clean tiles, reduced to the size of the degraded ones, under the clean ones' names.
REDUCED = "reduced"


def like_degraded(dataset: Path) -> Path:
    """Return the folder of a dataset's clean tiles that have the degraded ones' resolution."""
    reduced = dataset / REDUCED
    return reduced if reduced.is_dir() else dataset / "clean"


def read_tiles(*folders: Path) -> tuple[np.ndarray, list[str]]:
    """Read all PNGs of folders, each in name order, as uint8 (tiles, height, width, 3), with their names.

    Raises:
        NopairsError: a folder is empty, the tiles differ in size, or there is no room for them.
    """
    paths = []
    for folder in folders:
        found = sorted(folder.glob("*.png"))
        if not found:
            raise NopairsError(f"{folder}: no training tiles; run the preprocessing step")
        paths += found
    shape = (len(paths), *read_rgb(paths[0]).shape)
    tiles = allocate_tiles(shape)

    def load(item: tuple[int, Path]) -> None:
        index, path = item
        tile = read_rgb(path)
        if tile.shape != shape[1:]:
            raise NopairsError(
                f"{path}: {tile.shape[1]}x{tile.shape[0]} pixels, but the other tiles are {shape[2]}x{shape[1]}"
            )
        tiles[index] = tile

    with ThreadPoolExecutor() as pool:
        list(pool.map(load, enumerate(paths)))
    return tiles, [path.name for path in paths]


def allocate_tiles(shape: tuple[int, ...]) -> np.ndarray:
    """Return an uint8 array of any content, in memory or, where there is not enough of it, in a file."""
    if math.prod(shape) < MEMORY_SHARE * own_memory():
        return np.empty(shape, np.uint8)
    return allocate(shape, np.uint8)


def own_memory() -> int:
    """Return the bytes that this process may take: of the machine's, or of a Slurm job's, an equal share of torchrun's processes."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if job := os.environ.get("SLURM_MEM_PER_NODE"):  # in MiB; 0 is all of the node's
        memory = min(memory, int(job) * 2**20 or memory)
    return memory // int(os.environ.get("LOCAL_WORLD_SIZE", 1))


def random_crops(
    tiles: Sequence[np.ndarray], batch: int, crop: int, rng: np.random.Generator, align: int = 1
) -> tuple[list[torch.Tensor], np.ndarray]:
    """Draw `batch` random crops with random flips and quarter turns, the same ones from each array of `tiles`.

    Args:
        tiles: arrays of equal shape, uint8 (tiles, height, width, 3), or some of them larger by a whole factor; two hold pairs.
        batch: number of crops.
        crop: side of a crop in pixels of the smallest tiles.
        rng: the only source of randomness.
        align: crops begin at multiples of so many pixels of the smallest tiles; where it divides `crop`, flips keep them there.

    Returns:
        Per array a float32 tensor (batch, 3, crop, crop) in [0, 1], times its factor, in channels_last memory format; and the tiles'
        indices.

    Raises:
        NopairsError: the crop is larger than a tile.
    """
    count, height, width, _ = min((array.shape for array in tiles), key=lambda shape: shape[1])
    if crop > min(height, width):
        raise NopairsError(
            f"crop {crop} is larger than the training tiles ({width}x{height}); lower `crop` or raise `tile`"
        )
    index = rng.integers(count, size=(batch, 1, 1))
    top = align * rng.integers((height - crop) // align + 1, size=(batch, 1))
    upside_down = rng.random((batch, 1)) < 0.5
    left = align * rng.integers((width - crop) // align + 1, size=(batch, 1))
    mirrored = rng.random((batch, 1)) < 0.5
    turned = (
        rng.random((batch, 1, 1)) < 0.5
    )  # a transposition; with the two flips it makes all eight symmetries
    crops = []
    for array in tiles:
        factor = array.shape[1] // height
        steps = np.arange(factor * crop)[None]
        rows = factor * top + np.where(upside_down, steps, steps[:, ::-1])
        columns = factor * left + np.where(mirrored, steps, steps[:, ::-1])
        y = np.where(turned, rows[:, None, :], rows[:, :, None])
        x = np.where(turned, columns[:, :, None], columns[:, None, :])
        crops.append(to_tensor(array[index, y, x]))
    return crops, index.ravel()


def to_tensor(images: np.ndarray) -> torch.Tensor:
    """Turn uint8 (batch, H, W, 3) into float32 (batch, 3, H, W) in [0, 1]; the memory stays channels_last."""
    return torch.from_numpy(np.require(images, requirements="W")).permute(0, 3, 1, 2).float().div_(255)


def to_uint8(images: torch.Tensor) -> np.ndarray:
    """Round float (batch, 3, H, W) in [0, 1] to uint8 (batch, H, W, 3), clipping values outside."""
    return (
        images.float()
        .clamp(0, 1)
        .mul(255)
        .round()
        .to(torch.uint8)
        .permute(0, 2, 3, 1)
        .contiguous()
        .cpu()
        .numpy()
    )
