"""Building blocks of the LUD-VAE network: VQ-VAE-2's encoder and decoder, and the vector quantiser."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from nopairs.training import parallel


class ResidualBlock(nn.Module):
    """x + conv1x1(relu(conv3x3(relu(x)))), as in VQ-VAE-2 (Razavi et al., 2019)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (batch, width, H, W) to the same shape."""
        return x + self.layers(x)


def encoder(channels: int, width: int, blocks: int, halvings: int) -> nn.Sequential:
    """Return a network (batch, channels, H, W) -> (batch, width, H / 2^halvings, W / 2^halvings).

    Non-linearities stand in the residual branches only: what passes the trunk passes linearly, so that noise, which no
    non-linear feature describes, comes through from the first step of training on.
    """
    layers: list[nn.Module] = []
    for _ in range(halvings):
        layers += [nn.Conv2d(channels, width, 4, stride=2, padding=1), ResidualBlock(width)]
        channels = width
    if not halvings:
        layers.append(nn.Conv2d(channels, width, 3, padding=1))
    return nn.Sequential(*layers, *(ResidualBlock(width) for _ in range(blocks)))


def decoder(channels: int, width: int, out: int, blocks: int, doublings: int) -> nn.Sequential:
    """Return a network (batch, channels, H, W) -> (batch, out, H 2^doublings, W 2^doublings), its trunk linear.

    Sides grow by sub-pixel convolution, which leaves no checkerboard from overlapping strides.
    """
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1)]
    layers += [ResidualBlock(width) for _ in range(blocks)]
    for _ in range(doublings - 1):
        layers += [nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2), ResidualBlock(width)]
    if doublings:
        return nn.Sequential(*layers, nn.Conv2d(width, 4 * out, 3, padding=1), nn.PixelShuffle(2))
    return nn.Sequential(*layers, nn.Conv2d(width, out, 3, padding=1))


class VectorQuantiser(nn.Module):
    """Nearest-neighbour quantisation with a codebook learned by moving averages (van den Oord et al., 2017, appendix A.1).

    A code whose moving count falls below `REVIVE_BELOW` is moved onto a vector of the current batch.
    """

    DECAY = 0.99
    REVIVE_BELOW = 0.1

    codebook: torch.Tensor
    counts: torch.Tensor
    sums: torch.Tensor

    def __init__(self, codes: int, width: int) -> None:
        super().__init__()
        self.register_buffer("codebook", torch.randn(codes, width))
        self.register_buffer("counts", torch.zeros(codes))
        self.register_buffer("sums", torch.zeros(codes, width))

    def forward(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the quantised z (batch, width, H, W) with a straight-through gradient, and the commitment loss (scalar).

        Distances are computed in float32 whatever the autocast type.
        """
        with torch.autocast(z.device.type, enabled=False):
            vectors = z.float().permute(0, 2, 3, 1).reshape(-1, z.shape[1])
            indices = self.nearest(vectors.detach())
            # Where no gradient is wanted, neither are other codes.
            if self.training and torch.is_grad_enabled():
                self._update(vectors.detach(), indices)
            quantised = F.embedding(indices, self.codebook)
            commitment = F.mse_loss(vectors, quantised)
            straight = vectors + (quantised - vectors).detach()
        batch, width, height, columns = z.shape
        return straight.view(batch, height, columns, width).permute(0, 3, 1, 2), commitment

    def nearest(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return the index of the nearest code for each of (n, width) vectors."""
        distances = self.codebook.square().sum(1) - 2 * vectors @ self.codebook.t()
        return distances.argmin(1)

    @torch.no_grad()
    def _update(self, vectors: torch.Tensor, indices: torch.Tensor) -> None:
        counts = parallel.total(torch.bincount(indices, minlength=len(self.codebook)).to(self.counts.dtype))
        sums = parallel.total(torch.zeros_like(self.sums).index_add_(0, indices, vectors))
        self.counts.lerp_(counts, 1 - self.DECAY)
        self.sums.lerp_(sums, 1 - self.DECAY)
        dead = self.counts < self.REVIVE_BELOW
        if dead.any():
            chosen = parallel.random_rows(vectors, int(dead.sum()))
            self.counts[dead] = 1.0
            self.sums[dead] = chosen
        self.codebook.copy_(self.sums / self.counts.unsqueeze(1))
