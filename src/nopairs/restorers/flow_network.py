"""The velocity's network: a U-Net of residual blocks, and an adapter by which the auxiliary variable enters it.

The U-Net is of the family of Dhariwal and Nichol (2021): residual blocks that the time shifts and scales, attention at low resolutions,
all but the convolutions optional. The adapter (Reversing Flow for Image Restoration, Figure 7) is a stack of residual blocks, one a
level, whose output layers start at zero.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from nopairs.errors import NopairsError

NORMS = ("none", "group")
GROUPS = 32
# Angular frequencies of the time's embedding. The thousand steps that diffusions count to make the velocity ripple within a step of ours.
LOWEST_FREQUENCY, HIGHEST_FREQUENCY = 0.5, 30.0


@dataclass(frozen=True)
class NetworkOptions:
    """Size of the network; the default is the paper's.

    width: channels of the first level.
    multipliers: channels of each level, in widths; each further level has half the resolution.
    blocks: residual blocks a level, on the way down and on the way up.
    attention: levels, from 0, whose blocks are followed by self-attention.
    head_width: channels of an attention head.
    norm: `group`, or `none`, which is faster and makes tiles exact.
    adapter_width: channels of the adapter's first level.
    patch: side of the squares of pixels that are channels of one in the network; above 1 it is faster, and less fine.
    """

    width: int = 192
    multipliers: tuple[int, ...] = (1, 1, 2, 2, 4, 4)
    blocks: int = 2
    attention: tuple[int, ...] = (3, 4, 5)
    head_width: int = 64
    norm: str = "group"
    adapter_width: int = 32
    patch: int = 1

    def __post_init__(self) -> None:
        if (
            not self.multipliers
            or min(self.width, self.blocks, self.adapter_width, self.patch, *self.multipliers) < 1
        ):
            raise NopairsError(
                "resflow: width, multipliers, blocks, adapter_width and patch must be at least 1"
            )
        if self.norm not in NORMS:
            raise NopairsError(f"resflow: norm {self.norm!r} is unknown; take one of {', '.join(NORMS)}")
        if self.norm == "group" and self.width % GROUPS:
            raise NopairsError(f"resflow: width {self.width} must be a multiple of {GROUPS} with norm: group")
        for level in self.attention:
            if not 0 <= level < len(self.multipliers):
                raise NopairsError(
                    f"resflow: attention at level {level}, but there are {len(self.multipliers)}"
                )
            if self.width * self.multipliers[level] % self.head_width:
                raise NopairsError(
                    f"resflow: head_width {self.head_width} does not divide the channels of level {level}"
                )

    @property
    def channels(self) -> list[int]:
        """Channels of each level."""
        return [self.width * multiplier for multiplier in self.multipliers]

    @property
    def radius(self) -> int:
        """Pixels on each side that an output depends on, without group normalisation and attention, which see all."""
        deepest = len(self.multipliers) - 1
        blocks = sum(2 * 2 * self.blocks * 2**level for level in range(deepest + 1))
        # Each level's way down, a convolution, and up, where a pixel covers two; the first and the last layer; and by how much the
        # adapter sees further than the U-Net on its way down.
        ways = 2 * sum(2**level for level in range(deepest))
        return self.patch * (blocks + ways + 2 + 2**deepest + 1) + self.patch - 1

    @property
    def multiple(self) -> int:
        """What the sides of images must be multiples of."""
        return self.patch * 2 ** (len(self.multipliers) - 1)


class UNet(nn.Module):
    """Maps an image and a time to an image; `modulations` of the adapter change the features of each level on the way down."""

    def __init__(self, options: NetworkOptions, outputs: int) -> None:
        super().__init__()
        channels, embedding = options.channels, 4 * options.width
        self.embedding_width, self.blocks, self.patch = options.width, options.blocks, options.patch
        self.time = nn.Sequential(
            nn.Linear(options.width, embedding), nn.SiLU(), nn.Linear(embedding, embedding)
        )
        self.stem = nn.Conv2d(3 * options.patch**2, channels[0], 3, padding=1)
        levels = [level for level in range(len(channels)) for _ in range(options.blocks)]
        self.down, self.up = (
            nn.ModuleList(Stage(factor * channels[level], embedding, options, level) for level in levels)
            for factor in (1, 2)
        )
        finer_and_coarser = list(itertools.pairwise(channels))
        self.shrink = nn.ModuleList(
            nn.Conv2d(finer, coarser, 3, stride=2, padding=1) for finer, coarser in finer_and_coarser
        )
        self.grow = nn.ModuleList(nn.Conv2d(coarser, finer, 1) for finer, coarser in finer_and_coarser)
        self.norm = make_norm(channels[0], options)
        self.out = zero(nn.Conv2d(channels[0], outputs * options.patch**2, 3, padding=1))

    def forward(
        self, x: torch.Tensor, t: torch.Tensor, modulations: list[torch.Tensor] | None = None
    ) -> torch.Tensor:
        """Map x (batch, 3, H, W), sides as `NetworkOptions.multiple` says, and times (batch,) to (batch, outputs, H, W)."""
        time = self.time(embed(t, self.embedding_width))
        h, kept = self.stem(F.pixel_unshuffle(x, self.patch)), []
        for k, stage in enumerate(self.down):
            level, place = divmod(k, self.blocks)
            if level and not place:
                h = self.shrink[level - 1](h)
            if modulations is not None and not place:
                h = modulate(h, modulations[level])
            h = stage(h, time)
            kept.append(h)
        for k in reversed(range(len(self.up))):
            level, place = divmod(k, self.blocks)
            h = self.up[k](torch.cat([h, kept.pop()], 1), time)
            if level and not place:
                h = F.interpolate(self.grow[level - 1](h), scale_factor=2.0, mode="nearest")
        return F.pixel_shuffle(self.out(F.silu(self.norm(h))), self.patch)


class Stage(nn.Module):
    """A residual block, scaled and shifted by the time, and self-attention where wanted."""

    def __init__(self, inputs: int, embedding: int, options: NetworkOptions, level: int) -> None:
        super().__init__()
        width = options.channels[level]
        self.norm1, self.norm2 = make_norm(inputs, options), make_norm(width, options)
        self.conv1 = nn.Conv2d(inputs, width, 3, padding=1)
        self.conv2 = zero(nn.Conv2d(width, width, 3, padding=1))
        self.time = nn.Linear(embedding, 2 * width)
        self.skip = nn.Conv2d(inputs, width, 1) if inputs != width else nn.Identity()
        self.attention = Attention(width, options) if level in options.attention else nn.Identity()

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """Map (batch, inputs, H, W) and the time's embedding (batch, embedding) to (batch, width, H, W)."""
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.time(F.silu(time))[:, :, None, None].chunk(2, 1)
        h = self.conv2(F.silu(torch.addcmul(shift, self.norm2(h), 1 + scale)))
        return self.attention(self.skip(x) + h)


