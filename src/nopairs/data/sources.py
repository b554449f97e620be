"""A dataset's photographs, found and given their roles, whatever its source: the catalogue, or a user's own folders."""

from __future__ import annotations

import hashlib
import json
import os
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from nopairs.data import entries
from nopairs.data.archives import is_archive, unpack
from nopairs.data.entries import FOLDER, TRAINING_SCENES, Entry, ImageRule
from nopairs.data.images import list_images, shown
from nopairs.data.photos import MORE_CLEAN, PAIRED_ROLES, SourcePhoto
from nopairs.data.splits import split_scenes
from nopairs.data.store import Store, exclusive
from nopairs.errors import NopairsError
from nopairs.files import atomic_folder, sha256

# Roles that one file may have together: the real pairs are training photos, with what the unpaired half does not see.
SHARED_ROLES = ({"clean", "pairs"}, {"degraded", "pairs"}, {"clean", MORE_CLEAN})
PAPER_ROLES = (*SHARED_ROLES, {"val", "test"})  # what papers do that select on the set they report
NAME_BYTES = 180  # of a photo's name, at most: the places of tiles and suffixes are appended


def collect(settings: dict[str, Any], store: Store) -> list[SourcePhoto]:
    """Fetch, unpack and list a dataset's photos.

    Args:
        settings: the dataset's resolved entry in the configuration.
        store: where files of the catalogue lie, or are fetched to.

    Raises:
        NopairsError: a file cannot be had or has a wrong hash; a folder is empty or missing; names of pairs differ; a photo
            stands in two roles.
    """
    if settings["source"] == FOLDER:
        photos = _folder_photos(settings)
    else:
        entry = entries.load(settings["source"])
        images = _own_images(settings) if entry.own else _fetched_images(entry, settings["only"], store)
        photos = _with_roles(entry, images, settings)
    if most := settings.get("train_photos"):
        photos = _first_photos(photos, most, settings["seed"])
    for name in settings.get("more_clean", ()):
        photos += _more_clean(entries.load(name), settings["tile"], store)
    photos = _with_hashes(photos)
    _refuse_shared(photos, PAPER_ROLES if settings.get("selection") == "paper" else SHARED_ROLES)
    return photos


def copied_photos(settings: dict[str, Any]) -> list[SourcePhoto]:
    """List a user's copy of a dataset that cannot be fetched, as `collect` does; hashes are left empty.

    Raises:
        NopairsError: the folder is empty or missing, or arranged in another way than the catalogue says.
    """
    return _with_roles(entries.load(settings["source"]), _own_images(settings), settings)


def _with_roles(entry: Entry, images: Mapping[str, Path], settings: dict[str, Any]) -> list[SourcePhoto]:
    entry = entry.in_role(settings["role"]) if "role" in settings else entry
    pairs_from = settings.get("pairs_from", TRAINING_SCENES)
    return catalogued_photos(entry, images, settings["split"], settings["selection"], pairs_from)


def catalogued_photos(
    entry: Entry,
    images: Mapping[str, Path],
    split: int,
    selection: str = "held_out",
    pairs_from: Collection[str] = TRAINING_SCENES,
) -> list[SourcePhoto]:
    """Give the images of a dataset of the catalogue their roles; hashes are left empty.

    Args:
        entry: the dataset.
        images: name (path in the dataset) -> file.
        split: number of the split, for a dataset that is split by scene.
        selection: held_out, or paper: an image of val or test is in both.
        pairs_from: whose scenes, of those dealt to the two unpaired halves, also give real pairs.

    Raises:
        NopairsError: no image fits the entry, two have one name, or an image of a pair is missing.
    """
    found = [match for name, path in images.items() if (match := _match(entry, name, path))]
    if not found:
        raise NopairsError(f"{entry.name}: none of its {len(images)} images fits the catalogue's entry")
    dealt = {photo.scene for rule, photo in found if "split" in rule.roles}
    scene_roles = split_scenes(dealt, entry.split, split) if dealt else {}
    photos = []
    for rule, photo in found:
        roles = [role for role in rule.roles if role != "split"]
        if "split" in rule.roles:
            roles += entry.dealt_roles(scene_roles[photo.scene], rule.side, pairs_from)
        if selection == "paper" and roles in (["val"], ["test"]):
            roles = ["val", "test"]
        photos += [replace(photo, role=role) for role in roles]
    _check_names(entry, photos)
    return photos


