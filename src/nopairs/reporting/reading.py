"""What figures and report read: tables and training logs, checked at the door."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from nopairs.data.images import read_rgb
from nopairs.data.showing import Pixels
from nopairs.errors import NopairsError
from nopairs.metrics.names import ROUND_TRIP

_TABLE_TEXT = ["table", "dataset", "method", "metric", "rival", "source", "note"]
_TABLE_NUMBERS = [
    *("mean", "std", "n", "seeds", "ci_low", "ci_high"),
    *("difference", "difference_low", "difference_high", "published"),
]
# A root (slash, tilde, drive letter) that starts a word, then folders; group 1 is the last part.
# The slashes of a web address and of a relative path do not start a word.
_ABSOLUTE_PATH = re.compile(
    r"""(?<![\w.:/\\…])(?:~\w*|[A-Za-z]:)?[/\\](?:[^\s/\\:;,"']+[/\\])*([^\s/\\:;,"']+)[/\\]?"""
)


def named_path(text: str) -> tuple[str, Path]:
    """Split an argument ``NAME=PATH``; raises argparse's error where a half is missing."""
    name, _, path = text.partition("=")
    if not name or not path:
        raise argparse.ArgumentTypeError(f"{text!r}: expected NAME=PATH")
    return name, Path(path)


def competing(table: pd.DataFrame) -> pd.Series:
    """Tell which rows of a table in long form are methods': not the clean images' own way through an autoencoder."""
    return ~table["note"].fillna("").str.contains(ROUND_TRIP, regex=False)


def of_methods(table: pd.DataFrame) -> str:
    """Say, behind "the best", among which rows where that are not all of them."""
    return "" if competing(table).all() else " of a method"


def read_log(path: Path) -> pd.DataFrame:
    """Read a training log; raises NopairsError where it has no step or no loss."""
    log = _read_csv(path)
    if missing := {"step", "loss"} - set(log.columns):
        raise NopairsError(f"{path}: no column {', '.join(sorted(missing))}; give a log.csv of a training")
    return log


def read_table(path: Path) -> pd.DataFrame:
    """Read a table in long form; raises NopairsError where it is empty or lacks columns."""
    table = _read_csv(path)
    if missing := {*_TABLE_TEXT, *_TABLE_NUMBERS} - set(table.columns):
        raise NopairsError(
            f"{path}: no column {', '.join(sorted(missing))}; give a results/tables/<table>.csv"
        )
    table[_TABLE_TEXT] = table[_TABLE_TEXT].astype("object").fillna("")
    try:
        table[_TABLE_NUMBERS] = table[_TABLE_NUMBERS].astype(float)
    except ValueError as error:
        raise NopairsError(f"{path}: a number is not one ({error}); make the table again") from error
    table["note"] = table["note"].map(hide_folders)
    return table


def read_runs(paths: Sequence[Path]) -> pd.DataFrame:
    """Read what `measure_bias.py` wrote, of all dimensions and seeds; raises NopairsError where a column is missing."""
    runs = pd.concat([_read_csv(path) for path in paths])
    if missing := {"problem", "method", "weight", "seed", "uvp", "push", "end"} - set(runs.columns):
        raise NopairsError(f"no column {', '.join(sorted(missing))}; give what measure_bias.py wrote")
    theory = {f"{name}_theory": float("nan") for name in ("uvp", "push", "end")}
    return runs.assign(**{name: runs.get(name, value) for name, value in theory.items()})


def read_run_mean(path: Path, metric: str) -> float:
    """Return the mean of a metric over the test images of one run; raises NopairsError where its images.csv has none."""
    images = _read_csv(path)
    if metric not in images or images[metric].isna().all():
        raise NopairsError(f"{path}: no values of {metric}; measure the run again")
    return float(images[metric].mean())


def hide_folders(text: str) -> str:
    """Replace absolute paths in `text` by ``…/`` and their last part: reports travel, folders are private."""
    return _ABSOLUTE_PATH.sub(r"…/\1", text)


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_csv(path)
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise NopairsError(f"{path}: not a CSV file with a header ({error}); make it again") from error
    if frame.empty:
        raise NopairsError(f"{path}: no row in it; make it again")
    return frame


def read_versions(
    dataset: Path, name: str, restored: Mapping[str, Path]
) -> tuple[Pixels | None, dict[str, Pixels], Pixels | None]:
    """Return a test image as it was degraded, as it is restored in each method's folder, and clean; None for what is missing.

    A degraded one that is smaller than its restored versions by a whole factor is left out too.
    """
    images = {method: read_rgb(folder / name) for method, folder in restored.items()}
    degraded, clean = (
        read_rgb(path) if (path := dataset / "test" / side / name).exists() else None
        for side in ("degraded", "clean")
    )
    if degraded is not None and _enlarged(degraded, images.values()):
        degraded = None
    return degraded, images, clean


def _enlarged(degraded: Pixels, restored: Iterable[Pixels]) -> bool:
    factors = {
        (large // side, large % side)
        for other in restored
        for large, side in zip(other.shape[:2], degraded.shape[:2], strict=True)
    }
    return len(factors) == 1 and next(iter(factors)) > (1, 0) and next(iter(factors))[1] == 0
