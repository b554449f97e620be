"""Transports over alpha: the perception-distortion curve, a strip of crops, and the crops of the report's slider."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nopairs.data.images import read_rgb
from nopairs.errors import NopairsError
from nopairs.files import read_json
from nopairs.reporting import style
from nopairs.reporting.slider import jpeg_address

_PERCEPTION = ("swd", "niqe", "pwd")
_MOST_IN_STRIP = 9


@dataclass(frozen=True)
class Crops:
    """One square of a test image at every alpha, and clean.

    name: of the image.
    alphas: ascending.
    pixels: one an alpha, uint8 (side, side, 3).
    clean: the truth.
    """

    name: str
    alphas: Sequence[float]
    pixels: Sequence[NDArray[np.uint8]]
    clean: NDArray[np.uint8]


def read_curve(path: Path) -> pd.DataFrame:
    """Read what measure_curve.py wrote; raises NopairsError where it lacks columns or the restorer's own point."""
    curve = pd.read_csv(path)
    if missing := {"point", "alpha", "psnr", "swd"} - set(curve.columns):
        raise NopairsError(f"{path}: no column {', '.join(sorted(missing))}; give a curve.csv of a transport")
    if not (curve["alpha"] == 1).any():
        raise NopairsError(f"{path}: no row with alpha 1, the restorer's own images; measure the curve again")
    return curve


def read_crops(folder: Path) -> list[Crops]:
    """Read the crops below a folder that measure_curve.py wrote; raises NopairsError where there are none."""
    found = []
    for image in sorted(path.parent for path in folder.glob("*/crops.json")):
        alphas = read_json(image / "crops.json")["alphas"]
        pixels = [read_rgb(image / f"{k:02d}.png") for k in range(len(alphas))]
        found.append(Crops(image.name, alphas, pixels, read_rgb(image / "clean.png")))
    if not found:
        raise NopairsError(f"{folder}: no crops of a transport in it; measure the curve again")
    return found


@style.styled()
def perception_distortion(curves: Mapping[str, pd.DataFrame], crops: Mapping[str, Crops]) -> Figure:
    """Perception against distortion over alpha, a panel a measure; below, a strip of crops for each method.

    Args:
        curves: by method, as `read_curve` gives them.
        crops: by method, one image's.
    """
    first = next(iter(curves.values()))
    measures = [name for name in _PERCEPTION if name in first and first[name].notna().any()]
    heights = [3.4, *(1.75 for _ in crops)]
    figure = Figure(figsize=(max(9.0, 3.9 * len(measures)), sum(heights) + 0.8))
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False).flat
    panels = parts[0].subplots(1, len(measures), squeeze=False)[0]
    for axes, measure in zip(panels, measures, strict=True):
        _curve_panel(axes, measure, curves)
    panels[-1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.05), alignment="left")
    for part, (method, strip) in zip(list(parts)[1:], crops.items(), strict=True):
        _strip(part, method, strip)
    style.set_title(figure, "Perception and distortion, by alpha")
    lines = (
        "Star: the restorer's own images (alpha = 1). Filled: moved all the way (alpha = 0). Lower is more natural, right is nearer"
        " to the truth.\nDashed: the clean images' own value, which has an infinite PSNR."
    )
    figure.supxlabel(lines, fontsize=8, color=style.MUTED, x=0.01, ha="left")
    return figure


def _curve_panel(axes: Axes, measure: str, curves: Mapping[str, pd.DataFrame]) -> None:
    shown = style.metric(measure)
    for index, (method, curve) in enumerate(curves.items()):
        points = curve[curve["point"] == "alpha"].sort_values("alpha")
        color = style.color(method)
        look: dict[str, Any] = {"color": color, "linestyle": style.line(index), "label": method}
        axes.plot(
            points["psnr"], points[measure], marker="o", markersize=3.5, markerfacecolor="white", **look
        )
        for alpha, marker, size in ((1.0, "*", 12), (0.0, "o", 6)):
            point = points[np.isclose(points["alpha"], alpha)]
            axes.plot(point["psnr"], point[measure], marker, color=color, markersize=size)
        for row in points[points["alpha"].isin([-0.5, 0.0, 1.0, 1.5])].itertuples():
            place = (float(row.psnr), float(getattr(row, measure)))  # type: ignore[arg-type]
            axes.annotate(
                f"{row.alpha:g}", place, (4, 3), textcoords="offset points", fontsize=7, color=style.MUTED
            )
        for value in curve.loc[curve["point"] == "clean", measure].dropna()[: 1 - index]:
            axes.axhline(value, color=style.color("clean"), linewidth=1, linestyle=(0, (4, 3)), zorder=0)
    axes.set_title(f"{shown.label} {shown.arrow}".rstrip())
    axes.set(
        xlabel="PSNR (dB), higher is better", ylabel=", ".join(filter(None, (shown.label, shown.direction)))
    )
    axes.margins(0.08)


def _strip(part: Any, method: str, crops: Crops) -> None:
    """Draw one image's crops from the most natural to the restorer's and beyond, and the clean one."""
    alphas = np.asarray(crops.alphas)
    even = np.linspace(alphas[0], alphas[-1], _MOST_IN_STRIP)
    # The restorer's own and the one that is moved all the way are always shown.
    wanted = sorted({int(np.abs(alphas - alpha).argmin()) for alpha in (*even, 0, 1)})
    panels = part.subplots(1, len(wanted) + 1)
    for axes, place in zip(panels, wanted, strict=False):
        axes.imshow(crops.pixels[place])
        alpha = crops.alphas[place]
        axes.set_title(f"{alpha:g}" + (" restorer" if math.isclose(alpha, 1) else ""), fontsize=8)
    panels[-1].imshow(crops.clean)
    panels[-1].set_title("clean", fontsize=8)
    for axes in panels:
        axes.set_axis_off()
    part.suptitle(f"{method}, {crops.name}, by alpha", x=0.01, ha="left", fontsize=9)


def alpha_images(name: str, folder: Path) -> list[dict[str, Any]]:
    """Return the slider's entries of one method: each test image's crops as data addresses, with what the whole set measures.

    `folder` is the transport's, with `curve.csv` and `crops`.
    """
    curve = read_curve(folder / "curve.csv")
    rows = {float(row["alpha"]): row for _, row in curve[curve["point"] == "alpha"].iterrows()}
    shown = [measure for measure in ("psnr", *_PERCEPTION) if measure in curve]
    entries = []
    for crops in read_crops(folder / "crops"):
        steps = [
            {
                "alpha": alpha,
                "src": jpeg_address(pixels),
                "measures": ", ".join(_value(measure, rows[alpha][measure]) for measure in shown),
            }
            for alpha, pixels in zip(crops.alphas, crops.pixels, strict=True)
        ]
        entries.append(
            {
                "method": name,
                "image": crops.name,
                "size": crops.clean.shape[0],
                "clean": jpeg_address(crops.clean),
                "steps": steps,
            }
        )
    return entries


def _value(measure: str, value: float) -> str:
    shown = style.metric(measure)
    return f"{shown.label} {value:.{shown.precision([value])}f} {shown.unit}".rstrip()
