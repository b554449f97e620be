"""patchNR around a network's estimate: a mode of patches that stays near the mean of what is possible.

A posterior's mode has sharper detail, and a larger squared error, than its mean, which a network from pairs approximates without being
bound to the observation or to the density of patches. Here the network's estimate G(y) is taken for an observation of the image itself,
with Gaussian errors of a known deviation:

    minimise over x   |A x - y|^2 / (2 noise^2)  +  strength x pixels x R(x)  +  |x - G(y)|^2 / (2 deviation^2).

Flow and network learn from the same clean images. As a network from pairs, it serves the operator that it was trained for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from nopairs.errors import NopairsError
from nopairs.priors.base import Log, Prior, frozen
from nopairs.priors.operators import Operator
from nopairs.priors.patchnr import Anchor, PatchData, PatchNR, PatchNRDescent, PatchNROptions, find
from nopairs.priors.supervised import PairData, Supervised, SupervisedOptions
from nopairs.training.loop import Batch
from nopairs.training.options import TrainingOptions


@dataclass(frozen=True)
class AnchoredOptions(PatchNROptions):
    """The flow's options, and of the network and its training:

    batch: patches that the flow sees in a step, where the training's `batch` and `crop` are those of the network's crops.
    fold, channels, depth, edge: of the network, as `SupervisedOptions` has them.
    """

    batch: int = 512
    fold: int = 4
    channels: int = 64
    depth: int = 8
    edge: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch < 1:
            raise NopairsError(f"patchnr_anchored: batch is {self.batch}; it must be positive")

    def network(self) -> SupervisedOptions:
        """Return the network's part."""
        return SupervisedOptions(fold=self.fold, width=self.channels, depth=self.depth, edge=self.edge)


@dataclass(frozen=True, kw_only=True)
class AnchoredDescent(PatchNRDescent):
    """As `PatchNRDescent`; deviation: of the network's errors, in units of the image."""

    deviation: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.deviation, self.strength) <= 0:
            raise NopairsError(
                f"patchnr_anchored: deviation {self.deviation} and strength {self.strength} must be positive"
            )


class AnchoredData:
    """Patches for the flow, and pairs for the network."""

    def __init__(
        self,
        images: np.ndarray,
        val: Sequence[np.ndarray],
        options: AnchoredOptions,
        training: TrainingOptions,
        operator: Operator | None,
    ) -> None:
        """As `PatchData` and `PairData` have them."""
        self.pairs = PairData(images, val, options.network(), training, operator)
        self.patches = PatchData(images, val, options, replace(training, batch=options.batch))

    def batch(self, rng: np.random.Generator) -> Batch:
        """Return `patches`, (options.batch, size^2), and `clean` and `start`, (training.batch, 1, crop, crop)."""
        return self.patches.batch(rng) | self.pairs.batch(rng)

    def describe(self) -> str:
        """Name the images that batches are cut from."""
        return f"{self.patches.describe()}, {self.pairs.describe()}"

    def validate(self, prior: AnchoredPatchNR) -> dict[str, float]:
        """Return the PSNR of the network's estimates and the flow's likelihood; nothing without validation images."""
        return self.pairs.validate(prior.network) | self.patches.validate(prior.flow)


class AnchoredPatchNR(Prior):
    """A flow of patches and a network from pairs, trained side by side; neither sees the other's gradients."""

    Options = AnchoredOptions
    Reconstruction = AnchoredDescent
    Data = AnchoredData
    learned = True
    from_crops = True
    needs_operator = True

    def __init__(self, options: AnchoredOptions) -> None:
        super().__init__()
        self.options = options
        self.flow = PatchNR(options)
        self.network = Supervised(options.network())

    def fit(self, images: torch.Tensor, seed: int) -> Log:
        """Set the flow's whitening from images (count, H, W)."""
        return self.flow.fit(images, seed)

    def losses(
        self, progress: float, *, patches: torch.Tensor, clean: torch.Tensor, start: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return the sum of the flow's negative log density and the network's squared error, and both."""
        density = self.flow.losses(progress, patches=patches)["loss"]
        error = self.network.losses(progress, clean=clean, start=start)["loss"]
        return {"loss": density + error, "density": density.detach(), "error": error.detach()}

    def reconstruct(
        self, observed: torch.Tensor, operator: Operator, options: AnchoredDescent, seed: int = 0
    ) -> torch.Tensor:
        """Map observations (batch, channels, h, w) to images, from the network's estimates."""
        estimate = self.network.reconstruct(observed, operator, self.network.Reconstruction(), seed)
        anchor = Anchor(estimate, options.deviation)
        with frozen(self):
            return find(
                self.flow.densities,
                self.options,
                self.flow.whiten[None],
                observed,
                operator,
                options,
                seed,
                anchor,
            )
