"""Archives and array files: their images come out, and nothing else happens."""

from __future__ import annotations

import io
import pickle
import tarfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from PIL import Image

from nopairs.data.archives import unpack
from nopairs.data.images import encode_png, read_rgb
from nopairs.errors import NopairsError

RNG = np.random.default_rng(0)
BLOCKS = RNG.integers(0, 256, (2, 3, 8, 9, 3)).astype(np.uint8)  # photos, blocks, height, width, RGB
SLICES = RNG.random((4, 6, 7)).astype(np.float32)


def everything(name: str) -> bool:
    return True


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def make_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def make_tar(path: Path, members: dict[str, bytes], links: dict[str, tuple[bytes, str]]) -> Path:
    with tarfile.open(path, "w:gz") as file:
        for name, (kind, target) in links.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            file.addfile(info)
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def test_only_wanted_images_leave_a_zip(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"in/a.png": b"A", "in/b.png": b"B", "in/notes.txt": b"?"})
    unpack(archive, tmp_path / "out", lambda name: name == "in/b.png")
    assert files(tmp_path / "out") == {"in/b.png"} and (tmp_path / "out/in/b.png").read_bytes() == b"B"


@pytest.mark.parametrize("name", ["../evil.png", "in/../../evil.png", "/evil.png", "in\\..\\..\\evil.png"])
def test_a_member_that_would_leave_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    name = str(tmp_path / "evil.png") if name.startswith("/") else name
    for archive in (
        make_zip(tmp_path / "a.zip", {name: b"evil"}),
        make_tar(tmp_path / "a.tar.gz", {name: b"evil"}, {}),
    ):
        with pytest.raises(NopairsError, match=r"a\.(zip|tar\.gz): its member .*evil"):
            unpack(archive, tmp_path / "deep/er/out", everything)
    assert not list(tmp_path.rglob("evil.png"))


def test_links_and_devices_of_a_tar_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    links = {
        "link.png": (tarfile.SYMTYPE, "../secret"),
        "hard.png": (tarfile.LNKTYPE, "../secret"),
        "pipe.png": (tarfile.FIFOTYPE, ""),
        "in": (tarfile.SYMTYPE, str(tmp_path / "elsewhere")),
    }
    (tmp_path / "elsewhere").mkdir()
    archive = make_tar(tmp_path / "a.tgz", {"in/a.png": b"A"}, links)
    unpack(archive, tmp_path / "out", everything)
    assert files(tmp_path / "out") == {"in/a.png"} and not list((tmp_path / "elsewhere").iterdir())


def test_blocks_of_a_matlab_file_are_named_by_their_index(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "v.mat", {"Blocks": BLOCKS, "note": "text"}, do_compression=True)
    unpack(tmp_path / "v.mat", tmp_path / "out", everything)
    assert len(files(tmp_path / "out")) == 6
    for photo, block in np.ndindex(2, 3):
        np.testing.assert_array_equal(
            read_rgb(tmp_path / f"out/Blocks/{photo}/{block}.png"), BLOCKS[photo, block]
        )


def test_slices_of_an_hdf5_file_in_a_zip_keep_sixteen_bits(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "s.hdf5", "w") as file:
        file["data"] = SLICES
        file["group/gt"] = SLICES[:1, None]
    archive = make_zip(tmp_path / "a.zip", {"in/s.hdf5": (tmp_path / "s.hdf5").read_bytes()})
    unpack(archive, tmp_path / "out", lambda name: name != "in/s.hdf5/data/0.png")
    names = {f"in/s.hdf5/data/{k}.png" for k in (1, 2, 3)} | {"in/s.hdf5/group/gt/0/0.png"}
    assert files(tmp_path / "out") == names
    with Image.open(tmp_path / "out/in/s.hdf5/data/2.png") as image:
        np.testing.assert_allclose(np.asarray(image) / 65535, SLICES[2], atol=0.51 / 65535)


def test_hdf5_does_not_reach_other_files(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["data"] = SLICES
    (tmp_path / "secret.bin").write_bytes(SLICES.tobytes())
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["link"] = h5py.ExternalLink("secret.h5", "data")
        file["soft"] = h5py.SoftLink("/nowhere")
        stored = [("secret.bin", 0, SLICES.nbytes)]
        file.create_dataset("stored", SLICES.shape, SLICES.dtype, external=stored)
        layout = h5py.VirtualLayout(SLICES.shape, SLICES.dtype)
        layout[:] = h5py.VirtualSource("secret.h5", "data", SLICES.shape)
        file.create_virtual_dataset("virtual", layout)
        file["own"] = SLICES[0]
    unpack(tmp_path / "a.h5", tmp_path / "out", everything)
    assert files(tmp_path / "out") == {"own.png"}


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit('a pickle was executed')",))


def test_no_pickle_is_executed(tmp_path: Path) -> None:
    pickled = pickle.dumps(Bomb())
    buffer = io.BytesIO()
    np.save(buffer, np.array([Bomb()], object), allow_pickle=True)
    members = {"a.pkl": pickled, "a.npy": buffer.getvalue(), "a.mat": pickled, "a.png": b"A"}
    with pytest.raises(NopairsError, match="damaged"):
        unpack(make_zip(tmp_path / "a.zip", members), tmp_path / "out", everything)


@pytest.mark.parametrize("values", [SLICES * 300, SLICES - 0.5, SLICES * np.nan, (SLICES * 9).astype("u4")])
def test_numbers_of_unknown_meaning_are_refused(tmp_path: Path, values: np.ndarray) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = values
    with pytest.raises(NopairsError, match=r"data/0\.png: .*within \[0, 1\]"):
        unpack(tmp_path / "a.h5", tmp_path / "out", everything)


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.mat", "a.h5"])
def test_a_damaged_archive_is_named_in_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"no archive at all" * 100)
    with pytest.raises(NopairsError, match=rf"{name}: damaged") as error:
        unpack(tmp_path / name, tmp_path / "out", everything)
    assert "\n" not in str(error.value)


def test_a_truncated_archive_is_damaged(tmp_path: Path) -> None:
    content = encode_png(BLOCKS[0, 0]) * 50
    whole = make_tar(tmp_path / "a.tar.gz", {f"{k}.png": content for k in range(9)}, {}).read_bytes()
    (tmp_path / "a.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(NopairsError, match="damaged"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "out", everything)
