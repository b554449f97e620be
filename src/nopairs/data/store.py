"""Datasets on disk: `<folder>/<dataset>/<path>`, fetched from a mirror or from their own addresses, and verified.

A mirror has the same layout, so that any folder of this kind is one.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.resources
import os
import re
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import requests
from tqdm import tqdm

from nopairs.data.download import PATIENCE, Patience, Unavailable, discard, download
from nopairs.data.entries import RemoteFile
from nopairs.data.phantoms import write_phantom
from nopairs.errors import NopairsError
from nopairs.files import explain, sha256

MIRROR_VARIABLE = "NOPAIRS_MIRROR"
# An address of what the code draws; its number follows.
PHANTOM = "phantom://"
_LOCKED = re.compile("([0-9a-f]{64})  (.+)")


class HashLock:
    """Hashes of files that were trusted on first use, in the format of `sha256sum`; meant to be kept with an experiment."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, str]:
        """Return name -> sha256; the first line of a name counts. Raises NopairsError for a line that is none."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        hashes: dict[str, str] = {}
        for number, line in enumerate(lines, 1):
            if not line:
                continue
            match = _LOCKED.fullmatch(line)
            if not match:
                raise NopairsError(
                    f"{self.path}: line {number} is not `<sha256>  <name>` but {line[:60]!r}; mend or delete it"
                )
            hashes.setdefault(match[2], match[1])
        return hashes

    def record(self, name: str, digest: str) -> None:
        """Add a file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(f"{digest}  {name}\n")


