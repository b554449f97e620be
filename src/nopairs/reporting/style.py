"""How results look: each method's colour, the matplotlib settings, how metrics are named and printed."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from nopairs.errors import NopairsError
from nopairs.files import atomic_file

INK = "#1f2328"
MUTED = "#6b7280"
GRID = "#e3e5e8"

# Okabe and Ito's colours, which stay apart under the common forms of colour blindness.
_COLORS = {
    "input": "#8a8a8a",
    "enlarged": "#8a8a8a",  # the input of super-resolution
    "real": "#1f2328",
    "clean": "#1f2328",
    "nlm": "#cc79a7",
    "bm3d": "#882255",
    "awgn": "#e69f00",
    "awgn_tuned": "#d55e00",
    "ludvae": "#0072b2",
    "supervised": "#009e73",
}
# Paul Tol's muted colours and what is left of Okabe and Ito's: names that stand in one table have different ones.
_GROUPS = (
    {
        "mcwnnm": "#aa4499",
        "noise2self": "#999933",
        "dncnn_ludvae_sidd": "#44aa99",
        "dncnn_ludvae_dnd": "#117733",
    },
    {"deflow_np": "#661100", "ludvae_m2": "#56b4e9", "ludvae_pairs": "#332288"},
    {
        "bicubic": "#6699cc",
        "dsgan": "#aa4499",
        "dasr": "#44aa99",
        "noise_patches": "#d55e00",
        "ots": "#332288",
    },
    {"l2_tv": "#e69f00", "dip_tv": "#d55e00", "epll": "#882255", "wpp": "#cc79a7", "patchnr": "#0072b2"},
    {
        "patchnr_anchored": "#56b4e9",
        "pnp": "#44aa99",
        "cnn": "#009e73",
        "zssr": "#999933",
        "dualsr": "#661100",
    },
    {
        "fbp": "#8a8a8a",
        "fbp_unet": "#009e73",
        "local_ar": "#44aa99",
        "wppnet": "#332288",
        "wppflow": "#aa4499",
    },
)
_COLORS |= {name: color for group in _GROUPS for name, color in group.items()}
# For every other name.
_SPARE = ("#56b4e9", "#aa4499", "#999933", "#44aa99", "#661100", "#332288")

_LINES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)), (0, (3, 1)))

RC: dict[Any, Any] = {
    "figure.dpi": 100,
    "savefig.dpi": 160,
    "savefig.bbox": "tight",
    "savefig.pad_inches": 0.12,
    "figure.constrained_layout.use": True,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "figure.titlesize": 13,
    "figure.titleweight": "bold",
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.8,
    # TrueType outlines keep the text of the PDF selectable.
    "pdf.fonttype": 42,
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw with these settings over matplotlib's defaults, whatever the user's own say; also a decorator."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(RC)
        yield


def save(figure: Figure, path: Path) -> None:
    """Write `figure` as `path` (PNG) and beside it as PDF; equal figures give equal bytes.

    Raises NopairsError where `path` is not a PNG.
    """
    if path.suffix != ".png":
        raise NopairsError(f"{path}: figures are written as PNG with a PDF beside; end the name in .png")
    undated = {".png": {"Software": None}, ".pdf": {"CreationDate": None, "Creator": None, "Producer": None}}
    for suffix, metadata in undated.items():
        with styled(), atomic_file(path.with_suffix(suffix)) as temporary:
            figure.savefig(temporary, metadata=metadata)


def set_title(figure: Figure, text: str) -> None:
    """Write the figure's title at its upper left."""
    figure.suptitle(text, x=0.01, ha="left")


def set_log_scale(axes: Axes, ratio: float) -> None:
    """Make the y axis logarithmic, with plain numbers at 1, 2 and 5, or only at decades if `ratio` is large.

    `ratio` is the largest value shown, divided by the smallest.
    """
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if ratio < 200 else (1.0,)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def line(index: int) -> Any:
    """Return the line style of a panel's curve number `index`, so that curves differ by more than colour."""
    return _LINES[index % len(_LINES)]


def color(name: str) -> str:
    """Return the hexadecimal colour of a method or degradation, the same in every figure and table.

    A chain such as ``ludvae+dncnn`` has the colour of its first part, so that a degradation's noise and the
    restorer trained on it are seen to belong together. Other names get a colour by their spelling.
    """
    head = name.split("+")[0]
    return _COLORS.get(head) or _SPARE[zlib.crc32(head.encode()) % len(_SPARE)]


@dataclass(frozen=True)
class Metric:
    """How a metric is shown.

    Its name, its unit, whether higher is better (None: not known), and its decimals (None: by its size).
    """

    label: str
    unit: str = ""
    higher_is_better: bool | None = None
    decimals: int | None = None

    @property
    def arrow(self) -> str:
        """The direction of better values as an arrow, empty where it is not known."""
        return {True: "↑", False: "↓", None: ""}[self.higher_is_better]

    @property
    def direction(self) -> str:
        """The direction of better values in words, empty where it is not known."""
        return {True: "higher is better", False: "lower is better", None: ""}[self.higher_is_better]

    def precision(self, values: Iterable[float]) -> int:
        """Return the decimals that show `values` to about three digits, or the metric's own."""
        if self.decimals is not None:
            return self.decimals
        largest = max((abs(value) for value in values if math.isfinite(value) and value), default=1.0)
        return max(0, 2 - math.floor(math.log10(largest)))

    def best(self, values: Iterable[float]) -> float | None:
        """Return the best of the finite values, or None where there is none or the direction is not known."""
        finite = [value for value in values if math.isfinite(value)]
        if not finite or self.higher_is_better is None:
            return None
        return max(finite) if self.higher_is_better else min(finite)


# In the order in which tables and figures show them.
METRICS = {
    "psnr": Metric("PSNR", "dB", higher_is_better=True, decimals=2),
    "ssim": Metric("SSIM", higher_is_better=True, decimals=3),
    "lpips": Metric("LPIPS", higher_is_better=False, decimals=3),
    "lpips_vgg": Metric("LPIPS (VGG)", higher_is_better=False, decimals=3),
    "swd": Metric("SWD", higher_is_better=False),
    "pwd": Metric("Patch distance", higher_is_better=False, decimals=2),
    "fid": Metric("FID", higher_is_better=False),
    "kid": Metric("KID", higher_is_better=False),
    "is": Metric("IS", higher_is_better=True),
    "niqe": Metric("NIQE", higher_is_better=False, decimals=2),
    "parameters": Metric("Parameters", "M", decimals=2),
}


def metric(name: str) -> Metric:
    """Return how the metric `name` is shown; an unknown one has its own name and no direction."""
    return METRICS.get(name) or Metric(name)


def order_metrics(names: Iterable[str]) -> list[str]:
    """Return the different names, known metrics first and in their order, then the others as they come."""
    seen = list(dict.fromkeys(names))
    return [name for name in METRICS if name in seen] + [name for name in seen if name not in METRICS]