def _more_clean(entry: Entry, tile: int, store: Store) -> list[SourcePhoto]:
    """All photos of a clean dataset, to be learned from with another one's clean half; those smaller than a tile are enlarged to one."""
    photos = catalogued_photos(entry, _fetched_images(entry, entry.only, store), split=0)
    return [
        replace(
            photo,
            role=MORE_CLEAN,
            photo=f"{entry.name}__{photo.role}__{photo.photo}",
            scale=photo.scale * _filling(photo, tile),
        )
        for photo in photos
    ]


def _filling(photo: SourcePhoto, tile: int) -> float:
    """By how much a photo must be enlarged for its used part to fill a tile."""
    left, top, right, bottom = photo.shares()
    with Image.open(photo.path) as image:  # reads the header only
        width, height = image.size
    return max(1.0, tile / (photo.scale * min(width * (right - left), height * (bottom - top))))


def _fetched_images(entry: Entry, only: str, store: Store) -> dict[str, Path]:
    """Fetch a dataset's files and unpack its archives: name -> image."""
    files = entry.wanted_files(only)
    images: dict[str, Path] = {}
    for file, path in zip(files, store.fetch(entry.name, files), strict=True):
        images |= _unpacked(entry, file.path, path) if is_archive(file.path) else {file.path: path}
    return images


def _unpacked(entry: Entry, name: str, archive: Path) -> dict[str, Path]:
    """Unpack the images that the entry knows, unless that was done before: name -> image."""
    folder = archive.with_name(f".{archive.name}.unpacked")
    marker = folder / ".from"
    rules = [rule.match.pattern for rule in entry.images]
    made_from = hashlib.sha256(json.dumps([sha256(archive), rules]).encode()).hexdigest()
    with exclusive(folder):
        if not marker.is_file() or marker.read_text() != made_from:
            with atomic_folder(folder) as temporary:
                unpack(
                    archive,
                    temporary,
                    lambda image: any(r.match.fullmatch(f"{name}/{image}") for r in entry.images),
                )
                (temporary / marker.name).write_text(made_from)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != marker)
    return {f"{name}/{path.relative_to(folder).as_posix()}": path for path in files}


def _own_images(settings: dict[str, Any]) -> dict[str, Path]:
    root = Path(settings["folder"])
    return {str(path.relative_to(root)): path for path in _listed(root)}


def _listed(folder: str | Path) -> list[Path]:
    """The images of a user's folder; raises NopairsError as `list_images` does, and for a name that no table can hold."""
    images = list_images(folder)
    for path in images:
        try:
            str(path).encode()
        except UnicodeEncodeError:
            raise NopairsError(f"{shown(str(path))}: its name is not UTF-8; rename it") from None
    return images


def _name(path: str) -> str:
    """What a photo is called after its path without suffix: as a file name, of equal letters however they were composed."""
    name = unicodedata.normalize("NFC", path).replace("/", "__")
    letters = os.fsencode(name)
    if len(letters) <= NAME_BYTES:
        return name
    ending = "-" + hashlib.sha256(letters).hexdigest()[:16]
    return letters[: NAME_BYTES - len(ending)].decode(errors="ignore") + ending


def _match(entry: Entry, name: str, path: Path) -> tuple[ImageRule, SourcePhoto] | None:
    for rule in entry.images:
        if match := rule.match.fullmatch(name):
            named = match.groupdict()
            photo = _name(named.get("photo") or Path(name).stem)
            scene = rule.scene or named.get("scene") or photo
            return rule, SourcePhoto(str(path), "", rule.side, photo, scene, rule.scale, "", rule.part)
    return None


def _check_names(entry: Entry, photos: Iterable[SourcePhoto]) -> None:
    """Raise where two images of one role and side have one name, or one of a pair is missing."""
    named = _by_name(entry.name, photos)
    if entry.camera:
        return
    for role in entry.paired():
        clean, degraded = (named.get((role, side), {}) for side in ("clean", "degraded"))
        if alone := sorted(clean.keys() ^ degraded.keys()):
            raise NopairsError(f"{entry.name}: {role}: {alone[0]!r} has only one of clean and degraded")


