"""Where a dataset's photographs are before preprocessing: `sources.csv`, one row a photo, whatever the dataset's source."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from nopairs.data.embedded import PHOTOS
from nopairs.data.images import list_images
from nopairs.errors import NopairsError
from nopairs.files import atomic_file, sha256

# Roles that hold pairs: their photos come twice, as `clean` and as `degraded`, under equal names.
PAIRED_ROLES = ("pairs", "val", "test")


@dataclass(frozen=True)
class SourcePhoto:
    """One photograph as found: `side` is clean or degraded, `scale` the size at which preprocessing uses it."""

    path: str
    role: str
    side: str
    photo: str
    scene: str
    scale: float
    sha256: str


def collect_embedded(folder: Path) -> list[SourcePhoto]:
    """Copy the embedded photos out of their packages into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for photo in PHOTOS:
        origin = photo.locate()
        copy = folder / origin.name
        shutil.copyfile(origin, copy)
        found.append(
            SourcePhoto(str(copy), photo.role, "clean", photo.name, photo.scene, photo.scale, sha256(copy))
        )
    return found


def collect_folders(entry: dict[str, Any]) -> list[SourcePhoto]:
    """List a user's own folders: unpaired `clean` and `degraded`, and where given paired `pairs`, `val`, `test`.

    Without `test`, one degraded photo in `test_every` (by name; never all) is held out and only ever restored and measured.

    Raises:
        NopairsError: an empty or missing folder, unequal names in a paired role, a photo that stands in two roles.
    """
    clean, degraded = list_images(entry["clean"]), list_images(entry["degraded"])
    photos = [_photo(path, "clean", "clean", Path(entry["clean"])) for path in clean]
    held_out = set() if "test" in entry else set(degraded[:: entry["test_every"]])
    if held_out == set(degraded):
        raise NopairsError(
            f"{entry['degraded']}: one photo only; give at least two, since one is held out for testing"
        )
    root = Path(entry["degraded"])
    photos += [
        _photo(path, "test" if path in held_out else "degraded", "degraded", root) for path in degraded
    ]
    for role in PAIRED_ROLES:
        if role in entry:
            photos += _paired(role, Path(entry[role]["clean"]), Path(entry[role]["degraded"]))
    _refuse_shared(photos)
    return photos


def write_sources(photos: Iterable[SourcePhoto], path: Path) -> None:
    """Write `sources.csv`."""
    with atomic_file(path) as temporary:
        pd.DataFrame([asdict(photo) for photo in photos]).to_csv(temporary, index=False)


def read_sources(path: Path) -> list[SourcePhoto]:
    """Read `sources.csv`."""
    rows = pd.read_csv(path, dtype={"photo": str, "scene": str}).to_dict("records")
    return [SourcePhoto(**{str(key): value for key, value in row.items()}) for row in rows]


def _photo(path: Path, role: str, side: str, root: Path) -> SourcePhoto:
    name = path.name if root.is_file() else str(path.relative_to(root))
    name = name.rsplit(".", 1)[0].replace("/", "__")
    return SourcePhoto(str(path), role, side, name, name, 1.0, sha256(path))


def _paired(role: str, clean: Path, degraded: Path) -> list[SourcePhoto]:
    pairs = {
        side: {photo.photo: photo for photo in (_photo(path, role, side, root) for path in list_images(root))}
        for side, root in (("clean", clean), ("degraded", degraded))
    }
    alone = sorted(pairs["clean"].keys() ^ pairs["degraded"].keys())
    if alone:
        raise NopairsError(
            f"{role}: {alone[0]} stands in only one of {clean} and {degraded}; pairs need equal file names"
        )
    return [*pairs["clean"].values(), *pairs["degraded"].values()]


def _refuse_shared(photos: list[SourcePhoto]) -> None:
    """Raise when the same file content has two roles: training on a test photo would make every number a lie."""
    seen: dict[str, SourcePhoto] = {}
    for photo in photos:
        other = seen.setdefault(photo.sha256, photo)
        if other.role != photo.role:
            raise NopairsError(
                f"{photo.path}: the same photo as {other.path}, in roles {photo.role} and {other.role}; remove one"
            )
