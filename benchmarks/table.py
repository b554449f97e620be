"""What the benchmarks print: one row a measure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A measure with its bar.

    Attributes:
        name: what was measured.
        ours: the project's figure, with its unit.
        baseline: what it stands against, measured in the same run.
        ratio: of the two, as the bar means it.
        bar: what is asked for; empty where nothing is.
        met: whether it is; None without a bar.
    """

    name: str
    ours: str
    baseline: str
    ratio: str
    bar: str = ""
    met: bool | None = None


def markdown(rows: Iterable[Row]) -> str:
    """Return the rows as a Markdown table."""
    lines = ["| measure | ours | baseline | ratio | bar | met |", "| --- | --- | --- | ---: | --- | --- |"]
    words = {True: "yes", False: "**no**", None: ""}
    lines += [
        f"| {row.name} | {row.ours} | {row.baseline} | {row.ratio} | {row.bar} | {words[row.met]} |"
        for row in rows
    ]
    return "\n".join(lines)
