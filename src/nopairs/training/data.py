"""Batches for the loop: from two unpaired domains, or from pairs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from nopairs.data.channels import Channels
from nopairs.data.photos import MORE_CLEAN
from nopairs.data.tiles import like_degraded, random_crops, read_tiles, to_tensor, to_uint8
from nopairs.errors import NopairsError
from nopairs.training.loop import Batch, Data
from nopairs.training.options import TrainingOptions
from nopairs.training.pairs import read_clean_validation

# Share of the synthetic pairs that validates a restorer where the dataset has no real ones, and their largest number.
HELD_OUT_SHARE, HELD_OUT_MOST = 0.1, 64
Images = list[tuple[np.ndarray, np.ndarray]]


def hold_out(clean: np.ndarray, degraded: np.ndarray) -> Images:
    """Return the first pairs of tiles, (clean, degraded), that stand in for validation images; none of a single pair.

    Of a tile that was degraded several times all copies are held out, unless that leaves none to train on.
    """
    held = max(1, min(HELD_OUT_MOST, int(HELD_OUT_SHARE * len(clean)))) if len(clean) > 1 else 0
    whole = held
    while 0 < whole < len(clean) and np.array_equal(clean[whole], clean[whole - 1]):
        whole += 1
    held = whole if whole < len(clean) else held
    return list(zip(clean[:held], degraded[:held], strict=True))


def dataset_data(
    dataset: Path, roles: Sequence[str], val: Images, options: TrainingOptions, equal_sizes: bool = False
) -> Data:
    """Return what a method that learns from a dataset itself is trained on.

    Args:
        dataset: the dataset's folder.
        roles: `pairs`, or the unpaired `clean`, `degraded`, or both.
        val: (clean, degraded) images, uint8 (H, W, 3), that validate a restorer; none for a degradation.
        options: of the training; a batch is shared equally by the two sides, or the roles.
        equal_sizes: of a super-resolution dataset, whether clean images are those reduced to the degraded ones' size, whose channels
            the degraded ones then have too where the dataset asks for it: what a degradation learns from.
    """
    if "pairs" not in roles:
        return UnpairedData(dataset, roles, val, options, equal_sizes)
    clean, degraded = (read_tiles(dataset / "pairs" / side)[0] for side in ("clean", "degraded"))
    return PairedData(clean, degraded, val, dataclasses.replace(options, batch=max(1, options.batch // 2)))


def autoencoder_data(dataset: Path, options: TrainingOptions) -> Data:
    """Return the clean tiles that an autoencoder learns from, validated on how it reproduces the clean images of `val`."""
    images = read_clean_validation(dataset)
    val = [clean[: _whole(clean.shape[0]), : _whole(clean.shape[1])] for clean in images]
    return UnpairedData(dataset, ["clean"], [(clean, clean) for clean in val if clean.size], options)


def _whole(side: int) -> int:
    """Return the part of a side that any autoencoder divides."""
    return side // 16 * 16


class UnpairedData:
    """Equal shares of each batch from clean tiles, those of other datasets among them, and from degraded ones, or all from one of them."""

    def __init__(
        self,
        dataset: Path,
        roles: Sequence[str],
        val: Images,
        options: TrainingOptions,
        equal_sizes: bool = False,
    ) -> None:
        """`dataset` holds a folder for each of `roles`; `val`: (clean, degraded) images, uint8 (H, W, 3)."""
        self.val = val
        self.channels = Channels.read(dataset) if equal_sizes else None
        folders = {role: [dataset / role] for role in roles}
        if "clean" in roles:
            own, more = like_degraded(dataset) if equal_sizes else dataset / "clean", dataset / MORE_CLEAN
            folders["clean"] = [own, more] if more.is_dir() else [own]
        self.tiles = {role: read_tiles(*some) for role, some in folders.items()}
        self.index: dict[str, np.ndarray] = {}
        self.share, self.crop = max(1, options.batch // len(roles)), options.crop
        self.align = options.align

    def batch(self, rng: np.random.Generator) -> Batch:
        """Return a tensor (batch / roles, 3, crop, crop) by the name of each role; larger clean images give larger crops."""
        smallest = min(tiles.shape[1] for tiles, _ in self.tiles.values())
        batch = {}
        for role, (tiles, _) in self.tiles.items():
            larger = tiles.shape[1] // smallest
            (batch[role],), self.index[role] = random_crops(
                [tiles], self.share, larger * self.crop, rng, larger * self.align
            )
        if self.channels and "degraded" in batch:
            batch["degraded"] = self.channels.normalise(batch["degraded"])
        return batch

    def describe(self) -> str:
        """Name the files of the latest batch."""
        return ", ".join(self.tiles[role][1][k] for role, index in self.index.items() for k in index)

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return the mean PSNR (dB) of the restored validation images, rounded to 8 bits; nothing where there are none."""
        return {"psnr": validation_psnr(network, self.val)} if self.val else {}


class PairedData:
    """Crops of clean and degraded tiles that belong together; validated on whole pairs of images."""

    def __init__(
        self,
        clean: np.ndarray,
        degraded: np.ndarray,
        val: Images,
        options: TrainingOptions,
    ) -> None:
        """`clean` and `degraded`: uint8 (tiles, height, width, 3), clean ones larger by a whole factor for super-resolution; `val`:
        (clean, degraded) images, uint8 (H, W, 3), alike.

        Raises:
            NopairsError: the two sides differ in size otherwise.
        """
        factor = clean.shape[1] // degraded.shape[1]
        if clean.shape != (len(degraded), *(factor * side for side in degraded.shape[1:3]), 3):
            sides = [f"{len(tiles)} {{}} of {tiles.shape[2]}x{tiles.shape[1]}" for tiles in (clean, degraded)]
            raise NopairsError(
                f"pairs: {sides[0].format('clean tiles')} pixels, but {sides[1].format('degraded ones')}; make them equal in size"
            )
        self.tiles, self.val = {"clean": clean, "degraded": degraded}, val
        self.size, self.crop, self.align = options.batch, options.crop, options.align

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
        """Return the same crops of each of `tiles`, `clean` and `degraded` at least, (batch, 3, crop, crop)."""
        crops, self.index = random_crops(list(self.tiles.values()), self.size, self.crop, rng, self.align)
        return dict(zip(self.tiles, crops, strict=True))

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
