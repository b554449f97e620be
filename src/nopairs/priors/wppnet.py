"""WPPNets: a network that makes what the Wasserstein patch prior would find, without an image of the truth (Altekrüger, Hertrich, 2023).

It learns from observations alone, and from patches of a reference: what it makes must be observed as they were, and have such patches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from nopairs.errors import NopairsError
from nopairs.priors import patches
from nopairs.priors.base import Log, NetworkPrior, NoOptions
from nopairs.priors.networks import Folded
from nopairs.priors.operators import Operator
from nopairs.priors.wpp import Dual, pyramid
from nopairs.training.loop import Batch
from nopairs.training.options import TrainingOptions


@dataclass(frozen=True)
class WPPNetOptions:
    """The network, and what it minimises.

    fold, width, depth: of the `Folded` network; a fold of the operator's factor makes it one on the small image.
    edge: pixels at the edges of a crop that do not count, where the operator sees what is not there.
    strength: weight of the distance of patches, as WPP's.
    patch_size, scales, references, stride, dual_steps, dual_lr: as WPP's; a batch's patches are one set.
    """

    fold: int = 4
    width: int = 64
    depth: int = 8
    edge: int = 16
    strength: float = 100.0
    patch_size: int = 6
    scales: int = 2
    references: int = 3000
    stride: int = 3
    dual_steps: int = 2
    dual_lr: float = 0.2

    def __post_init__(self) -> None:
        for name in (
            "fold",
            "width",
            "depth",
            "patch_size",
            "scales",
            "references",
            "stride",
            "dual_steps",
            "dual_lr",
        ):
            if getattr(self, name) <= 0:
                raise NopairsError(f"wppnet: {name} is {getattr(self, name)}; it must be positive")
        if self.edge < 0 or self.strength < 0:
            raise NopairsError(f"wppnet: edge {self.edge} and strength {self.strength} must not be negative")


class ObservationData:
    """Crops of observations."""

    def __init__(
        self,
        observations: Sequence[np.ndarray],
        val: Sequence[np.ndarray],
        options: WPPNetOptions,
        training: TrainingOptions,
        operator: Operator | None,
    ) -> None:
        """`observations`: float32 (channels, h, w). A crop is what the operator sees of an image of `training.crop` a side."""
        if operator is None:
            raise NopairsError("wppnet: a dataset without an `operator:` has no observations to learn from")
        self.observations, self.training = observations, training
        self.side = min(operator.observed_size((training.crop, training.crop)))
        for observed in observations:
            patches.check_size(observed, self.side)
        self.latest: list[int] = []

    def batch(self, rng: np.random.Generator) -> Batch:
        """Return `observed`, (batch, 1, side, side)."""
        self.latest = rng.integers(len(self.observations), size=self.training.batch).tolist()
        crops = [patches.cut(self.observations[k], self.side, 1, rng, symmetries=False) for k in self.latest]
        return {"observed": torch.from_numpy(np.stack(crops))}

    def describe(self) -> str:
        """Name the observations that batches are cut from."""
        return f"crops of the observations of numbers {self.latest}"

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return nothing: there is no truth to compare with."""
        return {}


class WPPNet(NetworkPrior):
    """The network, applied to the operator's first guess."""

    Options = WPPNetOptions
    Reconstruction: type = NoOptions
    Data = ObservationData
    learned = True
    needs_kernel = True
    from_observations = True

    def __init__(self, options: WPPNetOptions) -> None:
        super().__init__()
        self.options = options
        self.network = Folded(options.fold, options.width, options.depth)
        empty = torch.zeros(options.references, options.patch_size**2)
        self.duals = nn.ModuleList(Dual(empty, options.dual_lr) for _ in range(options.scales))
        self.operator = None

    def fit(self, images: torch.Tensor, seed: int) -> Log:
        """Draw the reference's patches from images (count, H, W)."""
        options = self.options
        generator = torch.Generator().manual_seed(seed)
        for dual, scale in zip(self.duals, pyramid(images[None], options.scales), strict=True):
            drawn = patches.references(scale[0], options.patch_size, options.references, generator)
            dual.get_buffer("reference").copy_(drawn)
        return []

    def losses(self, progress: float, *, observed: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return by pixel the negative log likelihood of observations (batch, 1, h, w), and what their patches cost."""
        assert self.operator is not None  # whoever trains it sets it
        return self.costs(self.network(self.operator.start(observed)), observed)

    def costs(self, found: torch.Tensor, observed: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return `loss`, by pixel within the edge, and its parts, for images (batch, 1, H, W)."""
        options, operator = self.options, self.operator
        assert operator is not None
        with torch.autocast(found.device.type, enabled=False):
            residual = operator(found) - observed
            ratio = found.shape[-1] // residual.shape[-1]
            rim = -(-options.edge // ratio)
            inside = slice(rim, residual.shape[-1] - rim)
            misfit = residual[..., inside, inside].square().mean() / (2 * operator.noise**2 * ratio**2)
            generator = torch.Generator().manual_seed(int(torch.randint(2**31, ())))
            rows = [
                patches.grid(scale, options.patch_size, options.stride, generator).flatten(0, 1)
                for scale in pyramid(patches.within(found, options.edge), options.scales)
            ]
            distances = [dual(some, options.dual_steps) for dual, some in zip(self.duals, rows, strict=True)]
            distance = torch.stack(distances).sum() / options.patch_size**2
        return {
            "loss": misfit + options.strength * distance,
            "misfit": misfit.detach(),
            "distance": distance.detach(),
        }
