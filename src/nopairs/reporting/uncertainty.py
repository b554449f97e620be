"""What the samples of a posterior say of their uncertainty, and whether it is right."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nopairs.reporting import style

# Nominal levels at which intervals are checked.
LEVELS = (0.5, 0.8, 0.9, 0.95)
# Pixels a side of the middle that is shown larger.
ZOOM = 96


def coverage(truth: NDArray[np.floating], samples: NDArray[np.floating]) -> pd.DataFrame:
    """Return for each nominal level the share of pixels whose truth lies between the samples' quantiles.

    With n samples of the truth's own distribution their quantiles, as ranks, hold exactly the level's share: the interval between the
    k-th smallest and the k-th largest of n samples holds the truth with probability (n + 1 - 2k) / (n + 1), which is the column level.

    Args:
        truth: (H, W).
        samples: (count, H, W).
    """
    count = len(samples)
    ordered = np.sort(samples, axis=0)
    rows = []
    for level in LEVELS:
        k = max(1, round((1 - level) * (count + 1) / 2))
        inside = (ordered[k - 1] <= truth) & (truth <= ordered[count - k])
        rows.append({"level": (count + 1 - 2 * k) / (count + 1), "coverage": float(inside.mean())})
    return pd.DataFrame(rows).drop_duplicates("level", ignore_index=True)


@style.styled()
def uncertainty(
    truth: NDArray[np.floating], observed: NDArray[np.floating], samples: NDArray[np.floating], title: str
) -> Figure:
    """Draw a part of the truth, its observation, three samples and the pixelwise standard deviation of all, side by side.

    Grey values are those of images in [0, 1], deviations too; `observed` has the truth's size (`Convolution.pixels`).
    """
    height, width = truth.shape
    side = min(ZOOM, height, width)
    top, left = (height - side) // 2, (width - side) // 2
    part = np.s_[top : top + side, left : left + side]
    deviation = samples.std(axis=0, ddof=1)[part]
    panels = [("truth", truth[part]), ("observation", observed[part])]
    panels += [(f"sample {k + 1}", samples[k][part]) for k in range(min(3, len(samples)))]
    figure = Figure(figsize=(2.0 * (len(panels) + 1) + 0.6, 2.5), layout="constrained")
    axes = figure.subplots(1, len(panels) + 1)
    low, high = float(truth.min()), float(truth.max())
    for axis, (name, image) in zip(axes, panels, strict=False):
        axis.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        axis.set_title(name)
    shown = axes[-1].imshow(deviation, cmap="viridis", vmin=0, interpolation="nearest")
    axes[-1].set_title(f"deviation of all {len(samples)}")
    figure.colorbar(shown, ax=axes[-1], shrink=0.8)
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
        axis.grid(False)
        for spine in axis.spines.values():
            spine.set_visible(False)
    style.set_title(figure, title)
    return figure
