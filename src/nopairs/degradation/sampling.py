"""Synthetic pairs: a degradation model applied to training tiles, written once and read many times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import nn

from nopairs.data.channels import Channels
from nopairs.data.tiles import REDUCED, like_degraded, read_tiles, to_tensor, to_uint8
from nopairs.errors import NopairsError
from nopairs.models import load_model, make, training_roles
from nopairs.training.hardware import autocast

LARGE = "large"


@dataclass(frozen=True)
class SamplingOptions:
    """How pairs are sampled.

    mode: which of the model's ways of making pairs (its `MODES`); the first one by default.
    strength: each image's strength is drawn uniformly from this range: sigma for AWGN, the noise level t for LUD-VAE.
    candidates: ranges to choose `strength` from on the dataset's validation pairs; where it has none, `strength` stands.
    copies: samples of each clean tile.
    precision: auto takes bfloat16 where the hardware is faster with it.
    """

    mode: str = ""
    strength: tuple[float, float] = (1.0, 1.0)
    candidates: tuple[tuple[float, float], ...] = ()
    copies: int = 8
    precision: str = "auto"

    def __post_init__(self) -> None:
        for low, high in (self.strength, *self.candidates):
            if not 0 <= low <= high:
                raise NopairsError(
                    f"sampling: strength [{low}, {high}] must be a range [low, high] with 0 <= low <= high"
                )
        if self.copies < 1:
            raise NopairsError(f"sampling: copies is {self.copies}; it must be at least 1")


class PairMaker(Protocol):
    """A degradation model: makes pairs from clean images, from degraded ones, or from both."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Its weights, if any: they tell its device."""

    def make_pairs(
        self,
        clean: torch.Tensor | None,
        degraded: torch.Tensor | None,
        mode: str,
        strength: torch.Tensor,
        generator: torch.Generator,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (clean, degraded), each (batch, 3, H, W); `strength` (batch,) is one number an image."""


@runtime_checkable
class Collects(Protocol):
    """A degradation model that gathers what it needs from the degraded tiles at once, without training."""

    def collect(self, degraded: np.ndarray, seed: int) -> None:
        """Take what is needed of the degraded tiles, uint8 (tiles, H, W, 3)."""


def ready_to_sample(
    entry: dict[str, Any], folder: Path | None, dataset: Path, seed: int
) -> tuple[Any, Channels | None]:
    """Return a degradation model that can make pairs, and the channel statistics to undo behind it.

    Args:
        entry: the degradation's kind and options.
        folder: of the trained model; None of one that learns nothing.
        dataset: the dataset's folder, whose degraded tiles a model that collects takes, and whose statistics one that was trained on
            unpaired images has seen.
        seed: of what is collected.
    """
    model = load_model(folder) if folder else make("degradation", entry["kind"], entry.get("options", {}))
    if isinstance(model, Collects):
        model.collect(read_tiles(dataset / "degraded")[0], seed)
    # Real pairs are learned from as they are.
    unpaired = "pairs" not in training_roles("degradation", entry)
    return model, Channels.read(dataset) if folder and unpaired else None


@torch.inference_mode()
def sample_pairs(
    model: PairMaker,
    sources: dict[str, np.ndarray],
    options: SamplingOptions,
    strength: tuple[float, float],
    seed: int,
    batch: int = 16,
    channels: Channels | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Sample `copies` pairs of each source tile.

    Args:
        model: a degradation model.
        sources: what the model makes pairs from: `clean`, `degraded` or both (then tile by tile), uint8 (tiles, H, W, 3). Of a
            super-resolution dataset, where `clean` is reduced to the degraded tiles' size, `large` holds what it was made of, which
            takes its place in the pairs.
        options: how to sample.
        strength: range of the strength.
        seed: of the strengths and the noise.
        batch: tiles at a time.
        channels: the statistics that degraded images had while the model learned, which are undone; None if they were left alone.

    Returns:
        Clean and degraded tiles, uint8 (tiles * copies, H, W, 3), a tile's copies side by side.
    """
    generator = torch.Generator().manual_seed(seed)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    count = len(next(iter(sources.values())))
    low, high = strength
    made: list[list[np.ndarray]] = [[], []]
    for _ in range(options.copies):
        for start in range(0, count, batch):
            tiles = {
                side: to_tensor(array[start : start + batch]).to(device)
                for side, array in sources.items()
                if side != LARGE
            }
            if channels and "degraded" in tiles:
                tiles["degraded"] = channels.normalise(tiles["degraded"])
            size = len(next(iter(tiles.values())))
            level = (low + (high - low) * torch.rand(size, generator=generator)).to(device)
            with autocast(device, options.precision):
                pair = model.make_pairs(
                    tiles.get("clean"), tiles.get("degraded"), options.mode, level, generator
                )
            if channels:
                pair = (pair[0], channels.undo(pair[1].float()))
            for side, images in zip(made, pair, strict=True):
                side.append(to_uint8(images))
    clean, noisy = (_copies_side_by_side(np.concatenate(side), options.copies) for side in made)
    return sources[LARGE].repeat(options.copies, 0) if LARGE in sources else clean, noisy


def _copies_side_by_side(tiles: np.ndarray, copies: int) -> np.ndarray:
    return tiles.reshape(copies, -1, *tiles.shape[1:]).swapaxes(0, 1).reshape(tiles.shape)


def read_sources(dataset: Path, kind: str, mode: str) -> dict[str, np.ndarray]:
    """Read the tiles that a mode makes pairs from: the clean ones, for method 2 the degraded ones, or the real pairs.

    Of a super-resolution dataset the clean ones are the reduced ones, and what they were made of comes with them.
    """
    if kind == "real_pairs":
        return {side: read_tiles(dataset / "pairs" / side)[0] for side in ("clean", "degraded")}
    if mode == "method2":
        return {"degraded": read_tiles(dataset / "degraded")[0]}
    large = {LARGE: read_tiles(dataset / "clean")[0]} if (dataset / REDUCED).is_dir() else {}
    return {"clean": read_tiles(like_degraded(dataset))[0], **large}
