"""Figures of trainings and tables: loss curves, and dot plots with intervals."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nopairs.errors import NopairsError
from nopairs.reporting import style
from nopairs.reporting.reading import competing, of_methods


@style.styled()
def losses(logs: Mapping[str, pd.DataFrame]) -> Figure:
    """Small multiples of training logs, loss against step; below them, all validation PSNRs that were logged.

    A name such as ``ludvae/seed0`` is the line ``seed0`` in the panel ``ludvae``.
    """
    models: dict[str, dict[str, pd.DataFrame]] = {}
    for name, log in logs.items():
        model, _, run = name.partition("/")
        models.setdefault(model, {})[run] = log
    validated = {name: points for name, log in logs.items() if len(points := _validation(log))}
    rows = math.ceil(len(models) / 4)
    columns = math.ceil(len(models) / rows)
    heights = [2.2 * rows, 2.7] if validated else [2.2 * rows]
    figure = Figure(figsize=(max(7.5, 2.7 * columns), sum(heights) + 0.4))
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False).flat
    panels = parts[0].subplots(rows, columns, squeeze=False).flat
    for index, (model, runs) in enumerate(models.items()):
        _loss_panel(panels[index], model, runs)
    for axes in panels[len(models) :]:
        axes.set_axis_off()
    if validated:
        _validation_panel(parts[1].subplots(), validated)
    style.set_title(figure, "Training: loss and validation PSNR" if validated else "Training: loss")
    return figure


def _validation(log: pd.DataFrame) -> pd.DataFrame:
    return log[["step", "val_psnr"]].dropna() if "val_psnr" in log else log.iloc[:0]


def _loss_panel(axes: Axes, model: str, runs: Mapping[str, pd.DataFrame]) -> None:
    every = pd.concat(list(runs.values()))["loss"].dropna()
    for index, (run, log) in enumerate(runs.items()):
        smooth = log["loss"].ewm(span=max(2, len(log) // 20)).mean()
        axes.plot(log["step"], log["loss"], color=style.color(model), alpha=0.25, linewidth=0.8)
        axes.plot(log["step"], smooth, color=style.color(model), linestyle=style.line(index), label=run)
    axes.set(title=model, xlabel="step", ylabel="loss")
    axes.margins(x=0.02)
    if len(every) and every.min() > 0 and every.max() > 4 * every.min():
        style.set_log_scale(axes, every.max() / every.min())
        axes.set_ylabel("loss (log scale)")
    if len(runs) > 1:
        axes.legend()


def _validation_panel(axes: Axes, runs: Mapping[str, pd.DataFrame]) -> None:
    several = len({name.partition("/")[0] for name in runs}) < len(runs)
    seen: dict[str, int] = {}
    for name, points in runs.items():
        model = name.partition("/")[0]
        seen[model] = seen.get(model, -1) + 1
        color, best = style.color(model), points.iloc[int(points["val_psnr"].argmax())]
        label = f"{name if several else model}, {best['val_psnr']:.2f} dB"
        look = {"linestyle": style.line(seen[model]), "marker": "o", "markersize": 3, "label": label}
        axes.plot(points["step"], points["val_psnr"], color=color, **look)
        axes.plot(best["step"], best["val_psnr"], "o", color=color, markersize=8, markerfacecolor="none")
    axes.set(title="Validation", xlabel="step", ylabel="validation PSNR (dB)")
    axes.margins(x=0.02)
    axes.legend(
        loc="upper left", bbox_to_anchor=(1.0, 1.05), title="circled: each one's best", alignment="left"
    )


@style.styled()
def curve(runs: pd.DataFrame, metric: str) -> Figure:
    """A metric against the number of training photos: a dot a run, a line through each method's means.

    `runs` has the columns method, photos and `metric`. What does not depend on the photos, such as the input, is a flat line.
    """
    figure, shown = Figure(figsize=(6.5, 3.8)), style.metric(metric)
    axes = figure.subplots()
    for index, (method, of_method) in enumerate(runs.groupby("method", sort=False)):
        color = style.color(str(method))
        means = of_method.groupby("photos")[metric].mean()
        axes.plot(means.index, means, color=color, linestyle=style.line(index), label=str(method))
        if of_method[metric].nunique() > 1:
            axes.plot(of_method["photos"], of_method[metric], "o", color=color, markersize=4.5, alpha=0.7)
    counts = sorted(runs["photos"].unique())
    axes.set_xscale("log")
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.set_xticks([], minor=True)
    axes.set(
        xlabel="training photos of each half (log scale)",
        ylabel=" ".join(filter(None, (shown.label, shown.unit and f"({shown.unit})"))),
    )
    axes.legend(
        loc="upper left", bbox_to_anchor=(1.0, 1.05), title="dot: a run; line: mean", alignment="left"
    )
    style.set_title(figure, f"{shown.label} on the test images, by the number of training photos")
    return figure


@style.styled()
def table_plot(table: pd.DataFrame) -> Figure:
    """A dot plot of a table in long form: a panel a metric, a row a method, 95 % intervals, published values.

    Dots, not bars: a bar's length would mean nothing on axes that do not start at zero.
    """
    methods = list(dict.fromkeys(table["method"]))
    shown = _measured(table)
    if not shown:
        raise NopairsError(f"table {table['table'].iloc[0]}: no value in it; see its notes")
    rows = math.ceil(len(shown) / 3)
    columns = math.ceil(len(shown) / rows)
    figure = Figure(figsize=(max(7.0, 2.2 + 2.75 * columns), rows * (1.05 + 0.29 * len(methods)) + 0.9))
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes, name in zip(panels.flat, shown, strict=False):
        values = table[table["metric"] == name]
        _dots(axes, style.metric(name), values.drop_duplicates("method").set_index("method").reindex(methods))
    for axes in panels.flat[len(shown) :]:
        axes.set_axis_off()
    panels[0, 0].set_yticks(range(len(methods)), methods)
    panels[0, 0].set_ylim(len(methods) - 0.4, -0.6)
    _table_notes(figure, table, set(shown))
    title = table["table"].iloc[0].replace("_", " ").capitalize()
    style.set_title(figure, f"{title} on {table['dataset'].iloc[0]}: each method's mean and 95 % interval")
    return figure


def _measured(table: pd.DataFrame) -> list[str]:
    """Return each metric of which there is any value, ours or published."""
    known = set(table.loc[table["mean"].notna() | table["published"].notna(), "metric"])
    return [name for name in style.order_metrics(table["metric"]) if name in known]


def _dots(axes: Axes, metric: style.Metric, values: pd.DataFrame) -> None:
    """Draw one metric; `values` is indexed by method, a row of NaN where a method has none."""
    means = values["mean"].astype(float)
    digits, best = metric.precision(means), metric.best(means[competing(values)])
    dashed: dict[str, Any] = {
        "color": style.color("input"),
        "linewidth": 1,
        "linestyle": (0, (4, 3)),
        "zorder": 0,
    }
    for row, (method, value) in enumerate(values.iterrows()):
        _mark(axes, row, value, style.color(str(method)))
        known = math.isfinite(value["mean"])
        look: dict[str, Any] = {
            "color": style.INK if known else style.MUTED,
            "fontweight": "bold" if value["mean"] == best else "normal",
        }
        text = f"{value['mean']:.{digits}f}" if known else "n/a"
        axes.text(1.02, row, text, transform=axes.get_yaxis_transform(), va="center", fontsize=8.5, **look)
        if method == "input" and known:
            axes.axvline(value["mean"], **dashed)
    axes.set_title(f"{metric.label} {metric.arrow}".rstrip())
    axes.set_xlabel(", ".join(part for part in (metric.unit, metric.direction) if part))
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.08)
    axes.locator_params(axis="x", nbins=5)


def _mark(axes: Axes, row: int, value: pd.Series, color: str) -> None:
    """Draw one method's interval, mean and published value, whichever are known."""
    hollow: dict[str, Any] = {"markersize": 6.5, "markerfacecolor": "none", "markeredgewidth": 1.4}
    axes.plot([value["ci_low"], value["ci_high"]], [row, row], color=color, linewidth=2.4, alpha=0.55)
    axes.plot(value["mean"], row, "o", color=color, markersize=7)
    axes.plot(value["published"], row, "D", color=color, **hollow)


