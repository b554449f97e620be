"""The main result of a table in a few sentences and numbers, worked out from its rows."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from nopairs.metrics.names import NEED_TRUTH
from nopairs.reporting import style
from nopairs.reporting.reading import competing


@dataclass(frozen=True)
class Headline:
    """The main result in sentences, as (number, what it is) pairs, and the method that it is about."""

    sentences: list[str]
    tiles: list[tuple[str, str]]
    method: str


@dataclass(frozen=True)
class _Column:
    """One metric: its rows by method, how its values are printed, and which degradations know real pairs."""

    metric: style.Metric
    rows: Mapping[str, Any]
    digits: int
    paired: Collection[str]

    def supervised(self, method: str) -> bool:
        """Whether a method learned from real pairs."""
        return method.split("+")[0] in self.paired

    def best(self, names: list[str]) -> Any:
        """Return the row (as `DataFrame.itertuples` gives it) of the best of `names`, None of none."""
        value = self.metric.best(self.rows[name].mean for name in names)
        return next((self.rows[name] for name in names if self.rows[name].mean == value), None)

    def amount(self, value: float) -> str:
        """Return a value with its unit."""
        return f"{value:.{self.digits}f} {self.metric.unit}".rstrip()

    def signed(self, value: float) -> str:
        """Return a difference with its sign and unit."""
        sign = "+" if value >= 0 else "\N{MINUS SIGN}"
        return sign + self.amount(abs(value))

    def interval(self, low: float, high: float, meaning: str = "") -> str:
        """Return an interval in brackets, or nothing where it is not known."""
        if math.isnan(low) or math.isnan(high):
            return ""
        text = f" (95 % interval {low:.{self.digits}f} to {high:.{self.digits}f}{meaning})"
        return text.replace("-", "\N{MINUS SIGN}")


def headline(table: pd.DataFrame, paired: Collection[str]) -> Headline | None:
    """Work out a table's main result: the best method that trains without pairs, on its first metric.

    Its distance from the input, from its best rival, and its share of the supervised upper bound's gain,
    where the table has these rows. None where no method was measured. `table` as from `reading.read_table`;
    `paired`: the degradations that know real pairs.
    """
    column = _first_column(table, paired)
    if column is None:
        return None
    top = column.best([name for name in column.rows if name != "input" and not column.supervised(name)])
    if top is None:
        return None
    sentences = [
        _top_sentence(column, top),
        _rival_sentence(column, top),
        _share_sentence(column, top),
        _caution(table, top),
    ]
    tiles = [(column.amount(top.mean), f"{column.metric.label} of {top.method}, the best without pairs")]
    if "input" in column.rows:
        tiles.append(
            (column.signed(top.mean - column.rows["input"].mean), f"{column.metric.label} against the input")
        )
    if (share := _share(column, top)) is not None:
        tiles.append((f"{share:.0%}", "of the gain that real pairs would give"))
    return Headline([sentence for sentence in sentences if sentence], tiles, top.method)


def _first_column(table: pd.DataFrame, paired: Collection[str]) -> _Column | None:
    measured = table[table["mean"].notna() & competing(table)]
    names = [name for name in style.order_metrics(measured["metric"]) if style.metric(name).arrow]
    if not names:
        return None
    column = measured[measured["metric"] == names[0]]
    metric = style.metric(names[0])
    rows = {str(row.method): row for row in column.itertuples()}
    return _Column(metric, rows, metric.precision(column["mean"]), paired)


def _top_sentence(column: _Column, top: Any) -> str:
    sentence = (
        f"On {top.n:.0f} test images of {top.dataset}, {top.method} has the best {column.metric.label} of "
        f"the methods that train without pairs: {column.amount(top.mean)}"
        f"{column.interval(top.ci_low, top.ci_high)}"
    )
    if "input" not in column.rows:
        return sentence + "."
    gain = (top.mean - column.rows["input"].mean) * (1 if column.metric.higher_is_better else -1)
    return f"{sentence}, {column.amount(abs(gain))} {'better' if gain > 0 else 'worse'} than the input."


def _rival_sentence(column: _Column, top: Any) -> str:
    """Compare the best method with its rival; where it is the rival itself, the next best one with it."""
    followers = [name for name, row in column.rows.items() if row.rival == top.method and name != "input"]
    others = [name for name in followers if not column.supervised(name)]
    row = top if top.rival else column.best(others)
    if row is None or math.isnan(row.difference):
        return ""
    subject = (
        "Its difference from its best rival" if row is top else f"Next is {row.method}; its difference from"
    )
    clear = row.difference_low > 0 or row.difference_high < 0
    meaning = (
        ", which leaves out zero" if clear else ", which holds zero: this test does not tell the two apart"
    )
    interval = column.interval(row.difference_low, row.difference_high, meaning)
    comma = "," if row is top else ""
    return f"{subject}{comma} {row.rival}{comma} is {column.signed(row.difference)}{interval}."


def _bound(column: _Column) -> Any:
    return column.best([name for name in column.rows if column.supervised(name)])


def _share(column: _Column, top: Any) -> float | None:
    """Return the share of the supervised gain over the input; None where that bound is not the best row."""
    bound, start = _bound(column), column.rows.get("input")
    if (
        bound is None
        or start is None
        or bound is not column.best(list(column.rows))
        or bound.mean == start.mean
    ):
        return None
    return (top.mean - start.mean) / (bound.mean - start.mean)


def _share_sentence(column: _Column, top: Any) -> str:
    bound = _bound(column)
    if bound is None:
        return ""
    reached = f"Trained on real pairs, {bound.method} reaches {column.amount(bound.mean)}"
    if (share := _share(column, top)) is None:
        return (
            f"{reached}; it is not the best row, so it is no upper bound, and no share of its gain is given."
        )
    return f"{reached}: {top.method} has {share:.0%} of its gain over the input."


def _caution(table: pd.DataFrame, top: Any) -> str:
    if not set(NEED_TRUTH) & set(table.loc[table["mean"].notna(), "metric"]):
        return (
            "There are no paired test images, so the measures here say how natural an image looks, "
            "not how close it is to the truth."
        )
    return (
        "With fewer than five scenes, the intervals only describe these images."
        if "descriptive" in top.note
        else ""
    )
