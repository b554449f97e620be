"""When things go wrong: through `snakemake` and `nopairs`, one sentence, an exit status, and nothing that looks finished.

Every case makes one thing wrong in a folder where all would be well. What a restart makes of killed runs and full disks is
measured by tests/fault_campaign.py.
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import shutil
import signal
import struct
import subprocess
import sys
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
import yaml
from PIL import Image
from PIL.ExifTags import Base
from skimage import data
from test_workflow import ROOT, TINY, snakemake

from nopairs import cli
from nopairs.files import read_json
from nopairs.models import save_model
from nopairs.restorers.dncnn import DnCNN, DnCNNOptions

PHOTOS = {"clean": ("astronaut", "chelsea"), "noisy": ("coffee", "rocket")}
DATASET = "results/data/mine/index.csv"


class Project:
    """A user's folder with four photos and a configuration, both sound."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config: dict = {
            "dataset": "mine",
            "datasets": {"mine": {"clean": "clean", "degraded": "noisy"}},
            "tables": {"denoising": {"methods": ["input", "awgn+dncnn", "ludvae+dncnn"], "rivals": []}},
        }
        for side, names in PHOTOS.items():
            (folder / side).mkdir()
            for name in names:
                Image.fromarray(getattr(data, name)()[:280, :300]).save(folder / side / f"{name}.png")

    def change(self, *place_and_value: object) -> None:
        """Set a value of the configuration: keys on the way to it, then the value."""
        *way, key, value = place_and_value
        entry = self.config
        for step in way:
            entry = entry.setdefault(step, {})
        entry[key] = value

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return snakemake(self.folder, *arguments, configs=self._configs())

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """As `run`, but return at once; the process leads a group of its own."""
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
        command += ["--directory", str(self.folder), "--cores", "2"]
        command += ["--configfile", *map(str, self._configs()), *arguments]
        return subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)

    def _configs(self) -> tuple[Path, Path]:
        (self.folder / "config.yaml").write_text(yaml.safe_dump(self.config))
        return TINY, self.folder / "config.yaml"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


class Evil:
    """Unpickled, it makes a folder."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("executed",)


def the_one_error(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that says what is wrong; there must be no other and no traceback."""
    output = done.stdout + done.stderr
    lines = [line for line in output.splitlines() if line.startswith("nopairs: error: ")]
    assert len(lines) == 1, output
    assert "Traceback" not in output
    return lines[0]


def png_bomb() -> bytes:
    """A small PNG file that says it has 10 gigapixels."""
    stream = io.BytesIO()
    Image.new("RGB", (1, 1)).save(stream, "PNG")
    header = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    return stream.getvalue()[:12] + header + struct.pack(">I", zlib.crc32(header)) + stream.getvalue()[33:]


def torchscript() -> bytes:
    stream = io.BytesIO()
    torch.jit.save(torch.jit.trace(torch.nn.Conv2d(3, 3, 3, padding=1), torch.zeros(1, 3, 8, 8)), stream)
    return stream.getvalue()


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass


