"""DnCNN with guides: a network that corrects what restorers without training make of an image.

A plain network sees a few dozen pixels; BM3D compares patches far apart, and so takes away wide noise that short trainings on few photos
leave (docs/experiments.md, sections 12, 13, 23). The two err differently. Here the network gets the degraded image and the guides' restored
ones, and learns what to change of the first guide's: one that has learned nothing returns that guide.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from nopairs.data.tiles import to_tensor, to_uint8
from nopairs.errors import NopairsError
from nopairs.restorers.classical import ClassicalRestorer, Guides, guides
from nopairs.restorers.dncnn import DnCNNOptions, convolutions

# Pixels whose guides are kept, at most: the first images to come, since those that validate a training come again and again.
KEPT = 2**22


@dataclass(frozen=True)
class GuidedOptions(DnCNNOptions):
    """Size of the DnCNN, and its guides.

    guides: (kind, strength) each, `bm3d` or `nlm`; the network's output is a correction of the first one's.
    tiles: training tiles that guides are made for, at most, evenly spread; BM3D takes half a second for one of 128 x 128 pixels.
    """

    batch_norm: bool = False
    guides: Guides = (("bm3d", 0.07), ("nlm", 0.02))
    tiles: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.start:
            raise NopairsError("guided: there are no published weights to `start` from; dncnn has some")
        if self.tiles < 1:
            raise NopairsError(f"guided: tiles is {self.tiles}; it must be at least 1")
        guides("guided", self.guides)


class Guided(nn.Module):
    """Corrects the first guide's image, from the degraded one and all guides' images."""

    Options = GuidedOptions
    learned = True
    multiple = 1

    def __init__(self, options: GuidedOptions) -> None:
        super().__init__()
        self.options = options
        self.guides = guides("guided", options.guides)
        self.model = convolutions(3 * (1 + len(self.guides)), options)
        self.self_ensemble = options.self_ensemble
        self.margin = options.depth + max(guide.margin for guide in self.guides)
        self._kept: dict[bytes, torch.Tensor] = {}
        self._room = KEPT

    def training_tiles(self, tiles: dict[str, np.ndarray], threads: int) -> dict[str, np.ndarray]:
        """Return so many `clean` and `degraded` tiles, uint8 (tiles, H, W, 3), as the options say, and each guide's images of them."""
        there = len(tiles["degraded"])
        places = np.linspace(0, there - 1, min(there, self.options.tiles)).round().astype(int)
        kept = {side: np.asarray(images[places]) for side, images in tiles.items()}
        with ThreadPoolExecutor(threads) as pool:
            for number, guide in enumerate(self.guides):

                def restored(tile: np.ndarray, guide: ClassicalRestorer = guide) -> np.ndarray:
                    return to_uint8(guide(to_tensor(tile[None])))[0]

                kept[f"guide{number}"] = np.stack(list(pool.map(restored, kept["degraded"])))
        return kept

    def guided(self, degraded: torch.Tensor) -> list[torch.Tensor]:
        """Return each guide's image of (batch, 3, H, W), of the first ones that came from memory."""
        key = hashlib.sha256(degraded.float().cpu().contiguous().numpy().tobytes()).digest()
        key += repr(tuple(degraded.shape)).encode()
        if key in self._kept:
            return list(self._kept[key])
        images = torch.stack([guide(degraded) for guide in self.guides])
        if (pixels := degraded[:, 0].numel()) <= self._room:
            self._kept[key], self._room = images, self._room - pixels
        return list(images)

    def corrected(self, degraded: torch.Tensor, guides: list[torch.Tensor]) -> torch.Tensor:
        """Map the degraded image and the guides' ones, each (batch, 3, H, W) in [0, 1], to the restored image, not clipped."""
        return guides[0] - self.model(torch.cat([degraded, *guides], 1))

    def forward(self, degraded: torch.Tensor) -> torch.Tensor:
        """Map (batch, 3, H, W) in [0, 1] to the restored image of the same shape, not clipped."""
        return self.corrected(degraded, self.guided(degraded))

    def losses(
        self, progress: float, *, clean: torch.Tensor, degraded: torch.Tensor, **guides: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return the mean squared error of the restored image; `guide0`, `guide1` ... are the guides' images."""
        images = [guides[f"guide{number}"] for number in range(len(self.guides))]
        return {"loss": F.mse_loss(self.corrected(degraded, images).float(), clean)}
