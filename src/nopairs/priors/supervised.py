"""A network that learned from pairs, which the operator makes of clean images: the supervised rival of priors.

It needs the operator before it is trained, and a new training for another one. On small images made larger it stands for ACNN (Tian et
al., 2021), on filtered back projections for FBP+UNet (Jin et al., 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from nopairs.errors import NopairsError
from nopairs.priors import patches
from nopairs.priors.base import NetworkPrior, NoOptions, validate
from nopairs.priors.networks import Corrected, Folded, UNet
from nopairs.priors.operators import Operator, middle
from nopairs.priors.patches import within
from nopairs.training.loop import Batch
from nopairs.training.options import TrainingOptions

# Validation images are observed once, with noise of this seed, and measured within a part of this many pixels a side.
VALIDATION_SEED, VALIDATION_SIDE = 0, 256
NETWORKS = ("folded", "unet")


@dataclass(frozen=True)
class SupervisedOptions:
    """The network, and what it learns from.

    network: folded, which works on blocks of pixels; or unet, which sees farther.
    fold, width, depth: of the network; a fold of the operator's factor makes it one on the small image. A U-Net has `depth` scales.
    edge: pixels at the edges of a crop that do not count, where the operator sees what is not there.
    """

    network: str = "folded"
    fold: int = 4
    width: int = 64
    depth: int = 8
    edge: int = 16

    def __post_init__(self) -> None:
        if self.network not in NETWORKS:
            raise NopairsError(
                f"supervised: network {self.network!r} is unknown; take one of {', '.join(NETWORKS)}"
            )
        if min(self.fold, self.width, self.depth) < 1 or self.edge < 0:
            raise NopairsError(
                f"supervised: fold {self.fold}, width {self.width} and depth {self.depth} must be positive, edge {self.edge} not negative"
            )


class HasEdge(Protocol):
    """Options of what learns from pairs."""

    @property
    def edge(self) -> int:
        """Pixels at the edges of a crop that do not count."""


class PairData:
    """Crops, and what the operator's first guess makes of their observations."""

    def __init__(
        self,
        images: np.ndarray,
        val: Sequence[np.ndarray],
        options: HasEdge,
        training: TrainingOptions,
        operator: Operator | None,
    ) -> None:
        """`images`: uint8, or float32 in [0, 1], (count, H, W) to learn from; `val`: such arrays, to measure on."""
        if operator is None:
            raise NopairsError("a dataset without an `operator:` has no pairs to learn from")
        if 2 * options.edge >= training.crop:
            raise NopairsError(
                f"nothing is left of a crop of {training.crop} within an edge of {options.edge}"
            )
        self.images, self.options, self.training, self.operator = images, options, training, operator
        patches.check_size(images, training.crop)
        generator = torch.Generator().manual_seed(VALIDATION_SEED)
        self.val = []
        for some in val:
            inside = some[:, *middle(some.shape[1:], operator, VALIDATION_SIDE)].astype(np.float32)
            clean = inside / 255 if some.dtype == np.uint8 else inside
            within(torch.from_numpy(clean), options.edge)  # before hours of training
            self.val.append(self._pair(torch.from_numpy(clean)[:, None], generator))

    def _pair(self, clean: torch.Tensor, generator: torch.Generator) -> Batch:
        observed = self.operator.observe(clean, generator)
        return {"clean": clean, "start": self.operator.start(observed)}

    def batch(self, rng: np.random.Generator) -> Batch:
        """Return `clean` and `start`, (batch, 1, crop, crop)."""
        crops = patches.cut(self.images, self.training.crop, self.training.batch, rng, symmetries=True)
        generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
        return self._pair(torch.from_numpy(np.ascontiguousarray(crops))[:, None], generator)

    def describe(self) -> str:
        """Name the images that batches are cut from."""
        return f"crops of {len(self.images)} images"

    def validate(self, network: torch.nn.Module) -> dict[str, float]:
        """Return the PSNR of the validation images in dB; nothing where there are none."""
        return validate(network, self.val)


class Supervised(NetworkPrior):
    """The network, applied to the operator's first guess."""

    Options = SupervisedOptions
    Reconstruction = NoOptions
    Data = PairData
    learned = True
    from_crops = True

    def __init__(self, options: SupervisedOptions) -> None:
        super().__init__()
        self.options = options
        self.network = (
            Folded(options.fold, options.width, options.depth)
            if options.network == "folded"
            else Corrected(UNet(1, 1, options.width, options.depth))
        )

    def losses(self, progress: float, *, clean: torch.Tensor, start: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the mean squared error within the edge."""
        error = self.network(start) - clean
        return {"loss": within(error, self.options.edge).square().mean()}
