"""From source photographs to the folders that every later stage reads: `<role>/...png` and `index.csv`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from nopairs.data.camera import Camera, illuminate, photograph
from nopairs.data.images import read_rgb, write_png
from nopairs.data.sources import PAIRED_ROLES, SourcePhoto
from nopairs.errors import NopairsError
from nopairs.files import sha256


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


def write_dataset(
    sources: Sequence[SourcePhoto], folder: Path, tile: int, camera: Camera | None, seed: int
) -> None:
    """Write every role's images and `index.csv` into `folder`.

    Training roles (clean, degraded, pairs) are cut into `tile` x `tile` PNGs, so that random crops never decode a large file;
    `val` and `test` stay whole. With a `camera` the sources are clean photos of an embedded dataset and it takes the degraded ones.
    """
    rows: list[dict[str, object]] = []
    for source in sources:
        views = _camera_views(source, camera, seed) if camera else _own_views(source)
        for view in views:
            rows += _write_view(view, folder, tile, source.path)
    pd.DataFrame(rows).to_csv(folder / "index.csv", index=False)


def load_source(source: SourcePhoto) -> np.ndarray:
    """Read a source photo at its scale: uint8 (H, W, 3)."""
    pixels = read_rgb(Path(source.path))
    if source.scale == 1:
        return pixels
    height, width = pixels.shape[:2]
    size = (round(width * source.scale), round(height * source.scale))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def _own_views(source: SourcePhoto) -> Iterator[View]:
    folder = f"{source.role}/{source.side}" if source.role in PAIRED_ROLES else source.role
    pair = source.photo if source.role in PAIRED_ROLES else ""
    yield View(f"{folder}/{source.photo}", source.role, source.photo, source.scene, pair, load_source(source))


def _camera_views(source: SourcePhoto, camera: Camera, seed: int) -> Iterator[View]:
    """The clean photo and its exposures. Clean training photos are also photographed, as the real `pairs` of an upper bound.

    Training photos are taken in several lights, each of which makes another clean photo; `val` and `test` in white light.
    """
    photo = load_source(source)
    key = [seed, int(source.sha256[:8], 16)]
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


def _write_view(view: View, folder: Path, tile: int, origin: str) -> Iterator[dict[str, object]]:
    height, width = view.pixels.shape[:2]
    if view.role in ("val", "test"):
        pieces = [("", 0, 0, height, width)]
    else:
        try:
            corners = tile_corners(height, width, tile)
        except NopairsError as error:
            raise NopairsError(f"{origin}: {error}") from None
        pieces = [(f"_{top:05d}_{left:05d}", top, left, tile, tile) for top, left in corners]
    for suffix, top, left, rows, columns in pieces:
        path = folder / f"{view.path}{suffix}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_png(path, view.pixels[top : top + rows, left : left + columns])
        yield {
            "path": str(path.relative_to(folder)),
            "role": view.role,
            "photo": view.photo,
            "scene": view.scene,
            "pair": view.pair and view.pair + suffix,
            "height": rows,
            "width": columns,
            "sha256": sha256(path),
        }