class Store:
    """A folder of datasets, and how missing files get into it."""

    def __init__(
        self,
        folder: Path,
        lock: Path,
        mirror: str = "",
        jobs: int = 4,
        patience: Patience = PATIENCE,
    ) -> None:
        """`mirror` is a folder or base address that is asked first; without one, NOPAIRS_MIRROR is."""
        self.folder, self.lock, self.jobs, self.patience = folder, HashLock(lock), jobs, patience
        self.mirror = mirror or os.environ.get(MIRROR_VARIABLE, "")
        self._stop = threading.Event()
        self._local = threading.local()

    def path(self, dataset: str, file: RemoteFile) -> Path:
        """Where a file of a dataset lies."""
        return self.folder / dataset / file.path

    def present(self, dataset: str, files: Sequence[RemoteFile]) -> list[RemoteFile]:
        """The files that are there, by name and published size."""
        sizes = ((file, self.path(dataset, file)) for file in files)
        return [file for file, path in sizes if path.is_file() and file.size in (None, path.stat().st_size)]

    def fetch(self, dataset: str, files: Sequence[RemoteFile]) -> list[Path]:
        """Fetch a dataset's files that are not there, verify all, and return their paths.

        Raises:
            NopairsError: a file has another hash than it should, or cannot be had. What was fetched before stays, and what
                was begun is gone on with next time.
        """
        folder = self.folder / dataset
        folder.mkdir(parents=True, exist_ok=True)
        sizes = [file.size for file in files]
        total = None if None in sizes else sum(filter(None, sizes))
        self._stop.clear()
        with (
            exclusive(
                folder / "fetch"
            ),  # two runs, or two splits of one dataset, may want the same files at once
            tqdm(total=total, unit="B", unit_scale=True, desc=dataset, disable=None) as bar,
            ThreadPoolExecutor(self.jobs) as pool,
        ):
            waiting = [pool.submit(self._have, dataset, file, bar.update) for file in files]
            try:
                return [future.result() for future in waiting]
            except BaseException:
                self._stop.set()
                pool.shutdown(cancel_futures=True)
                raise

    def _have(self, dataset: str, file: RemoteFile, advance: Callable[[int], object]) -> Path:
        path = self.path(dataset, file)
        if path.is_file():
            advance(path.stat().st_size)
            wrong = self._wrong(dataset, file, path)
            if wrong is None:
                self._trust(dataset, file, path)
                return path
            tqdm.write(f"{path}: {wrong}; fetching it again", file=sys.stderr)
            advance(-path.stat().st_size)
        part = path.with_name(f".{path.name}.part")
        part.parent.mkdir(parents=True, exist_ok=True)
        address = self._get(dataset, file, part, advance)
        if wrong := self._wrong(dataset, file, part):
            discard(part)
            raise NopairsError(f"{dataset}/{file.path} from {address}: {wrong}; nothing of it was kept")
        self._trust(dataset, file, part)
        part.replace(path)
        discard(part)
        return path

    def _trust(self, dataset: str, file: RemoteFile, path: Path) -> None:
        """Record the hash of a file whose sha256 nobody published, unless that was done before."""
        name = f"{dataset}/{file.path}"
        if (file.hash or "").startswith("sha256") or name in self.lock.read():
            return
        self.lock.record(name, sha256(path))
        tqdm.write(f"{name}: nobody published its sha256; {self.lock.path} has it now", file=sys.stderr)

    def _get(self, dataset: str, file: RemoteFile, part: Path, advance: Callable[[int], object]) -> str:
        """Get a file from the first address that gives it, and return that."""
        reasons = []
        for address in (*self._mirror_address(dataset, file), *file.addresses):
            try:
                if address.startswith(("http://", "https://")):
                    download(address, part, self._session(), advance, self.patience, self._stop)
                elif address.startswith(PHANTOM):
                    write_phantom(part, int(address.removeprefix(PHANTOM)))
                else:
                    _copy(_local_file(address), part, advance)
                return address
            except Unavailable as error:
                reasons.append(str(error))
            except OSError as error:
                explain(error, part)
                raise
            if self._stop.is_set():
                break
        raise NopairsError(
            f"{dataset}/{file.path}: cannot be had ({'; '.join(reasons) or 'it has no address'}); on a machine with internet, run"
            f" `nopairs data fetch {dataset} --to FOLDER`, and set {MIRROR_VARIABLE} to that folder"
        )

    def _mirror_address(self, dataset: str, file: RemoteFile) -> list[str]:
        if not self.mirror or any(address.startswith(("package://", PHANTOM)) for address in file.addresses):
            return []
        if "://" in self.mirror:
            return [f"{self.mirror.rstrip('/')}/{dataset}/{quote(file.path)}"]
        mirrored = Path(self.mirror) / dataset / file.path
        # A store may be its own mirror: what is wrong there is no help.
        return [] if mirrored.resolve() == self.path(dataset, file).resolve() else [str(mirrored)]

    def _wrong(self, dataset: str, file: RemoteFile, path: Path) -> str | None:
        """What is wrong with a file's hash; None if it is the published one, or the one recorded, or if none is known."""
        expected = [(file.hash, "the catalogue")] if file.hash else []
        if recorded := self.lock.read().get(f"{dataset}/{file.path}"):
            expected.append((f"sha256:{recorded}", str(self.lock.path)))
        for known, source in expected:
            algorithm, digest = known.split(":")
            with path.open("rb") as stream:
                found = hashlib.file_digest(stream, algorithm).hexdigest()
            if found != digest:
                return f"its {algorithm} is {found}, but {source} has {digest}"
        return None

    def _session(self) -> requests.Session:
        """One session a thread: they are not made to be shared."""
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
        return self._local.session


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a lock on what will be at `path`, for which other processes wait; it is a hidden file beside it.

    Where the file system knows no locks, or nothing may be written, there is none.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        with suppress(OSError):
            file = held.enter_context(path.with_name(f".{path.name.lstrip('.')}.lock").open("w"))
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _local_file(address: str) -> Path:
    """The file that `package://<package>/<path>` or a path names."""
    if address.startswith("package://"):
        package, path = address.removeprefix("package://").split("/", 1)
        return Path(str(importlib.resources.files(package))) / path
    return Path(address)


def _copy(source: Path, part: Path, advance: Callable[[int], object]) -> None:
    if not source.is_file():
        raise Unavailable(f"{source}: no such file")
    discard(part)
    shutil.copyfile(source, part)
    advance(part.stat().st_size)
