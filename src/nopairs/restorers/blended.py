"""Blending: a mean of a trained DnCNN's weights and of those that it began with (WiSE-FT; Wortsman et al., CVPR 2022).

What published weights know of photos is worth keeping where the training photos are few. How much of each is best is chosen on `val`
(docs/experiments.md, section 59).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from nopairs.errors import NopairsError
from nopairs.restorers.dncnn import DnCNN, DnCNNOptions
from nopairs.training.data import Images, validation_psnr


@dataclass(frozen=True)
class BlendedOptions(DnCNNOptions):
    """Size of the DnCNN whose weights are blended, the weights that it began with (`start`), and `shares` of its own to choose from."""

    shares: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.start:
            raise NopairsError(
                "blended: there is nothing to blend with; give the weights that the network began with as `start`"
            )
        if not self.shares or not all(0 <= share <= 1 for share in self.shares):
            raise NopairsError(f"blended: shares {list(self.shares)} must be numbers from 0 to 1")


class Blended(DnCNN):
    """A DnCNN of mixed weights; it is not trained: it takes a trained DnCNN's."""

    Options = BlendedOptions
    options: BlendedOptions
    lenders = ("dncnn",)

    def choose(self, val: Images) -> dict[str, float]:
        """Mix the trained weights, which are loaded, with the start's by the share of highest mean PSNR (dB) on `val`.

        `val`: (clean, degraded) images, uint8 (H, W, 3). Returns each share's PSNR by its name; raises NopairsError if there are none.
        """
        if not val:
            raise NopairsError(
                "blended: its share is chosen on validation pairs, and this dataset has none; leave the method out"
            )
        trained = self._weights()
        self.add_tutors()
        begun = self._weights()

        @torch.no_grad()
        def mix(share: float) -> None:
            for name, tensor in self._weights(copy=False).items():
                tensor.copy_(begun[name].lerp(trained[name], share))

        found = {}
        for share in self.options.shares:
            mix(share)
            found[share] = validation_psnr(self.eval(), val)
        mix(max(found, key=lambda share: found[share]))
        return {f"share {share}": value for share, value in found.items()}

    def _weights(self, copy: bool = True) -> dict[str, torch.Tensor]:
        """Return what can be mixed: all but counts, with running means and variances."""
        return {
            name: tensor.clone() if copy else tensor
            for name, tensor in self.state_dict().items()
            if tensor.is_floating_point()
        }
