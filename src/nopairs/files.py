"""Files that appear whole or not at all, one writer at a time, and the few formats that stages exchange."""

from __future__ import annotations

import csv
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from nopairs.errors import NopairsError

_HOST = socket.gethostname()
_UNWRITABLE = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "it would be larger than a file may be here",
    errno.EROFS: "the file system is read-only",
}
# More than a file system gives away beyond its limits, and nothing to one that has room.
_PROBE_BYTES = 1 << 16
_NAME_BYTES = 255  # of a file name, at most


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path`; rename it to `path` on success, delete it on any error.

    The temporary name keeps the suffix, since many writers choose the format by it.

    Raises:
        NopairsError: the disk is full or read-only.
    """
    path = Path(path)
    temporary = _temporary(path, path.stem, path.suffix)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _to_disk(temporary)
        temporary.replace(path)
    except Exception as error:
        explain(error, path)
        raise
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield an empty temporary sibling folder of `path`; let it replace `path` on success, delete it on any error.

    Raises:
        NopairsError: the disk is full or read-only.
    """
    path = Path(path)
    temporary = _temporary(path, path.name, "")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        for file in filter(Path.is_file, temporary.rglob("*")):
            _to_disk(file)
        shutil.rmtree(path, ignore_errors=True)
        temporary.replace(path)
    except Exception as error:
        explain(error, path)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_leftovers(folder: str | Path) -> None:
    """Delete the temporary files and folders that killed processes of this machine left anywhere in `folder`."""
    name = re.compile(rf"\..*\.{re.escape(_HOST)}-(\d+)\.tmp[^/]*")
    for path in list(Path(folder).rglob(".*.tmp*")):
        match = name.fullmatch(path.name)
        if match and not _is_running(int(match[1])):
            with suppress(OSError):
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


@contextmanager
def only_writer(path: str | Path) -> Iterator[None]:
    """Hold a lock on `path`, the file or folder that the block writes; it ends with the process, however that ends.

    A workflow that was killed can leave a job running; without a lock its late results could replace newer ones.
    Where the file system knows no locks, there is none.

    Raises:
        NopairsError: another process holds it, or the disk is full or read-only.
    """
    path = Path(path)
    lock = path.with_name(f".{path.name}.lock")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = _locked(lock, path)
    except OSError as error:
        explain(error, path)
        raise
    with file:
        try:
            yield
        except OSError as error:
            if _is_of(error, path):
                explain(error, path)
            raise
        finally:
            with suppress(OSError):
                lock.unlink(missing_ok=True)


def _locked(lock: Path, path: Path) -> IO[str]:
    """Open `lock` and lock it; the file that was locked may have been deleted meanwhile, then the next one."""
    while True:
        file = lock.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "its number is not known"
            file.close()
            raise NopairsError(
                f"{path}: another process is writing it ({holder}), perhaps left over from a killed run; "
                "wait for it or stop it, then start again"
            ) from None
        except OSError:
            return file
        with suppress(OSError):
            if os.path.samestat(os.fstat(file.fileno()), lock.stat()):
                file.truncate(0)
                file.write(f"process {os.getpid()} on {_HOST}\n")
                file.flush()
                return file
        file.close()


def check_writable(folder: str | Path) -> None:
    """Raise NopairsError when nothing can be written into `folder`, which exists: full, read-only, no permission."""
    if code := _probe(Path(folder)):
        reason = _UNWRITABLE.get(code, os.strerror(code).lower())
        raise NopairsError(
            f"{Path(folder).resolve()}: cannot be written: {reason}; mend that, then start again"
        )


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file; raises NopairsError when it is none."""
    try:
        return json.loads(Path(path).read_text())
    except ValueError as error:  # bad JSON, or bytes that are no text
        raise NopairsError(f"{path}: not a JSON file ({error}); delete it and make it again") from None


def write_csv(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as CSV, atomically; the columns are all their keys, and a cell is empty where its row lacks the key."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with atomic_file(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def sha256(path: str | Path) -> str:
    """Return the hexadecimal SHA-256 digest of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _temporary(path: Path, stem: str, suffix: str) -> Path:
    end = f".{_HOST}-{os.getpid()}.tmp{suffix}"
    if len(os.fsencode(f".{stem}{end}")) > _NAME_BYTES:
        stem = hashlib.sha256(os.fsencode(stem)).hexdigest()[:16]
    return path.with_name(f".{stem}{end}")


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        pass
    return True


def _is_of(error: OSError, path: Path) -> bool:
    """Whether an error is of writing `path`: it names that or what lies in it, or nothing can be written there."""
    named = Path(str(error.filename)).absolute()
    return named.is_relative_to(path.absolute()) or _probe(path.parent) is not None


def explain(error: Exception, path: Path) -> None:
    """Raise NopairsError if `error` is that `path` could not be written; some writers do not say so, so the disk is asked."""
    if isinstance(error, NopairsError):
        return
    code = error.errno if isinstance(error, OSError) else None
    if code is None:
        code = _probe(path.parent)
    if code in _UNWRITABLE:
        raise NopairsError(
            f"{path}: cannot be written: {_UNWRITABLE[code]}; mend that, then start again: what is finished is kept"
        ) from error


def _to_disk(file: Path) -> None:
    """Wait until a file's content is on the disk: after a crash of the machine a name may be there and the content not."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())


def _probe(folder: Path) -> int | None:
    """Return the error number of writing a little into `folder`, or None if that works."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_PROBE_BYTES))
    except OSError as error:
        return error.errno
    return None
