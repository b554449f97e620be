"""ESRGAN: RRDB trained against a relativistic average discriminator, with VGG19 and pixel losses (Wang et al., 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from nopairs.errors import NopairsError
from nopairs.restorers.critics import Discriminator
from nopairs.restorers.rrdb import Rrdb, RrdbOptions
from nopairs.training import minimax, parallel
from nopairs.training.features import KINDS, Features


@dataclass(frozen=True)
class EsrganOptions(RrdbOptions):
    """Size and losses; the defaults are the paper's.

    pixel, perceptual_weight, adversarial: weights of the mean absolute error, of the features' and of the adversarial loss.
    perceptual: features that are compared: vgg19, gradients (a stated substitute) or none.
    critic_width: channels of the discriminator's first layer.
    pixel_steps: first steps, in which the generator learns by the pixel loss alone: the paper's first training, which `start:` names
        the weights of. The others are both players'.
    penalty: of the discriminator's slope at clean images (`minimax.slope_penalty`; not in the paper). From few photos it learns to tell
        every image, and what it then asks of the generator are speckles.
    """

    pixel: float = 0.01
    perceptual_weight: float = 1.0
    adversarial: float = 0.005
    perceptual: str = "vgg19"
    critic_width: int = 64
    pixel_steps: int = 0
    penalty: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.perceptual not in KINDS:
            raise NopairsError(
                f"esrgan: perceptual {self.perceptual!r} is unknown; take one of {', '.join(KINDS)}"
            )
        if min(self.pixel, self.perceptual_weight, self.adversarial, self.penalty, self.pixel_steps) < 0:
            raise NopairsError("esrgan: weights, penalty and pixel_steps must not be negative")
        if self.critic_width < 1:
            raise NopairsError(f"esrgan: critic_width {self.critic_width} must be at least 1")


class Esrgan(Rrdb):
    """RRDB and, in training, its opponent; they move in turn, so that a game of n steps of each has 2 n."""

    Options: type[Any] = EsrganOptions

    def __init__(self, options: EsrganOptions) -> None:
        super().__init__(options)
        self.weights = options
        self.alone = False

    def add_tutors(self) -> None:
        """Add the discriminator and the features, and read the weights that training begins with."""
        super().add_tutors()
        self.discriminator = Discriminator(self.weights.critic_width)
        self.features = Features(self.weights.perceptual)

    @property
    def players(self) -> dict[str, nn.Module]:
        """Generator and discriminator."""
        return {"generator": self.model, "discriminator": self.discriminator}

    def turn(self, step: int) -> str:
        """The generator's alone at first, then one step each."""
        self.alone = step < self.weights.pixel_steps
        return "generator" if self.alone or step % 2 == 0 else "discriminator"

    def losses(
        self, progress: float, *, clean: torch.Tensor, degraded: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return the loss of whoever's turn it is."""
        if self.discriminator.body[0].weight.requires_grad:
            return self._discriminate(clean, degraded)
        restored, weights = self(degraded).float(), self.weights
        pixel = F.l1_loss(restored, clean)
        if self.alone:
            return {"loss": pixel}
        perceptual = self.features.distance(restored, clean)
        with torch.no_grad():
            real = self.discriminator(clean)
        adversarial = relativistic_loss(self.discriminator(restored), real)
        loss = (
            weights.pixel * pixel + weights.perceptual_weight * perceptual + weights.adversarial * adversarial
        )
        return {"loss": loss, "pixel": pixel, "perceptual": perceptual, "adversarial": adversarial}

    def _discriminate(self, clean: torch.Tensor, degraded: torch.Tensor) -> dict[str, torch.Tensor]:
        with torch.no_grad():
            restored = self(degraded).float()
        loss = relativistic_loss(self.discriminator(clean), self.discriminator(restored))
        if self.weights.penalty:
            loss = loss + self.weights.penalty * minimax.slope_penalty(self.discriminator, clean)
        return {"loss": loss}


def relativistic_loss(higher: torch.Tensor, lower: torch.Tensor) -> torch.Tensor:
    """Return the relativistic average loss of whoever wants the scores `higher` above the other ones' mean, and those below its own.

    Jolicoeur-Martineau, 2018, with the logistic loss; scores (batch, 1). Means are over the whole batch.
    """
    higher, lower = higher.float(), lower.float()
    mean_higher, mean_lower = (_mean(scores) for scores in (higher, lower))
    return (F.softplus(-(higher - mean_lower)).mean() + F.softplus(lower - mean_higher).mean()) / 2


def _mean(scores: torch.Tensor) -> torch.Tensor:
    return parallel.moments(scores.view(-1, 1, 1, 1))[0].view(1, 1)