def _table_notes(figure: Figure, table: pd.DataFrame, shown: set[str]) -> None:
    """Write below the panels what the marks mean, of how many images, and why metrics are missing."""
    measured = table[table["mean"].notna()]
    images = _counts(measured.loc[measured["ci_low"].notna(), "n"])
    lines = [
        "Dot and line: ours, mean and 95 % cluster bootstrap interval. Bold: best"
        + f"{of_methods(measured)}."
    ]
    if "input" in set(measured["method"]):
        lines[0] += " Dashed line: the input."
    if images:
        lines.append(f"Test images: {images}; seeds: {_counts(measured['seeds'])}.")
    if table["published"].notna().any():
        lines.append(
            f"Hollow diamond: published, {_listed(table['source'])}. Where that is another dataset, the order and the distances"
            " compare, not the places."
        )
    if notes := _listed(measured["note"]):
        lines.append(f"Note: {notes}.")
    missing = table[~table["metric"].isin(shown)].groupby("note", sort=False)["metric"]
    for reason, names in missing:
        labels = ", ".join(style.metric(name).label for name in style.order_metrics(names))
        lines.append(f"{labels}: {str(reason) or 'not measured'}.")
    wrapped = "\n".join(textwrap.fill(line, int(13 * figure.get_figwidth())) for line in lines)
    figure.supxlabel(wrapped, fontsize=8, color=style.MUTED, x=0.01, ha="left", linespacing=1.5)


def _counts(values: pd.Series) -> str:
    """Return a number, or the range of different ones; empty where there is none."""
    values = values.dropna().astype(int)
    if values.empty:
        return ""
    return str(values.min()) if values.nunique() == 1 else f"{values.min()} to {values.max()}"


def _listed(texts: pd.Series) -> str:
    """Return the different parts of texts that are not empty, joined."""
    parts = (part for text in texts for part in text.split("; "))
    return "; ".join(part for part in dict.fromkeys(parts) if part)
