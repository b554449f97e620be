"""The report's content: what the page template shows, worked out from tables, texts and pictures."""

from __future__ import annotations

import base64
import json
import math
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from docutils.core import publish_parts
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from nopairs.errors import NopairsError
from nopairs.reporting import style
from nopairs.reporting.reading import hide_folders

# Metrics that compare with the truth: without them the page must say that nothing measures fidelity.
_PAIRED_METRICS = {"psnr", "ssim", "lpips"}


@dataclass(frozen=True)
class Text:
    """A caption or a section: its title (empty where it has none) and its body in HTML."""

    title: str
    body: str


def read_text(path: Path) -> Text:
    """Read reStructuredText; raises NopairsError where it has a fault."""
    settings = {"halt_level": 2, "report_level": 5, "raw_enabled": False, "file_insertion_enabled": False}
    settings |= {"initial_header_level": 3, "doctitle_xform": True}
    try:
        parts = publish_parts(path.read_text(), writer="html5", settings_overrides=settings)
    except Exception as error:
        raise NopairsError(f"{path}: not valid reStructuredText ({error}); mend it") from error
    return Text(parts["title"], parts["body"])


def read_caption(folder: Path, name: str) -> Text:
    """Read the caption of a table or figure, chosen by its name's part before ``/``; the rest goes into the title."""
    kind, _, detail = name.partition("/")
    path = folder / f"{kind}.rst"
    text = read_text(path) if path.exists() else Text(kind, "")
    return Text(f"{text.title}: {detail}", text.body) if detail else text


# ----------------------------------------------------------------------------------------------------- tables


@dataclass(frozen=True)
class Column:
    """A metric of a table as the page shows it; `published` where the papers have values for it."""

    metric: style.Metric
    published: bool


@dataclass(frozen=True)
class Cell:
    """A mean with its interval, as numbers for sorting and as text; None and ``n/a`` where there is none."""

    value: float | None
    text: str
    interval: str
    best: bool
    marks: str
    published: float | None
    published_text: str
    published_marks: str
    spread: str


@dataclass(frozen=True)
class Row:
    """A method's cells, one a column."""

    dataset: str
    method: str
    color: str
    cells: list[Cell]


@dataclass(frozen=True)
class Difference:
    """How far a method is from its best rival in one metric, with the interval, as text."""

    dataset: str
    method: str
    metric: str
    rival: str
    difference: str
    interval: str
    clear: bool


@dataclass(frozen=True)
class TableView:
    """One table of the page."""

    name: str
    caption: Text
    columns: list[Column]
    rows: list[Row]
    several_datasets: bool
    general_notes: list[str]
    marked_notes: dict[str, str]
    differences: list[Difference]


@dataclass
class _Marks:
    """Letters of footnotes, given in the order in which the notes are met."""

    letters: dict[str, str] = field(default_factory=dict)

    def of(self, note: str) -> str:
        if not note:
            return ""
        return self.letters.setdefault(note, string.ascii_lowercase[len(self.letters) % 26])


def table_view(name: str, table: pd.DataFrame, caption: Text) -> TableView:
    """Arrange a table in long form (see `reading.read_table`) as rows of methods and columns of metrics."""
    metrics = style.order_metrics(table["metric"])
    published = set(table.loc[table["published"].notna(), "metric"])
    general = _general_notes(table)
    marks = _Marks()
    groups = {key: group for key, group in table.groupby(["dataset", "metric"], sort=False)}
    found = {(row.dataset, row.method, row.metric): row for row in table.itertuples()}
    rows = []
    for dataset, method in dict.fromkeys(zip(table["dataset"], table["method"], strict=True)):
        cells = [
            _cell(found.get((dataset, method, metric)), metric, groups.get((dataset, metric)), general, marks)
            for metric in metrics
        ]
        rows.append(Row(dataset, method, style.color(method), cells))
    return TableView(
        name,
        caption,
        [Column(style.metric(metric), metric in published) for metric in metrics],
        rows,
        table["dataset"].nunique() > 1,
        general,
        {mark: note for note, mark in marks.letters.items()},
        _differences(table),
    )


def _general_notes(table: pd.DataFrame) -> list[str]:
    """Return the notes that all measured cells share: they need no mark."""
    notes = set(table.loc[table["mean"].notna(), "note"])
    return [note for note in notes if note] if len(notes) == 1 else []


