"""`sources.csv`: a dataset's photographs before preprocessing, one row a photo in a role."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from nopairs.files import atomic_file

# Roles that hold pairs: their photos come twice, as `clean` and as `degraded`, under equal names.
PAIRED_ROLES = ("pairs", "val", "test")
# Clean photos of another dataset, which what learns from the unpaired halves sees with the clean half; no pairs are made of them.
MORE_CLEAN = "more_clean"
WHOLE = "0 0 1 1"  # all of a photo, as a part of it


@dataclass(frozen=True)
class SourcePhoto:
    """One photograph as found: `side` is clean or degraded, `scale` the size at which preprocessing uses it.

    `part` is the part of it that preprocessing takes first: left, top, right and bottom, as shares of its width and height.
    """

    path: str
    role: str
    side: str
    photo: str
    scene: str
    scale: float
    sha256: str
    part: str = WHOLE

    def shares(self) -> tuple[float, float, float, float]:
        """Return `part` as numbers."""
        left, top, right, bottom = map(float, self.part.split())
        return left, top, right, bottom

    def overlaps(self, other: SourcePhoto) -> bool:
        """Whether two photos have pixels in common, being of one file."""
        (left, top, right, bottom), (x0, y0, x1, y1) = self.shares(), other.shares()
        return max(left, x0) < min(right, x1) and max(top, y0) < min(bottom, y1)


def write_sources(photos: Iterable[SourcePhoto], path: Path) -> None:
    """Write `sources.csv`."""
    with atomic_file(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(SourcePhoto)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(photo) for photo in photos)


def read_sources(path: Path) -> list[SourcePhoto]:
    """Read `sources.csv`."""
    with path.open(newline="") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    return [SourcePhoto(**row | {"scale": float(row["scale"])}) for row in rows]
