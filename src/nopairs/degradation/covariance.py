"""A Gaussian for the errors of images whose covariance is diagonal among the local frequencies of opponent colours.

Errors of neighbouring pixels and of the three channels are far from independent: noise that demosaicing has smoothed, content that
a decoder has blurred. In an orthonormal basis of 8 x 8 cosines and of brightness and two colour differences they nearly are.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from nopairs.data.opponent import from_opponent, in_float32, to_opponent
from nopairs.errors import NopairsError
from nopairs.training import parallel

BLOCK = 8
# Share of a moving average that a step keeps.
DECAY = 0.98
# Beyond this share of a frequency nothing can be said of what is left.
MOST_LEAK = 0.7
# Deviations of the amplitude's logarithm beyond which it is not believed of images from elsewhere.
USUAL = 2.0
# No frequency's variance falls below this share of the amplitude.
LEAST = 1e-3
# Blocks drawn alone would leave a grid of seams: noise is the mean of draws on grids shifted by half a block.
SHIFTS = ((0, 0), (0, BLOCK // 2), (BLOCK // 2, 0), (BLOCK // 2, BLOCK // 2))


def cosines(size: int = BLOCK) -> torch.Tensor:
    """Return the orthonormal DCT-II matrix (frequency, position)."""
    k, n = torch.arange(size).unsqueeze(1), torch.arange(size)
    matrix = torch.cos(math.pi * (n + 0.5) * k / size) * math.sqrt(2 / size)
    matrix[0] /= math.sqrt(2)
    return matrix


def to_blocks(images: torch.Tensor) -> torch.Tensor:
    """Return the local frequencies (batch, 3, H / 8, W / 8, 8, 8) of (batch, 3, H, W), sides multiples of 8."""
    batch, channels, height, width = images.shape
    if height % BLOCK or width % BLOCK:
        raise NopairsError(
            f"likelihood gaussian: crops of {width}x{height} pixels; take a multiple of {BLOCK}"
        )
    tiled = images.reshape(batch, channels, height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    return in_float32("bciyjx,ky,lx->bcijkl", tiled, cosines(), cosines())


def from_blocks(frequencies: torch.Tensor) -> torch.Tensor:
    """Undo `to_blocks`."""
    tiled = in_float32("bcijkl,ky,lx->bciyjx", frequencies, cosines(), cosines())
    batch, channels, rows, height, columns, width = tiled.shape
    return tiled.reshape(batch, channels, rows * height, columns * width)


def without_means(images: torch.Tensor) -> torch.Tensor:
    """Take the mean of each 8 x 8 block from (batch, 3, H, W)."""
    means = nn.functional.avg_pool2d(images, BLOCK)
    return images - nn.functional.interpolate(means, scale_factor=BLOCK)


def with_usual_means(deviation: torch.Tensor) -> torch.Tensor:
    """Give the blocks' means the deviation of the two lowest frequencies, (3, 8, 8).

    Where the two halves' contents differ in colour, the difference lands in these means, and nothing tells it from noise.
    """
    deviation = deviation.clone()
    deviation[:, 0, 0] = (deviation[:, 0, 1] + deviation[:, 1, 0]) / 2
    return deviation


class LocalCovariance(nn.Module):
    """Variances of local frequencies: a spectrum, 3 x 8 x 8, times an amplitude that depends on the place.

    The amplitude is a network's; the spectrum is a moving average of what the amplitude leaves (the method of moments): with
    hundreds of blocks in each batch that is exact long before gradients would be.
    """

    spectrum: torch.Tensor
    leak: torch.Tensor
    seen: torch.Tensor

    def __init__(self, lowest: float = 0.0, highest: float = 0.0) -> None:
        """`lowest` and `highest` are where the amplitude's logarithm may lie, of which nothing has been seen yet."""
        super().__init__()
        ends = torch.tensor([lowest, highest])
        self.register_buffer("seen", torch.stack([ends.mean(), ends.square().mean()])[:, None].repeat(1, 3))
        self.register_buffer("spectrum", torch.ones(3, BLOCK, BLOCK))
        self.register_buffer("leak", torch.zeros(3, BLOCK, BLOCK))

    @torch.no_grad()
    def update(self, power: torch.Tensor, log_amplitude: torch.Tensor) -> None:
        """Move the spectrum towards the mean of `power` (batch, 3, H / 8, W / 8, 8, 8), relative to the amplitude."""
        relative = power * torch.exp(-_over_blocks(log_amplitude))
        mean = parallel.total(relative.mean((0, 2, 3))) / parallel.size()
        self.spectrum.lerp_(mean.clamp(min=LEAST), 1 - DECAY)

    @torch.no_grad()
    def update_range(self, log_amplitude: torch.Tensor) -> None:
        """Move the mean and the mean square of the amplitude's logarithm towards those of what was seen, (batch, 3, H, W)."""
        moments = torch.stack([log_amplitude.float().pow(k).mean((0, 2, 3)) for k in (1, 2)])
        self.seen.lerp_(parallel.total(moments) / parallel.size(), 1 - DECAY)

    def bounded(self, log_amplitude: torch.Tensor) -> torch.Tensor:
        """Bring the amplitude (batch, 3, H, W) of images from elsewhere within what is usual among those that were seen."""
        mean, square = self.seen.view(2, 3, 1, 1)
        deviation = (square - mean.square()).clamp(min=0).sqrt()
        return log_amplitude.clamp(mean - USUAL * deviation, mean + USUAL * deviation)

    @torch.no_grad()
    def probe(self, error: torch.Tensor, noise: torch.Tensor) -> None:
        """Measure which share of each frequency of `noise`, added to what a decoder sees, comes out of it in its `error`.

        Noise of the image itself comes out alike, and is missing from the residual: `sample` restores it.
        """
        error, noise = (to_blocks(to_opponent(images)) for images in (error, noise))
        product, power = (parallel.total((part * noise).sum((0, 2, 3))) for part in (error, noise))
        share = product / power
        self.leak.lerp_(share.clamp(0, MOST_LEAK), 1 - DECAY)

    def log_variance(self, log_amplitude: torch.Tensor) -> torch.Tensor:
        """Return (batch, 3, H / 8, W / 8, 8, 8) for the logarithm of the amplitude (batch, 3, H, W), averaged over blocks."""
        return _over_blocks(log_amplitude) + self.spectrum.log()[:, None, None]

    def sample(self, log_amplitude: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Draw errors (batch, 3, H, W), RGB, for the logarithm of the amplitude (batch, 3, H, W)."""
        deviation = with_usual_means(self.spectrum.sqrt() / (1 - self.leak))[:, None, None]
        layers = []
        for shift in SHIFTS:
            white = torch.randn(log_amplitude.shape, generator=generator).to(log_amplitude)
            layers.append(from_blocks(to_blocks(white) * deviation).roll(shift, (2, 3)))
        noise = torch.stack(layers).sum(0) / math.sqrt(len(SHIFTS))
        return from_opponent(torch.exp(0.5 * log_amplitude) * noise)


def _over_blocks(log_amplitude: torch.Tensor) -> torch.Tensor:
    return nn.functional.avg_pool2d(log_amplitude, BLOCK)[..., None, None]
