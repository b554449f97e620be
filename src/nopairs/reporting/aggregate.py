"""From the measures of images to a table in long form: means, spreads, intervals, differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nopairs.errors import NopairsError
from nopairs.metrics.bootstrap import (
    FEWEST_SCENES,
    Interval,
    difference_interval,
    mean_interval,
    resampled_difference,
)
from nopairs.metrics.names import PARAMETERS
from nopairs.reporting import style
from nopairs.reporting.published import check_reference

COLUMNS = [
    *("table", "dataset", "method", "metric", "mean", "std", "n", "seeds", "ci_low", "ci_high"),
    *("rival", "difference", "difference_low", "difference_high", "published", "source", "note"),
]


@dataclass(frozen=True)
class Measured:
    """What was measured of one method.

    Attributes:
        images: per seed, its images.csv, indexed by image.
        sets: per seed, its set.csv, indexed by metric.
        draws: per seed, its draws.csv, indexed by draw; empty where there is none.
    """

    images: Mapping[int, pd.DataFrame]
    sets: Mapping[int, pd.DataFrame]
    draws: Mapping[int, pd.DataFrame]

    def per_image(self, metric: str) -> pd.DataFrame | None:
        """Return values (a row a seed, a column an image), of the images with a finite one for every seed."""
        if not all(metric in frame for frame in self.images.values()):
            return None
        values = pd.DataFrame({seed: frame[metric] for seed, frame in self.images.items()})
        values = values.replace([np.inf, -np.inf], np.nan).dropna()
        return None if values.empty else values.T

    def set_wide(self, metric: str) -> pd.DataFrame | None:
        """Return the rows of `metric`, one a seed, where it has values."""
        rows = [frame.loc[metric] for frame in self.sets.values() if metric in frame.index]
        found = pd.DataFrame([row for row in rows if np.isfinite(row["value"])])
        return None if found.empty else found

    def resampled(self, metric: str) -> np.ndarray | None:
        """Return the distances `metric` of the resampled sets, (seeds, draws); None where there are none."""
        if not all(metric in frame for frame in self.draws.values()):
            return None
        return np.array([frame[metric] for frame in self.draws.values()])

    def note(self, metric: str) -> str:
        """Return the first seed's remark on `metric`, empty if there is none."""
        first = next(iter(self.sets.values()))
        return str(first.loc[metric, "note"]) if metric in first.index else ""


def read_measured(metrics_dirs: Sequence[Path], method: str, seeds: Sequence[int]) -> Measured:
    """Read a method's measures, for those of `seeds` that it was run with (classical methods have one).

    Images of several datasets are taken together; measures of a whole set are averaged over the datasets.

    Raises:
        NopairsError: a dataset has none, or they were run with different seeds.
    """
    found = {}
    for metrics_dir in metrics_dirs:
        folders = {seed: metrics_dir / method / f"seed{seed}" for seed in seeds}
        found[metrics_dir] = {
            seed: folder for seed, folder in folders.items() if (folder / "images.csv").is_file()
        }
        if found[metrics_dir].keys() != found[metrics_dirs[0]].keys() or not found[metrics_dir]:
            raise NopairsError(
                f"{metrics_dir / method}: no images.csv for some of the seeds {list(seeds)}; run measure.py first"
            )
    folders_of = {seed: [found[one][seed] for one in metrics_dirs] for seed in found[metrics_dirs[0]]}
    return Measured(
        *({seed: read(folders) for seed, folders in folders_of.items()} for read in (_images, _sets, _draws))
    )


def _images(folders: Sequence[Path]) -> pd.DataFrame:
    frames = (_read(folder / "images.csv", "image", ["scene"]) for folder in folders)
    # Numbered, since an image can be in the tests of two splits.
    return pd.concat([frame.rename(index=f"{k}/{{}}".format) for k, frame in enumerate(frames)])


