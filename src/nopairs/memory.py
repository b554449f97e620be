"""How the process gets its memory."""

from __future__ import annotations

import ctypes
import sys

# Of glibc's malloc.h: what mallopt sets.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> None:
    """Let freed memory serve the next request instead of going back to the kernel; with glibc only, elsewhere nothing happens.

    A network frees and requests tensors of the same sizes at each layer. By default those over 32 MB are mapped anew each time, and the
    kernel clears every page of them: a third of the processor time of a restoration (docs/performance.md).
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 2**30)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
