"""Batches for the loop: from two unpaired domains, or from pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from nopairs.data.tiles import random_crops, read_tiles, to_tensor, to_uint8
from nopairs.training.loop import Batch
from nopairs.training.options import TrainingOptions

# Share of the synthetic pairs that validates a restorer where the dataset has no real ones, and their largest number.
HELD_OUT_SHARE, HELD_OUT_MOST = 0.1, 64
Images = list[tuple[np.ndarray, np.ndarray]]


def hold_out(clean: np.ndarray, degraded: np.ndarray) -> Images:
    """Return the first pairs of tiles, (clean, degraded), that stand in for validation images; none of a single pair."""
    held = max(1, min(HELD_OUT_MOST, int(HELD_OUT_SHARE * len(clean)))) if len(clean) > 1 else 0
    return list(zip(clean[:held], degraded[:held], strict=True))


class UnpairedData:
    """Half of each batch from clean tiles, half from degraded ones."""

    def __init__(self, dataset: Path, options: TrainingOptions) -> None:
        """`dataset` holds the folders clean/ and degraded/."""
        self.clean, self.clean_names = read_tiles(dataset / "clean")
        self.degraded, self.degraded_names = read_tiles(dataset / "degraded")
        self.half, self.crop = max(1, options.batch // 2), options.crop

    def batch(self, rng: np.random.Generator) -> Batch:
        """Return `clean` and `degraded`, each (batch / 2, 3, crop, crop), and the tiles' indices."""
        (clean,), self.clean_index = random_crops([self.clean], self.half, self.crop, rng)
        (degraded,), self.degraded_index = random_crops([self.degraded], self.half, self.crop, rng)
        return {"clean": clean, "degraded": degraded}

    def describe(self) -> str:
        """Name the files of the latest batch."""
        names = [self.clean_names[k] for k in self.clean_index] + [
            self.degraded_names[k] for k in self.degraded_index
        ]
        return ", ".join(names)

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Unpaired data cannot tell a good degradation model from a bad one."""
        raise NotImplementedError


class PairedData:
    """Crops of clean and degraded tiles that belong together; validated on whole pairs of images."""

    def __init__(
        self,
        clean: np.ndarray,
        degraded: np.ndarray,
        val: Images,
        options: TrainingOptions,
    ) -> None:
        """`clean` and `degraded`: uint8 (tiles, height, width, 3); `val`: (clean, degraded) images, uint8 (H, W, 3)."""
        self.clean, self.degraded, self.val = clean, degraded, val
        self.size, self.crop = options.batch, options.crop

    @classmethod
    def with_validation(
        cls,
        clean: np.ndarray,
        degraded: np.ndarray,
        val: Images,
        options: TrainingOptions,
    ) -> PairedData:
        """Train on pairs and validate on `val`, or when that is empty on some of the pairs, held out."""
        if val:
            return cls(clean, degraded, val, options)
        held = hold_out(clean, degraded)
        return cls(clean[len(held) :], degraded[len(held) :], held, options)

    def batch(self, rng: np.random.Generator) -> Batch:
        """Return `clean` and `degraded`, each (batch, 3, crop, crop)."""
        (clean, degraded), self.index = random_crops([self.clean, self.degraded], self.size, self.crop, rng)
        return {"clean": clean, "degraded": degraded}

    def describe(self) -> str:
        """Name the pairs of the latest batch."""
        return "pairs " + ", ".join(map(str, self.index))

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return the mean PSNR (dB) of the restored validation images, rounded to 8 bits."""
        return {"psnr": validation_psnr(network, self.val)}


@torch.inference_mode()
def validation_psnr(network: nn.Module, pairs: Images) -> float:
    """Return the mean PSNR (dB, all RGB channels, 8 bits) of `network` on (clean, degraded) images, uint8 (H, W, 3)."""
    device = next(network.parameters(), torch.empty(0)).device
    values = []
    for clean, degraded in pairs:
        restored = to_uint8(network(to_tensor(degraded[None]).to(device)))[0]
        error = np.mean((restored.astype(np.float64) - clean) ** 2)
        values.append(10 * np.log10(255**2 / max(error, 1e-12)))
    return float(np.mean(values))
