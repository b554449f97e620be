"""What is shown of a dataset: some of its test images, and of an image the square with most detail."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, sobel, uniform_filter
from skimage.color import rgb2gray

from nopairs.data.index import read_index
from nopairs.errors import NopairsError

Pixels = NDArray[np.uint8]


def choose_images(dataset: Path, most: int) -> list[str]:
    """Return up to `most` file names of a dataset's test images, the first of each scene before further ones.

    Raises NopairsError where the dataset has no test image.
    """
    index = read_index(dataset)
    test = index[index["role"] == "test"].sort_values("path")
    degraded = test[test["path"].str.startswith("test/degraded/")]
    test = test if degraded.empty else degraded  # an operator observes clean ones
    if test.empty:
        raise NopairsError(f"{dataset}: its index has no test image; nothing to show")
    turns = test.assign(turn=test.groupby("scene").cumcount()).sort_values(["turn", "path"])
    return sorted(Path(path).name for path in turns["path"][:most])


@dataclass(frozen=True)
class Box:
    """A square of an image: the column and row of its upper left pixel, and its side, in pixels."""

    x: int
    y: int
    size: int

    def cut(self, image: Pixels) -> Pixels:
        """Return that square of `image`."""
        return image[self.y : self.y + self.size, self.x : self.x + self.size]


def zoom_box(image: Pixels, size: int | None = None) -> Box:
    """Choose the square with the most gradient energy among those of moderate brightness.

    `image` is 8-bit RGB; moderate is a mean grey of 0.25 to 0.75, and where no square is, all of them count.
    The side is `size` pixels, or a quarter of the shorter side, at least 32; no more than that side. Of equal squares, the upper left one.
    """
    height, width = image.shape[:2]
    size = min(height, width, size or max(32, min(height, width) // 4))
    grey = gaussian_filter(rgb2gray(image), 1.0)
    energy = _box_means(sobel(grey, 0) ** 2 + sobel(grey, 1) ** 2, size)
    brightness = _box_means(grey, size)
    moderate = (brightness >= 0.25) & (brightness <= 0.75)
    score = np.where(moderate, energy, -1.0) if moderate.any() else energy
    y, x = np.unravel_index(int(score.argmax()), score.shape)
    return Box(int(x), int(y), size)


def _box_means(values: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Return the mean of each whole size x size square, at its upper left pixel."""
    means = uniform_filter(values, size, origin=-(size // 2))
    return means[: values.shape[0] - size + 1, : values.shape[1] - size + 1]
