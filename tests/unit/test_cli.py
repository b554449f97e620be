"""The command line tool, and what it does to files and folders."""

from __future__ import annotations

import functools
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import imagecodecs
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from tqdm import tqdm

from nopairs import __version__, cli
from nopairs.data.images import load_photo
from nopairs.errors import NopairsError
from nopairs.restorers import apply
from nopairs.restorers.apply import Failure, plan_outputs, restore_files, restore_photo


class Function(nn.Module):
    """A restorer that is a plain function of the image."""

    margin, multiple = 0, 1

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor] = lambda image: image) -> None:
        super().__init__()
        self.function = function

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.function(image)


def negative(image: torch.Tensor) -> torch.Tensor:
    return 1 - image


def photo_file(path: Path, mode: str = "RGB", seed: int = 0) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = len(mode)
    shape = (19, 26) if channels == 1 else (19, 26, channels)
    samples = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(samples, mode=mode).save(path)
    return samples


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def tree(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def restore(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run the command with a model that makes negatives."""
    models = ModuleType("nopairs.models")
    models.load_restorer = lambda path: Function(negative)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "nopairs.models", models)
    return lambda *argv: cli.main(["restore", "--model", "model", "--device", "cpu", *map(str, argv)])


def test_folder_with_odd_names_and_sub_folders(tmp_path: Path, restore: Callable[..., int]) -> None:
    names = ["plain.png", "a folder/with spaces.png", "a folder/ünï/写真.PNG", "b.c/x.tif", "b.c/x.bmp"]
    before = {name: photo_file(tmp_path / "in" / name, seed=i) for i, name in enumerate(names)}
    (tmp_path / "in" / "notes.txt").write_text("not a photo")
    assert restore(tmp_path / "in", "-o", tmp_path / "new" / "out") == 0
    assert tree(tmp_path / "new" / "out") == sorted(names)
    for name, samples in before.items():
        np.testing.assert_array_equal(pixels(tmp_path / "new" / "out" / name), 255 - samples)
        np.testing.assert_array_equal(pixels(tmp_path / "in" / name), samples)


def test_what_is_wide_is_kept_of_any_restorer(
    tmp_path: Path, restore: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    photo = tmp_path / "flat.png"
    Image.new("RGB", (40, 30), (200, 90, 10)).save(photo)
    assert restore(photo, "-o", tmp_path / "kept.png", "--keep-wide", "4") == 0
    np.testing.assert_array_equal(pixels(tmp_path / "kept.png"), pixels(photo))
    assert restore(photo, "-o", tmp_path / "other.png", "--keep-wide", "-4") == 1
    assert "keep_wide -4.0 must be a width of up to 64 pixels" in capsys.readouterr().err


def test_failures_are_listed_and_the_rest_is_written(
    tmp_path: Path, restore: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "m.png", "z.png"):
        photo_file(tmp_path / "in" / name)
    (tmp_path / "in" / "empty.png").touch()
    (tmp_path / "in" / "text.jpg").write_text("hello")
    assert restore(tmp_path / "in", "-o", tmp_path / "out") == 1
    assert tree(tmp_path / "out") == ["a.png", "m.png", "z.png"]
    told = capsys.readouterr()
    assert told.out == f"{tmp_path / 'out'}: 3 of 5 photos restored\n"
    lines = told.err.strip().splitlines()
    assert lines[-3] == "nopairs restore: photos that could not be restored: 2"
    assert lines[-2].startswith(f"  {tmp_path / 'in' / 'empty.png'}: the file is empty")
    assert lines[-1].startswith(f"  {tmp_path / 'in' / 'text.jpg'}: not an image")


def test_what_is_no_image_by_its_name_is_told(
    tmp_path: Path, restore: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    photo_file(tmp_path / "in" / "a.png")
    for name in ("b.HEIC", "c.HEIC", "notes.txt"):
        (tmp_path / "in" / name).touch()
    assert restore(tmp_path / "in", "-o", tmp_path / "out") == 0
    told = f"nopairs restore: {tmp_path / 'in'}: left out what is no image by its name: 2 .heic, 1 .txt\n"
    assert told in capsys.readouterr().err


def test_names_of_any_bytes_and_of_the_longest(tmp_path: Path, restore: Callable[..., int]) -> None:
    names = [os.fsdecode(b"caf\xe9.png"), "n" * 248 + ".png"]
    for name in names:
        photo_file(tmp_path / "in" / name)
    assert restore(tmp_path / "in", "-o", tmp_path / "out") == 0
    assert tree(tmp_path / "out") == sorted(names)


def test_a_model_that_breaks_on_one_photo_restores_the_others(tmp_path: Path) -> None:
    for name, mode in (("a.png", "RGB"), ("b.png", "RGB"), ("c.png", "RGB")):
        photo_file(tmp_path / "in" / name, mode)
    calls = iter(range(3))

    def fragile(image: torch.Tensor) -> torch.Tensor:
        number = next(calls)
        if number == 0:
            raise RuntimeError("out of memory")
        return image * (float("nan") if number == 1 else 1)

    failures = restore_files(Function(fragile), [tmp_path / "in"], tmp_path / "out")
    assert failures[0] == Failure(tmp_path / "in" / "a.png", "RuntimeError: out of memory")
    assert failures[1].path.name == "b.png" and "not finite" in failures[1].reason
    assert tree(tmp_path / "out") == ["c.png"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_counts_photos_by_their_tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.png", "b.png"):
        photo_file(tmp_path / "in" / name)
    (tmp_path / "in" / "c.png").touch()
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setattr(apply, "tqdm", functools.partial(tqdm, mininterval=0))
    restore_files(Function(), [tmp_path / "in"], tmp_path / "out", tile=13)
    counts = [float(number) for number in re.findall(r"([\d.]+)/3 photos", shown.getvalue())]
    assert counts == sorted(counts) and {0.0, 0.2, 0.5, 1.0, 1.5, 2.0, 3.0} <= set(counts)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_identity_gives_back_grey_colour_and_alpha(tmp_path: Path, mode: str) -> None:
    samples = photo_file(tmp_path / "in.png", mode)
    assert restore_files(Function(), [tmp_path / "in.png"], tmp_path / "out.png", tile=16) == []
    np.testing.assert_array_equal(pixels(tmp_path / "out.png"), samples)


def test_alpha_takes_no_part_and_grey_is_the_mean_of_channels(tmp_path: Path) -> None:
    samples = photo_file(tmp_path / "in.png", "RGBA")
    restore_files(Function(negative), [tmp_path / "in.png"], tmp_path / "out.png")
    np.testing.assert_array_equal(pixels(tmp_path / "out.png")[..., :3], 255 - samples[..., :3])
    np.testing.assert_array_equal(pixels(tmp_path / "out.png")[..., 3], samples[..., 3])
    samples = photo_file(tmp_path / "grey.png", "L")
    photo = load_photo(tmp_path / "grey.png")
    tint = torch.tensor([0.0, 0.3, 0.6])[:, None, None]
    restored = restore_photo(Function(lambda image: image * 0.5 + tint), photo)
    np.testing.assert_allclose(restored[..., 0], samples * 0.5 + 0.3 * 255, atol=0.5001)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_a_restorer_that_enlarges_enlarges_alpha_too(tmp_path: Path, mode: str) -> None:
    samples = photo_file(tmp_path / "in.png", mode)
    restorer = Function(lambda image: image.repeat_interleave(4, 2).repeat_interleave(4, 3))
    restorer.scale = 4
    assert restore_files(restorer, [tmp_path / "in.png"], tmp_path / "out.png", tile=8) == []
    np.testing.assert_array_equal(pixels(tmp_path / "out.png"), samples.repeat(4, 0).repeat(4, 1))


def test_16_bit_colour_through_the_command(tmp_path: Path, restore: Callable[..., int]) -> None:
    samples = np.random.default_rng(0).integers(0, 65536, (33, 21, 3), dtype=np.uint16)
    (tmp_path / "in.png").write_bytes(imagecodecs.png_encode(samples))
    assert restore(tmp_path / "in.png", "-o", tmp_path / "out.png", "--tile", 8, "--threads", 1) == 0
    result = imagecodecs.png_decode((tmp_path / "out.png").read_bytes())
    np.testing.assert_array_equal(result, 65535 - samples)


def test_where_a_single_photo_goes(tmp_path: Path) -> None:
    photo = tmp_path / "in.png"
    photo_file(photo)
    (tmp_path / "folder.png").mkdir()
    for output, expected in (("o.png", "o.png"), ("o", "o/in.png"), ("folder.png", "folder.png/in.png")):
        assert plan_outputs([photo], tmp_path / output) == [(photo, tmp_path / expected)]
    failures = restore_files(Function(), [photo], tmp_path / "out.jpg")
    assert [failure.path for failure in failures] == [photo] and "format PNG" in failures[0].reason
    assert not (tmp_path / "out.jpg").exists()


def test_inputs_are_never_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "in"
    before = photo_file(folder / "a.png")
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    for inputs, output in (
        ([folder], folder),
        ([folder], Path("in")),
        ([Path("in")], tmp_path / "x" / ".." / "in"),
        ([folder], tmp_path / "link"),
        ([folder / "a.png"], folder),
        ([folder / "a.png"], Path("in/a.png")),
        ([tmp_path], tmp_path),
    ):
        with pytest.raises(NopairsError, match="never overwritten"):
            restore_files(Function(negative), inputs, output)
    np.testing.assert_array_equal(pixels(folder / "a.png"), before)


def test_outputs_that_would_collide_are_refused(tmp_path: Path) -> None:
    photo_file(tmp_path / "a" / "x.png")
    photo_file(tmp_path / "b" / "x.png")
    with pytest.raises(NopairsError, match="would go there"):
        plan_outputs([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    with pytest.raises(NopairsError, match="is a file"):
        plan_outputs([tmp_path / "a"], tmp_path / "b" / "x.png")


def test_results_inside_the_input_folder_are_not_restored_again(tmp_path: Path) -> None:
    photo_file(tmp_path / "x.png")
    for _ in range(2):
        assert restore_files(Function(), [tmp_path], tmp_path / "restored") == []
    assert tree(tmp_path) == ["restored/x.png", "x.png"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["absent", "-o", "out"], "no such file or folder"),
        ([".", "-o", "out"], "holds no image"),
        (["x", "-o", "out", "--device", "cuda"], "torch sees no GPU here"),
    ],
)
def test_user_errors_are_one_line(
    tmp_path: Path,
    restore: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    argv: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert restore(*argv) == 1
    error = capsys.readouterr().err.strip()
    assert message in error and error.startswith("nopairs: error:") and "\n" not in error


@pytest.mark.parametrize("place", ["--debug data fetch nowhere", "data fetch nowhere --debug"])
def test_debug_shows_the_traceback_wherever_it_stands(place: str) -> None:
    with pytest.raises(NopairsError, match="nowhere"):
        cli.main(place.split())


@pytest.mark.parametrize(
    "argv", [[], ["restore"], ["restore", "x", "-o", "y"], ["restore", "x", "--model", "m"], ["sharpen"]]
)
def test_incomplete_commands_show_the_usage(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(argv)
    assert caught.value.code == 2
    assert "usage: nopairs" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["0", "-3", "many"])
def test_tile_must_be_positive(value: str, restore: Callable[..., int]) -> None:
    with pytest.raises(SystemExit):
        restore("x", "-o", "y", "--tile", value)


def test_version_and_help_do_not_import_torch() -> None:
    code = "import sys, nopairs.cli as c\ntry: c.main(sys.argv[1:])\nfinally: print('torch' in sys.modules)"
    for argv in (["--version"], ["--help"], ["restore", "--help"]):
        done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "False"
        assert argv != ["--version"] or done.stdout.startswith(f"nopairs {__version__}")
