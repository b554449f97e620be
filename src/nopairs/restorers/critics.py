"""Networks that judge images while a restorer is trained: the discriminator of ESRGAN, and the potential of OTS."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from nopairs.data.opponent import GAIN, to_opponent
from nopairs.training import parallel

# Brings opponent colours of equal contrast, less their means, to deviations near 1.
CONTRAST = 2.0


class Discriminator(nn.Module):
    """ESRGAN's discriminator in VGG's style. The mean over what is left after all halvings admits crops of any size; one score an image."""

    def __init__(self, width: int, levels: int = 5) -> None:
        """`levels`: how often images are halved; ESRGAN's five need crops of 32 pixels."""
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1), nn.LeakyReLU(0.2)]
        channels = width
        for level in range(levels):
            wider = width * min(8, 2**level)
            for stride, inputs in ((1, channels), (2, wider)):
                if level or stride == 2:
                    layers += [nn.Conv2d(inputs, wider, 2 + stride, stride, 1, bias=False)]
                    layers += [parallel.BatchNorm2d(wider), nn.LeakyReLU(0.2)]
            channels = wider
        self.body = nn.Sequential(*layers)
        self.score = nn.Sequential(nn.Linear(channels, 100), nn.LeakyReLU(0.2), nn.Linear(100, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return a score (batch, 1) for each of (batch, 3, H, W)."""
        return self.score(self.body(images).mean((2, 3)))


class Potential(nn.Module):
    """A ResNet without normalisation: residual blocks, each before a halving. One number an image."""

    def __init__(self, width: int, levels: int, colour: bool = True) -> None:
        """`colour`: whether images are seen as they are; if not, their opponent colours at equal contrast, without the means."""
        super().__init__()
        self.colour = colour
        self.head = nn.Conv2d(3, width, 3, padding=1)
        sizes = [width * min(8, 2**level) for level in range(levels + 1)]
        self.blocks = nn.ModuleList([Residual(*pair) for pair in pairwise(sizes)])
        self.score = nn.Linear(sizes[-1], 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return f of each of (batch, 3, H, W), (batch, 1)."""
        if not self.colour:
            images = to_opponent(images - images.mean((2, 3), keepdim=True))
            images = CONTRAST * GAIN.to(images) * images
        features = self.head(images)
        for block in self.blocks:
            features = block(features)
        return self.score(nn.functional.silu(features).mean((2, 3)))


class Residual(nn.Module):
    """Two convolutions beside a convolution of one pixel; then the mean of 2 x 2 pixels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.SiLU(),
            nn.Conv2d(inputs, inputs, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(inputs, outputs, 3, padding=1),
        )
        self.skip = nn.Conv2d(inputs, outputs, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (batch, inputs, H, W) to (batch, outputs, H / 2, W / 2)."""
        return nn.functional.avg_pool2d(self.skip(features) + 0.3 * self.branch(features), 2)
