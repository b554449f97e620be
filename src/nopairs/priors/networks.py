"""Networks of the priors: one on a coarser grid, for images that are nearly right, and a U-Net."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class Folded(nn.Module):
    """Corrects an image; its convolutions work on blocks of `fold` x `fold` pixels, each a channel (Shi et al., 2016).

    With the factor of a super-resolution it costs what a network on the small image costs, and sees as far.
    """

    def __init__(self, fold: int, width: int, depth: int, extra: int = 0) -> None:
        """`extra` channels, such as the noise's level, may be given beside an image."""
        super().__init__()
        self.fold = fold
        inputs = (1 + extra) * fold**2
        layers = [_convolution(inputs, width), *(_convolution(width, width) for _ in range(depth))]
        self.layers = nn.ModuleList(layers)
        # It begins as the identity.
        self.last = _convolution(width, fold**2)
        nn.init.zeros_(self.last.weight)

    def forward(self, image: torch.Tensor, *extra: torch.Tensor) -> torch.Tensor:
        """Map (batch, 1, H, W), and as many extra ones, to (batch, 1, H, W), float32."""
        height, width = image.shape[-2:]
        below, right = -height % self.fold, -width % self.fold
        padded = F.pad(torch.cat([image, *extra], 1), (0, right, 0, below), mode="replicate")
        values = F.relu(self.layers[0](F.pixel_unshuffle(padded, self.fold)))
        for layer in self.layers[1:]:
            values = values + F.relu(layer(values)) / len(self.layers) ** 0.5
        change = F.pixel_shuffle(self.last(values), self.fold)[..., :height, :width]
        return image + change.float()


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    """He's initialisation, without which a deep network starts near zero output."""
    layer = nn.Conv2d(inputs, outputs, 3, padding=1)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class UNet(nn.Module):
    """A U-Net with instance normalisation: two convolutions on each of some scales, and what the finer scale had beside."""

    def __init__(self, inputs: int, outputs: int, width: int, scales: int) -> None:
        super().__init__()
        self.first = _layer(inputs, width)
        self.down = nn.ModuleList(
            nn.Sequential(_layer(width, width, 2), _layer(width, width)) for _ in range(scales)
        )
        self.up = nn.ModuleList(
            nn.Sequential(_layer(2 * width, width), _layer(width, width)) for _ in range(scales)
        )
        self.last = nn.Conv2d(width, outputs, 1)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Map (batch, inputs, H, W) to (batch, outputs, H, W)."""
        found = [self.first(values)]
        for down in self.down:
            found.append(down(found[-1]))
        values = found.pop()
        for up in self.up:
            finer = found.pop()
            larger = F.interpolate(values, size=finer.shape[-2:], mode="bilinear", align_corners=False)
            values = up(torch.cat([larger, finer], 1))
        return self.last(values)


class Corrected(nn.Module):
    """An image, and what a U-Net makes of it on top: nothing at first."""

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network = network
        for parameter in network.last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Map (batch, 1, H, W) to (batch, 1, H, W), float32."""
        return image + self.network(image).float()


class InstanceNorm(nn.InstanceNorm2d):
    """torch's, which makes channels-last values contiguous and back; for one image it is batch normalisation, which does not."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Map (batch, channels, H, W) to the same shape."""
        if len(values) > 1:
            return super().forward(values)
        return F.batch_norm(values, None, None, self.weight, self.bias, training=True, eps=self.eps)


def _layer(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, padding_mode="reflect"),
        InstanceNorm(outputs, affine=True),
        nn.LeakyReLU(0.1),
    )
