"""Stacking: the weighted mean of a trained DnCNN's image and of classical restorers' ones (Wolpert, 1992).

A network that learned a noise from few photos and BM3D, which compares patches far apart, err differently, and a mean of both can be better
than either (docs/experiments.md, section 23). The weights are those of least squares on `val`; they sum to one, so that brightness
stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from nopairs.data.tiles import to_tensor
from nopairs.errors import NopairsError
from nopairs.restorers.classical import BM3D, NLM, BM3DOptions, ClassicalRestorer, NLMOptions
from nopairs.restorers.dncnn import DnCNN, DnCNNOptions

CLASSICAL = {"bm3d": (BM3D, BM3DOptions), "nlm": (NLM, NLMOptions)}


@dataclass(frozen=True)
class StackedOptions(DnCNNOptions):
    """Size of the DnCNN whose weights are applied, and the classical restorers beside it.

    guides: (kind, strength) each, `bm3d` or `nlm`; between several strengths of one the weights choose.
    """

    guides: tuple[tuple[str, float], ...] = (("bm3d", 0.05), ("bm3d", 0.1))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.self_ensemble:
            raise NopairsError("stacked: BM3D for eight views takes too long; leave `self_ensemble` out")
        classical(self.guides)


class Stacked(DnCNN):
    """A mean of images by the weights `shares`, the network's first. It is not trained: it takes a trained DnCNN's weights."""

    Options = StackedOptions
    lenders = ("dncnn",)

    def __init__(self, options: StackedOptions) -> None:
        super().__init__(options)
        self.names = ("network", *(f"{kind} {strength}" for kind, strength in options.guides))
        self.guides = classical(options.guides)
        self.margin = max(options.depth, *(guide.margin for guide in self.guides))
        self.shares: torch.Tensor
        shares = torch.zeros(1 + len(self.guides))
        shares[0] = 1
        self.register_buffer("shares", shares)
        self.register_load_state_dict_pre_hook(_keep_shares)

    def members(self, degraded: torch.Tensor) -> torch.Tensor:
        """Return each member's image of (batch, 3, H, W) in [0, 1], the network's first: (members, batch, 3, H, W)."""
        return torch.stack([super().forward(degraded), *(guide(degraded) for guide in self.guides)])

    def forward(self, degraded: torch.Tensor) -> torch.Tensor:
        """Map (batch, 3, H, W) in [0, 1] to the mean image of the same shape, not clipped."""
        return torch.einsum("m,mbchw->bchw", self.shares, self.members(degraded))

    @torch.inference_mode()
    def choose(self, val: Sequence[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
        """Set the shares by (clean, degraded) images, uint8 (H, W, 3), each pixel counting once; returns them by name.

        Raises NopairsError if there are none.
        """
        if not val:
            raise NopairsError(
                "stacked: its weights are chosen on validation pairs, and this dataset has none; leave the method out"
            )
        count = len(self.guides)
        gram, right = torch.zeros(count, count, dtype=torch.float64), torch.zeros(count, dtype=torch.float64)
        for clean, degraded in val:
            network, *others = self.members(to_tensor(degraded[None])).double().flatten(1)
            away = torch.stack(others) - network
            gram += away @ away.T
            right += away @ (to_tensor(clean[None]).double().flatten() - network)
        # The least squares' solution of least length: two members may be equal.
        found = torch.linalg.lstsq(gram, right, driver="gelsd").solution
        self.shares.copy_(torch.cat([1 - found.sum(keepdim=True, dim=0), found]))
        return dict(zip(self.names, self.shares.tolist(), strict=True))


def classical(wanted: Sequence[tuple[str, float]]) -> list[ClassicalRestorer]:
    """Return the restorers of (kind, strength).

    Raises NopairsError for none, one that is not known, or whose strength is not between 0 and 1.
    """
    if not wanted:
        raise NopairsError("stacked: give one of `guides` at least")
    made: list[ClassicalRestorer] = []
    for kind, strength in wanted:
        if kind not in CLASSICAL:
            raise NopairsError(f"stacked: unknown guide {kind!r}; guides are {', '.join(CLASSICAL)}")
        restorer, options = CLASSICAL[kind]
        made.append(restorer(options(strength)))
    return made


def _keep_shares(module: nn.Module, weights: dict[str, Any], prefix: str, *_: Any) -> None:
    """Let the weights of a network be loaded that has no shares."""
    weights.setdefault(f"{prefix}shares", module.shares)
