"""From source photographs to the folders that every later stage reads: `<role>/...png` and `index.csv`.

Photos are worked on by several processes, one each at a time, so that memory does not grow with their number. What is done is
noted photo by photo in `.parts`, for the next run to go on from.
"""

from __future__ import annotations

import csv
import hashlib
import json
import multiprocessing
import os
import shutil
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nopairs.data import channels
from nopairs.data.camera import Camera, illuminate, photograph
from nopairs.data.degrading import Degrading, degrade
from nopairs.data.images import encode_png, read_rgb
from nopairs.data.photos import MORE_CLEAN, PAIRED_ROLES, WHOLE, SourcePhoto
from nopairs.data.resizing import reduce_pixels, whole
from nopairs.data.tiles import REDUCED
from nopairs.digest import code_digest, module_file
from nopairs.errors import NopairsError
from nopairs.files import atomic_file, read_json, write_json

COLUMNS = ("path", "role", "photo", "scene", "pair", "height", "width", "sha256")
PARTS = ".parts"  # below the dataset's folder: a file for each source photo, with the rows that it gives


@dataclass(frozen=True)
class Recipe:
    """How photos become images: the side of training tiles, of those on the degraded side (smaller by the factor of a
    super-resolution dataset), for an embedded dataset the camera and the seed of its noise, what degrades clean photos of `val`,
    `test` and `degraded`, of what the sides of the first two are multiples, and whether degradations are learned of normalised
    channels (`channels.py`).
    """

    tile: int
    degraded_tile: int
    camera: Camera | None
    seed: int
    degrading: Degrading | None = None
    multiple: int = 1
    normalise_channels: bool = False

    @property
    def scale(self) -> int:
        """How many times larger clean images are than degraded ones."""
        return self.tile // self.degraded_tile


@dataclass(frozen=True)
class View:
    """One image to be written: `path` is relative to the dataset folder and has no suffix; tiles get theirs appended."""

    path: str
    role: str
    photo: str
    scene: str
    pair: str
    pixels: np.ndarray


def tile_corners(height: int, width: int, tile: int) -> list[tuple[int, int]]:
    """Return top-left corners of tiles that cover an image: a regular grid, its last row and column moved to the border.

    Raises:
        NopairsError: the image is smaller than a tile.
    """
    if min(height, width) < tile:
        raise NopairsError(
            f"the image is {width}x{height} pixels, smaller than a training tile of {tile}; lower `tile` or remove it"
        )
    tops, lefts = ([*range(0, side - tile, tile), side - tile] for side in (height, width))
    return [(top, left) for top in tops for left in lefts]


def write_dataset(sources: Sequence[SourcePhoto], folder: Path, recipe: Recipe, jobs: int = 1) -> None:
    """Write every role's images and, when all are there, `index.csv` into `folder`.

    Training roles (clean, more_clean, degraded, pairs) are cut into square PNGs, so that random crops never decode a large file; `val` and
    `test` stay whole. With a camera the sources are clean photos and it takes the degraded ones. Of a super-resolution dataset clean
    photos are also reduced to the size of degraded ones, and cut into tiles of the same names in `reduced`. Photos that were done
    before in the same way are left as they are, and images of photos that are gone are deleted.

    Args:
        sources: the photos.
        folder: the dataset's folder; may hold an earlier or unfinished version.
        recipe: how they are cut.
        jobs: processes.
    """
    index = folder / "index.csv"
    for made_last in (index, folder / channels.FILE):
        made_last.unlink(missing_ok=True)
    if not (folder / PARTS).is_dir():
        shutil.rmtree(folder, ignore_errors=True)  # nothing says what it holds
    names = [_part(photo) for photo in sources]
    for old in set(_old_parts(folder)) - set(names):
        _delete_images(folder, old, keep=set())
        (folder / PARTS / old).unlink()
    code = code_digest(module_file(__name__))
    work = partial(_write_photo, folder=folder, recipe=recipe, code=code)
    if jobs == 1:
        for source in sources:
            work(source)
    else:
        # Spawned, not forked: whoever calls this may have threads, which a fork would copy half.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(jobs, len(sources)), mp_context=context) as pool:
            list(pool.map(work, sources))
    _delete_empty_folders(folder)
    if recipe.normalise_channels:
        channels.write_channels(folder)
    os.sync()  # an index says that all images are there, after a crash of the machine too
    with atomic_file(index) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for name in names:
            writer.writerows(read_json(folder / PARTS / name)["rows"])


