"""What the SIDD benchmark takes in place of images whose truth it keeps: restored blocks in one file.

The .mat is that of the benchmark's own MATLAB code: a cell array (images, blocks) of uint8 (height, width, 3), the seconds a megapixel
and a structure about the method. The .csv is that of its later Kaggle pages: a row a block, its bytes in base64.
"""

from __future__ import annotations

import base64
import csv
from pathlib import Path

import numpy as np
import scipy.io

from nopairs.data.images import read_rgb
from nopairs.errors import NopairsError
from nopairs.files import atomic_file


def read_blocks(folder: Path) -> np.ndarray:
    """Read restored blocks, `<image>__<block>.png` counted from 0, as uint8 (images, blocks, height, width, 3).

    Raises:
        NopairsError: a file is called otherwise, one is missing, or their sizes differ.
    """
    found = {_place(path): path for path in sorted(folder.glob("*.png"))}
    if not found:
        raise NopairsError(f"{folder}: no restored blocks; restore the benchmark's images first")
    images, blocks = (max(place) + 1 for place in zip(*found, strict=True))
    if missing := {(image, block) for image in range(images) for block in range(blocks)} - found.keys():
        image, block = min(missing)
        raise NopairsError(
            f"{folder}: {image}__{block}.png is missing; restore all {images} x {blocks} blocks"
        )
    pixels = [read_rgb(found[place]) for place in sorted(found)]
    if len({block.shape for block in pixels}) > 1:
        raise NopairsError(f"{folder}: blocks of several sizes; the benchmark's are all of one size")
    return np.stack(pixels).reshape(images, blocks, *pixels[0].shape)


def _place(path: Path) -> tuple[int, int]:
    image, _, block = path.stem.partition("__")
    if not (image.isdecimal() and block.isdecimal()):
        raise NopairsError(
            f"{path}: not called <image>__<block>.png; only a benchmark's blocks can be submitted"
        )
    return int(image), int(block)


def write_mat(path: Path, blocks: np.ndarray, seconds_per_megapixel: float, method: str) -> None:
    """Write blocks as `read_blocks` gives them into a MATLAB file."""
    cells = np.empty(blocks.shape[:2], object)
    for place in np.ndindex(cells.shape):
        cells[place] = blocks[place]
    content = {
        "DenoisedBlocksSrgb": cells,
        "TimeMPSrgb": seconds_per_megapixel,
        "OptionalData": {"MethodName": method},
    }
    with atomic_file(path) as temporary:
        scipy.io.savemat(temporary, content, do_compression=True)


def write_blocks_csv(path: Path, blocks: np.ndarray) -> None:
    """Write blocks as `read_blocks` gives them as rows of ID and BLOCK."""
    with atomic_file(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["ID", "BLOCK"])
        for number, block in enumerate(blocks.reshape(-1, *blocks.shape[2:])):
            writer.writerow([number, base64.b64encode(block.tobytes()).decode()])
