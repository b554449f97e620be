"""Views of a table in long form, made from its CSV alone: Markdown, LaTeX (booktabs) and a page by itself."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from nopairs.files import atomic_file
from nopairs.metrics.bootstrap import FEWEST_SCENES
from nopairs.reporting import style
from nopairs.reporting.reading import of_methods, read_table
from nopairs.reporting.report import Cell, Text, table_view

# The source of values that no paper has measured, but theory says.
CLOSED_FORM = "closed form"

# How each number is measured, for the footers.
_HOW = {
    "psnr": "PSNR: 8-bit RGB, all channels, data range 255.",
    "ssim": "SSIM: 8-bit RGB, all channels, data range 255, scikit-image's defaults (7x7 uniform window).",
    "lpips": "LPIPS: the lpips package, AlexNet, inputs in [-1, 1].",
    "lpips_vgg": "LPIPS (VGG): the lpips package, VGG16, inputs in [-1, 1].",
    "swd": "SWD: sliced Wasserstein distance x 1000 of 7x7 patches over Laplacian pyramids, restored set "
    "against clean set; its ± is the bootstrap's standard error over images; "
    "a difference's interval is that of resampled sets, whose middle it need not have.",
    "pwd": "Patch distance: Wasserstein-2 between Gaussians of the 6x6 RGB patches' moments, restored set against clean set, "
    "root mean square per value in levels of 255.",
    "fid": "FID, KID, IS: torch-fidelity, Inception weights of 2015, from crops of at most 256 pixels; few crops make them rough.",
    "parameters": "Parameters: of the network that learned the degradation, or of a restorer that learned without one, millions.",
    "niqe": "NIQE: fitted on the dataset's own clean images, so not comparable with published scores.",
}

# The same of maps whose optimum is known; metrics' names go on with the problem's.
_HOW_MAPS = {
    "uvp": "uvp: mean squared error of the map, percent of the target's variance (L2-UVP).",
    "push": "push: squared Gelbrich distance of the mapped images from the target, percent of its variance.",
    "end": "end: how far from 0 to 1 the map takes a point.",
}


@dataclass(frozen=True)
class Grid:
    """What every view shows, as plain text.

    Attributes:
        title: of the table.
        headers: first the method, then for each metric its column and its published one where there is any.
        rows: method names with their cells, one for each header but the first.
        differences: method, metric, rival, difference, its interval.
        notes: footnotes by their mark.
        footer: how to read the numbers, and how they were measured.
    """

    title: str
    headers: list[str]
    rows: list[tuple[str, list[Entry]]]
    differences: list[tuple[str, str, str, str, str]]
    notes: dict[str, str]
    footer: list[str]


@dataclass(frozen=True)
class Entry:
    """A cell: its text, what follows it unemphasised, footnote marks, and whether it is the column's best."""

    text: str
    spread: str = ""
    marks: str = ""
    best: bool = False


def write_table(table: pd.DataFrame, csv: Path) -> None:
    """Write a table in long form as `csv`, and beside it its views."""
    with atomic_file(csv) as temporary:
        table.to_csv(temporary, index=False)
    written = read_table(csv)
    for suffix, view in VIEWS.items():
        with atomic_file(csv.with_suffix(suffix)) as temporary:
            temporary.write_text(view(written), encoding="utf-8")


def grid(table: pd.DataFrame) -> Grid:
    """Arrange a table in long form (see `reading.read_table`) as rows of methods and columns of metrics."""
    name, dataset = table["table"].iloc[0], table["dataset"].iloc[0]
    view = table_view(name, table, Text("", ""))
    metrics = [column.name for column in view.columns]
    spreads = table.set_index(["method", "metric"])["std"]
    headers = ["method"]
    for column in view.columns:
        headers.append(_header(column.metric))
        if column.published:
            headers.append(f"{column.metric.label} published")
    rows = []
    for row in view.rows:
        entries: list[Entry] = []
        for column, cell in zip(view.columns, row.cells, strict=True):
            digits = column.metric.precision(table.loc[table["metric"] == column.name, "mean"])
            entries.append(_entry(cell, spreads.get((row.method, column.name)), digits))
            if column.published:
                entries.append(Entry(cell.published_text, marks=cell.published_marks))
        rows.append((row.method, entries))
    differences = [(d.method, d.metric, d.rival, d.difference, d.interval) for d in view.differences]
    footer = [*view.general_notes, *_footer(table, metrics, bool(differences))]
    return Grid(f"{name} on {dataset}", headers, rows, differences, view.marked_notes, footer)


def _header(metric: style.Metric) -> str:
    unit = f" ({metric.unit})" if metric.unit else ""
    return f"{metric.label}{unit} {metric.arrow}".rstrip()


