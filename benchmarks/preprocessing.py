"""Tiling speed in megapixels a second of one core's time, against Pillow alone, and peak memory against the number of photos.

Run from the repository's root: python benchmarks/preprocessing.py. The photos are JPEG, 12 megapixels, put together from crops of
scikit-image's with some noise; both sides decode them and write tiles of 256 x 256. With --many, photos of one tile instead, which
tell what their number costs.
"""

import argparse
import multiprocessing
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

from nopairs.data.photos import SourcePhoto
from nopairs.data.preprocess import Recipe, tile_corners, write_dataset
from nopairs.files import sha256

TILE, SIDE, GRID = 256, 500, (6, 8)
SMALL = 64
CONTEXT = multiprocessing.get_context("spawn")


def make_photos(folder: Path, count: int) -> list[SourcePhoto]:
    """Write photos of 3000 x 4000 pixels."""
    rng = np.random.default_rng(0)
    contents = [
        np.asarray(Image.fromarray(photo).resize((800, 800)))
        for photo in (data.astronaut(), data.coffee(), data.chelsea())
    ]
    photos = []
    for k in range(count):
        canvas = np.zeros((GRID[0] * SIDE, GRID[1] * SIDE, 3), np.float32)
        for row, column in np.ndindex(GRID):
            top, left = rng.integers(0, 800 - SIDE, 2)
            crop = contents[rng.integers(len(contents))][top : top + SIDE, left : left + SIDE]
            canvas[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE] = crop
        canvas += rng.normal(0, 4, canvas.shape)
        path = folder / f"{k}.jpg"
        Image.fromarray(canvas.clip(0, 255).astype(np.uint8)).save(path, quality=95)
        photos.append(SourcePhoto(str(path), "clean", "clean", str(k), str(k), 1.0, sha256(path)))
    return photos


def make_small_photos(folder: Path, count: int) -> list[SourcePhoto]:
    """Write one photo of SMALL x SMALL pixels, which stands for all."""
    path = folder / "small.jpg"
    Image.fromarray(data.astronaut()[:SMALL, :SMALL]).save(path)
    return [SourcePhoto(str(path), "clean", "clean", str(k), str(k), 1.0, sha256(path)) for k in range(count)]


def with_pillow(photos: list[SourcePhoto], out: Path, level: int | None) -> None:
    """The plain loop: open, crop, save; `level` is the compression, Pillow's default if None."""
    options = {} if level is None else {"compress_level": level}
    for photo in photos:
        image = Image.open(photo.path).convert("RGB")
        for top, left in tile_corners(image.height, image.width, TILE):
            box = (left, top, left + TILE, top + TILE)
            image.crop(box).save(out / f"{photo.photo}_{top}_{left}.png", **options)


def with_nopairs(photos: list[SourcePhoto], out: Path, jobs: int) -> None:
    """The same by the library."""
    write_dataset(photos, out, Recipe(TILE, TILE, None, 0), jobs)


def small_with_nopairs(photos: list[SourcePhoto], out: Path, jobs: int) -> None:
    """Photos of one tile each."""
    write_dataset(photos, out, Recipe(SMALL, SMALL, None, 0), jobs)


def measured(work: Callable[..., None], *arguments: object) -> tuple[float, float, float]:
    """Seconds by the clock and of processors, and peak memory (MB) of the largest process, of `work` in its own process."""
    queue = CONTEXT.Queue()
    process = CONTEXT.Process(target=_run, args=(queue, work, *arguments))
    process.start()
    result = queue.get()
    process.join()
    return result


def _run(queue: multiprocessing.Queue, work: Callable[..., None], *arguments: object) -> None:
    start = time.perf_counter()
    before = time.process_time()
    work(*arguments)
    clock, own = time.perf_counter() - start, time.process_time() - before
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    memory = max(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, children.ru_maxrss) / 1000
    queue.put((clock, own + children.ru_utime + children.ru_stime, memory))


def main(count: int, jobs: int) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        # In a process of its own: the peak memory of a new process counts what its parent had at that moment.
        with CONTEXT.Pool(1) as pool:
            photos = pool.apply(make_photos, (folder, count))
        few = photos[: max(1, count // 4)]
        rows = [
            ("Pillow, its defaults", 1, few, with_pillow, (None,)),
            ("Pillow, compress_level 1", 1, photos, with_pillow, (1,)),
            ("nopairs", 1, photos, with_nopairs, (1,)),
            ("nopairs, a quarter of the photos", 1, few, with_nopairs, (1,)),
            ("nopairs", jobs, photos, with_nopairs, (jobs,)),
            ("nopairs, nothing changed", jobs, photos, with_nopairs, (jobs,)),
        ]
        print(f"{count} photos of 12 megapixels; {os.cpu_count()} cores")
        print("| | processes | MP/s a core | MP/s | bytes/pixel | peak MB, largest process |")
        print("| --- | ---: | ---: | ---: | ---: | ---: |")
        for name, processes, some, work, options in rows:
            out = folder / "out"
            if "nothing changed" not in name:
                shutil.rmtree(out, ignore_errors=True)
                out.mkdir()
            clock, cores, memory = measured(work, some, out, *options)
            tiles = list(out.rglob("*.png"))
            megapixels = len(some) * GRID[0] * GRID[1] * SIDE**2 / 1e6
            size = sum(path.stat().st_size for path in tiles) / (len(tiles) * TILE**2)
            speeds = f"{megapixels / cores:.1f} | {megapixels / clock:.1f}"
            print(f"| {name} | {processes} | {speeds} | {size:.2f} | {memory:.0f} |", flush=True)


def count_photos(count: int, jobs: int) -> None:
    """Print what many small photos cost, at first and again."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        photos = make_small_photos(folder, count)
        for name in ("at first", "nothing changed"):
            clock, _, memory = measured(small_with_nopairs, photos, folder / "out", jobs)
            print(
                f"{count} photos of one tile, {name}: {clock:.0f} s, {memory:.0f} MB in the largest process"
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--many", type=int, help="only so many photos of one tile each")
    args = parser.parse_args()
    if args.many:
        count_photos(args.many, args.jobs)
    else:
        main(args.photos, args.jobs)
