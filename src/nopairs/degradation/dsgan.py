"""DSGAN: a network that adds the degradation to a reduced image, trained against a discriminator of high frequencies.

Fritsche, Gu and Timofte, Frequency separation for real-world super-resolution, ICCV workshops 2019; ESRGAN-FS in LUD-VAE's Table 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from nopairs.errors import NopairsError
from nopairs.training import parallel
from nopairs.training.features import KINDS, Features


@dataclass(frozen=True)
class DsganOptions:
    """Size and losses; the defaults are the authors' (1.62 million parameters in their table, of generator and discriminator).

    width, blocks: channels and residual blocks of the generator.
    critic_width: channels of the discriminator's first layer.
    low_pass: side of the mean that parts low frequencies from high ones, odd.
    colour, adversarial, perceptual_weight: weights of the low frequencies' mean absolute error, of the discriminator's judgement of
        the high ones, and of the features' difference.
    perceptual: features that are compared: lpips, or another of `training.features`.
    """

    width: int = 64
    blocks: int = 8
    critic_width: int = 64
    low_pass: int = 5
    colour: float = 1.0
    adversarial: float = 0.005
    perceptual_weight: float = 0.01
    perceptual: str = "lpips"

    def __post_init__(self) -> None:
        if self.perceptual not in KINDS:
            raise NopairsError(
                f"dsgan: perceptual {self.perceptual!r} is unknown; take one of {', '.join(KINDS)}"
            )
        if self.low_pass % 2 == 0 or min(self.low_pass, self.width, self.blocks, self.critic_width) < 1:
            raise NopairsError(
                f"dsgan: low_pass {self.low_pass} must be odd; width, blocks and critic_width at least 1"
            )
        if min(self.colour, self.adversarial, self.perceptual_weight) < 0:
            raise NopairsError("dsgan: weights must not be negative")

    @property
    def roles(self) -> tuple[str, ...]:
        """Roles of the dataset that training reads."""
        return ("clean", "degraded")


class ResidualBlock(nn.Module):
    """x + conv3x3(prelu(conv3x3(x)))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        first, second = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.layers = nn.Sequential(first, nn.PReLU(), second)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (batch, width, H, W) to the same shape."""
        return x + self.layers(x)


class Dsgan(nn.Module):
    """y = x + G(x): one degraded image for each clean one. The discriminator exists in training only."""

    Options = DsganOptions
    MODES = ("clean",)
    learned = True
    bands = 3  # channels of `high`

    def __init__(self, options: DsganOptions) -> None:
        super().__init__()
        self.options = options
        last = nn.Conv2d(options.width, 3, 3, padding=1)
        last.weight.data.mul_(0.1)
        blocks = [ResidualBlock(options.width) for _ in range(options.blocks)]
        first = nn.Conv2d(3, options.width, 3, padding=1)
        self.generator = nn.Sequential(first, nn.PReLU(), *blocks, last)

    def add_tutors(self) -> None:
        """Add the discriminator, of patches of 13 pixels, and the features."""
        width = self.options.critic_width
        layers: list[nn.Module] = [nn.Conv2d(self.bands, width, 5, padding=2), nn.LeakyReLU(0.2)]
        for size in (width, 2 * width):
            layers += [
                nn.Conv2d(size, 2 * size, 5, padding=2),
                parallel.BatchNorm2d(2 * size),
                nn.LeakyReLU(0.2),
            ]
        self.discriminator = nn.Sequential(*layers, nn.Conv2d(4 * width, 1, 1))
        self.features = Features(self.options.perceptual)

    @property
    def players(self) -> dict[str, nn.Module]:
        """Generator and discriminator."""
        return {"generator": self.generator, "discriminator": self.discriminator}

    def turn(self, step: int) -> str:
        """One step each."""
        return "discriminator" if step % 2 else "generator"

    def forward(self, clean: torch.Tensor) -> torch.Tensor:
        """Map (batch, 3, H, W) in [0, 1] to degraded images of the same shape, not clipped."""
        return clean + self.generator(clean)

    def low(self, images: torch.Tensor) -> torch.Tensor:
        """Return the low frequencies, a mean over squares; at the borders over what is there."""
        side = self.options.low_pass
        return F.avg_pool2d(images, side, 1, side // 2, count_include_pad=False)

    def high(self, images: torch.Tensor) -> torch.Tensor:
        """Return what the discriminator sees: the images without their low frequencies."""
        return images - self.low(images)

    def losses(
        self, progress: float, *, clean: torch.Tensor, degraded: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return the loss of whoever's turn it is, for unpaired images."""
        if next(self.discriminator.parameters()).requires_grad:
            with torch.no_grad():
                made = self(clean).float()
            fake, real = (self.discriminator(self.high(one)).float() for one in (made, degraded))
            return {"loss": F.softplus(fake).mean() + F.softplus(-real).mean()}
        made, options = self(clean).float(), self.options
        colour = F.l1_loss(self.low(made), self.low(clean))
        adversarial = F.softplus(-self.discriminator(self.high(made)).float()).mean()
        perceptual = self.features.distance(made, clean)
        loss = options.colour * colour + options.adversarial * adversarial
        loss = loss + options.perceptual_weight * perceptual
        return {"loss": loss, "colour": colour, "adversarial": adversarial, "perceptual": perceptual}

    def make_pairs(
        self,
        clean: torch.Tensor,
        degraded: torch.Tensor | None,
        mode: str,
        strength: torch.Tensor,
        generator: torch.Generator,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (clean, degraded); `strength` scales what is added, nothing is drawn."""
        return clean, clean + strength.view(-1, 1, 1, 1) * self.generator(clean).float()