def _by_name(where: str, photos: Iterable[SourcePhoto]) -> dict[tuple[str, str], dict[str, SourcePhoto]]:
    """The photos of each role and side by their names; raises NopairsError where two have one name."""
    named: dict[tuple[str, str], dict[str, SourcePhoto]] = {}
    for photo in photos:
        same = named.setdefault((photo.role, photo.side), {}).setdefault(photo.photo, photo)
        if same is not photo:
            raise NopairsError(
                f"{where}: {photo.path} and {same.path} are both called {photo.photo!r}; rename one"
            )
    return named


def _folder_photos(settings: dict[str, Any]) -> list[SourcePhoto]:
    """List a user's own folders: unpaired `clean` and `degraded`, and where given paired `pairs`, `val`, `test`.

    Without `test`, one degraded photo in `test_every` (by name; never all) is held out and only ever restored and measured.
    """
    photos = photos_of(settings)
    degraded = [photo for photo in photos if photo.role == "degraded"]
    held_out = set() if "test" in settings else set(degraded[:: settings["test_every"]])
    if held_out == set(degraded):
        raise NopairsError(
            f"{settings['degraded']}: one photo only; give at least two, since one is held out for testing"
        )
    photos = [replace(photo, role="test") if photo in held_out else photo for photo in photos]
    for role in PAIRED_ROLES:
        if role in settings:
            photos += photos_of(settings[role], role)
    return photos


def photos_of(folders: Mapping[str, Any], role: str = "") -> list[SourcePhoto]:
    """List a user's folders `clean` and `degraded`: those of a role that holds pairs, or the unpaired ones, whose sides are their roles.

    Raises:
        NopairsError: a folder is empty or missing; a name is not UTF-8; two photos of a folder have one name; a photo of a
            pair is missing.
    """
    photos = [
        _photo(path, role or side, side, Path(folders[side]))
        for side in TRAINING_SCENES
        for path in _listed(folders[side])
    ]
    named = _by_name(role or "folder", photos)
    if role and (alone := sorted(named[role, "clean"].keys() ^ named[role, "degraded"].keys())):
        raise NopairsError(
            f"{role}: {alone[0]} stands in only one of {folders['clean']} and {folders['degraded']}; "
            "pairs need equal file names"
        )
    return photos


def _photo(path: Path, role: str, side: str, root: Path) -> SourcePhoto:
    name = _name((path.name if root.is_file() else str(path.relative_to(root))).rsplit(".", 1)[0])
    return SourcePhoto(str(path), role, side, name, name, 1.0, "")


def _first_photos(photos: list[SourcePhoto], most: int, seed: int) -> list[SourcePhoto]:
    """Leave out all but `most` photos of each unpaired half; fewer are among those of more, in an order that `seed` shuffles.

    Raises:
        NopairsError: a half has fewer.
    """
    left_out: set[SourcePhoto] = set()
    for role in TRAINING_SCENES:
        half = [photo for photo in photos if photo.role == role]
        if len(half) < most:
            raise NopairsError(f"train_photos: {most}, but there are {len(half)} {role} ones; ask for fewer")
        half.sort(key=lambda photo: hashlib.sha256(f"{seed}/{photo.photo}".encode()).digest())
        left_out |= set(half[most:])
    return [photo for photo in photos if photo not in left_out]


def _with_hashes(photos: list[SourcePhoto]) -> list[SourcePhoto]:
    """Fill in the hashes, of each file once."""
    paths = sorted({photo.path for photo in photos})
    with ThreadPoolExecutor() as pool:
        hashes = dict(zip(paths, pool.map(sha256, paths), strict=True))
    return [replace(photo, sha256=hashes[photo.path]) for photo in photos]


def _refuse_shared(photos: list[SourcePhoto], allowed: Iterable[set[str]]) -> None:
    """Raise when the same file content has two roles: training on a test photo would make every number a lie."""
    seen: dict[str, list[SourcePhoto]] = {}
    for photo in photos:
        for other in seen.setdefault(photo.sha256, []):
            if other.role == photo.role or {other.role, photo.role} in allowed or not photo.overlaps(other):
                continue
            advice = "name folders apart" if photo.path == other.path else "remove one"
            raise NopairsError(
                f"{photo.path}: the same photo as {other.path}, in roles {photo.role} and {other.role}; {advice}"
            )
        seen[photo.sha256].append(photo)
