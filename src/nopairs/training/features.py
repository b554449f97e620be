"""What perceptual losses compare: features of VGG19, or where its weights cannot be had a substitute that the configuration names.

The substitute, `gradients`, is differences between neighbouring pixels at three scales. It knows nothing of perception: it weighs edges
and grain as a network's first layers do, and no more. It is never taken silently; VGG19 without its weights is refused.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from nopairs import hub
from nopairs.errors import NopairsError
from nopairs.torch_compat import make_torchvision_importable

KINDS = ("vgg19", "gradients", "none")
WEIGHTS = "vgg19-dcbb9e9d.pth"
# conv5_4 before its rectifier, as ESRGAN compares it.
LAST_LAYER = 34
# ImageNet's channel statistics, which VGG19 was trained with.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SCALES = 3


class Features(nn.Module):
    """Compares images by features of one of `KINDS`; nothing in it is trained."""

    def __init__(self, kind: str) -> None:
        """Raises NopairsError for an unknown kind, or VGG19 without its weights."""
        super().__init__()
        if kind not in KINDS:
            raise NopairsError(f"perceptual features {kind!r} are unknown; take one of {', '.join(KINDS)}")
        self.kind = kind
        if kind == "vgg19":
            self.network = _vgg19()
        self.requires_grad_(False)

    def distance(self, images: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        """Return the mean absolute difference of features of (batch, 3, H, W) in [0, 1], averaged over their layers."""
        if self.kind == "none":
            return images.new_zeros(())
        pairs = list(zip(self._features(images), self._features(reference), strict=True))
        return torch.stack([F.l1_loss(one.float(), other.float()) for one, other in pairs]).mean()

    def _features(self, images: torch.Tensor) -> list[torch.Tensor]:
        if self.kind == "vgg19":
            mean, deviation = (images.new_tensor(values).view(1, 3, 1, 1) for values in (MEAN, DEVIATION))
            return [self.network((images - mean) / deviation)]
        features = []
        for _ in range(SCALES):
            features += [images.diff(dim=2), images.diff(dim=3)]
            images = F.avg_pool2d(images, 2)
        return features


def _vgg19() -> nn.Sequential:
    if reason := hub.missing(WEIGHTS):
        raise NopairsError(f"{reason}, or name a stated substitute: `perceptual: gradients`")
    make_torchvision_importable()
    from torchvision.models import vgg19

    network = vgg19(weights=None)
    network.load_state_dict(torch.load(hub.weight_file(WEIGHTS), map_location="cpu", weights_only=True))
    return network.features[: LAST_LAYER + 1].eval()