def _entry(cell: Cell, std: float | None, digits: int) -> Entry:
    spread = "" if cell.value is None or std is None or pd.isna(std) else f"± {std:.{digits}f}"
    return Entry(cell.text, spread, cell.marks, cell.best)


def _footer(table: pd.DataFrame, metrics: list[str], compared: bool) -> list[str]:
    measured = table[table["mean"].notna()]
    of_images = measured["n"].notna().any()
    # A network's size is no mean over images.
    counted = measured[measured["metric"] != "parameters"] if of_images else measured
    images, seeds = _range(counted["n"]), _range(measured["seeds"])
    over = f"images; n = {images} images, training seeds" if of_images else "problems and trainings, seeds"
    bold = (
        f" Bold: the best mean{of_methods(measured)}."
        if any(style.metric(name).higher_is_better is not None for name in metrics)
        else ""
    )
    lines = [f"Mean ± standard deviation over {over}: {seeds}.{bold}"]
    if compared:
        lines.append(
            "Differences: method minus the metric's best rival, with the 95 % paired cluster bootstrap "
            "interval over scenes, and seeds where there are several; "
            f"descriptive below {FEWEST_SCENES} scenes."
        )
    lines += [_HOW[metric] for metric in metrics if metric in _HOW]
    lines += [how for start, how in _HOW_MAPS.items() if any(name.startswith(start) for name in metrics)]
    if set(table.loc[table["published"].notna(), "source"]) == {CLOSED_FORM}:
        lines.append("Published stands for what theory says.")
    elif table["published"].notna().any():
        lines.append("Published values are the cited paper's own, measured on the dataset that it names.")
    return lines


def _range(values: pd.Series) -> str:
    low, high = values.min(), values.max()
    if pd.isna(low):
        return "no"
    return f"{low:.0f}" if low == high else f"{low:.0f} to {high:.0f}"


# --------------------------------------------------------------------------------------------------- Markdown


def markdown(table: pd.DataFrame) -> str:
    """Return the table as GitHub-flavoured Markdown, its differences and notes below."""
    shown = grid(table)
    rows = [[method, *map(_markdown_cell, entries)] for method, entries in shown.rows]
    parts = [f"# {shown.title}", _markdown_table(shown.headers, rows)]
    if shown.differences:
        parts.append("**Differences from the best rival**")
        parts.append(_markdown_table(_DIFFERENCE_HEADERS, [list(row) for row in shown.differences]))
    lines = [f"- <sup>{mark}</sup> {note}" for mark, note in shown.notes.items()]
    parts.append("\n".join([*lines, *(f"- {line}" for line in shown.footer)]))
    return "\n\n".join(parts) + "\n"


_DIFFERENCE_HEADERS = ["method", "metric", "rival", "difference", "95 % interval"]


def _markdown_table(headers: list[str], rows: list[list[str]]) -> str:
    rule = ["---", *["---:"] * (len(headers) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headers, rule, *rows))


def _markdown_cell(entry: Entry) -> str:
    text = f"**{entry.text}**" if entry.best else entry.text
    marks = f"<sup>{entry.marks}</sup>" if entry.marks else ""
    return f"{text} {entry.spread}".strip() + marks


# ------------------------------------------------------------------------------------------------------ LaTeX

_LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"\N{MINUS SIGN}": "$-$", "±": r"$\pm$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "…": r"\dots{}"},
}


def latex(table: pd.DataFrame) -> str:
    r"""Return the table as a LaTeX float for ``\usepackage{booktabs}``, its differences and notes below."""
    shown = grid(table)
    rows = [[_latex_text(method), *map(_latex_cell, entries)] for method, entries in shown.rows]
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{_latex_text(shown.title)}}}"]
    lines.append(_latex_tabular(shown.headers, rows))
    if shown.differences:
        differences = [[_latex_text(cell) for cell in row] for row in shown.differences]
        lines += [r"\par\medskip", _latex_tabular(_DIFFERENCE_HEADERS, differences)]
    lines += [r"\par\medskip", r"\begin{minipage}{\linewidth}\footnotesize"]
    lines += [rf"\textsuperscript{{{mark}}} {_latex_text(note)}\par" for mark, note in shown.notes.items()]
    lines += [rf"{_latex_text(line)}\par" for line in shown.footer]
    return "\n".join([*lines, r"\end{minipage}", r"\end{table}"]) + "\n"


def _latex_text(text: str) -> str:
    text = re.sub(r"(?<!\w)-(?=\d)", "\N{MINUS SIGN}", text)  # a minus, no hyphen
    return "".join(_LATEX.get(character, character) for character in text)


