"""Figures of real and synthetic noise: the same patches side by side, and the noise's statistics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray

from nopairs.data.images import read_rgb
from nopairs.errors import NopairsError
from nopairs.files import read_json
from nopairs.reporting import style

_MAX_PATCHES = 4


@dataclass(frozen=True)
class Noise:
    """What a noise folder holds: 8-bit strips of square patches, clean and degraded, and the statistics."""

    clean: NDArray[np.uint8]
    degraded: NDArray[np.uint8]
    statistics: Mapping[str, Any]

    def residual(self) -> NDArray[np.float64]:
        """Return degraded - clean, in levels of 255."""
        return self.degraded.astype(float) - self.clean.astype(float)


def read_noise(folder: Path) -> Noise:
    """Read ``clean.png``, ``degraded.png`` and ``noise.json`` of one source of noise."""
    clean, degraded = read_rgb(folder / "clean.png"), read_rgb(folder / "degraded.png")
    if clean.shape != degraded.shape or clean.shape[1] % clean.shape[0]:
        raise NopairsError(
            f"{folder}: its two pictures are not equal strips of square patches; make it again"
        )
    return Noise(clean, degraded, read_json(folder / "noise.json"))


@style.styled()
def noise_patches(sources: Mapping[str, Noise]) -> Figure:
    """Degraded patches of the same scenes, a row a source; beside them the noise, amplified around grey."""
    size = next(iter(sources.values())).clean.shape[0]
    if any(noise.clean.shape[0] != size for noise in sources.values()):
        raise NopairsError(
            "noise folders: their patches differ in size; make them again from one configuration"
        )
    count = min(_MAX_PATCHES, *(noise.clean.shape[1] // size for noise in sources.values()))
    gain = _amplification(sources)
    cell = min(1.35, 5.4 / count)
    figure = Figure(figsize=(2 * count * cell + 1.2, (len(sources) + 1) * cell + 1.1))
    axes = figure.subplots(len(sources) + 1, 2, squeeze=False)
    clean = _spaced(next(iter(sources.values())).clean[:, : count * size] / 255)
    axes[0, 0].imshow(clean, interpolation="nearest")
    axes[0, 1].imshow(np.ones_like(clean))
    axes[0, 0].set_ylabel("clean", fontweight="bold")
    for row, (name, noise) in enumerate(sources.items(), 1):
        residual = np.clip(0.5 + gain * noise.residual()[:, : count * size] / 255, 0, 1)
        axes[row, 0].imshow(_spaced(noise.degraded[:, : count * size] / 255), interpolation="nearest")
        axes[row, 1].imshow(_spaced(residual), interpolation="nearest")
        axes[row, 0].set_ylabel(name, fontweight="bold")
    for panel in axes.flat:
        panel.set(xticks=[], yticks=[])
        panel.grid(visible=False)
        panel.spines[:].set_visible(False)
    axes[0, 0].set_title("Patches")
    axes[0, 1].set_title("Their noise alone")
    strength = f"amplified {gain} times" if gain > 1 else "not amplified"
    explanation = f"noise = degraded \N{MINUS SIGN} clean, {strength};\nmid-grey is no noise"
    axes[0, 1].text(
        0.0, 0.96, explanation, transform=axes[0, 1].transAxes, va="top", color=style.MUTED, linespacing=1.6
    )
    style.set_title(
        figure,
        "The same clean patches under real and synthetic noise" if "real" in sources else "Synthetic noise",
    )
    return figure


def _spaced(strip: NDArray[np.float64]) -> NDArray[np.float64]:
    """Put a white gap after each square patch of a strip but the last; values in [0, 1]."""
    size = strip.shape[0]
    gap = np.ones((size, max(1, size // 24), 3))
    patches = np.split(strip, strip.shape[1] // size, axis=1)
    return np.concatenate([part for patch in patches for part in (patch, gap)][:-1], axis=1)


def _amplification(sources: Mapping[str, Noise]) -> int:
    """Return the round factor that fits three deviations of the real (or first) noise into the range."""
    noise = sources.get("real") or next(iter(sources.values()))
    deviation = max(float(noise.residual().std()) / 255, 1e-3)
    return max(
        (gain for gain in (1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30) if gain * 3 * deviation <= 0.5), default=1
    )


@style.styled()
def noise_statistics(sources: Mapping[str, Noise]) -> Figure:
    """Power spectrum, spatial correlation, strength against intensity, channel correlation of each source.

    Where there is a source ``real``, a panel gives the root-mean-square distances of the others from it.
    """
    squares = min(1.6, 8.4 / len(sources))
    figure = Figure(figsize=(11, 6.6 + 2 * squares))
    top, middle, bottom = figure.subfigures(
        3, 1, height_ratios=[2.9, 2.7, 2 * squares + 1.0], squeeze=False
    ).flat
    spectrum, row, key = top.subplots(1, 3, width_ratios=[1.15, 0.95, 1.3])
    looks = {
        name: {
            "color": style.color(name),
            "linestyle": style.line(index),
            "linewidth": 2.8 if name == "real" else 1.8,
        }
        for index, name in enumerate(sources)
    }
    _spectrum_panel(spectrum, sources, looks)
    _lag_panel(row, sources, looks)
    _key_panel(key, sources, looks)
    _intensity_panels(middle, sources, looks)
    _square_panels(bottom, sources)
    style.set_title(
        figure, "Noise statistics: real against synthetic" if "real" in sources else "Noise statistics"
    )
    return figure


def _spectrum(statistics: Mapping[str, Any]) -> NDArray[np.float64]:
    """Return the power spectrum, mean of the channels, in decibels."""
    return 10 * np.log10(np.maximum(np.mean(statistics["power_spectrum"]["power"], axis=0), 1e-12))


def _lags(statistics: Mapping[str, Any]) -> NDArray[np.float64]:
    return np.array(statistics["autocorrelation"], dtype=float)


def _levels(statistics: Mapping[str, Any]) -> NDArray[np.float64]:
    """Return the standard deviation by intensity, (channel, bin), in levels of 255; NaN where unknown."""
    return 255 * np.array(statistics["intensity"]["std"], dtype=float)


def _channels(statistics: Mapping[str, Any]) -> NDArray[np.float64]:
    return np.array(statistics["channel_correlation"], dtype=float)


# What a source is compared with `real` by: name, unit, values, decimals.
_DISTANCES = (
    ("spectrum", "dB", _spectrum, 1),
    ("strength", "levels", _levels, 1),
    ("spatial", "corr.", _lags, 3),
    ("channels", "corr.", _channels, 3),
)


def noise_distances(noise: Noise, real: Noise) -> dict[str, float]:
    """Return the root-mean-square differences of a source's statistics from the real ones.

    ``spectrum`` in decibels over the frequencies, ``strength`` in levels of 255 over the intensities that
    both have (all channels), ``spatial`` and ``channels`` in correlation over all lags and channel pairs.
    """
    return {
        name: math.sqrt(np.nanmean((values(noise.statistics) - values(real.statistics)) ** 2))
        for name, _, values, _ in _DISTANCES
    }


def _spectrum_panel(axes: Axes, sources: Mapping[str, Noise], looks: Mapping[str, dict[str, Any]]) -> None:
    for name, noise in sources.items():
        power = np.mean(noise.statistics["power_spectrum"]["power"], axis=0)
        axes.plot(noise.statistics["power_spectrum"]["frequency"], power, **looks[name])
    low, high = axes.get_ylim()
    style.set_log_scale(axes, high / low if low > 0 else math.inf)
    axes.set(title="Power spectrum", xlabel="spatial frequency (cycles per pixel)")
    axes.set_ylabel("power, mean of channels\n(intensity in [0, 1], squared)")


def _lag_panel(axes: Axes, sources: Mapping[str, Noise], looks: Mapping[str, dict[str, Any]]) -> None:
    for name, noise in sources.items():
        surface = _lags(noise.statistics)
        reach = len(surface) // 2
        axes.plot(np.arange(-reach, reach + 1), surface[reach], **looks[name])
    axes.set(title="Horizontal autocorrelation", xlabel="lag (pixels)", ylabel="correlation")


def _key_panel(axes: Axes, sources: Mapping[str, Noise], looks: Mapping[str, dict[str, Any]]) -> None:
    """The key of the lines, and beside each its distances from the real noise."""
    axes.set(xlim=(-0.08, 1.02), ylim=(len(sources) + 0.2, -2.2))
    axes.set_axis_off()
    columns = (0.55, 0.70, 0.85, 1.02)
    if "real" in sources and len(sources) > 1:
        axes.text(0.0, -1.9, "R.m.s. distance from real", fontsize=10, fontweight="bold", va="center")
        for x, (name, unit, _, _) in zip(columns, _DISTANCES, strict=True):
            axes.text(x, -0.95, f"{name}\n({unit})", ha="right", va="center", fontsize=7, color=style.MUTED)
    for row, (name, noise) in enumerate(sources.items()):
        axes.plot([0.0, 0.13], [row, row], **looks[name])
        axes.text(0.16, row, name, va="center", fontweight="bold" if name == "real" else "normal")
        if name == "real" or "real" not in sources:
            continue
        distances = noise_distances(noise, sources["real"])
        for x, (kind, _, _, digits) in zip(columns, _DISTANCES, strict=True):
            axes.text(x, row, f"{distances[kind]:.{digits}f}", ha="right", va="center")


def _intensity_panels(
    figure: SubFigure, sources: Mapping[str, Noise], looks: Mapping[str, dict[str, Any]]
) -> None:
    panels = figure.subplots(1, 3, sharey=True)
    for channel, (axes, title) in enumerate(zip(panels, ("red", "green", "blue"), strict=True)):
        for name, noise in sources.items():
            level = 255 * np.array(noise.statistics["intensity"]["level"], dtype=float)
            axes.plot(level, _levels(noise.statistics)[channel], **looks[name])
        axes.set(title=f"Strength against intensity, {title}", xlabel="clean intensity (levels of 255)")
        axes.set(xlim=(0, 255), xticks=range(0, 256, 51))
    panels[0].set_ylim(0, None)
    panels[0].set_ylabel("noise standard deviation\n(levels of 255)")


def _square_panels(figure: SubFigure, sources: Mapping[str, Noise]) -> None:
    """Above, each source's spatial autocorrelation as a picture; below, its channel correlation."""
    panels = figure.subplots(2, len(sources), squeeze=False)
    for column, (name, noise) in enumerate(sources.items()):
        surface, matrix = _lags(noise.statistics), _channels(noise.statistics)
        reach = len(surface) // 2
        extent = (-reach - 0.5, reach + 0.5, reach + 0.5, -reach - 0.5)
        above, below = panels[:, column]
        colors = above.imshow(surface, cmap="RdBu_r", vmin=-1, vmax=1, extent=extent)
        below.imshow(matrix, cmap="RdBu_r", vmin=-1, vmax=1)
        above.set(xticks=[-reach, 0, reach], yticks=[-reach, 0, reach], xlabel="lag (pixels)")
        above.set_title(name, loc="center")
        below.set(xticks=range(3), yticks=range(3), xticklabels="RGB", yticklabels="RGB")
        for (i, j), value in np.ndenumerate(matrix):
            below.text(
                j,
                i,
                f"{value:.2f}",
                ha="center",
                va="center",
                color="white" if abs(value) > 0.6 else style.INK,
            )
    for axes in panels.flat:
        axes.grid(visible=False)
    panels[0, 0].set_ylabel("spatial correlation\nlag (pixels)")
    panels[1, 0].set_ylabel("channel correlation")
    figure.colorbar(
        colors, ax=list(panels.flat), label="correlation", ticks=[-1, -0.5, 0, 0.5, 1], aspect=24, pad=0.02
    )
