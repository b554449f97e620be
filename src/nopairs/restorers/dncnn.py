"""DnCNN: a plain convolutional network that predicts the noise (Zhang et al., 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from nopairs.data import weights
from nopairs.errors import NopairsError
from nopairs.restorers.pretrained import Pretrained, PretrainedOptions
from nopairs.restorers.wide import check_width, keep_wide, reach
from nopairs.training import parallel

# As the published weights were trained with; their variances are small enough for torch's 1e-5 to change the result.
BATCH_NORM_EPS = 1e-4
LOSSES = ("mse", "l1")


@dataclass(frozen=True)
class DnCNNOptions:
    """Size of the network: 17 or 20 layers of 64 channels with batch normalisation in the papers.

    Short trainings of small networks do without `batch_norm`: the running statistics then lag behind the weights.
    `self_ensemble` restores each image in its eight rotations and reflections, and takes the mean (`tiling.self_ensembled`).
    `start` names weights to begin with (a path, or `catalogue:<entry>/<path>`), of the same size; their batch normalisation is merged into
    the convolutions where there is none here. `loss` is mse (DnCNN's paper) or l1 (LUD-VAE's authors' options).
    `keep_wide` is the width, in pixels, beyond which images stay as they were (`wide.keep_wide`); 0: the network decides it all.
    """

    depth: int = 17
    width: int = 64
    batch_norm: bool = True
    self_ensemble: bool = False
    start: str = ""
    loss: str = "mse"
    keep_wide: float = 0.0
    weight_files: ClassVar[tuple[str, ...]] = ("start",)

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise NopairsError(f"dncnn: loss {self.loss!r} is unknown; take one of {', '.join(LOSSES)}")
        weights.check(self.start)
        check_width(self.keep_wide)
        if self.depth < 2 or self.width < 1:
            raise NopairsError(f"dncnn: depth {self.depth} and width {self.width} must be at least 2 and 1")


def convolutions(channels: int, options: DnCNNOptions) -> nn.Sequential:
    """Return DnCNN's layers, (batch, channels, H, W) -> (batch, 3, H, W), with He's initialisation.

    With torch's default a deep network without normalisation starts, and stays, at zero output. The last layer starts near zero,
    so that training begins close to the identity.
    """
    width = options.width
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
    for _ in range(options.depth - 2):
        norm = [parallel.BatchNorm2d(width, eps=BATCH_NORM_EPS)] if options.batch_norm else []
        layers += [nn.Conv2d(width, width, 3, padding=1), *norm, nn.ReLU(inplace=True)]
    last = nn.Conv2d(width, 3, 3, padding=1)
    layers.append(last)
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    last.weight.data.mul_(0.1)
    return nn.Sequential(*layers)


def merged(network: nn.Module) -> dict[str, torch.Tensor]:
    """Return the weights of a plain network's convolutions, in their order, each with the batch normalisation behind it merged in."""
    convolutions: list[nn.Conv2d] = []
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            convolutions.append(layer)
        elif isinstance(layer, nn.BatchNorm2d):
            convolutions[-1] = fuse_conv_bn_eval(convolutions[-1], layer)
    return {
        f"{place}.{name}": tensor
        for place, layer in enumerate(convolutions)
        for name, tensor in layer.state_dict().items()
    }


class DnCNN(nn.Module):
    """Restores by subtracting the predicted noise. Keys and layout are those of the published LUD-VAE weights."""

    Options = DnCNNOptions
    learned = True
    multiple = 1

    def __init__(self, options: DnCNNOptions) -> None:
        super().__init__()
        self.options = options
        self.model = convolutions(3, options)
        self.margin = options.depth + reach(options.keep_wide)
        self.self_ensemble = options.self_ensemble

    def add_tutors(self) -> None:
        """Read the weights that training begins with; a trained model needs them no more."""
        if not self.options.start:
            return
        published = Pretrained(PretrainedOptions(self.options.start)).model.eval()
        tensors = published.state_dict() if self.options.batch_norm else merged(published)
        try:
            self.load_state_dict(dict(zip(self.state_dict(), tensors.values(), strict=True)))
        except (ValueError, RuntimeError):
            raise NopairsError(
                f"{self.options.start}: not weights of a DnCNN of {self.options.depth} layers of {self.options.width} channels; "
                "give its size as `depth` and `width`"
            ) from None

    def forward(self, degraded: torch.Tensor) -> torch.Tensor:
        """Map (batch, 3, H, W) in [0, 1] to the restored image of the same shape, not clipped."""
        return keep_wide(degraded - self.model(degraded), degraded, self.options.keep_wide)

    def losses(
        self, progress: float, *, clean: torch.Tensor, degraded: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return the mean squared, or absolute, error of the restored image."""
        compare = F.l1_loss if self.options.loss == "l1" else F.mse_loss
        return {"loss": compare(self(degraded).float(), clean)}
