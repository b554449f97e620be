"""Large arrays lie in files: their content stays, their memory goes."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nopairs.data import formats, images, paging
from nopairs.data.images import load_photo, read_rgb, save_photo
from nopairs.errors import NopairsError
from nopairs.restorers.apply import restore_photo
from nopairs.restorers.identity import Identity, IdentityOptions


def resident() -> int:
    """Return this process's resident memory in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_released_memory_goes_and_content_stays() -> None:
    array = paging.allocate((2**26,), np.uint8)
    array[...] = 7
    held = resident()
    paging.release(array[5:])
    assert resident() < held - 0.9 * array.nbytes
    assert (array[:: 2**12] == 7).all()


def test_small_arrays_are_plain_and_releasing_them_does_nothing() -> None:
    array = paging.allocate((3, 4), np.uint16)
    assert array.shape == (3, 4) and array.dtype == np.uint16 and array.base is None
    array[...] = 9
    paging.release(array)
    assert (array == 9).all()


def test_no_room_is_an_error_that_names_the_folder() -> None:
    with pytest.raises(NopairsError, match=rf"{tempfile.gettempdir()}: no room .* TMPDIR"):
        paging.allocate((2**62,), np.uint8)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_photos_in_files_are_restored_as_those_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, orientation: int
) -> None:
    samples = np.random.default_rng(0).integers(0, 256, (70, 50, len(mode)), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(samples[..., 0] if mode == "L" else samples, mode).save(tmp_path / "in.png", exif=exif)
    in_memory = load_photo(tmp_path / "in.png").samples
    monkeypatch.setattr(paging, "LARGE", 1)
    monkeypatch.setattr(formats, "_BAND_ROWS", 16)
    photo = load_photo(tmp_path / "in.png")
    np.testing.assert_array_equal(photo.samples, in_memory)
    restored = restore_photo(Identity(IdentityOptions()), photo, tile=16)
    save_photo(photo, restored, tmp_path / "out.png")
    np.testing.assert_array_equal(images.load_photo(tmp_path / "out.png").samples, in_memory)
    assert read_rgb(tmp_path / "out.png").shape[:2] == in_memory.shape[:2]
