"""Files that appear whole or not at all, also when the disk says no; one writer at a time; what killed processes leave."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from nopairs import files
from nopairs.errors import NopairsError

# Every writer that the workflow has, in a process that may write no more than a few kilobytes a file.
WRITERS = {
    "json": "files.write_json(out, list(range(20_000)))",
    "png": "images.write_png(out, noise[0])",
    "pairs": "pairs.save_pairs(out, noise, noise)",
    "weights": "models.save_model(out, 'restorer', 'dncnn', {}, {'a': torch.zeros(100, 100)}, {})",
    "state": "with files.atomic_file(out) as file: torch.save({'a': torch.zeros(100, 100)}, file)",
    "table": "with files.atomic_file(out) as file: pd.DataFrame(noise.reshape(-1, 8)).to_csv(file)",
    "folder": "with files.atomic_folder(out) as folder: (folder / 'a').write_bytes(bytes(20_000))",
}
SCRIPT = """
import argparse, resource, signal, sys
from pathlib import Path
import numpy as np, pandas as pd, torch
from nopairs import command, files, models
from nopairs.data import images
from nopairs.training import pairs
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
noise = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3)).astype(np.uint8)
def main(args):
    out = args.where
    {writer}
parser = argparse.ArgumentParser(prog="writer")
parser.add_argument("where", type=Path)
sys.exit(command.run(main, parser))
"""


@pytest.mark.parametrize("writer", WRITERS)
def test_a_file_that_cannot_be_written_whole_is_not_there_and_the_reason_is_one_sentence(
    writer: str, tmp_path: Path
) -> None:
    script = SCRIPT.replace("{writer}", WRITERS[writer])
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "out")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    lines = done.stderr.strip().splitlines()
    assert lines[0].startswith("writer: error: ") and "cannot be written: " in lines[0] and len(lines) == 1
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_an_error_of_another_kind_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), files.atomic_file(tmp_path / "a.txt"):
        1 / 0  # noqa: B018
    with pytest.raises(FileNotFoundError), files.atomic_folder(tmp_path / "a"):
        (tmp_path / "absent").read_text()
    assert not list(tmp_path.iterdir())


def test_an_old_file_stays_when_its_successor_cannot_be_written(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a.json", 1)
    with pytest.raises(ValueError), files.atomic_file(tmp_path / "a.json") as temporary:
        temporary.write_text("half")
        raise ValueError
    assert files.read_json(tmp_path / "a.json") == 1 and len(list(tmp_path.iterdir())) == 1


HOLDER = """
import sys, time
from nopairs.files import atomic_folder, only_writer
with only_writer(sys.argv[1]), atomic_folder(sys.argv[1]) as folder:
    (folder / "half").write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""


def test_content_is_on_the_disk_before_the_name_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []

    def fsync(number: int) -> None:
        assert not (tmp_path / "file").exists() and not (tmp_path / "folder").exists()
        synced.append(Path(f"/proc/self/fd/{number}").resolve().read_text())

    monkeypatch.setattr("os.fsync", fsync)
    with files.atomic_folder(tmp_path / "folder") as folder:
        (folder / "inner").mkdir()
        (folder / "inner/a").write_text("a")
        (folder / "b").write_text("b")
    assert sorted(synced) == ["a", "b"]
    shutil.rmtree(tmp_path / "folder")
    with files.atomic_file(tmp_path / "file") as temporary:
        temporary.write_text("c")
    assert synced[2:] == ["c"]


def test_one_writer_at_a_time_until_it_ends_however_it_ends(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(out)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout and holder.stdout.readline() == "ready\n"
        with (
            pytest.raises(NopairsError, match=f"another process is writing it .process {holder.pid} on"),
            files.only_writer(out),
        ):
            pytest.fail("two writers")
        files.remove_leftovers(tmp_path)
        assert list(tmp_path.rglob("half"))  # it is still being written
        holder.kill()
    with files.only_writer(out):
        files.remove_leftovers(tmp_path)
    assert not list(tmp_path.iterdir())


def test_leftovers_of_another_machine_stay(tmp_path: Path) -> None:
    (tmp_path / ".a.elsewhere-1.tmp.png").touch()
    files.remove_leftovers(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


def test_what_is_no_json_is_refused(tmp_path: Path) -> None:
    for content in (b"{", b"\xff\xfe\x00"):
        (tmp_path / "a.json").write_bytes(content)
        with pytest.raises(NopairsError, match="not a JSON file"):
            files.read_json(tmp_path / "a.json")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(NopairsError, match="permission denied"):
        files.check_writable(tmp_path)


def test_a_full_disk_is_that_of_the_output_only_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*name: str) -> None:
        with files.only_writer(tmp_path / "out"):
            raise OSError(errno.ENOSPC, "No space left on device", *name)

    with pytest.raises(OSError, match="/elsewhere/file"):
        fail("/elsewhere/file")
    with pytest.raises(OSError, match="No space"):
        fail()
    with pytest.raises(NopairsError, match="out: cannot be written: the disk is full"):
        fail(str(tmp_path / "out/file"))
    monkeypatch.setattr(files, "_probe", lambda folder: errno.ENOSPC)
    with pytest.raises(NopairsError, match="out: cannot be written: the disk is full"):
        fail()


def test_a_lock_that_was_deleted_before_it_was_held_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, lock_file = tmp_path / ".out.lock", fcntl.flock
    calls: list[int] = []

    def late(file: IO[str], operation: int) -> None:
        if not calls:  # whoever held it ends just now
            lock.unlink()
        calls.append(operation)
        lock_file(file, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with files.only_writer(tmp_path / "out"):
        assert len(calls) == 2 and lock.read_text().startswith(f"process {os.getpid()} on ")


def test_the_longest_names_can_be_written(tmp_path: Path) -> None:
    for letter in "ab":
        files.write_json(tmp_path / (letter * 250 + ".json"), letter)
    assert sorted(map(files.read_json, tmp_path.iterdir())) == ["a", "b"]
