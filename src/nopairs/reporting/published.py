"""The file of published values, as far as it is known before any table is made."""

from __future__ import annotations

import csv
from pathlib import Path

from nopairs.errors import NopairsError


def check_reference(path: Path, reference: str) -> None:
    """Raise NopairsError if nothing is published in `path` under the key `reference`, which names a paper's table and dataset."""
    with path.open(newline="", encoding="utf-8") as file:
        known = sorted({row["reference"] for row in csv.DictReader(file)})
    if reference not in known:
        raise NopairsError(f"{path}: nothing published under {reference!r}; known are {', '.join(known)}")
