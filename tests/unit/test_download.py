"""One file over HTTP, from a server that stalls, breaks off, refuses and redirects."""

from __future__ import annotations

import email.utils
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
from http_server import Server, serving

from nopairs.data.download import Patience, Unavailable, download

BODY = np.random.default_rng(0).bytes(1_000_000)
QUICK = Patience(attempts=3, wait=0.01, stall=10)


class Waits(threading.Event):
    """Is asked to wait between attempts, and notes for how long instead."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.seconds.append(timeout)
        return False


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        server.files["/a.bin"] = BODY
        yield server


def get(
    server: Server,
    part: Path,
    patience: Patience = QUICK,
    path: str = "/a.bin",
    stop: threading.Event | None = None,
) -> int:
    """Fetch, and return the bytes that a progress bar would show."""
    came = []
    with requests.Session() as session:
        download(server.address + path, part, session, came.append, patience, stop)
    return sum(came)


def test_a_file_comes_whole_in_one_request(server: Server, tmp_path: Path) -> None:
    assert get(server, tmp_path / "part") == len(BODY)
    assert (tmp_path / "part").read_bytes() == BODY
    assert server.requests == [("/a.bin", "")]


@pytest.mark.parametrize("fault", [("truncate", 400_000), ("stall", 400_000)])
def test_a_broken_download_is_resumed_where_it_stopped(
    server: Server, tmp_path: Path, fault: tuple[str, int]
) -> None:
    server.faults["/a.bin"] = [fault]
    hasty = Patience(attempts=3, wait=0.01, stall=0.3 if fault[0] == "stall" else 10)
    assert get(server, tmp_path / "part", hasty) == len(BODY)
    assert (tmp_path / "part").read_bytes() == BODY
    (_, first), (_, second) = server.requests
    assert first == "" and second.startswith("bytes=") and int(second[6:-1]) > 0
    assert server.sent == 400_000 + len(BODY) - int(second[6:-1])


def test_a_later_run_resumes_too(server: Server, tmp_path: Path) -> None:
    server.faults["/a.bin"] = [("truncate", 300_000), 404]
    with pytest.raises(Unavailable, match="404"):
        get(server, tmp_path / "part")
    before = (tmp_path / "part").stat().st_size
    assert 0 < before <= 300_000
    assert get(server, tmp_path / "part") == len(BODY) - before
    assert (tmp_path / "part").read_bytes() == BODY


def test_a_whole_part_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    get(server, tmp_path / "part")
    assert get(server, tmp_path / "part") == 0
    assert server.sent == len(BODY)


def test_a_file_that_changed_in_between_starts_again(server: Server, tmp_path: Path) -> None:
    server.faults["/a.bin"] = [("truncate", 300_000), 404]
    with pytest.raises(Unavailable):
        get(server, tmp_path / "part")
    server.files["/a.bin"], server.etag = BODY[::-1], '"v2"'
    get(server, tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == BODY[::-1]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_a_damaged_note_of_what_was_begun_starts_again(server: Server, tmp_path: Path, text: str) -> None:
    (tmp_path / "part").write_bytes(b"x" * 1000)
    (tmp_path / "part.from").write_text(text)
    get(server, tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == BODY


@pytest.mark.parametrize(("ranges", "etag"), [(False, '"v1"'), (True, ""), (True, 'W/"weak"')])
def test_without_ranges_or_a_strong_validator_it_starts_again(
    server: Server, tmp_path: Path, ranges: bool, etag: str
) -> None:
    server.ranges, server.etag = ranges, etag
    server.faults["/a.bin"] = [("truncate", 300_000)]
    assert get(server, tmp_path / "part") == len(BODY)
    assert (tmp_path / "part").read_bytes() == BODY


def test_progress_makes_patience_new(server: Server, tmp_path: Path) -> None:
    server.faults["/a.bin"] = [("truncate", 200_000)] * 4
    get(server, tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == BODY


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_what_may_pass_is_tried_again_with_growing_waits(server: Server, tmp_path: Path, status: int) -> None:
    server.faults["/a.bin"] = [status, status]
    server.faults["/a.bin"].append(status)
    waits = Waits()
    get(server, tmp_path / "part", Patience(attempts=4, wait=0.1, stall=10), stop=waits)
    assert waits.seconds == [0.1, 0.2, 0.4]
    assert len(server.requests) == 4


def test_it_gives_up_after_so_many_attempts(server: Server, tmp_path: Path) -> None:
    server.faults["/a.bin"] = [500] * 3
    with pytest.raises(Unavailable, match=r"a\.bin: the server answers 500, 3 times in a row"):
        get(server, tmp_path / "part")
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_what_will_not_pass_is_not_tried_again(server: Server, tmp_path: Path, status: int) -> None:
    server.faults["/a.bin"] = [status]
    with pytest.raises(Unavailable, match=str(status)):
        get(server, tmp_path / "part")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("asked", "longest", "expected"), [("7", 60, 7), ("date", 3600, 1000), ("3600", 0.2, 0.2)]
)
def test_retry_after_is_obeyed_up_to_a_limit(
    server: Server, tmp_path: Path, asked: str, longest: float, expected: float
) -> None:
    later = email.utils.formatdate(time.time() + 1000, usegmt=True)
    server.faults["/a.bin"] = [("retry", 429, later if asked == "date" else asked)]
    waits = Waits()
    get(server, tmp_path / "part", Patience(attempts=3, wait=0.01, longest_wait=longest), stop=waits)
    assert waits.seconds == [pytest.approx(expected, abs=60 if asked == "date" else 1e-9)]


def test_redirects_are_followed_but_not_in_circles(server: Server, tmp_path: Path) -> None:
    server.faults["/moved"] = [("redirect", f"{server.address}/a.bin")]
    get(server, tmp_path / "part", path="/moved")
    assert (tmp_path / "part").read_bytes() == BODY
    server.faults["/circle"] = [("redirect", f"{server.address}/circle")] * 40
    with pytest.raises(Unavailable, match="redirects"):
        get(server, tmp_path / "other", path="/circle")


def test_no_server_is_one_line(tmp_path: Path) -> None:
    with serving() as server:
        pass
    with pytest.raises(Unavailable, match="connection failed") as error:
        get(server, tmp_path / "part")
    assert "\n" not in str(error.value)


def test_another_thread_can_stop_the_waiting(server: Server, tmp_path: Path) -> None:
    server.faults["/a.bin"] = [503] * 10
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    start = time.monotonic()
    with requests.Session() as session, pytest.raises(Unavailable):
        download(
            f"{server.address}/a.bin", tmp_path / "part", session, patience=Patience(10, wait=30.0), stop=stop
        )
    assert time.monotonic() - start < 10
