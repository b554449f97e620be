"""DualSR: zero-shot super-resolution that learns the kernel too (Emad, Peemen, Corporaal, WACV 2021).

Two networks learn from one observation, each from what the other makes: one enlarges, the other makes smaller, so that a critic cannot tell
its images from parts of the observation, on which patches recur at smaller scales. The operator's kernel is not told, only where it lies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from nopairs.errors import NopairsError
from nopairs.priors import patches
from nopairs.priors.base import Prior, as_images, check_training, seeded
from nopairs.priors.networks import Folded
from nopairs.priors.operators import Convolution, Operator
from nopairs.training.loop import Batch
from nopairs.training.options import TrainingOptions
from nopairs.training.run import train_in_passing


@dataclass(frozen=True)
class DualSROptions:
    """The networks, and the weights of what they are told.

    fold, width, depth: of the network that enlarges (`networks.Folded`).
    critic_width: channels of the critic, which sees 7 x 7 pixels.
    cycle, interpolation: weights of the two ways there and back, and of the likeness to an interpolated image where it is flat.
    """

    fold: int = 2
    width: int = 48
    depth: int = 6
    critic_width: int = 32
    cycle: float = 5.0
    interpolation: float = 2.0

    def __post_init__(self) -> None:
        if min(self.fold, self.width, self.depth, self.critic_width) < 1:
            raise NopairsError("dualsr: fold, width, depth and critic_width must be at least 1")
        if min(self.cycle, self.interpolation) < 0:
            raise NopairsError("dualsr: the weights cycle and interpolation must not be negative")


@dataclass(frozen=True, kw_only=True)
class DualSRTraining:
    """training_steps, batch, crop, lr: of the training for each image, whose rate falls along a cosine; half the steps are the critic's."""

    training_steps: int = 1200
    batch: int = 4
    crop: int = 64
    lr: float = 1e-3

    def __post_init__(self) -> None:
        check_training("dualsr", self.training_steps, self.batch, self.lr)


class Crops:
    """Squares of one observation, in all symmetries: `large` ones to be made smaller, `small` ones to be enlarged."""

    def __init__(self, images: np.ndarray, large: int, small: int, batch: int) -> None:
        self.images, self.sides, self.size = images, {"large": large, "small": small}, batch

    def batch(self, rng: np.random.Generator) -> Batch:
        """Return `large` and `small`, (batch, 1, side, side)."""
        return {
            name: torch.from_numpy(
                np.ascontiguousarray(patches.cut(self.images, side, self.size, rng, symmetries=True))
            )[:, None]
            for name, side in self.sides.items()
        }

    def describe(self) -> str:
        """Name the image that batches are cut from."""
        return "crops of one observation"

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return nothing: there is no truth."""
        return {}


class Pair(nn.Module):
    """What enlarges, and the kernel that makes smaller: positive and of sum 1, at the place of the operator's."""

    def __init__(self, options: DualSROptions, operator: Convolution) -> None:
        super().__init__()
        self.operator = operator
        self.network = Folded(options.fold, options.width, options.depth)
        # It begins as the mean of the pixels that one of the observation stands for, a little blurred.
        size, side = len(operator.kernel), operator.factor
        box = F.pad(torch.ones(side, side), [(size - side) // 2, (size - side + 1) // 2] * 2)
        self.logits = nn.Parameter(F.avg_pool2d(box[None, None], 3, 1, 1)[0, 0].clamp(min=1e-3).log())

    def kernel(self) -> torch.Tensor:
        """Return the kernel, (size, size)."""
        return self.logits.flatten().softmax(0).view_as(self.logits)

    def enlarge(self, observed: torch.Tensor) -> torch.Tensor:
        """Map (batch, 1, h, w) to (batch, 1, H, W)."""
        return self.network(self.operator.start(observed))

    def make_smaller(self, image: torch.Tensor) -> torch.Tensor:
        """Map (batch, 1, H, W) to (batch, 1, h, w)."""
        told = self.operator
        return Convolution(self.kernel(), told.factor, told.before, told.noise, told.inside)(image)


class Dual(nn.Module):
    """The pair and its critic, as the players of a game (`training/loop.py`)."""

    def __init__(self, options: DualSROptions, operator: Convolution) -> None:
        super().__init__()
        self.options, self.pair = options, Pair(options, operator)
        width = options.critic_width
        self.critic = nn.Sequential(
            nn.Conv2d(1, width, 7),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, width, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 1, 1),
        )

    @property
    def players(self) -> dict[str, nn.Module]:
        """Who enlarges and makes smaller, and who tells what was made from what was there."""
        return {"pair": self.pair, "critic": self.critic}

    def turn(self, step: int) -> str:
        """In turns."""
        return "critic" if step % 2 else "pair"

    def losses(self, progress: float, *, large: torch.Tensor, small: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the loss of whoever's turn it is."""
        pair, weights = self.pair, self.options
        made = pair.make_smaller(large)
        if not pair.logits.requires_grad:
            real, guessed = self.critic(small).float(), self.critic(made).float()
            return {"loss": (real - 1).square().mean() + guessed.square().mean()}
        interpolated, enlarged = pair.operator.start(small), pair.enlarge(small)
        cycle = F.l1_loss(pair.enlarge(made), large) + F.l1_loss(pair.make_smaller(enlarged), small)
        likeness = (flatness(interpolated) * (enlarged - interpolated).abs()).mean()
        adversarial = (self.critic(made).float() - 1).square().mean()
        loss = adversarial + weights.cycle * cycle + weights.interpolation * likeness
        return {"loss": loss, "cycle": cycle.detach()}


def flatness(images: torch.Tensor) -> torch.Tensor:
    """Return 1 where images (batch, 1, H, W) are flat, down to 0 at the steepest pixel of each."""
    down, right = torch.gradient(images, dim=(2, 3))
    slope = torch.hypot(down, right)
    return 1 - slope / slope.amax((2, 3), keepdim=True).clamp(min=1e-6)


class DualSR(Prior):
    """Both networks, trained again for every observation."""

    Options = DualSROptions
    Reconstruction = DualSRTraining
    from_images = False
    needs_kernel = True

    def __init__(self, options: DualSROptions) -> None:
        super().__init__()
        self.options = options

    def reconstruct(
        self, observed: torch.Tensor, operator: Operator, options: DualSRTraining, seed: int = 0
    ) -> torch.Tensor:
        """Map observations (batch, channels, h, w) to images.

        Raises:
            NopairsError: the operator is not one that blurs and makes smaller.
        """
        operator.check_observed(observed)
        if not isinstance(operator, Convolution) or operator.factor == 1:
            raise NopairsError(
                "dualsr: enlarges what a `blur_downsample` has observed; take another prior for this operator"
            )
        sides = (observed.shape[-2], observed.shape[-1])
        large = min(options.crop, *operator.fitting_size(sides))
        training = TrainingOptions(
            options.training_steps, options.batch, large, lr=options.lr, schedule="cosine", ema=0.99
        )
        small = min(operator.observed_size((large, large)))
        found = []
        for one in observed:
            dual = seeded(lambda: Dual(self.options, operator), seed)
            data = Crops(as_images(one), large, small, options.batch)
            train_in_passing(dual, data, training, seed, observed.device)
            with torch.no_grad():
                found.append(dual.pair.eval().enlarge(one[:, None])[:, 0])
        return torch.stack(found)