def wait_for(condition: Callable[[], object], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def misspelt_key(project: Project) -> None:
    project.change("degradations", "ludvae", "training", "stpes", 3)


def misspelt_method(project: Project) -> None:
    project.change("tables", "denoising", "methods", ["ludvae+dncn"])


def misspelt_kind(project: Project) -> None:
    project.change("degradations", "ludvae", "kind", "ludvea")


def misspelt_reference(project: Project) -> None:
    project.change("tables", "denoising", "reference", "ludvae_table2_validaton")


def missing_folder(project: Project) -> None:
    shutil.rmtree(project.folder / "noisy")


def empty_folder(project: Project) -> None:
    for photo in (project.folder / "noisy").iterdir():
        photo.unlink()


def zero_bytes(project: Project) -> None:
    (project.folder / "noisy/zero.png").touch()


def text_file(project: Project) -> None:
    (project.folder / "noisy/text.png").write_text("this is a text file\n" * 20)


def bomb(project: Project) -> None:
    (project.folder / "noisy/bomb.png").write_bytes(png_bomb())


def small_photo(project: Project) -> None:
    Image.fromarray(data.chelsea()[:100, :300]).save(project.folder / "noisy/small.png")


def crop_above_tile(project: Project) -> None:
    project.change("datasets", "mine", "tile", 64)
    project.change("restorers", "dncnn", "training", "crop", 80)


def one_grey_side(project: Project) -> None:
    for photo in (project.folder / "noisy").iterdir():
        Image.open(photo).convert("L").save(photo)


def unequal_pair(project: Project) -> None:
    for side, rows in (("clean", 40), ("noisy", 39)):
        (project.folder / "test" / side).mkdir(parents=True)
        Image.fromarray(data.chelsea()[:rows, :60]).save(project.folder / "test" / side / "cat.png")
    project.change("datasets", "mine", "test", {"clean": "test/clean", "degraded": "test/noisy"})


def turned_pair(project: Project) -> None:
    """Equal as stored; one is shown upright."""
    exif = Image.Exif()
    exif[Base.Orientation] = 6
    for side, more in (("clean", {}), ("noisy", {"exif": exif})):
        (project.folder / "val" / side).mkdir(parents=True)
        Image.fromarray(data.chelsea()[:40, :60]).save(project.folder / "val" / side / "cat.png", **more)
    project.change("datasets", "mine", "val", {"clean": "val/clean", "degraded": "val/noisy"})


def one_name_twice(project: Project) -> None:
    Image.fromarray(data.chelsea()[:280, :300]).save(project.folder / "noisy/coffee.JPG")


def missing_weights(project: Project) -> None:
    project.change("restorers", "published", {"kind": "pretrained", "options": {"weights": "absent.pth"}})
    project.change("tables", "denoising", "methods", ["published"])


def missing_encoder(project: Project) -> None:
    project.change("autoencoders", "taef2", "options", {"encoder": "absent.pth", "decoder": "absent.pth"})


def missing_images_of_another_tool(project: Project) -> None:
    options = {"test": "elsewhere", "statistics": "elsewhere"}
    project.change("restorers", "theirs", {"kind": "folder", "options": options})
    project.change("tables", "denoising", "methods", ["theirs"])


def truncated(project: Project) -> None:
    whole = (project.folder / "noisy/coffee.png").read_bytes()
    (project.folder / "noisy/half.png").write_bytes(whole[: len(whole) // 2])


def not_a_number(project: Project) -> None:
    samples = np.full((280, 300, 3), 0.5, np.float32)
    samples[3, 4, 1] = np.nan
    tifffile.imwrite(project.folder / "noisy/nan.tif", samples, photometric="rgb")


def in_training_and_test(project: Project) -> None:
    for side, name in (("clean", "chelsea"), ("noisy", "rocket")):
        (project.folder / "test" / side).mkdir(parents=True)
        shutil.copy(project.folder / side / f"{name}.png", project.folder / "test" / side / "a.png")
    project.change("datasets", "mine", "test", {"clean": "test/clean", "degraded": "test/noisy"})


def demanded_gpu(project: Project) -> None:
    project.change("device", "cuda")


def pickled_weights(project: Project) -> None:
    (project.folder / "evil.pth").write_bytes(pickle.dumps(Evil()))
    project.change("restorers", "published", {"kind": "pretrained", "options": {"weights": "evil.pth"}})
    project.change("tables", "denoising", "methods", ["published"])


# What is wrong, and what must be said of it: first what stops the run before any job, then what a job finds.
BEFORE_ANY_JOB: list[tuple[Callable[[Project], None], str]] = [
    (misspelt_key, "unknown option 'stpes'; did you mean 'steps'?"),
    (misspelt_method, "no 'dncn' among the restorers; did you mean 'dncnn'?"),
    (misspelt_kind, "unknown kind 'ludvea'; did you mean 'ludvae'?"),
    (misspelt_reference, "published.csv: nothing published under 'ludvae_table2_validaton'; known are"),
    (missing_folder, "noisy: no such file or folder"),
    (empty_folder, "noisy: the folder holds no image"),
    (zero_bytes, "noisy/zero.png: the file is empty"),
    (text_file, "noisy/text.png: not an image that can be read"),
    (bomb, "noisy/bomb.png: more than 200 megapixels"),
    (small_photo, "noisy/small.png: 300x100 pixels, smaller than a training tile of 256"),
    (crop_above_tile, "restorers: dncnn: crop 80 is larger than the tiles of dataset mine (64)"),
    (one_grey_side, "noisy: every photo is grey, but clean has colour"),
    (unequal_pair, "test/noisy/cat.png: 60x39 pixels, but its clean version has another size"),
    (turned_pair, "val/noisy/cat.png: 40x60 pixels, but its clean version has another size, 60x40"),
    (one_name_twice, "noisy/coffee.JPG are both called 'coffee'; rename one"),
    (missing_weights, "absent.pth: no such weight file"),
    (missing_encoder, "autoencoders: taef2: encoder: absent.pth: no such weight file"),
    (missing_images_of_another_tool, "elsewhere: no such file or folder; check the path"),
    (demanded_gpu, "device cuda: torch sees no GPU here"),
]
IN_A_JOB: list[tuple[Callable[[Project], None], str, str, str]] = [
    (truncated, DATASET, "preprocess", "noisy/half.png: damaged or truncated image"),
    (not_a_number, DATASET, "preprocess", "noisy/nan.tif: float values that are NaN or outside [0, 1]"),
    (in_training_and_test, DATASET, "download", "the same photo as "),
    (pickled_weights, "results/restored/mine/published/seed0", "fit_restorer", "evil.pth: not a weight file"),
]


@pytest.mark.parametrize(
    ("wrong", "sentence"), BEFORE_ANY_JOB, ids=lambda case: getattr(case, "__name__", "")
)
def test_what_can_be_known_stops_before_any_job(
    project: Project, wrong: Callable[[Project], None], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    wrong(project)
    done = project.run()
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == the_one_error(done)
    assert sentence in the_one_error(done)
    assert not (project.folder / "results").exists()


@pytest.mark.parametrize("target", ["all", DATASET])
def test_a_copy_of_a_dataset_that_is_missing_stops_a_dry_run(project: Project, target: str) -> None:
    """Also one that no table is over, when its images are asked for."""
    project.config["datasets"]["mine" if target == DATASET else "haze"] = {
        "source": "dense_haze",
        "folder": "copy",
    }
    project.config["dataset"] = "photos" if target == DATASET else "haze"
    done = project.run("--dry-run", "--", target)
    assert done.returncode == 1
    assert the_one_error(done) == "nopairs: error: copy: no such file or folder; check the path"


@pytest.mark.parametrize(
    ("wrong", "target", "rule", "sentence"), IN_A_JOB, ids=lambda case: getattr(case, "__name__", "")
)
def test_what_a_job_finds_is_said_again_at_the_end(
    project: Project, wrong: Callable[[Project], None], target: str, rule: str, sentence: str
) -> None:
    wrong(project)
    done = project.run("--", target)
    assert done.returncode == 1
    assert the_one_error(done).startswith(f"nopairs: error: {rule}: ") and sentence in the_one_error(done)
    assert not (project.folder / target).exists()
    assert not list((project.folder / "results").rglob("*.tmp*"))
    assert not (project.folder / "executed").exists()


def test_grey_and_colour_may_be_mixed_within_folders(project: Project) -> None:
    for name in ("clean/chelsea.png", "noisy/rocket.png"):
        Image.open(project.folder / name).convert("L").save(project.folder / name)
    done = project.run("--", DATASET)
    assert done.returncode == 0, done.stdout + done.stderr
    tiles = list((project.folder / "results/data/mine").rglob("*.png"))
    assert tiles and all(Image.open(tile).mode == "RGB" for tile in tiles)


# Disks. A small file system of its own, which only root can mount.


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "none", disk], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def test_a_read_only_folder(small_disk: Path) -> None:
    Project(small_disk)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    done = snakemake(small_disk)
    assert done.returncode == 1
    assert the_one_error(done).endswith("the file system is read-only; mend that, then start again")


def test_a_read_only_results_folder(tmp_path: Path, small_disk: Path) -> None:
    (tmp_path / "results").symlink_to(small_disk)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    done = snakemake(tmp_path)
    assert done.returncode == 1 and "cannot be written: the file system is read-only" in the_one_error(done)


def test_a_full_disk_at_the_start(small_disk: Path) -> None:
    fill(small_disk / "ballast")
    done = snakemake(small_disk)
    assert done.returncode == 1 and "cannot be written: the disk is full" in the_one_error(done)


def test_a_disk_that_fills_up_in_a_run(tmp_path: Path, small_disk: Path) -> None:
    """Only results are on the small disk, so that the job's message comes through whole."""
    (tmp_path / "results").symlink_to(small_disk)
    done = snakemake(tmp_path, "--", "results/data/photos/index.csv")
    assert done.returncode == 1
    assert "cannot be written: the disk is full; mend that, then start again" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not list(small_disk.rglob("index.csv")) and not list(small_disk.rglob("*.tmp*"))


# Killed and doubled runs.


def test_a_second_workflow_is_refused_and_a_killed_one_goes_on(project: Project) -> None:
    model = "results/models/mine/ludvae/seed0/model.json"
    project.change("degradations", "ludvae", "training", "steps", 10**6)
    first = project.start("--", model)
    wait_for(lambda: list((project.folder / "results").rglob(".seed0.lock")))
    second = project.run("--", model)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert second.returncode == 1
    assert second.stderr.count("Error: Directory cannot be locked.") == 1
    project.change("degradations", "ludvae", "training", "steps", 6)
    assert project.run("--unlock").returncode == 0
    done = project.run("--", model)
    assert done.returncode == 0, done.stdout + done.stderr
    assert read_json(project.folder / model)["steps"] == 6
    assert not list((project.folder / "results").rglob("*.tmp*"))


def test_a_job_that_was_left_running_is_not_run_twice(tmp_path: Path) -> None:
    """As after SIGKILL of Snakemake alone: its trainer lives on, and a new one must not write into the same folder."""
    done = snakemake(tmp_path, "--", "results/data/photos/index.csv")
    assert done.returncode == 0, done.stdout + done.stderr
    model = tmp_path / "results/models/photos/ludvae/seed0"
    entry = yaml.safe_load(TINY.read_text())["degradations"]["ludvae"]
    entry |= {"kind": "ludvae", "training": entry["training"] | {"steps": 10**6}}
    command = [sys.executable, str(ROOT / "src/train_degradation.py"), "--entry", yaml.safe_dump(entry)]
    command += ["--dataset", str(tmp_path / "results/data/photos"), "--seed", "0", "--out", str(model)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as orphan:
        wait_for(lambda: (model.parent / ".seed0.lock").exists())
        done = snakemake(tmp_path, "--", str(model.relative_to(tmp_path) / "model.json"))
        orphan.send_signal(signal.SIGTERM)
        _, said = orphan.communicate()
    assert done.returncode == 1
    assert f"another process is writing it (process {orphan.pid} on " in the_one_error(done)
    assert orphan.returncode == 75 and "as asked; start again to go on from there" in said
    assert not (model / "model.json").exists()


# The command that restores photos.


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    options = {"depth": 2, "width": 4, "batch_norm": False}
    save_model(folder, "restorer", "dncnn", options, DnCNN(DnCNNOptions(**options)).state_dict(), {})
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("first", "last"):
        Image.fromarray(data.chelsea()[:20, :30]).save(folder / f"{name}.png")
    return folder


def restore(model: Path, photos: Path, output: Path, *arguments: str) -> int:
    return cli.main(
        ["restore", "--model", str(model), "--device", "cpu", str(photos), "-o", str(output), *arguments]
    )


def broken_photos() -> dict[str, tuple[bytes, str]]:
    """File name: content, and what must be said of it."""
    image = Image.fromarray(data.chelsea()[:20, :30])
    png, tiff = io.BytesIO(), io.BytesIO()
    image.save(png, "PNG")
    samples = np.full((20, 30, 3), 0.5, np.float32)
    samples[0, 0, 0] = np.nan
    tifffile.imwrite(tiff, samples, photometric="rgb")
    return {
        "zero.png": (b"", "the file is empty"),
        "half.png": (png.getvalue()[: png.tell() // 2], "damaged or truncated"),
        "text.png": (b"this is a text file", "not an image that can be read"),
        "bomb.png": (png_bomb(), "more than 200 megapixels"),
        "nan.tif": (tiff.getvalue(), "float values that are NaN"),
    }


@pytest.mark.parametrize("name", broken_photos())
def test_restoring_a_broken_photo_is_one_line_and_the_others_are_restored(
    name: str, model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, sentence = broken_photos()[name]
    (photos / name).write_bytes(content)
    assert restore(model, photos, tmp_path / "out") == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith(f"  {photos / name}: ") and sentence in lines[-1]
    assert lines[-2] == "nopairs restore: photos that could not be restored: 1"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["first.png", "last.png"]


def broken_models(folder: Path, sound: Path) -> dict[str, tuple[Path, str]]:
    """Name: the model to be loaded, and what must be said of it."""
    made = {}
    for name, content, sentence in (
        ("pickle.pth", pickle.dumps(Evil()), "not a weight file"),
        ("script.pt", torchscript(), "not a weight file"),
        ("text.pth", b"hello", "not a weight file"),
        ("text.safetensors", b"hello", "not a weight file"),
        ("zero.pth", b"", "not a weight file"),
    ):
        (folder / name).write_bytes(content)
        made[name] = (folder / name, sentence)
    torch.save({"x": Evil()}, folder / "zip.pth")
    torch.save({"x": torch.zeros(3)}, folder / "other.pth")
    made["zip.pth"] = (folder / "zip.pth", "not a weight file")
    made["other.pth"] = (folder / "other.pth", "weights of no restorer that is known")
    made["absent"] = (folder / "absent.pth", "no such weight file")
    whole = (sound / "model.safetensors").read_bytes()
    for name, file, content, sentence in (
        ("half", "model.safetensors", whole[: len(whole) // 2], "not the weights of this dncnn"),
        ("pickled", "model.safetensors", pickle.dumps(Evil()), "not the weights of this dncnn"),
        ("no_json", "model.json", b"hello", "not a JSON file"),
        ("no_model", "model.json", b"{}", "not a model's description"),
    ):
        shutil.copytree(sound, folder / name)
        (folder / name / file).write_bytes(content)
        made[name] = (folder / name, sentence)
    return made


def test_a_weight_file_that_is_none_is_one_sentence_and_never_executed(
    model: Path,
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    for name, (path, sentence) in broken_models(tmp_path / "models", model).items():
        with warnings.catch_warnings(record=True) as warned:
            assert restore(path, photos, tmp_path / "out") == 1, name
        assert not warned  # it would be printed above the sentence
        error = capsys.readouterr().err.strip()
        assert error.startswith("nopairs: error: ") and sentence in error and "\n" not in error, name
        assert str(path) in error, name
    assert not (tmp_path / "executed").exists() and not (tmp_path / "out").exists()


def test_a_gpu_that_is_demanded_and_missing(
    model: Path,
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert restore(model, photos, tmp_path / "out", "--device", "cuda") == 1
    assert capsys.readouterr().err.strip().startswith("nopairs: error: device cuda: torch sees no GPU here")


@pytest.mark.parametrize("disk", ["full", "read-only"])
def test_restoring_onto_a_disk_that_takes_nothing(
    disk: str, model: Path, photos: Path, small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if disk == "full":
        fill(small_disk / "ballast")
    else:
        subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert restore(model, photos, small_disk / "out") == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 3 and all(f"{disk}" in line for line in lines[1:])
    assert not [path for path in small_disk.rglob("*") if path.suffix == ".png"]
