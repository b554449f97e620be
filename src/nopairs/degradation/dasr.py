"""DASR's degradation network: as DSGAN's, with Haar wavelets in the place of a mean over squares.

Wei, Gu, Li, Timofte, Jin and Song, Unsupervised real-world image super resolution via domain-distance aware training, CVPR 2021. Its
second half, which weighs the restorer's loss by each pair's distance from the real domain, is not here: every restorer is trained on every
degradation's pairs alike (docs/decisions.md).
"""

from __future__ import annotations

import torch

from nopairs.degradation.dsgan import Dsgan

# Signs of a square's pixels (top left, top right, bottom left, bottom right) in the bands of differences.
DIFFERENCES = ((1, -1, 1, -1), (1, 1, -1, -1), (1, -1, -1, 1))


class Dasr(Dsgan):
    """y = x + G(x); the discriminator judges the three bands of differences, and the colour loss compares the band of means.

    Options are `dsgan`'s; `low_pass` is not used.
    """

    bands = 9

    def low(self, images: torch.Tensor) -> torch.Tensor:
        """Return the means of squares (batch, 3, H / 2, W / 2): the authors halve the wavelet's band, whose gain is 2."""
        return torch.stack(_corners(images)).mean(0)

    def high(self, images: torch.Tensor) -> torch.Tensor:
        """Return the bands of differences, (batch, 9, H / 2, W / 2)."""
        corners = _corners(images)
        signs = torch.tensor(DIFFERENCES).to(images) / 2
        return torch.einsum("ks,sbchw->bkchw", signs, torch.stack(corners)).flatten(1, 2)


def _corners(images: torch.Tensor) -> list[torch.Tensor]:
    """Return the four pixels of every square of 2 x 2; an odd last row or column is left out."""
    height, width = (side // 2 * 2 for side in images.shape[-2:])
    return [images[..., top:height:2, left:width:2] for top in (0, 1) for left in (0, 1)]
