"""Which training images a transport's statistics come from, and which choose its alphas where there is no `val`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nopairs.data.images import evenly
from nopairs.data.index import read_index
from nopairs.errors import NopairsError


def photos_of(dataset: Path, part: str) -> list[str]:
    """Return the photo of each tile of a dataset's folder in a part of it (clean, degraded, pairs/clean), in the order of their names.

    Raises:
        NopairsError: there are no tiles.
    """
    index = read_index(dataset).sort_values("path")
    photos = index.photo[index.path.str.startswith(f"{part}/")].tolist()
    if not photos:
        raise NopairsError(f"{dataset / part}: no tiles to take statistics from; run the preprocessing step")
    return photos


def deal(
    photos: Sequence[str], images: int, sides: int, judges: int = 0, first: int = 0
) -> tuple[list[int], list[list[int]]]:
    """Deal tiles to those who judge alphas, and in turn to the sides of the statistics, so that these are alike in content.

    Whole photos are dealt, with all of their tiles, where there are enough of them; else tiles.

    Args:
        photos: the photo of each tile.
        images: of each side.
        sides: 2, natural and restored images of different photos, or 1, which is both.
        judges: how many judge, of a third of all images at most; of a whole photo its first tile.
        first: places by which the statistics' images are shifted, to take others.

    Returns:
        Tiles that judge, and tiles of each side.
    """
    count = len(set(photos))
    whole = count - min(judges, count // 3) >= sides * images
    tiles: dict[str, list[int]] = {}
    for place, photo in enumerate(photos):
        tiles.setdefault(photo if whole else str(place), []).append(place)
    names = list(tiles)
    held = {names[k] for k in spread(len(names), min(judges, len(names) // 3))}
    others = [name for name in names if name not in held]
    dealt = [others[k] for k in spread(len(others), sides * images, first)]
    of_sides = [[place for name in dealt[side::sides] for place in tiles[name]] for side in range(sides)]
    return [tiles[name][0] for name in names if name in held], of_sides


def spread(count: int, wanted: int, first: int = 0) -> list[int]:
    """Return `wanted` of `count` places, evenly spread, each `first` further; all of them where they are fewer."""
    return ((evenly(count, wanted) + first) % max(1, count)).tolist()
