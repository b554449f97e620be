"""Noise2Self: a restorer that learns from degraded images alone (Batson and Royer, ICML 2019)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from nopairs.errors import NopairsError
from nopairs.restorers.dncnn import DnCNN, DnCNNOptions

# Weights of a masked pixel's neighbours, those at its sides counting twice, as in the authors' code.
NEIGHBOURS = torch.tensor([[1.0, 2.0, 1.0], [2.0, 0.0, 2.0], [1.0, 2.0, 1.0]]) / 12


@dataclass(frozen=True)
class Noise2SelfOptions(DnCNNOptions):
    """Size of the DnCNN, and how pixels are hidden from it.

    grid: side of the cells in each of which one pixel is hidden at a time.
    blind: whether a pixel is hidden when it is restored as well, as the theory has it, in grid x grid passes; without, one pass
        restores all pixels with all in sight.
    """

    grid: int = 4
    blind: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.grid < 2:
            raise NopairsError(f"noise2self: grid {self.grid} must be at least 2")

    @property
    def roles(self) -> tuple[str, ...]:
        """Roles of the dataset that training reads."""
        return ("degraded",)


class Noise2Self(DnCNN):
    """A DnCNN that learns to tell pixels from their neighbourhood: noise that differs from pixel to pixel cannot be told.

    The network sees hidden pixels as the mean of their neighbours, so that no output depends on the pixel it stands for
    (J-invariance): the expected squared error against the *degraded* image is then that against the clean one plus the noise's
    variance, if the noise is independent between pixels. Noise that is not, as cameras', is told and so kept.
    """

    Options = Noise2SelfOptions
    options: Noise2SelfOptions

    def __init__(self, options: Noise2SelfOptions) -> None:
        super().__init__(options)
        self.margin += 1

    def losses(self, progress: float, *, degraded: torch.Tensor) -> dict[str, torch.Tensor]:  # type: ignore[override]
        """Return the mean squared difference of restored and degraded images (batch, 3, H, W) at one hidden pixel a cell."""
        phase = int(torch.randint(self.options.grid**2, ()))
        hidden = grid_mask(degraded.shape[2:], self.options.grid, phase).to(degraded.device)
        restored = super().forward(hide(degraded, hidden)).float()
        return {"loss": F.mse_loss(restored[:, :, hidden], degraded[:, :, hidden])}

    def forward(self, degraded: torch.Tensor) -> torch.Tensor:
        """Map (batch, 3, H, W) in [0, 1] to the restored image of the same shape, not clipped."""
        if not self.options.blind:
            return super().forward(degraded)
        restored = torch.zeros_like(degraded)
        for phase in range(self.options.grid**2):
            hidden = grid_mask(degraded.shape[2:], self.options.grid, phase).to(degraded.device)
            restored = torch.where(hidden, super().forward(hide(degraded, hidden)), restored)
        return restored


def grid_mask(size: torch.Size | tuple[int, int], grid: int, phase: int) -> torch.Tensor:
    """Return a boolean mask (height, width) with one pixel in each grid x grid cell; `phase` counts through a cell's pixels."""
    rows, columns = (torch.arange(side) % grid for side in size)
    top, left = divmod(phase, grid)
    return (rows == top)[:, None] & (columns == left)[None]


def hide(images: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """Replace the pixels of (batch, channels, H, W) where the mask (H, W) is set by the mean of their eight neighbours."""
    channels = images.shape[1]
    kernel = NEIGHBOURS.to(images).expand(channels, 1, 3, 3)
    # Reflection keeps a pixel out of its own neighbourhood; an image of one row or column has nothing to reflect.
    mode = "reflect" if min(images.shape[2:]) > 1 else "replicate"
    around = F.conv2d(F.pad(images, (1, 1, 1, 1), mode=mode), kernel, groups=channels)
    return torch.where(hidden, around.to(images.dtype), images)
