"""The report's content: what the page template shows, worked out from tables, texts and pictures."""

from __future__ import annotations

import base64
import math
import string
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from docutils.core import publish_parts
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from nopairs.errors import NopairsError
from nopairs.files import read_json
from nopairs.metrics.names import NEED_TRUTH
from nopairs.reporting import style
from nopairs.reporting.reading import competing, hide_folders


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
    """Read a table's or figure's caption, named by what stands before ``/``; the rest goes into the title."""
    kind, _, detail = name.partition("/")
    path = folder / f"{kind}.rst"
    text = read_text(path) if path.exists() else Text(kind, "")
    return Text(f"{text.title}: {detail.replace('/', ', ')}", text.body) if detail else text


@dataclass(frozen=True)
class Column:
    """A metric of a table as the page shows it; `published` where the papers have values for it."""

    name: str
    metric: style.Metric
    published: bool


@dataclass(frozen=True)
class Cell:
    """A mean with its interval, as numbers for sorting and as text; None and ``n/a`` where there is none."""

    value: float | None
    text: str
    interval: str = ""
    best: bool = False
    marks: str = ""
    published: float | None = None
    published_text: str = ""
    published_marks: str = ""
    spread: str = ""


@dataclass(frozen=True)
class Row:
    """A method's cells, one a column."""

    method: str
    color: str
    cells: list[Cell]


@dataclass(frozen=True)
class Difference:
    """How far a method is from its best rival in one metric, with the interval, as text."""

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
        round_, letter = divmod(len(self.letters), 26)
        return self.letters.setdefault(note, string.ascii_lowercase[letter] * (round_ + 1))


def table_view(name: str, table: pd.DataFrame, caption: Text) -> TableView:
    """Arrange a table in long form (see `reading.read_table`) as rows of methods and columns of metrics."""
    metrics = _shown_metrics(table)
    published = set(table.loc[table["published"].notna(), "metric"])
    general = _general_notes(table, metrics)
    marks = _Marks()
    columns = dict(list(table.groupby("metric")))
    found = {(row.method, row.metric): row for row in table.itertuples()}
    rows = []
    for method in dict.fromkeys(table["method"]):
        cells = [
            _cell(found.get((method, metric)), metric, columns[metric], general, marks) for metric in metrics
        ]
        rows.append(Row(method, style.color(method), cells))
    return TableView(
        name,
        caption,
        [Column(metric, style.metric(metric), metric in published) for metric in metrics],
        rows,
        general,
        {mark: note for note, mark in marks.letters.items()},
        _differences(table),
    )


def _shown_metrics(table: pd.DataFrame) -> list[str]:
    """Return the metrics in order; without truth, not those that need it, unless a paper has values of them."""
    measured = set(table.loc[table["mean"].notna(), "metric"])
    published = set(table.loc[table["published"].notna(), "metric"])
    hidden = set() if measured & set(NEED_TRUTH) else set(NEED_TRUTH) - published
    return [metric for metric in style.order_metrics(table["metric"]) if metric not in hidden]


def _general_notes(table: pd.DataFrame, metrics: list[str]) -> list[str]:
    """Return the remarks that need no mark: what all measured cells share, and why columns are left out."""
    shared = set(table.loc[table["mean"].notna(), "note"])
    notes = [f"All values: {note}" for note in shared if note and len(shared) == 1]
    for note, names in table[~table["metric"].isin(metrics)].groupby("note", sort=False)["metric"]:
        labels = ", ".join(style.metric(name).label for name in style.order_metrics(names))
        notes.append(f"{labels}: {str(note) or 'not measured'}")
    return notes


def _cell(value: Any, metric: str, column: pd.DataFrame, general: list[str], marks: _Marks) -> Cell:
    """Return the cell of one row of the long table (None where it has none), `column` all of that metric."""
    if value is None:
        return Cell(None, "n/a", marks=marks.of("not measured"))
    digits = style.metric(metric).precision(column["mean"])
    best = style.metric(metric).best(column["mean"][competing(column)])
    note = "" if f"All values: {value.note}" in general else value.note
    known = not math.isnan(value.mean)
    published = not math.isnan(value.published)
    return Cell(
        value.mean if known else None,
        f"{value.mean:.{digits}f}" if known else "n/a",
        _interval(value.ci_low, value.ci_high, digits),
        known and value.mean == best,
        marks.of(note if known else note or "not measured"),
        value.published if published else None,
        f"{value.published:.{digits}f}" if published else "",
        marks.of(f"Published: {value.source}") if published else "",
        _spread(value, digits) if known else "",
    )


def _spread(value: Any, digits: int) -> str:
    parts = {"standard deviation": (value.std, digits), "n": (value.n, 0), "seeds": (value.seeds, 0)}
    return ", ".join(
        f"{name} {number:.{d}f}" for name, (number, d) in parts.items() if not math.isnan(number)
    )


def _interval(low: float, high: float, digits: int) -> str:
    return "" if math.isnan(low) or math.isnan(high) else f"{low:.{digits}f} to {high:.{digits}f}"


def _differences(table: pd.DataFrame) -> list[Difference]:
    known = table[table["difference"].notna()]
    differences = []
    for metric in style.order_metrics(known["metric"]):
        column = known[known["metric"] == metric]
        label, digits = style.metric(metric).label, style.metric(metric).precision(column["mean"])
        rows: list[Any] = list(column.itertuples())
        for row in rows:
            interval = _interval(row.difference_low, row.difference_high, digits)
            clear = row.difference_low > 0 or row.difference_high < 0
            text = f"{row.difference:+.{digits}f}"
            differences.append(Difference(row.method, label, row.rival, text, interval, clear))
    return differences


@dataclass(frozen=True)
class Picture:
    """A figure of the page: its caption, data address and size in pixels."""

    caption: Text
    src: str
    width: int
    height: int


def pictures(name: str, path: Path, captions: Path) -> list[Picture]:
    """Read a PNG, or a folder's PNGs under names with theirs, to be inlined as they are."""
    if path.is_dir():
        return [
            one
            for file in sorted(path.glob("*.png"))
            for one in pictures(f"{name}/{file.stem}", file, captions)
        ]
    with Image.open(path) as image:
        width, height = image.size
    address = f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
    return [Picture(read_caption(captions, name), address, width, height)]


def readable_config(path: Path) -> str:
    """Return a JSON config as YAML, without the folders that absolute paths tell."""
    config = _without_folders(read_json(path))
    return yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=100)


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