def _cell(value: Any, metric: str, group: pd.DataFrame | None, general: list[str], marks: _Marks) -> Cell:
    """Return the cell of one row of the long table (None where it has no such row), `group` its whole column."""
    if value is None or group is None:
        return Cell(None, "n/a", "", False, marks.of("not measured"), None, "", "", "")
    shown = style.metric(metric)
    digits = shown.precision(group["mean"])
    note = "" if value.note in general else value.note
    published = None if math.isnan(value.published) else float(value.published)
    common = {
        "published": published,
        "published_text": "" if published is None else f"{published:.{digits}f}",
        "published_marks": "" if published is None else marks.of(f"published: {value.source}"),
    }
    if math.isnan(value.mean):
        return Cell(None, "n/a", "", False, marks.of(note or "not measured"), spread="", **common)
    spread = f"standard deviation {value.std:.{digits}f}, n = {value.n:.0f}, seeds: {value.seeds:.0f}"
    interval = _interval(value.ci_low, value.ci_high, digits)
    best = value.mean == shown.best(group["mean"])
    return Cell(
        value.mean, f"{value.mean:.{digits}f}", interval, best, marks.of(note), spread=spread, **common
    )


def _interval(low: float, high: float, digits: int) -> str:
    return "" if math.isnan(low) or math.isnan(high) else f"{low:.{digits}f} to {high:.{digits}f}"


def _differences(table: pd.DataFrame) -> list[Difference]:
    known = table[table["difference"].notna()]
    differences = []
    for metric in style.order_metrics(known["metric"]):
        column = known[known["metric"] == metric]
        digits = style.metric(metric).precision(column["mean"])
        for row in column.itertuples():
            interval = _interval(row.difference_low, row.difference_high, digits)
            clear = bool(interval) and (row.difference_low > 0 or row.difference_high < 0)
            text = f"{row.difference:+.{digits}f}"
            label = style.metric(metric).label
            differences.append(Difference(row.dataset, row.method, label, row.rival, text, interval, clear))
    return differences


# --------------------------------------------------------------------------------------------------- headline


@dataclass(frozen=True)
class Headline:
    """The main result in sentences, and as (number, what it is) pairs."""

    sentences: list[str]
    tiles: list[tuple[str, str]]
    method: str


def headline(table: pd.DataFrame) -> Headline | None:
    """Work out a table's main result: the best method that trains without pairs, on the table's first metric.

    Its distance from the input, from its best rival, and its share of the gain of the supervised upper bound, where
    the table has these rows. None where the table has no value to speak of.
    """
    measured = table[table["mean"].notna() & (table["method"] != "input")]
    names = [name for name in style.order_metrics(measured["metric"]) if style.metric(name).arrow]
    if not names:
        return None
    dataset, metric = measured["dataset"].iloc[0], style.metric(names[0])
    rows = {
        row.method: row
        for row in table[(table["dataset"] == dataset) & (table["metric"] == names[0])].itertuples()
        if math.isfinite(row.mean)
    }
    unpaired = {name: row for name, row in rows.items() if name != "input" and not _supervised(name)}
    if not unpaired:
        return None
    best = metric.best(row.mean for row in unpaired.values())
    top = next(row for row in unpaired.values() if row.mean == best)
    digits = metric.precision(row.mean for row in rows.values())
    parts = [_top_sentence(top, rows.get("input"), metric, digits), _rival_sentence(top, metric, digits)]
    parts += [_share_sentence(top, rows, metric, digits), _fidelity_sentence(table, top.note)]
    tiles = [(_amount(top.mean, metric, digits), f"{metric.label} of {top.method}, the best without pairs")]
    if "input" in rows:
        tiles.append(
            (_signed(top.mean - rows["input"].mean, metric, digits), f"{metric.label} against the input")
        )
    if (share := _share(top, rows, metric)) is not None:
        tiles.append((f"{share:.0%}", "of the gain that real pairs would give"))
    return Headline([part for part in parts if part], tiles, top.method)


def _supervised(method: str) -> bool:
    return method.split("+")[0] == "supervised"


def _amount(value: float, metric: style.Metric, digits: int) -> str:
    return f"{value:.{digits}f} {metric.unit}".rstrip()


