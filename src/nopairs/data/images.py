"""Images on disk: the workflow's 8-bit RGB files, and photos that are written back as they came."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from nopairs.data.formats import SUFFIXES, Decoded, decode, encode
from nopairs.errors import NopairsError
from nopairs.files import atomic_file


@dataclass(frozen=True)
class Photo(Decoded):
    """A decoded photo, seen as the library's RGB part by part: whole, as float32, it would take four times the memory."""

    @property
    def grey(self) -> bool:
        """Whether the file has one colour channel."""
        return self.samples.shape[2] < 3

    def rgb(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the pixels where `rows` and `columns` cross, float32 (h, w, 3) in [0, 1]; grey gives three equal channels."""
        colour, _ = _split_alpha(self.samples[rows[:, None], columns])
        scale = 1 if colour.dtype == np.float32 else np.iinfo(colour.dtype).max
        rgb = np.broadcast_to(colour, (*colour.shape[:2], 3)).astype(np.float32)
        rgb /= np.float32(scale)
        return rgb

    def as_stored(
        self,
        restored: NDArray[np.float32],
        rows: slice = slice(None),
        columns: slice = slice(None),
        scale: int = 1,
    ) -> NDArray[Any]:
        """Return restored pixels (h, w, 3) of a part, clipped to [0, 1], as the file's samples with the photo's own alpha.

        Those of `rgb` give the very samples. A grey photo gets the mean of the channels. `rows` and `columns` are of the restored
        photo; where that is `scale` times larger, both have ends, and the alpha's pixels are repeated.
        """
        if self.grey:  # in double precision, so that three equal channels average to exactly themselves
            restored = restored.mean(axis=2, keepdims=True, dtype=np.float64).astype(np.float32)
        samples = _quantise(restored, self.samples.dtype)
        if scale > 1:
            places = (np.arange(part.start, part.stop) // scale for part in (rows, columns))
            _, alpha = _split_alpha(self.samples[np.ix_(*places)])
        else:
            _, alpha = _split_alpha(self.samples[rows, columns])
        return samples if alpha is None else np.concatenate([samples, alpha[..., None]], axis=2)


def read_rgb(path: str | Path) -> NDArray[np.uint8]:
    """Read an image as uint8 (H, W, 3): upright, grey repeated, alpha dropped, deeper samples rounded.

    Raises:
        NopairsError: the file cannot be read as one image (see `formats.decode`).
    """
    colour, _ = _split_alpha(decode(Path(path)).samples)
    if colour.dtype == np.uint16:
        colour = (colour.astype(np.uint32) + 128) // 257
    elif colour.dtype == np.float32:
        colour = np.rint(colour * 255)
    colour = colour.astype(np.uint8, copy=False)
    return np.ascontiguousarray(np.broadcast_to(colour, (*colour.shape[:2], 3)))


def encode_png(image: NDArray[Any]) -> bytes:
    """Encode uint8 or uint16 (H, W, 3) or (H, W) as PNG.

    The settings are several times faster than Pillow's, for files a tenth larger: benchmarks/preprocessing.py measures both.

    Raises:
        ValueError: `image` has another type or shape.
    """
    if image.dtype not in (np.uint8, np.uint16) or image.shape[2:] not in ((), (3,)) or image.ndim < 2:
        raise ValueError(f"expected uint8 or uint16 (H, W, 3) or (H, W), got {image.dtype} {image.shape}")
    rle, paeth = imagecodecs.PNG.STRATEGY.RLE, imagecodecs.PNG.FILTER.PAETH
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(image), level=1, strategy=rle, filter=paeth))


def write_png(path: str | Path, image: NDArray[Any]) -> None:
    """Write an image that `encode_png` takes, atomically."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(encode_png(image))


def load_photo(path: str | Path) -> Photo:
    """Read a photo to be restored: 8- or 16-bit PNG, JPEG, 8-bit, 16-bit or float32 TIFF, BMP or WebP.

    Palette and CMYK images become RGB; of the metadata, colour profile and EXIF are kept.

    Raises:
        NopairsError: the file cannot be read as one image, or its suffix belongs to another format.
    """
    path = Path(path)
    decoded = decode(path)
    check_suffix(path, decoded.format)
    return Photo(**vars(decoded))


def save_photo(photo: Photo, samples: NDArray[Any], path: str | Path) -> None:
    """Write `samples`, of the photo's own type and shape or enlarged by a whole factor, as the kind of file it came from, atomically.

    Raises:
        NopairsError: the suffix of `path` belongs to another format.
        ValueError: `samples` have another shape or type than that.
    """
    height, width, channels = photo.samples.shape
    factor = max(1, samples.shape[0] // height)
    wanted = ((factor * height, factor * width, channels), str(photo.samples.dtype))
    given = (samples.shape, str(samples.dtype))
    if given != wanted:
        raise ValueError(f"expected samples of shape and type {wanted}, got {given}")
    check_suffix(Path(path), photo.format)
    with atomic_file(path) as temporary:
        encode(temporary, dataclasses.replace(photo, samples=samples))


def check_suffix(path: Path, kind: str) -> None:
    """Raise `NopairsError` if the name of a file of format `kind` says another format."""
    if SUFFIXES.get(path.suffix.lower()) != kind:
        suffixes = " or ".join(suffix for suffix, format_ in SUFFIXES.items() if format_ == kind)
        raise NopairsError(f"{path}: the photo is of format {kind}; name the file {path.stem}{suffixes}")


def list_images(path: str | Path) -> list[Path]:
    """Return a folder's images, sorted, with those of its sub-folders, or the one image that `path` is.

    Images are known by their suffix; files and folders whose name begins with a dot are left out. Links are followed.

    Raises:
        NopairsError: `path` does not exist or there is no image; an image is a link that leads nowhere; a folder may not be read.
    """
    path = Path(path)
    known = ", ".join(SUFFIXES)
    if path.is_file():
        if path.suffix.lower() not in SUFFIXES:
            raise NopairsError(f"{path}: not an image by its name; known suffixes are {known}")
        return [path]
    if not path.is_dir():
        raise NopairsError(f"{path}: no such file or folder; check the path")
    named = sorted(file for file in _files(path) if file.suffix.lower() in SUFFIXES)
    images = [file for file in named if _is_there(file)]
    if not images:
        others = "".join(f", but {number} {suffix}" for suffix, number in left_out(path).items())
        raise NopairsError(f"{path}: the folder holds no image{others}; known suffixes are {known}")
    return images


def left_out(path: str | Path) -> dict[str, int]:
    """Return how many files of a folder `list_images` leaves out for their suffix, by suffix; hidden ones do not count."""
    path = Path(path)
    suffixes = Counter(shown(file.suffix.lower()) for file in (_files(path) if path.is_dir() else ()))
    return {suffix or "without suffix": n for suffix, n in sorted(suffixes.items()) if suffix not in SUFFIXES}


def tell_left_out(path: str | Path) -> str:
    """Return a sentence on what `left_out` finds, or nothing."""
    counts = ", ".join(f"{number} {suffix}" for suffix, number in left_out(path).items())
    return counts and f"{path}: left out what is no image by its name: {counts}"


def shown(name: str) -> str:
    """A file's name for printing, which fails on what is not UTF-8."""
    return os.fsencode(name).decode(errors="backslashreplace")


def _files(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """All that is no folder in a folder and those below, linked ones too, unless a dot begins its name.

    A link to one of `above`, in which the folder lies, is not followed, else there would be no end.
    """
    real = folder.resolve()
    if real in above:
        return
    try:
        inside = [(path, path.is_dir()) for path in folder.iterdir() if not path.name.startswith(".")]
    except PermissionError as error:
        raise NopairsError(f"{folder}: the folder may not be read; change its permissions") from error
    for path, is_folder in inside:
        if is_folder:
            yield from _files(path, (*above, real))
        else:
            yield path


def _is_there(file: Path) -> bool:
    if file.is_file():
        return True
    if file.is_symlink() and not file.exists():
        raise NopairsError(
            f"{file}: a link to {file.readlink()}, where nothing is; mend the link or remove it"
        )
    return False


def _split_alpha(samples: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Split (H, W, 1 to 4) into colour (H, W, 1 or 3) and alpha (H, W) or None."""
    has_alpha = samples.shape[2] in (2, 4)
    return (samples[..., :-1], samples[..., -1]) if has_alpha else (samples, None)


def _quantise(values: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Clip to [0, 1] and round to the levels of an unsigned integer type (float32 is only clipped)."""
    values = np.clip(values, 0, 1)
    if dtype == np.float32:
        return values
    values *= np.iinfo(dtype).max
    return np.rint(values, out=values).astype(dtype, order="C")


def evenly(count: int, most: int) -> np.ndarray:
    """Return the indices of at most `most` of `count` things, evenly spread from the first to the last."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))
