"""Restoration of images of any size in flat memory: tile by tile, with enough context to leave no seam."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from nopairs.errors import NopairsError

TILE = 512
"""Default side of a tile, in pixels, without its context."""


def restore_tiled(
    restorer: nn.Module,
    image: torch.Tensor,
    tile: int = TILE,
    margin: int | None = None,
) -> torch.Tensor:
    """Restore an image in tiles, as `restore_parts` does.

    Args:
        restorer: as `restore_parts` takes it.
        image: float32 (1, C, H, W) in [0, 1], of any size from one pixel.
        tile: side of a tile without its margins, in pixels.
        margin: context on each side in pixels; the restorer's own if None.

    Returns:
        The restored image, on the same device, not clipped: of the same shape, or larger by the restorer's `scale`.

    Raises:
        NopairsError: as `restore_parts`.
    """
    scale = scale_of(restorer)
    output = image.new_empty((*image.shape[:2], *(scale * side for side in image.shape[2:])))

    def read(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        return image[:, :, rows[:, None], columns]

    def write(rows: slice, columns: slice, restored: torch.Tensor) -> None:
        output[:, :, rows, columns] = restored.to(output.device)

    restore_parts(restorer, image.shape[2:], read, write, tile, margin)
    return output


def restore_parts(
    restorer: nn.Module,
    size: Sequence[int],
    read: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    write: Callable[[slice, slice, torch.Tensor], None],
    tile: int = TILE,
    margin: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Restore an image in tiles that are read with a margin of context, of which only the centre is written.

    If the margin covers the restorer's receptive field, the result is that of the whole image (padded by
    reflection to a multiple of `restorer.multiple`, and cropped): a tile at the image's border ends there and
    so sees the restorer's own padding, and tiles begin at multiples of `multiple`, so that strides fall on
    the same pixels. Memory depends on the tile only.

    Args:
        restorer: in evaluation mode, with the attributes `margin` (radius of its receptive field in pixels) and `multiple`
            (sides must be a multiple of it); one that enlarges says in `scale` how many times. Tiles go to its device. One with a true
            `positioned` is also given the image's rows and columns that the tile's pixels come from; one with a true `self_ensemble`
            restores each tile eight times; one with a `survey` is shown all tiles first, where there are several, and returns the
            restorer that knows what it measured of them.
        size: height and width of the image, from one pixel.
        read: returns the pixels where given rows and columns cross, float32 (1, C, h, w) in [0, 1].
        write: takes a part of the restored image, by its rows and columns, and its pixels, (1, C, h, w), not clipped.
        tile: side of a tile without its margins, in pixels.
        margin: context on each side in pixels; the restorer's own if None.
        progress: called after each tile with the number of tiles done and their total.

    Raises:
        NopairsError: the restorer returns another shape than it was given, times its scale, or values that are not finite.
    """
    # mypy takes every attribute of a module for a Tensor or a Module.
    multiple = int(restorer.multiple)  # type: ignore[arg-type]
    margin = int(restorer.margin) if margin is None else margin  # type: ignore[arg-type]
    positioned = bool(getattr(restorer, "positioned", False))
    restore = self_ensembled if getattr(restorer, "self_ensemble", False) else nn.Module.__call__
    scale = scale_of(restorer)
    rows, columns = (_spans(length, tile, margin, multiple) for length in size)
    device = next(restorer.parameters(), torch.empty(0)).device
    if len(rows) * len(columns) > 1:
        restorer = surveyed(
            restorer, lambda: (read(row.read, column.read) for row in rows for column in columns)
        )
    with torch.inference_mode():
        for done, (row, column) in enumerate(((r, c) for r in rows for c in columns), start=1):
            degraded = read(row.read, column.read).to(device)
            restored = restore(restorer, degraded, *((row.read, column.read) if positioned else ()))
            if restored.shape != (*degraded.shape[:2], *(scale * side for side in degraded.shape[2:])):
                raise NopairsError(
                    f"the model makes {tuple(restored.shape)} of {tuple(degraded.shape)}; "
                    "use one that keeps the image's size and channels"
                )
            if not restored.isfinite().all():
                raise NopairsError(
                    "the model returned values that are not finite; its weights are broken, train it again"
                )
            centre = restored[:, :, _scaled(row.centre, scale), _scaled(column.centre, scale)]
            write(_scaled(row.keep, scale), _scaled(column.keep, scale), centre)
            if progress is not None:
                progress(done, len(rows) * len(columns))


def surveyed(restorer: nn.Module, tiles: Callable[[], Iterable[torch.Tensor]]) -> nn.Module:
    """Return the restorer for an image that consists of `tiles` (1, C, h, w): one with a `survey` measures the whole image first."""
    survey: Callable[..., nn.Module] | None = getattr(restorer, "survey", None)
    return survey(tiles) if survey else restorer


def self_ensembled(restorer: Callable[[torch.Tensor], torch.Tensor], degraded: torch.Tensor) -> torch.Tensor:
    """Return the mean of what a restorer makes of an image's eight rotations and reflections, each turned back.

    What it makes of one of them only, its error in part, is divided (Timofte et al., 2016: "enhanced prediction"; EDSR's
    self-ensemble). (N, C, H, W) to the same shape, or to one larger by the restorer's scale.
    """
    views = []
    for turns in range(4):
        turned = torch.rot90(degraded, turns, (2, 3))
        for restored in (restorer(turned), restorer(turned.flip(3)).flip(3)):
            views.append(torch.rot90(restored, -turns, (2, 3)))
    return torch.stack(views).mean(0)


def scale_of(restorer: nn.Module) -> int:
    """Return how many times a restorer enlarges images."""
    return int(getattr(restorer, "scale", 1))


def _scaled(part: slice, scale: int) -> slice:
    return slice(scale * part.start, scale * part.stop)


@dataclass(frozen=True)
class _Span:
    """A tile along one axis: the pixels it reads, the pixels it decides, and their place in what it read."""

    read: torch.Tensor
    keep: slice
    centre: slice


def _spans(size: int, tile: int, margin: int, multiple: int) -> list[_Span]:
    """Divide an axis into tiles of nearly equal length, at most `tile` rounded up to `multiple`."""
    margin, padded = round_up(margin, multiple), round_up(size, multiple)
    # The pixel at each place of the padded axis; NumPy's reflection, unlike torch's, may exceed the image.
    pixels = torch.from_numpy(np.pad(np.arange(size), (0, padded - size), mode="reflect"))
    step = round_up(math.ceil(padded / math.ceil(padded / tile)), multiple)
    spans = []
    for start in range(0, padded, step):
        first, stop = max(start - margin, 0), min(start + step, size)
        read = pixels[first : round_up(stop, multiple) + margin]
        spans.append(_Span(read, slice(start, stop), slice(start - first, stop - first)))
    return spans


def round_up(value: int, multiple: int) -> int:
    """Return the least multiple of `multiple` that is not below `value`."""
    return math.ceil(value / multiple) * multiple
