"""What can be told of a user's folders before any job starts: names, sizes and headers, well under a millisecond a photo."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from itertools import permutations
from pathlib import Path
from typing import Any

from nopairs.data.formats import Header, read_header
from nopairs.data.photos import PAIRED_ROLES, SourcePhoto
from nopairs.data.sources import SHARED_ROLES, copied_photos, photos_of
from nopairs.errors import NopairsError

SIDES = ("clean", "degraded")
TILED_ROLES = (*SIDES, "pairs")  # val and test stay whole
Headers = dict[SourcePhoto, Header]


def check_folders(dataset: dict[str, Any]) -> None:
    """Look at every folder that a dataset's resolved entry names; a dataset that is fetched has none.

    Raises:
        NopairsError: a folder is missing or empty; a file is no image by its header, an animation or too large; a training
            photo is smaller than a tile; one side is grey where the other has colour; two photos of a folder have one name;
            the images of a pair differ in name or size; a folder lies in one of another role.
    """
    _refuse_nested(dataset)
    if "folder" in dataset:
        _checked_headers(copied_photos(dataset), dataset)
    for role, folders in _own_folders(dataset):
        _refuse_one_grey_side(folders, _checked_headers(photos_of(folders, role), dataset))


def _own_folders(dataset: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The user's folders `clean` and `degraded` of each role; the unpaired ones have none."""
    found = [("", dataset), *((role, dataset.get(role) or {}) for role in PAIRED_ROLES)]
    return [(role, folders) for role, folders in found if set(SIDES) <= folders.keys()]


def _refuse_nested(dataset: dict[str, Any]) -> None:
    """A folder is listed with its sub-folders: what lies in one of them would be in two roles."""
    named = [
        (role or side, side, Path(folders[side])) for role, folders in _own_folders(dataset) for side in SIDES
    ]
    for (role, side, outer), (other, its_side, inner) in permutations(named, 2):
        shared = {role, other} in SHARED_ROLES and side == its_side
        if not shared and outer.resolve() in inner.resolve().parents:
            raise NopairsError(f"{outer} holds {inner}; name folders apart")


def _checked_headers(photos: Iterable[SourcePhoto], dataset: dict[str, Any]) -> Headers:
    headers = {photo: _header(photo.path, Path(photo.path).stat().st_mtime_ns) for photo in photos}
    for photo, header in headers.items():
        if photo.role in TILED_ROLES:
            _refuse_small(
                photo, header, dataset["tile"] // (dataset["scale"] if photo.side == "degraded" else 1)
            )
    _refuse_unequal(headers, dataset["scale"])
    return headers


@lru_cache(2**17)
def _header(path: str, _time: int) -> Header:
    """Read a header once: several datasets, and roles of one, may name the same photos."""
    return read_header(Path(path))


def _refuse_small(photo: SourcePhoto, header: Header, tile: int) -> None:
    if min(header.height, header.width) < tile:
        raise NopairsError(
            f"{photo.path}: {header.width}x{header.height} pixels, smaller than a training tile of {tile}; "
            "lower `tile` or remove the photo"
        )


def _refuse_unequal(headers: Headers, scale: int) -> None:
    clean = {(photo.role, photo.photo): header for photo, header in headers.items() if photo.side == "clean"}
    for photo, header in headers.items():
        other = clean.get((photo.role, photo.photo)) if photo.side == "degraded" else None
        if other and other[:2] != (scale * header.height, scale * header.width):
            factor = f" times {scale}" if scale > 1 else ""
            raise NopairsError(
                f"{photo.path}: {header.width}x{header.height} pixels{factor}, but its clean version has another size, "
                f"{other.width}x{other.height} (both upright, as EXIF says); the images of a pair must show the same pixels"
            )


def _refuse_one_grey_side(folders: dict[str, Any], headers: Headers) -> None:
    """Grey and colour may be mixed within folders, but a model must not learn that to degrade is to lose colour."""
    clean_grey, degraded_grey = (
        all(header.grey for photo, header in headers.items() if photo.side == side) for side in SIDES
    )
    if clean_grey == degraded_grey:
        return
    first, second = SIDES if clean_grey else reversed(SIDES)
    raise NopairsError(
        f"{folders[first]}: every photo is grey, but {folders[second]} has colour, and the difference would be learned; "
        "make both grey or both colour"
    )
