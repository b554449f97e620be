"""Table and figure of the bias of regularised GANs, from what `measure_bias.py` wrote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import t as student

from nopairs.metrics.names import POINTS
from nopairs.reporting import style
from nopairs.reporting.reading import read_runs
from nopairs.reporting.tables import CLOSED_FORM

TABLE = "ots_bias"
TITLES = {"ots": "OTS", "gan_w2": "GAN, squared W2", "gan_w1": "GAN, Lipschitz critic"}
CONFIDENCE = 0.95


def bias_table(paths: Sequence[Path]) -> pd.DataFrame:
    """Return the table in long form: a row a method and weight, a column a measure and problem; closed forms stand as published.

    `uvp` and `push` are percent of the target's variance (`transport/bias.py`); of two point masses `end` says how far from 0 to 1
    a map goes. Intervals are Student's over the seeds.
    """
    runs = read_runs(paths)
    rows = []
    runs["weight"] = runs["weight"].fillna(0.0)
    for (problem, method, weight), group in runs.groupby(["problem", "method", "weight"], sort=False):
        name = f"{method}, {weight:g}" if method in ("gan_w1", "gan_w2") else method
        for measure in ("end",) if problem == POINTS else ("uvp", "push"):
            label = f"{measure}{'' if problem == POINTS else ' %'}, {_name(str(problem))}"
            rows.append({"method": name, "metric": label, **_summary(group, measure)})
    frame = pd.DataFrame(rows).assign(table=TABLE, dataset="known optimal maps", rival="", note="")
    return frame.assign(difference=float("nan"), difference_low=float("nan"), difference_high=float("nan"))


def _summary(group: pd.DataFrame, measure: str) -> dict[str, object]:
    values, theory = group[measure], group[f"{measure}_theory"].mean()
    spread = values.std() if len(values) > 1 else float("nan")
    reach = float(student.ppf(0.5 + CONFIDENCE / 2, max(1, len(values) - 1))) * spread / len(values) ** 0.5
    mean = values.mean()
    known = {"published": theory, "source": CLOSED_FORM if theory == theory else ""}
    return {
        "mean": mean,
        "std": spread,
        "n": float("nan"),
        "seeds": len(values),
        "ci_low": mean - reach,
        "ci_high": mean + reach,
        **known,
    }


@style.styled()
def bias_figure(paths: Sequence[Path]) -> Figure:
    """Draw each problem's error over the weight of the content loss: every seed a dot, lines through means, dashes the closed forms."""
    runs = read_runs(paths)
    problems = list(runs["problem"].unique())
    figure = Figure(figsize=(4.2 * len(problems), 3.4))
    panels = figure.subplots(1, len(problems), squeeze=False)[0]
    for axes, problem in zip(panels, problems, strict=True):
        _panel(axes, runs[runs["problem"] == problem], "end" if problem == POINTS else "uvp")
        axes.set_title(_title(problem))
        axes.set(
            xlabel="weight of the content loss", ylabel="end of the map" if problem == POINTS else "L2-UVP, %"
        )
    panels[0].legend()
    style.set_title(figure, "Error of the learned map where the optimal one is known")
    return figure


def _name(problem: str) -> str:
    """Return what columns are called: points, a dimension, or patches."""
    return "patches" if problem.startswith("patches") else problem.removeprefix("gaussians")


def _title(problem: str) -> str:
    if problem == POINTS:
        return "two point masses"
    if problem.startswith("patches"):
        side = problem.removeprefix("patches")
        return f"image patches, {side} x {side}"
    return f"Gaussians, {_name(problem)} dimensions"


def _panel(axes: Axes, runs: pd.DataFrame, measure: str) -> None:
    axes.set_xscale("log")
    if measure == "uvp":
        axes.set_yscale("log")
    weights = runs.loc[runs["method"].isin(["gan_w1", "gan_w2"]), "weight"]
    for method, color in (("gan_w2", "awgn_tuned"), ("gan_w1", "nlm")):
        one = runs[runs["method"] == method]
        means = one.groupby("weight")[[measure, f"{measure}_theory"]].mean()
        axes.plot(one["weight"], one[measure], ".", color=style.color(color))
        axes.plot(means.index, means[measure], color=style.color(color), label=TITLES[method])
        axes.plot(means.index, means[f"{measure}_theory"], "--", color=style.color(color), linewidth=1)
    for value in runs.loc[runs["method"] == "ots", measure]:
        axes.plot([weights.min(), weights.max()], [value, value], color=style.color("ludvae"), linewidth=1)
    axes.plot([], [], color=style.color("ludvae"), label=TITLES["ots"])
