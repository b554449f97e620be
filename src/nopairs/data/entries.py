"""The catalogue: what is known of each dataset, and of published weights, read from `catalogue/*.yaml`.

A new dataset is a new file there.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from nopairs.data.photos import PAIRED_ROLES
from nopairs.errors import NopairsError
from nopairs.registry import suggest

CATALOGUE = Path(__file__).parent / "catalogue"
SCHEMA = Path(__file__).parent / "catalogue.schema.yaml"
FOLDER = "folder"  # the entry of a user's own photos
TRAINING_SCENES = ("clean", "degraded")  # what a split calls the scenes of each unpaired half


@dataclass(frozen=True)
class RemoteFile:
    """A file to be fetched: its path below the dataset's folder, where it comes from, size in bytes and published hash.

    `size` and `hash` (algorithm:hex digits) are None where nobody published them.
    """

    path: str
    addresses: tuple[str, ...]
    size: int | None
    hash: str | None


@dataclass(frozen=True)
class ImageRule:
    """Which images have which role: `match` fits the whole path, below the dataset's folder or within its archive.

    Its groups `photo` and `scene` name the image and its scene; without them an image is called by its file name and is
    its own scene. The role `split` is dealt by scene. `part` is as in `SourcePhoto`.
    """

    match: re.Pattern[str]
    roles: tuple[str, ...]
    side: str
    scene: str | None
    scale: float
    part: str


@dataclass(frozen=True)
class Entry:
    """One dataset, or files of published weights; see docs/datasets.md for the keys."""

    name: str
    title: str
    about: str
    licence: str
    citation: str
    files: tuple[RemoteFile, ...]
    images: tuple[ImageRule, ...]
    home: str = ""
    only: str = ""
    split: dict[str, int] = field(default_factory=dict)
    upscale: int = 1
    camera: bool = False
    own: bool = False
    weights: bool = False
    withheld: str = ""
    submission: str = ""
    defaults: dict[str, Any] = field(default_factory=dict)

    def dealt_roles(
        self, scene_role: str, side: str, pairs_from: Collection[str] = TRAINING_SCENES
    ) -> list[str]:
        """Roles of an image whose scene the split has dealt `scene_role`.

        Training scenes give the one side that they are named after to the unpaired half. Where the other side is known too, both
        are real pairs, if `pairs_from` has that half: for what learns from pairs only. Of photos that are all clean a recipe
        degrades those of `degraded`.
        """
        if scene_role in ("val", "test") or self._dealt_sides() == {"clean"}:
            return [scene_role]
        roles = [scene_role] if side == scene_role else []
        pairs = scene_role in pairs_from and len(self._dealt_sides()) == 2
        return [*roles, "pairs"] if pairs else roles

    def sides(self, role: str) -> set[str]:
        """Which of clean and degraded the dataset has in a role."""
        if self.camera and role in PAIRED_ROLES:
            return {"clean", "degraded"}
        sides = {rule.side for rule in self.images if role in rule.roles}
        dealt = {s for s in self._dealt_sides() for r in self.split if role in self.dealt_roles(r, s)}
        return sides | dealt

    def _dealt_sides(self) -> set[str]:
        return {rule.side for rule in self.images if "split" in rule.roles}

    def in_role(self, role: str) -> Entry:
        """The entry with its clean test images in the role `clean` or `val`: to learn from or to choose on, where others are tested."""
        return replace(
            self, images=tuple(replace(rule, roles=(role,)) for rule in self.images if rule.side == "clean")
        )

    def paired(self) -> list[str]:
        """Roles in which the dataset has both clean and degraded images."""
        return [role for role in PAIRED_ROLES if len(self.sides(role)) == 2]

    def wanted_files(self, only: str) -> list[RemoteFile]:
        """The files in whose path a regular expression is found; raises NopairsError when there is none."""
        try:
            wanted = [file for file in self.files if re.search(only, file.path)]
        except re.error as error:
            raise NopairsError(f"{self.name}: only: {only!r} is no regular expression ({error})") from None
        if self.files and not wanted:
            raise NopairsError(f"{self.name}: only: {only!r} is found in none of its {len(self.files)} files")
        return wanted


def names() -> list[str]:
    """Names of all entries of the catalogue."""
    return sorted(path.stem for path in CATALOGUE.glob("*.yaml"))


@cache
def load(name: str) -> Entry:
    """Read one dataset of the catalogue; raises NopairsError for an unknown one."""
    if name not in names():
        raise NopairsError(f"no dataset {name!r} in the catalogue; {suggest(name, names())}")
    return read(CATALOGUE / f"{name}.yaml")


def read(path: Path) -> Entry:
    """Read an entry and check it; raises NopairsError, naming the file and the key, for one that breaks the schema."""
    data = _parse(path)
    if isinstance(data.get("files"), str):
        data["files"] = _read_csv(path.parent / data["files"])
    validator = jsonschema.Draft202012Validator(_parse(SCHEMA))
    error = jsonschema.exceptions.best_match(validator.iter_errors(data))
    if error is not None:
        raise NopairsError(f"{path}: {'.'.join(map(str, error.absolute_path)) or 'entry'}: {error.message}")
    bases = _as_list(data.pop("base", []))
    files = tuple(_file(item, bases) for item in data.pop("files"))
    for file in files:
        if not file.addresses:
            raise NopairsError(f"{path}: {file.path}: no address; give `base:` or its `origin:`")
    images = tuple(_rule(item) for item in data.pop("images"))
    return Entry(name=path.stem, files=files, images=images, **data)


def digest(name: str) -> str:
    """Return a digest of an entry's files: what was made from it is old when they change."""
    files = sorted(CATALOGUE.glob(f"{name}.*"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def _parse(path: Path) -> Any:
    # libyaml's parser: the one in Python takes a second and a half of every command for the catalogue.
    return yaml.load(path.read_text(), Loader=yaml.CSafeLoader)


def _read_csv(path: Path) -> list[dict[str, Any]]:
    with path.open(newline="") as file:
        rows = [{key: value for key, value in row.items() if value} for row in csv.DictReader(file)]
    return [row | ({"bytes": int(row["bytes"])} if "bytes" in row else {}) for row in rows]


def _file(item: dict[str, Any], bases: Iterable[str]) -> RemoteFile:
    origin = item.get("origin", item["path"])
    addresses = (origin,) if "://" in origin else tuple(base + origin for base in bases)
    hashes = [f"{algorithm}:{item[algorithm]}" for algorithm in ("sha256", "md5") if algorithm in item]
    return RemoteFile(item["path"], addresses, item.get("bytes"), hashes[0] if hashes else None)


def _rule(item: dict[str, Any]) -> ImageRule:
    return ImageRule(
        match=re.compile(item["match"]),
        roles=tuple(_as_list(item["role"])),
        side=item.get("side", "clean"),
        scene=item.get("scene"),
        scale=item.get("scale", 1.0),
        part=" ".join(map(str, item.get("part", (0, 0, 1, 1)))),
    )


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