def _latex_cell(entry: Entry) -> str:
    text = _latex_text(entry.text)
    text = rf"\textbf{{{text}}}" if entry.best else text
    marks = rf"\textsuperscript{{{entry.marks}}}" if entry.marks else ""
    return f"{text} {_latex_text(entry.spread)}".strip() + marks


def _latex_tabular(headers: list[str], rows: list[list[str]]) -> str:
    frame = pd.DataFrame(rows, columns=[_latex_text(header) for header in headers])
    return frame.to_latex(index=False, escape=False, column_format="l" + "r" * (len(headers) - 1)).rstrip()


# ------------------------------------------------------------------------------------------------------- page

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --page: #fbfbf9; --card: #fff; --ink: #1f2328; --soft: #5b6370; --line:
#dfe2e6; }} @media (prefers-color-scheme: dark) {{
  :root {{ --page: #14171b; --card: #1c2026; --ink: #e7e9ec; --soft: #a2abb8; --line: #343b45; }}
}}
body {{ margin: 0 auto; padding: 1.5rem clamp(1rem, 4vw, 2.5rem); max-width: 70rem; background: var(--page);
  color: var(--ink); font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
  }}
h1 {{ font-size: 1.6rem; margin: 0 0 1rem; }}
h2 {{ font-size: 1.1rem; margin: 2rem 0 .6rem; }}
table {{ border-collapse: collapse; width: 100%; background: var(--card); border: 1px solid var(--line);
  font-variant-numeric: tabular-nums; }}
th, td {{ padding: .45rem .8rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap;
}} th:first-child, td:first-child {{ text-align: left; }}
thead th {{ border-bottom-width: 2px; }}
tbody th {{ font-weight: 500; }}
small, footer {{ color: var(--soft); }}
footer {{ margin-top: 1.5rem; font-size: .9rem; overflow-wrap: anywhere; }}
footer p {{ margin: .25rem 0; }}
sup {{ line-height: 0; margin-left: .15em; font-size: .75em; }}
.scroll {{ overflow-x: auto; }}
@media (max-width: 45rem) {{
  thead {{ position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; }}
  table, tbody, tr, th, td {{ display: block; }}
  tr {{ padding: .6rem 0; border-bottom: 2px solid var(--line); }}
  th, td {{ border: 0; padding: .15rem .8rem; white-space: normal; }}
  tbody th {{ font-weight: 700; text-align: left; }}
  td, td:first-child {{ text-align: right; }}
  td::before {{ content: attr(data-label); float: left; color: var(--soft); }}
  td:empty {{ display: none; }}
}}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
<footer>
{footer}
</footer>
</body>
</html>
"""


def page(table: pd.DataFrame) -> str:
    """Return the table as an HTML page that needs no other file, light or dark; cards on narrow screens."""
    shown = grid(table)
    rows = [[html.escape(method), *map(_html_cell, entries)] for method, entries in shown.rows]
    parts = [_html_table(shown.headers, rows)]
    if shown.differences:
        cells = [[html.escape(cell) for cell in row] for row in shown.differences]
        parts += ["<h2>Differences from the best rival</h2>", _html_table(_DIFFERENCE_HEADERS, cells)]
    notes = [f"<sup>{mark}</sup> {html.escape(note)}" for mark, note in shown.notes.items()]
    footer = "\n".join(f"<p>{line}</p>" for line in [*notes, *map(html.escape, shown.footer)])
    return _PAGE.format(title=html.escape(shown.title), body="\n".join(parts), footer=footer)


def _html_cell(entry: Entry) -> str:
    text = html.escape(entry.text)
    text = f"<strong>{text}</strong>" if entry.best else text
    spread = f" <small>{html.escape(entry.spread)}</small>" if entry.spread else ""
    return text + spread + (f"<sup>{entry.marks}</sup>" if entry.marks else "")


def _html_table(headers: list[str], rows: list[list[str]]) -> str:
    """Lay out a table; the cells are HTML already."""
    labels = [html.escape(header) for header in headers]
    head = "".join(f'<th scope="col">{label}</th>' for label in labels)
    lines = []
    for first, *others in rows:
        cells = [
            f'<td data-label="{label}">{cell}</td>' for label, cell in zip(labels[1:], others, strict=True)
        ]
        lines.append(f'<tr><th scope="row">{first}</th>{"".join(cells)}</tr>')
    body = "\n".join(lines)
    return f"""<div class="scroll"><table>
<thead><tr>{head}</tr></thead>
<tbody>
{body}
</tbody>
</table></div>"""


VIEWS: dict[str, Callable[[pd.DataFrame], str]] = {".md": markdown, ".tex": latex, ".html": page}
