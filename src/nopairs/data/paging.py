"""Large arrays outside of memory: in a temporary file, of which only the part in use is held."""

from __future__ import annotations

import math
import mmap
import os
import tempfile

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nopairs.errors import NopairsError

LARGE = 2**23
"""Bytes from which an array lies in a file: a photo of 3 megapixels."""


def allocate(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray:
    """Return an array of any content, a large one in an unlinked file in the system's folder for them (TMPDIR).

    Raises:
        NopairsError: there is no room for the file.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size < LARGE:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile(prefix="nopairs-") as file:
        try:
            os.posix_fallocate(
                file.fileno(), 0, size
            )  # now: a disk that is full later would kill the process
        except OSError as error:
            raise NopairsError(
                f"{tempfile.gettempdir()}: no room for {size / 1e6:.0f} MB of pixels ({error.strerror}); free some, "
                "or let TMPDIR name another folder"
            ) from None
        return np.ndarray(shape, dtype, mmap.mmap(file.fileno(), size))


def release(array: NDArray) -> None:
    """Let the memory go that holds a large array's pages; they are read from its file when they are used again."""
    owner: object = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, mmap.mmap):
        owner.madvise(mmap.MADV_DONTNEED)
