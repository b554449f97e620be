"""Flows: the way from a degraded image to a clean one, what the auxiliary variable changes, and quality against steps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, StrMethodFormatter

from nopairs.data.images import read_rgb
from nopairs.data.showing import zoom_box
from nopairs.errors import NopairsError
from nopairs.files import read_json
from nopairs.metrics.quality import psnr
from nopairs.reporting import style
from nopairs.restorers.flow_paths import WAYS

_BOX = 32


def read_flow(folder: Path) -> dict[str, Any]:
    """Read the numbers that trace_flow.py wrote; raises NopairsError where they are not all there."""
    facts = read_json(folder / "flow.json")
    if not isinstance(facts, dict) or {"spread", "steps"} - set(facts):
        raise NopairsError(f"{folder / 'flow.json'}: not what trace_flow.py writes; trace the flow again")
    return facts


@style.styled()
def trajectories(folder: Path, method: str) -> Figure:
    """One image from t = 1 to t = 0, in few steps and in many, with its distance from the truth."""
    clean = read_rgb(folder / "clean.png")
    ways = {steps: sorted(folder.glob(f"{steps:02d}_*.png"), reverse=True) for steps in WAYS}
    if not all(ways.values()):
        raise NopairsError(f"{folder}: no images along the way in it; trace the flow again")
    figure = Figure(figsize=(12, 4.9))
    panels = figure.subplots(len(ways), max(map(len, ways.values())) + 1)
    for row, (steps, paths) in zip(panels, ways.items(), strict=True):
        for axes, path in zip(row, paths, strict=False):
            shown = read_rgb(path)
            axes.imshow(shown)
            axes.set_title(f"t = {int(path.stem[-3:]) / 100:g}, {psnr(clean, shown):.2f} dB", fontsize=9)
        row[0].set_ylabel(f"{steps} steps")
        row[-1].imshow(clean)
        row[-1].set_title("clean", fontsize=9)
    for axes in panels.flat:
        axes.set(xticks=[], yticks=[])
    style.set_title(figure, f"{method}: from the degraded image to the restored one")
    return figure


@style.styled()
def draws(folder: Path, method: str) -> Figure:
    """Restorations of one image with different auxiliary variables, a box where they differ most, and by how much they do."""
    clean, deviation = read_rgb(folder / "clean.png"), np.load(folder / "deviation.npy", allow_pickle=False)
    shown = [read_rgb(path) for path in sorted(folder.glob("draw_*.png"))]
    if not shown:
        raise NopairsError(f"{folder}: no restorations in it; trace the flow again")
    rest = float(deviation.max()) or 1.0
    grey = np.rint(255 * deviation / rest).astype(np.uint8)
    box = zoom_box(np.repeat(grey[..., None], 3, 2), _BOX)
    figure = Figure(figsize=(2.3 * (len(shown) + 2), 2.9))
    panels = figure.subplots(1, len(shown) + 2)
    for number, (axes, restored) in enumerate(zip(panels, shown, strict=False), start=1):
        axes.imshow(restored)
        axes.set_title(f"draw {number}, {psnr(clean, restored):.2f} dB", fontsize=9)
        axes.add_patch(Rectangle((box.x, box.y), box.size, box.size, fill=False, edgecolor="#3b6cff"))
    panels[-2].imshow(deviation, cmap="magma")
    panels[-2].set_title(f"standard deviation (black: 0,\nyellow: {deviation.max():.2g} of 255)", fontsize=9)
    panels[-1].imshow(clean)
    panels[-1].set_title("clean", fontsize=9)
    for axes in panels:
        axes.set_axis_off()
    style.set_title(figure, f"{method}: what the auxiliary variable changes, most within the blue box")
    return figure


@style.styled()
def quality(table: pd.DataFrame, evaluations: Mapping[str, int], flow: Mapping[str, Any]) -> Figure:
    """A table's metrics against the network's evaluations, other methods as lines; and the round trip's error against the steps.

    The degraded images themselves are left out: they are so far off that nothing else could be told apart.

    Args:
        table: in long form, of one dataset.
        evaluations: of the methods that are flows.
        flow: what `read_flow` gave.
    """
    metrics = list(dict.fromkeys(table["metric"]))
    figure = Figure(figsize=(2.7 * (len(metrics) + 1), 3.2))
    *panels, last = figure.subplots(1, len(metrics) + 1)
    for axes, name in zip(panels, metrics, strict=True):
        shown = style.metric(name)
        rows = table[table["metric"] == name].set_index("method").drop(index="input", errors="ignore")
        points = rows[rows.index.isin(list(evaluations))]
        x = [evaluations[method] for method in points.index]
        order = np.argsort(x)
        means = points["mean"].to_numpy()[order]
        axes.plot(np.take(x, order), means, "o-", color=style.color("resflow"), label="the flow, by steps")
        for index, (method, row) in enumerate(rows[~rows.index.isin(list(evaluations))].iterrows()):
            # All learned from the same pairs: the restorer tells them apart.
            color = style.color(str(method).split("+")[-1])
            axes.axhline(row["mean"], color=color, linestyle=style.line(index + 1), label=method)
        axes.set(xscale="log", xticks=x, xticklabels=x, xlabel="evaluations of the network")
        axes.minorticks_off()
        axes.set_title(f"{shown.label} {shown.arrow}".rstrip())
        axes.set_ylabel(shown.unit)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper right", ncols=len(labels), fontsize=8)
    steps = pd.DataFrame(flow["steps"])
    last.plot(steps["steps"], steps["round_trip"], "o-", color=style.INK)
    last.set(xscale="log", yscale="log", xticks=steps["steps"], xticklabels=steps["steps"], xlabel="steps")
    last.minorticks_off()
    last.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    last.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    last.set_title("There and back ↓")
    last.set_ylabel("error, levels of 255")
    style.set_title(figure, "Quality and reversibility against steps")
    return figure
