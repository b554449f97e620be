"""The visual comparison: a whole test image, and one part of it enlarged as every method restores it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from nopairs.data.showing import Box, Pixels, zoom_box
from nopairs.errors import NopairsError
from nopairs.metrics.quality import psnr
from nopairs.reporting import style

# Inches between the enlarged parts, and of a bold letter above them.
GAP, LETTER = 0.12, 0.078


@style.styled()
def comparison(
    title: str,
    degraded: Pixels | None,
    restored: Mapping[str, Pixels],
    clean: Pixels | None,
    box: Box | None = None,
) -> Figure:
    """The degraded image with a marked box, and that box enlarged: input, every method, the clean truth.

    Without a degraded image of their size, the first method's takes its place.

    The crops carry their own PSNR (8-bit RGB) where `clean` is known. Raises NopairsError where sizes
    differ or the box leaves the image.
    """
    crops = {"input": degraded} if degraded is not None else {}
    crops |= {**restored} | ({"clean": clean} if clean is not None else {})
    first, whole_image = next(iter(crops.items()))
    for name, image in crops.items():
        if image.shape != whole_image.shape:
            raise NopairsError(
                f"{title}, {name}: {_size(image)} pixels, {first} has {_size(whole_image)}; restore it again"
            )
    box = box or zoom_box(whole_image if clean is None else clean)
    height, width = whole_image.shape[:2]
    if box.x < 0 or box.y < 0 or box.size < 1 or box.x + box.size > width or box.y + box.size > height:
        raise NopairsError(
            f"{title}: the zoom box {box} leaves its {_size(whole_image)} pixels; choose a smaller one"
        )
    scores = {name: _crop_psnr(image, clean, box) for name, image in crops.items() if name != "clean"}
    best = max(
        (score for name, score in scores.items() if score is not None and name != "input"), default=None
    )
    layout = _Layout.of(len(crops), height / width)
    labels = {name: _label(name, int((layout.side + GAP) / LETTER)) for name in crops}
    longest = any("\n" in label for label in labels.values())
    figure, whole, panels = layout.axes(text=0.57 if longest else 0.42)
    _whole_image(whole, first, whole_image, box, measured=best is not None)
    for axes, (name, image) in zip(panels, crops.items(), strict=True):
        _crop_panel(axes, name, labels[name], box.cut(image), scores.get(name), best)
    figure.suptitle(title, x=0.0, ha="left", y=1.0, va="bottom")
    return figure


@dataclass(frozen=True)
class _Layout:
    """The whole image at the left, of so many inches and height by width, and `count` squares in a grid at its right.

    Placed by hand, in inches, because the images' own shapes must decide where titles and gaps go.
    """

    count: int
    columns: int
    whole: float
    aspect: float
    side: float

    @classmethod
    def of(cls, count: int, aspect: float) -> _Layout:
        root = math.ceil(math.sqrt(count))
        columns = min((root, root + 1), key=lambda n: math.ceil(count / n) * n - count)
        whole = min(3.9, 6.0 / aspect)
        return cls(count, columns, whole, aspect, min(2.1, (11 - whole - 0.3) / columns - GAP))

    def axes(self, text: float) -> tuple[Figure, Axes, list[Axes]]:
        """Return a figure, axes for the whole image, and those of the squares; `text` is the height of their labels."""
        side, rows = self.side, math.ceil(self.count / self.columns)
        width = self.whole + 0.3 + self.columns * (side + GAP) - GAP
        height = max(rows * (side + text) + 0.2, self.whole * self.aspect + text + 0.08)
        figure = Figure(figsize=(width, height))
        figure.set_layout_engine("none")

        def place(left: float, top: float, wide: float, high: float) -> Axes:
            return figure.add_axes((left / width, 1 - (top + high) / height, wide / width, high / height))

        whole = place(0, text, self.whole, self.whole * self.aspect)
        lefts = [self.whole + 0.3 + (index % self.columns) * (side + GAP) for index in range(self.count)]
        tops = [text + (index // self.columns) * (side + text) for index in range(self.count)]
        return figure, whole, [place(left, top, side, side) for left, top in zip(lefts, tops, strict=True)]


def _size(image: Pixels) -> str:
    return f"{image.shape[1]} x {image.shape[0]}"


def _crop_psnr(image: Pixels, clean: Pixels | None, box: Box) -> float | None:
    return None if clean is None else psnr(box.cut(clean), box.cut(image))


def _whole_image(axes: Axes, name: str, image: Pixels, box: Box, measured: bool) -> None:
    axes.imshow(image, interpolation="antialiased")
    for edge, width in (("white", 4.0), (style.color("awgn_tuned"), 2.0)):
        corner = (box.x - 0.5, box.y - 0.5)
        axes.add_patch(Rectangle(corner, box.size, box.size, fill=False, edgecolor=edge, linewidth=width))
    of = "\nPSNR of the framed part" if measured else ""
    axes.set_title(f"{name}, {_size(image)} pixels{of}", fontweight="normal")
    axes.set_axis_off()


def _label(name: str, most: int) -> str:
    """Break a name of more than `most` letters in two lines."""
    place = name.rfind("+" if "+" in name else "_")
    return name if len(name) <= most or place < 1 else f"{name[:place]}\n{name[place:]}"


def _crop_panel(
    axes: Axes, name: str, label: str, crop: Pixels, score: float | None, best: float | None
) -> None:
    axes.imshow(crop, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color(style.color(name))
    axes.spines[:].set_linewidth(2.5)
    number = "" if score is None else f"\n{score:.2f} dB"
    weight = "bold" if score is not None and score == best else "normal"
    axes.set_title(label + number, fontsize=8.5, loc="center", fontweight=weight, pad=4, linespacing=1.25)
