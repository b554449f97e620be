"""What can be told of a user's folders before any job starts: names, sizes and headers, well under a millisecond a photo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nopairs.data.formats import Header, read_header
from nopairs.data.images import list_images
from nopairs.data.sources import PAIRED_ROLES
from nopairs.errors import NopairsError

SIDES = ("clean", "degraded")
TILED_ROLES = ("unpaired", "pairs")  # val and test stay whole
Headers = dict[Path, Header]


def check_folders(dataset: dict[str, Any]) -> None:
    """Look at every folder that a dataset's resolved entry names; a dataset of another source has none.

    Raises:
        NopairsError: a folder is missing or empty; a file is no image by its header, an animation or too large; a training
            photo is smaller than a tile; one side is grey where the other has colour; the images of a pair differ in size.
    """
    if not set(SIDES) <= dataset.keys():
        return
    for role in ("unpaired", *PAIRED_ROLES):
        folders = dataset if role == "unpaired" else dataset.get(role)
        if folders is None:
            continue
        clean, degraded = ({path: read_header(path) for path in list_images(folders[side])} for side in SIDES)
        if role in TILED_ROLES:
            _refuse_small(clean, dataset["tile"])
            _refuse_small(degraded, dataset["tile"] // dataset["scale"])
        if role in PAIRED_ROLES:
            clean_root, degraded_root = (Path(folders[side]) for side in SIDES)
            _refuse_unequal(clean, degraded, clean_root, degraded_root, dataset["scale"])
        _refuse_one_grey_side(folders, clean, degraded)


def _refuse_small(headers: Headers, tile: int) -> None:
    for path, header in headers.items():
        if min(header.height, header.width) < tile:
            raise NopairsError(
                f"{path}: {header.width}x{header.height} pixels, smaller than a training tile of {tile}; "
                "lower `tile` or remove the photo"
            )


def _refuse_unequal(
    clean: Headers, degraded: Headers, clean_root: Path, degraded_root: Path, scale: int
) -> None:
    sizes = {_name(path, clean_root): header[:2] for path, header in clean.items()}
    for path, header in degraded.items():
        size = sizes.get(_name(path, degraded_root))
        if size and size != (scale * header.height, scale * header.width):
            factor = f" times {scale}" if scale > 1 else ""
            raise NopairsError(
                f"{path}: {header.width}x{header.height} pixels{factor}, but its clean version has another size, "
                f"{size[1]}x{size[0]} (both upright, as EXIF says); the images of a pair must show the same pixels"
            )


def _name(path: Path, root: Path) -> Path:
    return (Path(path.name) if path == root else path.relative_to(root)).with_suffix("")


def _refuse_one_grey_side(folders: dict[str, Any], clean: Headers, degraded: Headers) -> None:
    """Grey and colour may be mixed within folders, but a model must not learn that to degrade is to lose colour."""
    clean_grey, degraded_grey = (all(header.grey for header in side.values()) for side in (clean, degraded))
    if clean_grey == degraded_grey:
        return
    first, second = SIDES if clean_grey else reversed(SIDES)
    raise NopairsError(
        f"{folders[first]}: every photo is grey, but {folders[second]} has colour, and the difference would be learned; "
        "make both grey or both colour"
    )