def load_source(source: SourcePhoto) -> np.ndarray:
    """Read the part of a source photo that is used, at its scale: uint8 (H, W, 3)."""
    whole = read_rgb(Path(source.path))
    (left, right), (top, bottom) = (
        (round(start * side), round(end * side))
        for side, start, end in zip(whole.shape[1::-1], source.shares()[:2], source.shares()[2:], strict=True)
    )
    pixels = whole[top:bottom, left:right]
    if source.scale == 1:
        return pixels
    height, width = pixels.shape[:2]
    size = (round(width * source.scale), round(height * source.scale))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def _write_photo(source: SourcePhoto, folder: Path, recipe: Recipe, code: str) -> None:
    """Write the images of one photo and note them, unless an earlier run has done the same."""
    key = hashlib.sha256(json.dumps([asdict(source), asdict(recipe), code]).encode()).hexdigest()
    name = _part(source)
    part = folder / PARTS / name
    if part.is_file():
        done = read_json(part)
        if done["key"] == key and all(_has_content(folder / row["path"]) for row in done["rows"]):
            return
    camera = recipe.camera if source.role != MORE_CLEAN else None
    views = _camera_views(source, camera, recipe.seed) if camera else _own_views(source, recipe)
    pieces = [piece for view in views for piece in _pieces(view, recipe, source.path)]
    rows = [row for row, _ in pieces]
    _delete_images(folder, name, keep={row["path"] for row in rows})
    # Noted without a key first: if this process is killed, the next one knows what may lie around.
    write_json(part, {"key": "", "rows": rows})
    for row, pixels in pieces:
        path = folder / row["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        png = encode_png(pixels)
        path.write_bytes(png)
        row["sha256"] = hashlib.sha256(png).hexdigest()
    write_json(part, {"key": key, "rows": rows})


def _has_content(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _own_views(source: SourcePhoto, recipe: Recipe) -> Iterator[View]:
    """The photo as it is; of a dataset that is degraded by a recipe, its degraded version beside it, or for `degraded` in its place;
    of a super-resolution dataset the reduced version of a clean training photo.
    """
    folder = f"{source.role}/{source.side}" if source.role in PAIRED_ROLES else source.role
    pair = source.photo if source.role in PAIRED_ROLES else ""
    photo = load_source(source)
    if source.role in ("val", "test"):
        photo = whole(photo, recipe.multiple)

    def view(folder: str, pixels: np.ndarray) -> View:
        return View(
            f"{folder}/{source.photo}", folder.split("/")[0], source.photo, source.scene, pair, pixels
        )

    if source.side == "clean":
        photo = whole(photo, recipe.scale)
        if recipe.degrading and source.role not in ("clean", MORE_CLEAN):
            photo = whole(photo, recipe.scale * recipe.degrading.scale)
            rng = np.random.default_rng(_noise_key(source, recipe.seed))
            degraded = degrade(reduce_pixels(photo, recipe.scale), recipe.degrading, rng)
            if source.role == "degraded":
                yield view("degraded", degraded)
                return
            yield view(f"{source.role}/degraded", degraded)
        if source.role == "clean" and recipe.scale > 1:
            yield view(REDUCED, reduce_pixels(photo, recipe.scale))
    yield view(folder, photo)


def _noise_key(source: SourcePhoto, seed: int) -> list[int]:
    """What a photo's noise is drawn from: seed and file, and of pairs the part of the file, lest `val` and `test` have the same."""
    key = [seed, int(source.sha256[:8], 16)]
    parted = source.role in PAIRED_ROLES and source.part != WHOLE
    return [*key, zlib.crc32(source.part.encode())] if parted else key


def _camera_views(source: SourcePhoto, camera: Camera, seed: int) -> Iterator[View]:
    """The clean photo and its exposures. Clean training photos are also photographed, as the real `pairs` of an upper bound.

    Training photos are taken in several lights, each of which makes another clean photo; `val` and `test` in white light.
    """
    photo = load_source(source)
    key = _noise_key(source, seed)
    rng, lights = np.random.default_rng(key), np.random.default_rng([*key, 1])
    training = source.role in ("clean", "degraded")
    exposures = 1 if source.role == "test" else camera.exposures
    for k in range(exposures):
        clean = illuminate(photo, camera, lights) if training and k else photo
        name = source.photo if exposures == 1 else f"{source.photo}_{k}"
        noisy = photograph(clean, camera, rng)
        if source.role == "degraded":
            yield View(f"degraded/{name}", "degraded", source.photo, source.scene, "", noisy)
            continue
        if source.role == "clean":
            yield View(f"clean/{name}", "clean", source.photo, source.scene, "", clean)
        role = "pairs" if source.role == "clean" else source.role
        yield View(f"{role}/clean/{name}", role, source.photo, source.scene, name, clean)
        yield View(f"{role}/degraded/{name}", role, source.photo, source.scene, name, noisy)


def _pieces(view: View, recipe: Recipe, origin: str) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """The files that a view becomes: row of the index (the hash still empty), and pixels."""
    height, width = view.pixels.shape[:2]
    side = view.path.split("/")[view.role in PAIRED_ROLES]
    # Reduced tiles have the corners, and so the names, of the clean ones that they were made of.
    scale = recipe.scale if side == REDUCED else 1
    if view.role in ("val", "test"):
        corners, sides, suffix = [(0, 0)], (height, width), ""
    else:
        tile = recipe.degraded_tile if side == "degraded" else recipe.tile
        try:
            corners = tile_corners(height * scale, width * scale, tile)
        except NopairsError as error:
            raise NopairsError(f"{origin}: {error}") from None
        sides, suffix = (tile // scale, tile // scale), "_{:05d}_{:05d}"
    for top, left in corners:
        place = suffix.format(top, left)
        row = {
            "path": f"{view.path}{place}.png",
            "role": view.role,
            "photo": view.photo,
            "scene": view.scene,
            "pair": view.pair and view.pair + place,
            "height": sides[0],
            "width": sides[1],
            "sha256": "",
        }
        top, left = top // scale, left // scale
        yield row, view.pixels[top : top + sides[0], left : left + sides[1]]


def _part(source: SourcePhoto) -> str:
    """Name of the file that notes what was made of a photo in one role."""
    name = "/".join((source.role, source.side, source.photo))
    return hashlib.sha256(name.encode()).hexdigest()[:24] + ".json"


def _old_parts(folder: Path) -> list[str]:
    return [path.name for path in (folder / PARTS).glob("[!.]*.json")]


def _delete_empty_folders(folder: Path) -> None:
    """A role that is gone leaves no folder, which would say that the dataset has it."""
    for inner in sorted(folder.rglob("*/"), reverse=True):
        if inner.is_dir() and not any(inner.iterdir()):
            inner.rmdir()


def _delete_images(folder: Path, name: str, keep: set[str]) -> None:
    """Delete the images that a part notes, but for those in `keep`."""
    part = folder / PARTS / name
    rows = read_json(part)["rows"] if part.is_file() else []
    for row in rows:
        if row["path"] not in keep:
            (folder / row["path"]).unlink(missing_ok=True)
