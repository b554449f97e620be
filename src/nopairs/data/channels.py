"""Channel statistics of the two unpaired halves, by which degraded images are brought to the clean ones' colours and back.

As in DeFlow and, for AIM19, LUD-VAE (section 4.2): a degradation model is trained on degraded images of the clean domain's channel-wise
mean and deviation, and what it samples is given the degraded domain's again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from nopairs.data.tiles import like_degraded, read_tiles
from nopairs.files import read_json, write_json

FILE = "channels.json"


@dataclass(frozen=True)
class Channels:
    """Means and standard deviations of the three channels, in [0, 1] units, (1, 3, 1, 1) each."""

    clean_mean: torch.Tensor
    clean_deviation: torch.Tensor
    degraded_mean: torch.Tensor
    degraded_deviation: torch.Tensor

    @classmethod
    def read(cls, dataset: Path) -> Channels | None:
        """Read what `write_channels` wrote into a dataset's folder; None where it does not ask for normalisation."""
        if not (dataset / FILE).is_file():
            return None
        read = read_json(dataset / FILE)
        return cls(**{name: torch.tensor(read[name]).view(1, 3, 1, 1) for name in cls.__dataclass_fields__})

    def normalise(self, degraded: torch.Tensor) -> torch.Tensor:
        """Give degraded images (batch, 3, H, W) the clean domain's statistics; values may leave [0, 1]."""
        standard = (degraded - self.degraded_mean.to(degraded)) / self.degraded_deviation.to(degraded)
        return standard * self.clean_deviation.to(degraded) + self.clean_mean.to(degraded)

    def undo(self, sampled: torch.Tensor) -> torch.Tensor:
        """Give sampled images (batch, 3, H, W) the degraded domain's statistics."""
        standard = (sampled - self.clean_mean.to(sampled)) / self.clean_deviation.to(sampled)
        return standard * self.degraded_deviation.to(sampled) + self.degraded_mean.to(sampled)


def write_channels(dataset: Path) -> None:
    """Measure both halves' tiles, the clean ones at the degraded ones' size, and write `channels.json` into the dataset's folder."""
    statistics: dict[str, list[float]] = {}
    for name, folder in (("clean", like_degraded(dataset)), ("degraded", dataset / "degraded")):
        pixels = read_tiles(folder)[0]
        # Tile by tile: whole halves as float64 would take eight times their memory.
        means = np.stack([tile.mean((0, 1), dtype=np.float64) for tile in pixels])
        squares = np.stack([np.square(tile.astype(np.float64)).mean((0, 1)) for tile in pixels])
        mean = means.mean(0)
        deviation = np.sqrt(squares.mean(0) - mean**2)
        statistics |= {f"{name}_mean": (mean / 255).tolist(), f"{name}_deviation": (deviation / 255).tolist()}
    write_json(dataset / FILE, statistics)
