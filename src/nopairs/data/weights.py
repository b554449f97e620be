"""Published weights that the configuration names as `catalogue:<entry>/<path>` in place of a file of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nopairs.data import entries
from nopairs.data.entries import RemoteFile
from nopairs.errors import NopairsError
from nopairs.registry import suggest

PREFIX = "catalogue:"


def is_reference(value: Any) -> bool:
    """Whether an option's value names a file of the catalogue."""
    return isinstance(value, str) and value.startswith(PREFIX)


def find(reference: str) -> tuple[str, RemoteFile]:
    """Return the entry's name and the file that `catalogue:<entry>/<path>` names.

    Raises:
        NopairsError: the catalogue has no such entry or file.
    """
    name, _, path = reference.removeprefix(PREFIX).partition("/")
    if name not in (known := [name for name in entries.names() if entries.load(name).weights]):
        raise NopairsError(f"{reference}: the catalogue has no weights {name!r}; {suggest(name, known)}")
    files = {file.path: file for file in entries.load(name).files}
    if path not in files:
        raise NopairsError(f"{reference}: {name} has no file {path!r}; {suggest(path, files)}")
    return name, files[path]


def check(value: str) -> None:
    """Raise NopairsError for a reference to what the catalogue has not."""
    if is_reference(value):
        find(value)


def local_file(value: str) -> Path:
    """Return the path that an option's value is; raises NopairsError for a reference: it was not fetched."""
    if is_reference(value):
        name, file = find(value)
        raise NopairsError(
            f"{value}: not fetched; run `nopairs data fetch {name}`, and name data/{name}/{file.path}"
        )
    return Path(value)


def references(options: dict[str, Any]) -> list[str]:
    """Return the files of the catalogue that options name."""
    return [value for value in options.values() if is_reference(value)]


def localised(options: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return options with the paths below the folder of downloads in place of what names files of the catalogue."""
    return {
        key: str(_path(value, folder)) if is_reference(value) else value for key, value in options.items()
    }


def remedy(file: str | Path, otherwise: str) -> str:
    """Return what to do about a weight file that is not there: fetch it again where it is the catalogue's, or `otherwise`."""
    for name in entries.names():
        entry = entries.load(name)
        for known in entry.files if entry.weights else ():
            place = Path(name, known.path)
            if Path(file).parts[-len(place.parts) :] == place.parts:
                folder = Path(*Path(file).parts[: -len(place.parts)])
                return f"fetch it again by `nopairs data fetch {name} --to {folder}`"
    return otherwise


def _path(reference: str, folder: Path) -> Path:
    name, file = find(reference)
    return folder / name / file.path