def _signed(value: float, metric: style.Metric, digits: int) -> str:
    sign = "+" if value >= 0 else "\N{MINUS SIGN}"
    return f"{sign}{_amount(abs(value), metric, digits)}"


def _top_sentence(top: Any, start: Any, metric: style.Metric, digits: int) -> str:
    interval = _interval(top.ci_low, top.ci_high, digits)
    sentence = (
        f"On {top.n:.0f} test images of {top.dataset}, {top.method} has the best {metric.label} of the methods that train "
        f"without pairs: {_amount(top.mean, metric, digits)}"
        + (f" (95 % interval {interval})" if interval else "")
    )
    if start is None:
        return sentence + "."
    gain = (top.mean - start.mean) * (1 if metric.higher_is_better else -1)
    verdict = "better" if gain > 0 else "worse"
    return f"{sentence}, {_amount(abs(gain), metric, digits)} {verdict} than the input."


def _rival_sentence(top: Any, metric: style.Metric, digits: int) -> str:
    if not top.rival or math.isnan(top.difference):
        return ""
    sentence = (
        f"Its difference from its best rival, {top.rival}, is {_signed(top.difference, metric, digits)}"
    )
    interval = _interval(top.difference_low, top.difference_high, digits)
    if not interval:
        return sentence + "."
    clear = top.difference_low > 0 or top.difference_high < 0
    meaning = "which leaves out zero" if clear else "which holds zero: this test does not tell the two apart"
    return f"{sentence} (95 % interval {interval}, {meaning})."


def _bound(rows: Mapping[str, Any], metric: style.Metric) -> Any:
    """Return the best supervised row, None where there is none."""
    bounds = [row for name, row in rows.items() if _supervised(name)]
    best = metric.best(row.mean for row in bounds)
    return next((row for row in bounds if row.mean == best), None)


def _share(top: Any, rows: Mapping[str, Any], metric: style.Metric) -> float | None:
    """Return the share of the supervised gain over the input; None where that bound is not the best row."""
    bound, start = _bound(rows, metric), rows.get("input")
    if bound is None or start is None or bound.mean != metric.best(row.mean for row in rows.values()):
        return None
    return (top.mean - start.mean) / (bound.mean - start.mean) if bound.mean != start.mean else None


def _share_sentence(top: Any, rows: Mapping[str, Any], metric: style.Metric, digits: int) -> str:
    bound = _bound(rows, metric)
    if bound is None:
        return ""
    reached = f"Trained on real pairs, {bound.method} reaches {_amount(bound.mean, metric, digits)}"
    if (share := _share(top, rows, metric)) is None:
        return f"{reached}, which is not the best row, so it is no upper bound here and no share of its gain is given."
    return f"{reached}: {top.method} has {share:.0%} of its gain over the input."


def _fidelity_sentence(table: pd.DataFrame, note: str) -> str:
    if not _PAIRED_METRICS & set(table.loc[table["mean"].notna(), "metric"]):
        return (
            "There are no paired test images: the measures here say how natural an image looks, not how close it is to "
            "the truth."
        )
    return (
        "With fewer than five scenes, the intervals only describe these images."
        if "descriptive" in note
        else ""
    )


# ------------------------------------------------------------------------------------------------------- page


@dataclass(frozen=True)
class Picture:
    """A figure of the page: its name, caption, data address and size in pixels."""

    name: str
    caption: Text
    src: str
    width: int
    height: int


def picture(name: str, path: Path, caption: Text) -> Picture:
    """Read a PNG to be inlined as it is."""
    with Image.open(path) as image:
        width, height = image.size
    address = f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
    return Picture(name, caption, address, width, height)


def readable_config(path: Path) -> str:
    """Return a JSON config as YAML, without the folders that absolute paths tell."""
    return yaml.safe_dump(
        _without_folders(json.loads(path.read_text())), sort_keys=False, allow_unicode=True, width=100
    )


def _without_folders(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_folders(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_folders(inner) for inner in value]
    return hide_folders(value) if isinstance(value, str) else value


def render(template: Path, **content: Any) -> str:
    """Fill the page template; its folder also holds ``page.css`` and ``page.js``, which are inlined."""
    environment = Environment(
        loader=FileSystemLoader(template.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template.name).render(**content)
