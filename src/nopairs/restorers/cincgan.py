"""CinCGAN: unpaired super-resolution by a cycle within a cycle (Yuan et al., CVPR workshops 2018). It learns from unpaired images directly.

The inner cycle makes small degraded images clean and degrades them again; the outer one enlarges what is clean, and goes from there
back to the small degraded image. Clean images of either size have their discriminator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from nopairs.data.resizing import reduce
from nopairs.errors import NopairsError
from nopairs.restorers.critics import Discriminator
from nopairs.restorers.edsr import Edsr, EdsrOptions

# Halvings of small images by their discriminator.
SMALL_LEVELS = 3


@dataclass(frozen=True)
class CincganOptions:
    """Sizes and losses; the weights are the paper's.

    scale, width, blocks: of the network that enlarges (`edsr.py`).
    inner_width, inner_blocks: of the networks between small images, each of which adds to its input.
    residual: whether the enlarging network adds to the bicubic enlargement.
    critic_width: channels of both discriminators' first layers.
    cycle, identity, smoothness: weights of the cycles' squared errors, of what clean images lose on the way to clean ones (mean
        absolute), and of total variation, in the inner cycle and in the outer one.
    """

    scale: int = 4
    width: int = 256
    blocks: int = 32
    inner_width: int = 64
    inner_blocks: int = 6
    residual: bool = False
    critic_width: int = 64
    cycle: tuple[float, float] = (10.0, 10.0)
    identity: tuple[float, float] = (5.0, 5.0)
    smoothness: tuple[float, float] = (0.5, 2.0)

    def __post_init__(self) -> None:
        EdsrOptions(self.scale, self.width, self.blocks)
        if min(self.inner_width, self.inner_blocks, self.critic_width) < 1:
            raise NopairsError("cincgan: inner_width, inner_blocks and critic_width must be at least 1")
        if min(*self.cycle, *self.identity, *self.smoothness) < 0:
            raise NopairsError("cincgan: weights must not be negative")

    @property
    def roles(self) -> tuple[str, ...]:
        """Roles of the dataset that training reads."""
        return ("clean", "degraded")


class Cincgan(nn.Module):
    """Makes small images clean, then enlarges them; the ways back and the discriminators exist in training only."""

    Options: type[Any] = CincganOptions
    learned = True
    multiple = 1

    def __init__(self, options: CincganOptions) -> None:
        super().__init__()
        self.options, self.scale = options, options.scale
        self.cleaner = self._small()
        self.enlarger = Edsr(
            EdsrOptions(options.scale, options.width, options.blocks, residual=options.residual)
        )
        self.margin = self.cleaner.margin + self.enlarger.margin

    def _small(self) -> Edsr:
        """A network between small images, which adds to its input."""
        return Edsr(EdsrOptions(1, self.options.inner_width, self.options.inner_blocks, 1.0, residual=True))

    def add_tutors(self) -> None:
        """Add the ways back, from clean and from large images to small degraded ones, and the discriminators of both sizes."""
        self.degrader, self.reducer = self._small(), self._small()
        width = self.options.critic_width
        self.small_critic, self.large_critic = Discriminator(width, SMALL_LEVELS), Discriminator(width)

    @property
    def players(self) -> dict[str, nn.Module]:
        """All generators together, and both discriminators."""
        return {
            "generators": nn.ModuleList([self.cleaner, self.enlarger, self.degrader, self.reducer]),
            "discriminators": nn.ModuleList([self.small_critic, self.large_critic]),
        }

    def turn(self, step: int) -> str:
        """One step each."""
        return "discriminators" if step % 2 else "generators"

    def forward(self, degraded: torch.Tensor) -> torch.Tensor:
        """Map (batch, 3, h, w) in [0, 1] to (batch, 3, scale h, scale w), not clipped."""
        return self.enlarger(self.cleaner(degraded))

    def losses(
        self, progress: float, *, clean: torch.Tensor, degraded: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return the loss of whoever's turn it is, for unpaired images: large clean ones and small degraded ones."""
        small = reduce(clean.float(), self.scale)
        if self.small_critic.score[0].weight.requires_grad:
            with torch.no_grad():
                cleaned = self.cleaner(degraded).float()
                enlarged = self.enlarger(cleaned).float()
            judged = ((self.small_critic, cleaned, small), (self.large_critic, enlarged, clean))
            return {"loss": sum((_least_squares(*one) for one in judged), clean.new_zeros(()))}
        cleaned = self.cleaner(degraded).float()
        enlarged = self.enlarger(cleaned).float()
        inner = self._aims(
            0, self.small_critic, cleaned, self.degrader(cleaned), degraded, self.cleaner(small), small
        )
        back = self.reducer(reduce(enlarged, self.scale))
        outer = self._aims(1, self.large_critic, enlarged, back, degraded, self.enlarger(small), clean)
        return {"loss": inner + outer, "inner": inner, "outer": outer}

    def _aims(
        self,
        cycle: int,
        critic: nn.Module,
        made: torch.Tensor,
        back: torch.Tensor,
        degraded: torch.Tensor,
        kept: torch.Tensor,
        clean: torch.Tensor,
    ) -> torch.Tensor:
        """Return the loss of one cycle: what is made convinces, leads back, is smooth; and clean images are kept."""
        options = self.options
        convincing = (critic(made).float() - 1).square().mean()
        variation = made.diff(dim=2).abs().mean() + made.diff(dim=3).abs().mean()
        return (
            convincing
            + options.cycle[cycle] * F.mse_loss(back.float(), degraded.float())
            + options.identity[cycle] * F.l1_loss(kept.float(), clean.float())
            + options.smoothness[cycle] * variation
        )


def _least_squares(critic: nn.Module, made: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Return a discriminator's loss: 1 for real images, 0 for made ones (Mao et al., 2017)."""
    return (critic(real).float() - 1).square().mean() + critic(made).float().square().mean()