def _sets(folders: Sequence[Path]) -> pd.DataFrame:
    frames = [_read(folder / "set.csv", "metric", ["note"]) for folder in folders]
    if len(frames) == 1:
        return frames[0]
    numbers = pd.concat([frame.drop(columns="note") for frame in frames]).groupby(level=0, sort=False)
    return numbers.mean(skipna=False).assign(n=numbers["n"].sum(), note=frames[0]["note"])


def _draws(folders: Sequence[Path]) -> pd.DataFrame:
    """The mean over datasets, whose scenes are resampled apart."""
    paths = [folder / "draws.csv" for folder in folders]
    if not all(path.is_file() for path in paths):
        return pd.DataFrame()
    frames = [_read(path, "draw", []) for path in paths]
    return frames[0] if len(frames) == 1 else pd.concat(frames).groupby(level=0, sort=False).mean()


def _read(path: Path, index: str, text: Sequence[str]) -> pd.DataFrame:
    """Read a CSV of numbers but for the columns `index` and `text`, where even "NA" is a word."""
    frame = pd.read_csv(path, dtype=str, keep_default_na=False).set_index(index)
    numbers = frame.columns.difference(list(text))
    return frame.assign(**{column: pd.to_numeric(frame[column]) for column in numbers})


def build_table(
    name: str,
    dataset: str,
    measured: Mapping[str, Measured],
    rivals: Sequence[str],
    metrics: Sequence[str],
    published: pd.DataFrame | None = None,
    remark: str = "",
    remarks: Mapping[str, str] | None = None,
    parameters: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Aggregate measures into the long form (`COLUMNS`), a row a method and metric.

    Args:
        name: of the table.
        dataset: of the table.
        measured: the methods, in the table's order.
        rivals: methods among them; each metric's best one is what the others are compared with.
        metrics: in the table's order.
        published: columns method, metric, value, source.
        remark: what the note of every measured value begins with.
        remarks: what further the notes of a method's values say.
        parameters: millions of parameters by method, of those that learn something.

    Raises:
        NopairsError: a rival is not among the methods.
    """
    if unknown := [rival for rival in rivals if rival not in measured]:
        raise NopairsError(
            f"table {name}: rivals {unknown} are not among its methods; add them to both or to none"
        )
    remarks = remarks or {}
    references = {} if published is None else published.set_index(["method", "metric"]).to_dict("index")
    rows = []
    for metric in metrics:
        summaries = (
            _counts(measured, parameters or {})
            if metric == PARAMETERS
            else {
                method: _summary(one, metric, [remark, remarks.get(method, "")])
                for method, one in measured.items()
            }
        )
        best = style.metric(metric).best(summaries[rival]["mean"] for rival in rivals)
        rival = next((r for r in rivals if summaries[r]["mean"] == best), "")
        for method, summary in summaries.items():
            row = {"table": name, "dataset": dataset, "method": method, "metric": metric, **summary}
            if rival and method != rival:
                row |= {"rival": rival, **_difference(measured[method], measured[rival], metric)}
            if reference := references.get((method, metric)):
                row |= {"published": reference["value"], "source": reference["source"]}
            rows.append(row)
    table = pd.DataFrame(rows, columns=COLUMNS).astype({"n": "Int64", "seeds": "Int64"})
    order = {method: position for position, method in enumerate(measured)}
    return table.sort_values("method", key=lambda column: column.map(order), kind="stable", ignore_index=True)


def _counts(measured: Mapping[str, Measured], parameters: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """Return a row for each method's number of parameters; what learns nothing has none."""
    return {
        method: {"mean": parameters[method], "n": 1, "seeds": 1}
        if method in parameters
        else {"mean": np.nan, "note": "nothing is learned"}
        for method in measured
    }


def read_published(path: Path, reference: str) -> pd.DataFrame:
    """Read the published values under the key `reference`, which names a paper's table and dataset.

    Raises:
        NopairsError: there are none.
    """
    check_reference(path, reference)
    values = pd.read_csv(path, keep_default_na=False, dtype={"value": float})
    return values[values.reference == reference]


def _summary(measured: Measured, metric: str, remarks: Sequence[str]) -> dict[str, Any]:
    """Mean, spread, count, interval and note of one method's metric; nan where it was not measured."""
    notes = [*remarks, measured.note(metric)]
    values, whole_set = measured.per_image(metric), measured.set_wide(metric)
    if values is not None:
        summary, of_images = _image_summary(measured, values)
        notes += of_images
    elif whole_set is not None:
        draws = measured.resampled(metric)
        # Over several datasets that of the mean of their distances, which is less than the mean of theirs.
        error = (
            whole_set["std"].mean()
            if draws is None or whole_set["std"].isna().any()
            else draws.std(axis=1, ddof=1).mean()
        )
        summary = {
            "mean": whole_set["value"].mean(),
            "std": error,
            "n": whole_set["n"].iloc[0],
            "seeds": len(whole_set),
        }
    else:
        return {"mean": np.nan, "note": measured.note(metric) or "not available: not measured"}
    return {**summary, "note": "; ".join(note for note in notes if note)}


def _image_summary(measured: Measured, values: pd.DataFrame) -> tuple[dict[str, Any], list[str]]:
    scenes = _scenes(measured, values)
    interval = mean_interval(values.to_numpy(), scenes)
    summary = {"mean": interval.mean, "std": values.mean().std(), "n": values.shape[1], "seeds": len(values)}
    notes = []
    if missing := len(next(iter(measured.images.values()))) - values.shape[1]:
        notes.append(f"without {missing} images that have no finite value")
    if len(set(scenes)) < FEWEST_SCENES:
        notes.append("descriptive: fewer than five scenes")
    return {**summary, "ci_low": interval.low, "ci_high": interval.high}, notes


@dataclass(frozen=True)
class Comparison:
    """Two methods on the images that both have: their means, the difference with its interval, and of how much."""

    mean: float
    other: float
    difference: Interval
    images: int
    scenes: int


def compare(measured: Measured, other: Measured, metric: str) -> Comparison | None:
    """Compare two methods by a metric of images, or of whole sets that were resampled alike; None where it is not had of both."""
    values, others = measured.per_image(metric), other.per_image(metric)
    if values is None or others is None:
        return _compare_sets(measured, other, metric)
    common = values.columns.intersection(others.columns)
    if common.empty:
        return None
    values, others, scenes = values[common], others[common], _scenes(measured, values[common])
    interval = difference_interval(values.to_numpy(), others.to_numpy(), scenes)
    means = values.to_numpy().mean(), others.to_numpy().mean()
    return Comparison(float(means[0]), float(means[1]), interval, len(common), len(set(scenes)))


def _compare_sets(measured: Measured, other: Measured, metric: str) -> Comparison | None:
    """Compare two methods by a metric of whole sets that were resampled alike."""
    whole, other_whole = measured.set_wide(metric), other.set_wide(metric)
    draws, other_draws = measured.resampled(metric), other.resampled(metric)
    if whole is None or other_whole is None or draws is None or other_draws is None:
        return None
    images, others = (next(iter(one.images.values())) for one in (measured, other))
    if images.index.tolist() != others.index.tolist():
        return None
    mean, other_mean = float(whole["value"].mean()), float(other_whole["value"].mean())
    scenes = images.scene.nunique()
    interval = resampled_difference(mean - other_mean, draws, other_draws, scenes)
    return Comparison(mean, other_mean, interval, len(images), scenes)


def _scenes(measured: Measured, values: pd.DataFrame) -> list[str]:
    return next(iter(measured.images.values())).scene[values.columns].tolist()


def _difference(measured: Measured, rival: Measured, metric: str) -> dict[str, float]:
    """Difference from the rival, with its interval over common images; without one where a set was not resampled."""
    if found := compare(measured, rival, metric):
        interval = found.difference
        return {"difference": interval.mean, "difference_low": interval.low, "difference_high": interval.high}
    whole_set, other_set = measured.set_wide(metric), rival.set_wide(metric)
    if whole_set is None or other_set is None:
        return {}
    return {"difference": whole_set["value"].mean() - other_set["value"].mean()}
