"""One file over HTTP: resumed where it stopped, retried with backoff, and given up with a reason."""

from __future__ import annotations

import email.utils
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import requests

from nopairs.errors import NopairsError
from nopairs.files import read_json, write_json

CHUNK = 1 << 16  # bytes; of a chunk that breaks off nothing is kept
TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")


@dataclass(frozen=True)
class Patience:
    """How long a server is borne with.

    attempts: attempts in a row that may bring nothing new.
    wait: seconds before the second attempt; doubled for each further one.
    longest_wait: largest wait, whatever the server asks for.
    stall: seconds without a byte after which a connection counts as lost.
    """

    attempts: int = 6
    wait: float = 1.0
    longest_wait: float = 300.0
    stall: float = 30.0


PATIENCE = Patience()


class Unavailable(NopairsError):
    """An address that does not give the file; another one may."""


class _Interrupted(Exception):
    """An attempt that failed in a way that may pass; `wait` is what the server asks for, in seconds."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


def download(
    address: str,
    part: Path,
    session: requests.Session,
    advance: Callable[[int], object] = lambda _: None,
    patience: Patience = PATIENCE,
    stop: threading.Event | None = None,
) -> None:
    """Fetch `address` into the file `part`, going on from what is there already.

    The server's validator (ETag or modification time) lies beside it: a file that changed in between, or a server that
    gives none, starts again from the beginning.

    Args:
        address: http or https.
        part: the unfinished file; it is whole when this returns, but not verified.
        session: of requests.
        advance: is told how many bytes came, or less than zero when some were thrown away.
        patience: when to give up.
        stop: set by another thread to end the waiting.

    Raises:
        Unavailable: the server does not have it, or did not bring it in so many attempts.
    """
    stop = stop or threading.Event()
    failures = 0
    while True:
        before = _size(part)
        try:
            return _attempt(address, part, session, advance, patience, stop)
        except (_Interrupted, requests.RequestException) as error:
            if isinstance(error, (requests.exceptions.InvalidURL, requests.TooManyRedirects)):
                raise Unavailable(f"{address}: {_reason(error)}") from None
            failures = failures + 1 if _size(part) <= before else 0
            if failures >= patience.attempts or stop.is_set():
                raise Unavailable(f"{address}: {_reason(error)}, {failures} times in a row") from None
            asked = error.wait if isinstance(error, _Interrupted) else 0.0
            stop.wait(min(patience.longest_wait, max(asked, patience.wait * 2 ** max(0, failures - 1))))


def discard(part: Path) -> None:
    """Delete an unfinished file and what belongs to it."""
    part.unlink(missing_ok=True)
    _validator_file(part).unlink(missing_ok=True)


def _attempt(
    address: str,
    part: Path,
    session: requests.Session,
    advance: Callable[[int], object],
    patience: Patience,
    stop: threading.Event,
) -> None:
    # Ranges count the bytes that are sent: compressed on the way, they would not be the file's.
    headers = {"Accept-Encoding": "identity"}
    have = _size(part)
    validator = _read_validator(part, address)
    if have and validator:
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    with session.get(address, headers=headers, stream=True, timeout=patience.stall) as answer:
        start, total = _range(answer)
        if answer.status_code == 416 and have and total == have:
            return  # it was whole
        if answer.status_code == 416 or (answer.status_code == 206 and start != have):
            discard(part)
            advance(-have)
            raise _Interrupted("the server's part is not the one asked for")
        if answer.status_code in TRY_AGAIN:
            raise _Interrupted(f"the server answers {answer.status_code}", _retry_after(answer))
        if not answer.ok:
            raise Unavailable(f"{address}: the server answers {answer.status_code} {answer.reason}")
        if answer.status_code != 206:
            start, total = 0, _length(answer)
            advance(-have)
        with part.open("ab" if start else "wb") as file:
            if not start:  # behind the truncation: what an earlier version left must not be vouched for
                _write_validator(part, address, answer)
            for chunk in answer.iter_content(CHUNK):
                file.write(chunk)
                advance(len(chunk))
                if stop.is_set():
                    raise _Interrupted("stopped")
    if total is not None and _size(part) != total:
        raise _Interrupted(f"{_size(part)} of {total} bytes came")


def _range(answer: requests.Response) -> tuple[int | None, int | None]:
    """First byte and whole size that a partial answer (206, 416) states."""
    match = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    return (_number(match[1]), _number(match[2])) if match else (None, None)


def _length(answer: requests.Response) -> int | None:
    """Size of the whole file; unknown when what is sent is encoded."""
    return None if "Content-Encoding" in answer.headers else _number(answer.headers.get("Content-Length"))


def _retry_after(answer: requests.Response) -> float:
    """Seconds that the server asks to wait for: a number, or a date (RFC 9110, section 10.2.3)."""
    value = answer.headers.get("Retry-After", "")
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0


def _write_validator(part: Path, address: str, answer: requests.Response) -> None:
    etag = answer.headers.get("ETag", "")
    strong = "" if etag.startswith("W/") else etag  # a weak one does not vouch for the bytes
    write_json(
        _validator_file(part),
        {"address": address, "validator": strong or answer.headers.get("Last-Modified", "")},
    )


def _read_validator(part: Path, address: str) -> str:
    try:
        known = read_json(_validator_file(part))
        return str(known["validator"]) if known["address"] == address else ""
    except (OSError, NopairsError, KeyError, TypeError):  # missing or damaged: from the first byte
        return ""


def _validator_file(part: Path) -> Path:
    return part.with_name(part.name + ".from")


def _reason(error: Exception) -> str:
    """An error in a few words; what requests says of a failed connection is a page long."""
    if isinstance(error, requests.Timeout):
        return "the server does not answer"
    if isinstance(error, (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        return "the connection failed or broke off"
    return " ".join(str(error).split())


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