class Attention(nn.Module):
    """Self-attention among all pixels."""

    def __init__(self, width: int, options: NetworkOptions) -> None:
        super().__init__()
        self.heads = width // options.head_width
        self.norm = make_norm(width, options)
        self.qkv, self.out = nn.Conv2d(width, 3 * width, 1), zero(nn.Conv2d(width, width, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (batch, width, H, W) to the same shape."""
        batch, width, height, columns = x.shape
        heads = self.qkv(self.norm(x)).reshape(batch, 3, self.heads, width // self.heads, height * columns)
        query, key, value = heads.transpose(3, 4).unbind(1)
        seen = F.scaled_dot_product_attention(query, key, value).transpose(2, 3)
        return x + self.out(seen.reshape(batch, width, height, columns))


class Adapter(nn.Module):
    """Turns the auxiliary variable into what scales and shifts the U-Net's features: zero at first."""

    def __init__(self, options: NetworkOptions) -> None:
        super().__init__()
        widths = [options.adapter_width * multiplier for multiplier in options.multipliers]
        self.patch = options.patch
        self.stem = nn.Conv2d(3 * options.patch**2, widths[0], 3, padding=1)
        self.shrink = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride=2, padding=1) for before, after in itertools.pairwise(widths)
        )
        self.hidden = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for width in widths)
        self.outputs = nn.ModuleList(
            zero(nn.Conv2d(width, 2 * channels, 3, padding=1))
            for width, channels in zip(widths, options.channels, strict=True)
        )

    def forward(self, y: torch.Tensor) -> list[torch.Tensor]:
        """Map y (batch, 3, H, W) to scales and shifts (batch, 2 channels, h, w) of each level."""
        h, modulations = self.stem(F.pixel_unshuffle(y, self.patch)), []
        for level, (hidden, output) in enumerate(zip(self.hidden, self.outputs, strict=True)):
            if level:
                h = self.shrink[level - 1](h)
            h = h + hidden(F.silu(h))
            modulations.append(output(F.silu(h)))
        return modulations


class VelocityNet(nn.Module):
    """U-Net and adapter: before training the U-Net alone, whatever y is."""

    def __init__(self, options: NetworkOptions, outputs: int = 3) -> None:
        super().__init__()
        self.unet, self.adapter = UNet(options, outputs), Adapter(options)

    def forward(self, x: torch.Tensor, y: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Map x and y (batch, 3, H, W), and times (batch,), to (batch, outputs, H, W)."""
        return self.unet(x, t, self.adapter(y))


def modulate(h: torch.Tensor, modulation: torch.Tensor) -> torch.Tensor:
    """Adaptive layer normalisation of each pixel's channels, added to h: h itself where the modulation is zero."""
    scale, shift = modulation.chunk(2, 1)
    normal = F.layer_norm(h.movedim(1, -1), h.shape[1:2]).movedim(-1, 1)
    return h + torch.addcmul(shift, normal.to(shift.dtype), scale)


def embed(t: torch.Tensor, width: int) -> torch.Tensor:
    """Return cosines and sines (batch, width) of times (batch,) at frequencies in geometric progression."""
    half = width // 2
    spread = math.log(HIGHEST_FREQUENCY / LOWEST_FREQUENCY)
    frequencies = LOWEST_FREQUENCY * torch.exp(spread * torch.linspace(0, 1, half, device=t.device))
    angles = t.float()[:, None] * frequencies
    return F.pad(torch.cat([angles.cos(), angles.sin()], 1), (0, width - 2 * half))


def make_norm(width: int, options: NetworkOptions) -> nn.Module:
    """Return the normalisation of `width` channels."""
    return nn.GroupNorm(GROUPS, width) if options.norm == "group" else nn.Identity()


def zero(layer: nn.Conv2d) -> nn.Conv2d:
    """Set a layer's weights to zero."""
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
