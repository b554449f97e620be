"""Images out of archives (zip, tar) and array files (MATLAB, HDF5). Nothing leaves its folder, nothing is executed.

An image is named by its path in the archive; in an array file, by `<array>/<index>/....png`; in an archive within an archive,
by that one's path and then its own.
"""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

import h5py
import numpy as np
import scipy.io

from nopairs.data.formats import MAX_PIXELS
from nopairs.data.images import encode_png
from nopairs.errors import NopairsError

# Values outside [0, 1] by no more than this are rounding errors.
TOLERANCE = 1e-3


def is_archive(name: str) -> bool:
    """Whether a file of this name holds images rather than being one."""
    return name.lower().endswith((*_PACKED, *_ARRAYS))


def unpack(archive: Path, folder: Path, wanted: Callable[[str], bool], name: str = "") -> None:
    """Write the wanted images of an archive, and of archives in it, as `folder / name of the image`.

    Args:
        archive: file to read.
        folder: where the images go.
        wanted: whether the image of this name is to be written.
        name: of an archive within another; it stands in front of its images' names.

    Raises:
        NopairsError: the archive is damaged, or a member would leave the folder or is no image.
    """
    try:
        if (name or archive.name).lower().endswith(_ARRAYS):
            _unpack_arrays(archive, folder, wanted, name)
        else:
            _unpack_files(archive, folder, wanted, name)
    except NopairsError:
        raise
    # Decoders promise no type for what they raise at damaged files; a full disk, say, has a number.
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise NopairsError(f"{archive}: damaged ({' '.join(str(error).split())}); fetch it again") from error


def _unpack_files(archive: Path, folder: Path, wanted: Callable[[str], bool], name: str) -> None:
    members = _zip_members if (name or archive.name).lower().endswith(".zip") else _tar_members
    for member, open_member in members(archive):
        path = _joined(name, member)
        target = _inside(folder, path, archive)
        nested = is_archive(path)
        if not nested and not wanted(path):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        file = target.with_name(f".{target.name}") if nested else target
        with open_member() as source, file.open("wb") as copy:
            shutil.copyfileobj(source, copy)
        if nested:
            unpack(file, folder, wanted, path)
            file.unlink()


def _zip_members(archive: Path) -> Iterator[tuple[str, Callable[[], IO[bytes]]]]:
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            if not info.is_dir():
                yield info.filename, lambda info=info: file.open(info)  # type: ignore[misc]


def _tar_members(archive: Path) -> Iterator[tuple[str, Callable[[], IO[bytes]]]]:
    """Regular files only: links, which could lead elsewhere, and devices are left out."""
    with tarfile.open(archive) as file:
        for info in file:
            if info.isfile():
                yield info.name, lambda info=info: file.extractfile(info)  # type: ignore[misc]


def _unpack_arrays(file: Path, folder: Path, wanted: Callable[[str], bool], name: str) -> None:
    for array_name, array in (_mat_arrays if (name or file.name).lower().endswith(".mat") else _hdf5_arrays)(
        file
    ):
        # (..., height, width, 3) or (..., height, width)
        shape = array.shape
        leading = shape[:-3] if shape[-1:] == (3,) and len(shape) > 2 else shape[:-2]
        if len(shape) < 2 or np.prod(shape[len(leading) :][:2]) > MAX_PIXELS:
            continue
        for index in np.ndindex(leading):
            path = f"{_joined(name, array_name, *map(str, index))}.png"
            if wanted(path):
                target = _inside(folder, path, file)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(encode_png(_samples(array[index], path)))


def _mat_arrays(file: Path) -> Iterator[tuple[str, Any]]:
    for name, value in scipy.io.loadmat(file).items():
        if isinstance(value, np.ndarray) and value.dtype.kind in "uf":
            yield name, value


def _hdf5_arrays(file: Path) -> Iterator[tuple[str, Any]]:
    """Arrays within the file itself: links are not followed, and arrays whose values lie in other files are left out."""
    with h5py.File(file, "r") as opened:
        found: list[str] = []
        opened.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
        for name in found:
            array = opened[name]
            if array.dtype.kind in "uf" and array.external is None and not array.is_virtual:
                yield name, array


def _samples(image: np.ndarray, name: str) -> np.ndarray:
    """Bytes as they are, numbers in [0, 1] as 16 bits."""
    if image.dtype in (np.uint8, np.uint16):
        return np.ascontiguousarray(image)
    if image.dtype.kind != "f" or not -TOLERANCE <= image.min() <= image.max() <= 1 + TOLERANCE:
        raise NopairsError(f"{name}: {image.dtype} values; expected 8 or 16 bits, or numbers within [0, 1]")
    return np.rint(np.clip(image, 0, 1) * 65535).astype(np.uint16)


def _inside(folder: Path, name: str, archive: Path) -> Path:
    """Join, refusing a name that is absolute or goes up: an archive may name any file of the machine."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise NopairsError(f"{archive}: its member {name!r} would leave {folder}; do not use this archive")
    return folder / path


def _joined(*names: str) -> str:
    return "/".join(filter(None, names))


_PACKED = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_ARRAYS = (".mat", ".h5", ".hdf5")
