"""DnCNN on a pyramid: noise that is wider than a plain network sees is taken away where it is narrow.

Camera noise that was demosaiced and compressed is coloured blotches of 8 to 60 pixels beside fine grain. A DnCNN of 10 layers sees 21
pixels, and it learns the faint blotches last: its loss is mostly of the grain. Here the same layers work at each level of a pyramid,
from coarse to fine, on opponent colours whose differences are enlarged (`docs/decisions.md`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from nopairs.data.opponent import GAIN, from_opponent, to_opponent
from nopairs.errors import NopairsError
from nopairs.restorers.dncnn import DnCNNOptions, convolutions

# Of the predicted noise: at 1 the coarsest level's first steps are too large for the learning rate of a DnCNN.
STEP = 0.5


@dataclass(frozen=True)
class PyramidOptions(DnCNNOptions):
    """Size of the DnCNN at each level, and the number of levels, each half as wide and high as the one before."""

    depth: int = 12
    batch_norm: bool = False
    levels: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.levels <= 8:
            raise NopairsError(f"pyramid: levels {self.levels} must be within 1 and 8")
        if self.start:
            raise NopairsError("pyramid: there are no published weights to `start` from; dncnn has some")
        if self.keep_wide:
            raise NopairsError("pyramid: its levels are there for what is wide; leave `keep_wide` out")


class Pyramid(nn.Module):
    """Restores the coarsest level, then at each finer one puts it in place of what is that wide, and restores what is left."""

    Options = PyramidOptions
    learned = True

    def __init__(self, options: PyramidOptions) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            convolutions(3 if level == options.levels - 1 else 6, options) for level in range(options.levels)
        )
        self.self_ensemble = options.self_ensemble
        self.multiple = 2 ** (options.levels - 1)
        # Of each level its layers, and two pixels for the way there and back.
        self.margin = (options.depth + 2) * (2**options.levels - 1)

    def forward(self, degraded: torch.Tensor) -> torch.Tensor:
        """Map (batch, 3, H, W) in [0, 1] to the restored image of the same shape, not clipped."""
        height, width = degraded.shape[2:]
        padded = F.pad(degraded, (0, -width % self.multiple, 0, -height % self.multiple), mode="replicate")
        levels = [to_opponent(padded - 0.5) * GAIN.to(degraded.device)]
        for _ in self.levels[1:]:
            levels.append(F.avg_pool2d(levels[-1], 2))
        restored = levels[-1] - STEP * self.levels[-1](levels[-1])
        for level in reversed(range(len(levels) - 1)):
            wide = F.interpolate(restored - levels[level + 1], scale_factor=2, mode="bilinear")
            mixed = levels[level] + wide
            restored = mixed - STEP * self.levels[level](torch.cat([mixed, levels[level]], 1))
        image = from_opponent(restored / GAIN.to(degraded.device)) + 0.5
        return image[..., :height, :width]

    def losses(
        self, progress: float, *, clean: torch.Tensor, degraded: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return the mean squared error of the restored image."""
        return {"loss": F.mse_loss(self(degraded).float(), clean)}
