"""OTS: unpaired super-resolution by neural optimal transport (`ots_abstract_intro.md`). It learns from unpaired images directly.

The map T goes from degraded images to clean ones; the potential f tells it where mass is missing (`training/minimax.py`). The transport
cost compares T(y) with a reference enlargement of y: bicubic in the first round, then that of a frozen copy of T, which each round renews.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from nopairs.data.resizing import enlarge
from nopairs.errors import NopairsError
from nopairs.restorers.critics import Potential
from nopairs.restorers.edsr import Edsr, EdsrOptions
from nopairs.training import minimax
from nopairs.training.features import KINDS, Features

# What squared excess of a slope over its bound, as a multiple of it, costs.
PENALTY = 0.1


@dataclass(frozen=True)
class OtsOptions:
    """Sizes and cost; the defaults are the paper's.

    scale, width, blocks, residual: of the map (`edsr.py`).
    critic_width, critic_levels: of the potential: its channels, and how often it halves images.
    critic_colour: whether the potential sees images as they are. Otherwise it sees opponent colours at equal contrast, in which faint
        colour noise counts, without a crop's mean: colours stay, which halves of few photos do not share.
    reach: root mean square, in [0, 1], of what the map may change in an image: at the optimum the potential is nowhere steeper than
        the cost of that, and is kept so. 0: it may have any slope, as in the paper.
    inner: steps of the map for one of the potential.
    mse, l1, perceptual_weight: weights of the cost's parts.
    perceptual: features of its perceptual part: vgg16, or another of `training.features`.
    cost_weight: what the cost is multiplied by; it moves the scale of f, not the optimal map.
    rounds: how often the reference is renewed, but for the first; 1 keeps the bicubic one.
    """

    scale: int = 4
    width: int = 128
    blocks: int = 64
    residual: bool = False
    critic_width: int = 64
    critic_levels: int = 5
    critic_colour: bool = True
    reach: float = 0.0
    inner: int = 15
    mse: float = 1.0
    l1: float = 1 / 3
    perceptual_weight: float = 0.02
    perceptual: str = "vgg16"
    cost_weight: float = 1.0
    rounds: int = 10

    def __post_init__(self) -> None:
        EdsrOptions(self.scale, self.width, self.blocks)
        if self.perceptual not in KINDS:
            raise NopairsError(
                f"ots: perceptual {self.perceptual!r} is unknown; take one of {', '.join(KINDS)}"
            )
        if min(self.inner, self.rounds, self.critic_width, self.critic_levels) < 1:
            raise NopairsError("ots: inner, rounds, critic_width and critic_levels must be at least 1")
        if self.reach < 0:
            raise NopairsError(f"ots: reach is {self.reach}; it must not be negative")
        if min(self.mse, self.l1, self.perceptual_weight) < 0 or self.cost_weight <= 0:
            raise NopairsError("ots: the cost's weights must not be negative, and `cost_weight` positive")

    @property
    def roles(self) -> tuple[str, ...]:
        """Roles of the dataset that training reads."""
        return ("clean", "degraded")


class Ots(nn.Module):
    """The map of neural optimal transport; its potential and the frozen copy exist in training only."""

    Options: type[Any] = OtsOptions
    learned = True
    multiple = 1
    frozen: Edsr
    round: torch.Tensor

    def __init__(self, options: OtsOptions) -> None:
        super().__init__()
        self.options, self.scale = options, options.scale
        self.map = Edsr(self._edsr())
        self.margin = self.map.margin

    def _edsr(self) -> EdsrOptions:
        options = self.options
        return EdsrOptions(options.scale, options.width, options.blocks, residual=options.residual)

    def add_tutors(self) -> None:
        """Add the potential, what the cost compares, and the frozen copy with the number of its round."""
        options = self.options
        self.potential = Potential(options.critic_width, options.critic_levels, options.critic_colour)
        self.features = Features(self.options.perceptual)
        self.frozen = Edsr(self._edsr())
        self.frozen.requires_grad_(False)
        self.register_buffer("round", torch.zeros((), dtype=torch.long))

    @property
    def players(self) -> dict[str, nn.Module]:
        """Map and potential."""
        return {"map": self.map, "potential": self.potential}

    def turn(self, step: int) -> str:
        """`inner` steps of the map, then one of the potential."""
        return "map" if minimax.map_turn(step, self.options.inner) else "potential"

    def forward(self, degraded: torch.Tensor) -> torch.Tensor:
        """Map (batch, 3, h, w) in [0, 1] to (batch, 3, scale h, scale w), not clipped."""
        return self.map(degraded)

    def losses(
        self, progress: float, *, clean: torch.Tensor, degraded: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return the loss of whoever's turn it is, for unpaired images."""
        if self.map.head.weight.requires_grad:
            moved = self(degraded).float()
            cost = self.cost(moved, self._reference(degraded, progress))
            return {"loss": minimax.map_loss(cost, self.potential(moved).float()), "cost": cost}
        with torch.no_grad():
            moved = self(degraded).float()
        loss = minimax.potential_loss(self.potential(moved).float(), self.potential(clean).float())
        if self.options.reach:
            slope = self.steepest(moved[0].numel())
            loss = loss + PENALTY * minimax.gradient_penalty(
                lambda images: self.potential(images).float() / slope, moved, clean
            )
        return {"loss": loss}

    def steepest(self, values: int) -> float:
        """Return the Euclidean slope, in an image of so many values, of the pixels' cost where it has been moved by `reach`."""
        options = self.options
        return options.cost_weight * (2 * options.mse * options.reach + options.l1) / math.sqrt(values)

    def cost(self, moved: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        """Return the mean transport cost of enlarged images against their references, both (batch, 3, H, W)."""
        options = self.options
        parts = options.mse * F.mse_loss(moved, reference) + options.l1 * F.l1_loss(moved, reference)
        if options.perceptual_weight:
            parts = parts + options.perceptual_weight * self.features.distance(moved, reference)
        return options.cost_weight * parts

    @torch.no_grad()
    def _reference(self, degraded: torch.Tensor, progress: float) -> torch.Tensor:
        """Return the reference enlargement; at the beginning of a round but the first the map is frozen anew."""
        now = min(int(progress * self.options.rounds), self.options.rounds - 1)
        if now > int(self.round):
            self.frozen.load_state_dict(self.map.state_dict())
            self.round.fill_(now)
        return self.frozen(degraded).float() if int(self.round) else enlarge(degraded, self.scale)
