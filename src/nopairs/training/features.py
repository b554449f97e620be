"""What perceptual losses compare: features of published networks, or where weights cannot be had a substitute that the configuration names.

`vgg19`: ESRGAN's, the mean absolute difference of conv5_4. `vgg16`: OTS's, the sum of four layers' mean squared differences, of images
as they are. `lpips`: DSGAN's and DASR's, with AlexNet.

The substitute, `gradients`, is differences between neighbouring pixels at three scales. It knows nothing of perception: it weighs edges
and grain as a network's first layers do, and no more. It is never taken silently; a network without its weights is refused.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from nopairs import hub
from nopairs.errors import NopairsError
from nopairs.metrics import perceptual
from nopairs.torch_compat import make_torchvision_importable

KINDS = ("vgg19", "vgg16", "lpips", "gradients", "none")
WEIGHTS = {"vgg19": "vgg19-dcbb9e9d.pth", "vgg16": perceptual.WEIGHTS["vgg"]}
# conv5_4 before its rectifier, as ESRGAN compares it; behind rectifiers, as OTS does.
LAYERS = {"vgg19": (34,), "vgg16": (3, 8, 15, 22)}
# ImageNet's channel statistics, which VGG19 was trained with.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SCALES = 3


class Features(nn.Module):
    """Compares images by features of one of `KINDS`; nothing in it is trained."""

    def __init__(self, kind: str) -> None:
        """Raises NopairsError for an unknown kind, or one whose weights are not here."""
        super().__init__()
        if kind not in KINDS:
            raise NopairsError(f"perceptual features {kind!r} are unknown; take one of {', '.join(KINDS)}")
        self.kind = kind
        self.network: Any = None
        if kind in WEIGHTS:
            self.network = _vgg(kind)
        elif kind == "lpips":
            self.network = _lpips()
        self.requires_grad_(False)

    def train(self, mode: bool = True) -> Features:
        """Stay in evaluation mode within a network that trains: LPIPS has dropout."""
        return super().train(False)

    def distance(self, images: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        """Return how far features of (batch, 3, H, W) in [0, 1] differ, as the kind has it."""
        if self.kind == "none":
            return images.new_zeros(())
        if self.kind == "lpips":
            return self.network(images, reference, normalize=True).float().mean()
        pairs = list(zip(self._features(images), self._features(reference), strict=True))
        if self.kind == "vgg16":
            return torch.stack([F.mse_loss(one.float(), other.float()) for one, other in pairs]).sum()
        return torch.stack([F.l1_loss(one.float(), other.float()) for one, other in pairs]).mean()

    def _features(self, images: torch.Tensor) -> list[torch.Tensor]:
        features = []
        if self.kind in WEIGHTS:
            if self.kind == "vgg19":
                mean, deviation = (images.new_tensor(values).view(1, 3, 1, 1) for values in (MEAN, DEVIATION))
                images = (images - mean) / deviation
            for index, layer in enumerate(self.network):
                images = layer(images)
                if index in LAYERS[self.kind]:
                    features.append(images)
            return features
        for _ in range(SCALES):
            features += [images.diff(dim=2), images.diff(dim=3)]
            images = F.avg_pool2d(images, 2)
        return features


def _vgg(kind: str) -> nn.Sequential:
    if reason := hub.missing(WEIGHTS[kind]):
        raise NopairsError(f"{reason}, or name a stated substitute: `perceptual: gradients`")
    make_torchvision_importable()
    from torchvision.models import get_model

    network = get_model(kind, weights=None)
    weights = torch.load(hub.weight_file(WEIGHTS[kind]), map_location="cpu", weights_only=True)
    network.load_state_dict(weights)
    return network.features[: max(LAYERS[kind]) + 1].eval()


def _lpips() -> nn.Module:
    if reason := perceptual.unavailable():
        raise NopairsError(f"LPIPS {reason}, or name a stated substitute: `perceptual: gradients`")
    return perceptual.network("alex").eval()
