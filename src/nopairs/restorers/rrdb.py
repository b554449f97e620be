"""RRDB, the PSNR-oriented network of ESRGAN (Wang et al., 2018), in spandrel's layout: its published weights are a start or the whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from nopairs.data.resizing import enlarge
from nopairs.data.weights import find, is_reference
from nopairs.errors import NopairsError
from nopairs.restorers.pretrained import Pretrained, PretrainedOptions
from nopairs.torch_compat import make_torchvision_importable


@dataclass(frozen=True)
class RrdbOptions:
    """Size of the network; the defaults are the paper's.

    scale: how many times it enlarges, a power of two.
    width, blocks: channels, and residual-in-residual dense blocks.
    residual: whether it adds to the bicubic enlargement, from which a short training begins; published weights do not.
    start: weights to begin with (a path, or `catalogue:<entry>/<path>`), of the same size; none trains from scratch.
    """

    scale: int = 4
    width: int = 64
    blocks: int = 23
    residual: bool = False
    start: str = ""
    weight_files: ClassVar[tuple[str, ...]] = ("start",)

    def __post_init__(self) -> None:
        if self.scale not in (1, 2, 4, 8) or self.width < 1 or self.blocks < 1:
            raise NopairsError(
                f"rrdb: scale {self.scale} must be 1, 2, 4 or 8, width {self.width} and blocks {self.blocks} at least 1"
            )
        if is_reference(self.start):
            find(self.start)


def layers(width: int, blocks: int, scale: int) -> Any:
    """Return RRDB's layers, untrained: a convolution, the blocks between two ends of a shortcut, then what enlarges."""
    make_torchvision_importable()
    from spandrel.architectures.ESRGAN import ESRGAN

    return ESRGAN(num_filters=width, num_blocks=blocks, scale=scale).model


def read_start(start: str, network: nn.Module, width: int, blocks: int) -> None:
    """Load into `network`, which is `layers` or the first of them, the weights of the file `start`.

    Raises:
        NopairsError: they are not weights of an RRDB of this size.
    """
    published = Pretrained(PretrainedOptions(start)).model.state_dict()
    weights = {name.removeprefix("model."): value for name, value in published.items()}
    try:
        network.load_state_dict({name: weights[name] for name in network.state_dict()})
    except (KeyError, RuntimeError):
        raise NopairsError(
            f"{start}: not weights of an RRDB of {blocks} blocks of {width} channels; give its size as the options say"
        ) from None


class Rrdb(nn.Module):
    """Enlarges by residual dense blocks at the small size, and convolutions behind each doubling."""

    Options: type[Any] = RrdbOptions
    learned = True
    multiple = 1

    def __init__(self, options: RrdbOptions) -> None:
        super().__init__()
        self.options, self.scale = options, options.scale
        self.model = layers(options.width, options.blocks, options.scale)
        # The exact radius, 15 convolutions a block, is far more than what the residual branches, scaled by 0.2, let through.
        self.margin = min(15 * options.blocks, 48) + 4
        self._initialise()

    def _initialise(self) -> None:
        """A tenth of He's initialisation in the blocks and in the trunk's convolution behind them, as the authors' code has it, whatever
        the scale; of a residual network half of it, and its last layer starts near zero.
        """
        convolutions = [layer for layer in self.model.modules() if isinstance(layer, nn.Conv2d)]
        trunk = [layer for layer in self.model[1].modules() if isinstance(layer, nn.Conv2d)]
        for layer in convolutions[:-1] if self.options.residual else trunk:
            nn.init.kaiming_normal_(layer.weight, a=0.2, nonlinearity="leaky_relu")
        for layer in trunk:
            layer.weight.data.mul_(0.5 if self.options.residual else 0.1)
        if self.options.residual:
            convolutions[-1].weight.data.mul_(0.1)
            nn.init.zeros_(convolutions[-1].bias)  # type: ignore[arg-type]  # it has one

    def add_tutors(self) -> None:
        """Read the weights that training begins with; a trained model needs them no more."""
        if self.options.start:
            read_start(self.options.start, self.model, self.options.width, self.options.blocks)

    def forward(self, degraded: torch.Tensor) -> torch.Tensor:
        """Map (batch, 3, h, w) in [0, 1] to (batch, 3, scale h, scale w), not clipped."""
        enlarged = self.model(degraded)
        return enlarged + enlarge(degraded, self.scale) if self.options.residual else enlarged

    def losses(
        self, progress: float, *, clean: torch.Tensor, degraded: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return the mean absolute error of the enlarged image."""
        return {"loss": F.l1_loss(self(degraded).float(), clean)}
