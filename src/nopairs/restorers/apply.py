"""A trained restorer applied to a user's photos: files in, files of the same kind out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from nopairs.data.images import SUFFIXES, Photo, check_suffix, list_images, load_photo, save_photo
from nopairs.data.paging import allocate, release
from nopairs.errors import NopairsError
from nopairs.restorers.tiling import TILE, restore_parts, scale_of


class Failure(NamedTuple):
    """A photo that was not restored, and why."""

    path: Path
    reason: str


def restore_photo(
    model: nn.Module, photo: Photo, tile: int = TILE, progress: Callable[[int, int], None] | None = None
) -> NDArray[Any]:
    """Return the restored photo as samples of its file's type, (H, W, C), or larger by the model's scale.

    Args:
        model: an RGB restorer in evaluation mode, as `restore_tiled` takes it.
        photo: what to restore; its alpha takes no part, and is kept.
        tile: side of a tile in pixels.
        progress: called after each tile with the number of tiles done and their total.

    Raises:
        NopairsError: as `restore_parts`.
    """
    scale = scale_of(model)
    height, width, channels = photo.samples.shape
    restored = allocate((scale * height, scale * width, channels), photo.samples.dtype)

    def read(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        pixels = torch.from_numpy(photo.rgb(rows.numpy(), columns.numpy())).permute(2, 0, 1)[None]
        release(photo.samples)
        return pixels

    def write(rows: slice, columns: slice, part: torch.Tensor) -> None:
        pixels = part[0].permute(1, 2, 0).float().cpu().numpy()
        restored[rows, columns] = photo.as_stored(pixels, rows, columns, scale)
        release(restored)

    restore_parts(model, photo.samples.shape[:2], read, write, tile, progress=progress)
    return restored


def restore_files(model: nn.Module, inputs: Sequence[Path], output: Path, tile: int = TILE) -> list[Failure]:
    """Restore photos and folders of photos into `output`, with a progress bar; go on after a failure.

    Args:
        model: a restorer in evaluation mode.
        inputs: image files or folders, whose sub-folders are kept in the output.
        output: a folder, or a file name if the only input is a file.
        tile: side of a tile in pixels.

    Returns:
        The photos that failed, in the order of the files.

    Raises:
        NopairsError: nothing to do, or an output that would overwrite an input or another output.
    """
    return process_files(lambda photo, show: restore_photo(model, photo, tile, show), inputs, output)


def process_files(
    process: Callable[[Photo, Callable[[int, int], None]], NDArray[Any]],
    inputs: Sequence[Path],
    output: Path,
    doing: str = "restoring",
) -> list[Failure]:
    """Apply `process` to photos and folders of photos, as `restore_files` does.

    `process` takes a photo, and a function to call with the number of steps done and their total; it returns the new samples.
    """
    plan = plan_outputs(inputs, output)
    failures = []
    form = "{desc}: {percentage:3.0f}%|{bar}| {n:.1f}/{total} photos [{elapsed}<{remaining}]"
    # Without a terminal there is nobody to look at a bar.
    with tqdm(total=len(plan), desc=doing, bar_format=form, disable=None) as bar:
        for done, (source, target) in enumerate(plan):

            def show(tiles: int, total: int, done: int = done) -> None:
                bar.update(done + tiles / total - bar.n)

            try:
                photo = load_photo(source)
                check_suffix(target, photo.format)
                save_photo(photo, process(photo, show), target)
            except Exception as error:  # of whatever kind: it must not keep the others from being restored
                expected = isinstance(error, NopairsError | OSError)
                failures.append(
                    Failure(source, str(error) if expected else f"{type(error).__name__}: {error}")
                )
                show(1, 1)
    return failures


def plan_outputs(inputs: Sequence[Path], output: Path) -> list[tuple[Path, Path]]:
    """Return each photo under `inputs` with the file that its restored version goes to.

    `output` names a file if the only input is a file and `output` has an image's suffix and is no folder.
    Photos in an output folder that lies within an input folder are earlier results, and left out.

    Raises:
        NopairsError: as `restore_files`.
    """
    if len(inputs) == 1 and inputs[0].is_file() and output.suffix.lower() in SUFFIXES and not output.is_dir():
        plan = [(source, output) for source in list_images(inputs[0])]
    else:
        if output.is_file():
            raise NopairsError(f"{output}: is a file; name a folder for the restored photos")
        plan = [pair for path in inputs for pair in _plan_input(path, output)]
    _refuse_overwriting(plan)
    return plan


def _plan_input(path: Path, output: Path) -> list[tuple[Path, Path]]:
    """Return photos and outputs for one input file or folder and an output folder."""
    photos = list_images(path)
    if path.is_file():
        return [(path, output / path.name)]
    folder, results = path.resolve(), output.resolve()
    if folder == results:
        raise NopairsError(
            f"{output}: is the input folder; name another, the originals are never overwritten"
        )
    if results.is_relative_to(folder):
        photos = [photo for photo in photos if not photo.resolve().is_relative_to(results)]
    if not photos:
        raise NopairsError(f"{path}: the folder holds no image outside {output}; check the path")
    return [(photo, output / photo.relative_to(path)) for photo in photos]


def _refuse_overwriting(plan: Sequence[tuple[Path, Path]]) -> None:
    sources = {source.resolve() for source, _ in plan}
    taken: dict[Path, Path] = {}
    for source, target in plan:
        where = target.resolve()
        if where in sources:
            raise NopairsError(
                f"{target}: is an input; name another output, the originals are never overwritten"
            )
        if where in taken:
            raise NopairsError(
                f"{target}: both {taken[where]} and {source} would go there; restore them apart"
            )
        taken[where] = source
