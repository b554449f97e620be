"""Datasets fetched into a folder: verified, from a mirror or the internet, several at once."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from http_server import Server, serving

from nopairs.cli import main
from nopairs.data import entries
from nopairs.data.download import Patience
from nopairs.data.entries import RemoteFile
from nopairs.data.store import MIRROR_VARIABLE, HashLock, Store
from nopairs.errors import NopairsError

QUICK = Patience(attempts=2, wait=0.01, stall=10)
CONTENT = {f"in/{k}.png": f"photo {k}".encode() * 1000 for k in range(6)}


def sha256(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


@pytest.fixture(autouse=True)
def no_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MIRROR_VARIABLE, raising=False)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        server.files |= {f"/{path}": content for path, content in CONTENT.items()}
        yield server


def remote(server: Server, hashes: bool = True) -> list[RemoteFile]:
    return [
        RemoteFile(path, (f"{server.address}/{path}",), len(content), sha256(content) if hashes else None)
        for path, content in CONTENT.items()
    ]


def store(folder: Path, mirror: str = "") -> Store:
    return Store(folder / "data", folder / "data.lock", mirror, patience=QUICK)


def test_files_come_once_and_are_verified_ever_after(server: Server, tmp_path: Path) -> None:
    paths = store(tmp_path).fetch("d", remote(server))
    assert [path.read_bytes() for path in paths] == list(CONTENT.values())
    assert paths[0] == tmp_path / "data/d/in/0.png"
    paths[2].write_bytes(b"changed by hand")
    store(tmp_path).fetch("d", remote(server))
    assert paths[2].read_bytes() == CONTENT["in/2.png"]
    assert sorted(path for path, _ in server.requests) == sorted([*server.files, "/in/2.png"])
    assert not (tmp_path / "data.lock").exists()  # every hash was published


def test_a_wrong_hash_names_the_file_and_both_hashes_and_keeps_nothing(
    server: Server, tmp_path: Path
) -> None:
    server.files["/in/3.png"] = b"something else"
    with pytest.raises(NopairsError) as error:
        store(tmp_path).fetch("d", remote(server))
    wrong, right = sha256(b"something else")[7:], sha256(CONTENT["in/3.png"])[7:]
    assert all(text in str(error.value) for text in ("d/in/3.png", wrong, right))
    assert not list(tmp_path.rglob("*3.png*"))


def test_md5_is_checked_and_a_sha256_recorded(server: Server, tmp_path: Path) -> None:
    address, content = f"{server.address}/in/0.png", CONTENT["in/0.png"]
    right = RemoteFile("in/0.png", (address,), None, "md5:" + hashlib.md5(content).hexdigest())
    wrong = RemoteFile("in/0.png", (address,), None, "md5:" + "0" * 32)
    store(tmp_path).fetch("d", [right])
    assert (tmp_path / "data.lock").read_text() == f"{sha256(content)[7:]}  d/in/0.png\n"
    with pytest.raises(NopairsError, match=r"its md5 is .*, but the catalogue has 0{32}"):
        store(tmp_path / "other").fetch("d", [wrong])


def test_what_has_no_published_hash_is_trusted_on_first_use(server: Server, tmp_path: Path) -> None:
    files = remote(server, hashes=False)
    paths = store(tmp_path).fetch("d", files)
    lines = (tmp_path / "data.lock").read_text().splitlines()
    assert sorted(lines, key=lambda line: line[66:]) == [
        f"{sha256(content)[7:]}  d/{path}" for path, content in sorted(CONTENT.items())
    ]
    paths[0].unlink()
    server.files["/in/0.png"] = b"something else"
    with pytest.raises(NopairsError, match=r"d/in/0\.png .*data\.lock has"):
        store(tmp_path).fetch("d", files)
    assert not paths[0].exists()
    server.files["/in/0.png"] = CONTENT["in/0.png"]
    store(tmp_path).fetch("d", files)
    assert (tmp_path / "data.lock").read_text().splitlines() == lines


@pytest.mark.parametrize("kind", ["folder", "address"])
def test_a_mirror_is_asked_first_and_the_rest_comes_from_the_origin(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    filled = Store(tmp_path / "mirror", tmp_path / "data.lock", patience=QUICK)
    filled.fetch("d", remote(server)[:4])
    server.requests.clear()
    with serving() as http:
        http.files = {f"/base/d/{path}": content for path, content in list(CONTENT.items())[:4]}
        mirror = f"{http.address}/base/" if kind == "address" else str(tmp_path / "mirror")
        monkeypatch.setenv(MIRROR_VARIABLE, mirror)
        paths = store(tmp_path).fetch("d", remote(server))
    assert [path.read_bytes() for path in paths] == list(CONTENT.values())
    assert sorted(path for path, _ in server.requests) == ["/in/4.png", "/in/5.png"]


def test_a_mirror_that_was_filled_serves_without_internet(server: Server, tmp_path: Path) -> None:
    files = remote(server, hashes=False)
    Store(tmp_path / "mirror", tmp_path / "data.lock", patience=QUICK).fetch("d", files)
    server.files.clear()
    offline = store(tmp_path, mirror=str(tmp_path / "mirror"))
    assert [path.read_bytes() for path in offline.fetch("d", files)] == list(CONTENT.values())
    (tmp_path / "mirror/d/in/1.png").write_bytes(b"something else")
    with pytest.raises(NopairsError, match=r"mirror/d/in/1\.png: its sha256 is"):
        store(tmp_path / "other", mirror=str(tmp_path / "mirror")).fetch("d", remote(server))


def test_the_second_address_is_asked_when_the_first_has_nothing(server: Server, tmp_path: Path) -> None:
    path, content = next(iter(CONTENT.items()))
    addresses = (f"{server.address}/gone/{path}", f"{server.address}/{path}")
    (fetched,) = store(tmp_path).fetch("d", [RemoteFile(path, addresses, None, sha256(content))])
    assert fetched.read_bytes() == content


def test_what_cannot_be_had_says_how_to_fill_a_mirror(server: Server, tmp_path: Path) -> None:
    server.faults["/in/5.png"] = [500] * 9
    with pytest.raises(NopairsError, match=r"d/in/5\.png: cannot be had .*500.* --to FOLDER.*NOPAIRS_MIRROR"):
        store(tmp_path).fetch("d", remote(server))
    # What came before it was kept, and nothing unfinished has a final name.
    for path in (tmp_path / "data/d/in").glob("[!.]*"):
        assert path.read_bytes() == CONTENT[f"in/{path.name}"]
    assert not (tmp_path / "data/d/in/5.png").exists()


def test_two_runs_at_once_fetch_each_file_once(server: Server, tmp_path: Path) -> None:
    runs = [threading.Thread(target=store(tmp_path).fetch, args=("d", remote(server))) for _ in range(3)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert sorted(path for path, _ in server.requests) == sorted(server.files)


def test_files_within_packages_need_no_server(tmp_path: Path) -> None:
    entry = entries.load("embedded")
    nowhere = store(tmp_path, mirror=str(tmp_path / "nowhere"))
    assert all(path.is_file() for path in nowhere.fetch("embedded", entry.files))
    assert nowhere.present("embedded", entry.files) == list(entry.files)


def test_the_command_fetches_and_lists(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["data", "fetch", "embedded"]) == 0
    count = len(entries.load("embedded").files)
    assert f"embedded: {count} files in data/embedded; licence: " in capsys.readouterr().out
    assert main(["data", "list"]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert {"dataset", *entries.names()} == set(rows)
    assert "  yes  " in rows["embedded"] and "  no  " in rows["polyu"] and "4.69 MB" in rows["polyu"]
    for mistake, message in (
        (["polyuu"], "did you mean 'polyu'"),
        (["imagenet"], "name your own folder"),
        (["polyu", "--only", "["], "no regular expression"),
    ):
        assert main(["data", "fetch", *mistake]) == 1
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("line", ["<<<<<<< HEAD", "# a comment", "ab *d/x.png", f"{'g' * 64}  d/x.png"])
def test_a_line_of_the_lock_that_is_none_is_named(tmp_path: Path, line: str) -> None:
    lock = HashLock(tmp_path / "data.lock")
    lock.record("d/a.png", "0" * 64)
    with lock.path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(NopairsError, match=r"data\.lock: line 2 is not"):
        lock.read()


def test_the_first_hash_of_a_name_counts(tmp_path: Path) -> None:
    lock = HashLock(tmp_path / "data.lock")
    for digest in ("1" * 64, "2" * 64):
        lock.record("d/a photo.png", digest)
    assert lock.read() == {"d/a photo.png": "1" * 64}


def test_where_a_file_system_has_no_locks_files_come_all_the_same(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    paths = store(tmp_path).fetch("d", remote(server))
    assert [path.read_bytes() for path in paths] == list(CONTENT.values())


def test_a_file_of_another_hash_stays_until_the_right_one_came(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = remote(server)
    path = store(tmp_path).fetch("d", files)[0]
    path.write_bytes(b"changed by hand")
    server.files.clear()
    with pytest.raises(NopairsError, match=r"d/in/0\.png: cannot be had \(.*404"):
        store(tmp_path).fetch("d", files)
    assert path.read_bytes() == b"changed by hand"
    assert f"{path}: its sha256 is " in capsys.readouterr().err


def test_a_store_that_is_its_own_mirror_mends_what_it_has_from_elsewhere(
    server: Server, tmp_path: Path
) -> None:
    mirror = str(tmp_path / "data")
    path = store(tmp_path, mirror).fetch("d", remote(server))[0]
    path.write_bytes(b"changed by hand")
    store(tmp_path, mirror).fetch("d", remote(server))
    assert path.read_bytes() == CONTENT["in/0.png"]


def test_what_has_no_address_says_so(tmp_path: Path) -> None:
    with pytest.raises(NopairsError, match=r"cannot be had \(it has no address\)"):
        store(tmp_path).fetch("d", [RemoteFile("a.png", (), None, None)])


def test_each_experiment_records_what_lay_there_already(server: Server, tmp_path: Path) -> None:
    files = remote(server, hashes=False)
    paths = store(tmp_path).fetch("d", files)
    second = Store(tmp_path / "data", tmp_path / "second.lock", patience=QUICK)
    second.fetch("d", files)
    assert second.lock.read() == store(tmp_path).lock.read()
    paths[0].write_bytes(b"changed by hand")
    server.files["/in/0.png"] = b"changed by hand"
    with pytest.raises(NopairsError, match=r"second\.lock has"):
        second.fetch("d", files)


def test_a_complete_folder_may_be_read_only(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = remote(server)
    paths = store(tmp_path).fetch("d", files)
    opened = Path.open

    def read_only(path: Path, mode: str = "r") -> IO[Any]:
        if mode[0] != "r":
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return opened(path, mode)

    monkeypatch.setattr(Path, "open", read_only)
    assert store(tmp_path).fetch("d", files) == paths


def test_a_full_disk_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("nopairs.data.store.download", full)
    with pytest.raises(NopairsError, match=r"d/\.a\.png\.part: cannot be written: the disk is full"):
        store(tmp_path).fetch("d", [RemoteFile("a.png", ("http://a.test/a.png",), None, None)])


def test_every_name_is_checked_before_the_first_is_fetched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["data", "fetch", "embedded", "set5x"]) == 1
    assert "no dataset 'set5x'" in capsys.readouterr().err and not list(tmp_path.iterdir())
