"""LPIPS (Zhang et al., 2018) by the `lpips` package, from weights that are on this machine, or not at all."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import nn

from nopairs import hub
from nopairs.errors import NopairsError
from nopairs.torch_compat import make_torchvision_importable

# torchvision's names of the files of its ImageNet weights; each ends in the first digits of its SHA-256.
WEIGHTS = {"alex": "alexnet-owt-7be5be79.pth", "vgg": "vgg16-397923af.pth"}
SMALLEST_SIDE = 31  # below it AlexNet's second pooling has nothing left


def unavailable(net: str = "alex") -> str | None:
    """Return why LPIPS can't be computed here, or None when it can.

    The digest in the file's name is checked: LPIPS on other weights is another measure under the same name.
    """
    reason = hub.missing(WEIGHTS[net])
    return reason and f"not available: {reason}"


def network(net: str) -> nn.Module:
    """Return the `lpips` package's network, which maps two batches (batch, 3, H, W) in [-1, 1] to (batch, 1, 1, 1).

    Raises:
        NopairsError: the backbone's weights are not on this machine (see `unavailable`). Nothing is downloaded.
    """
    if reason := unavailable(net):
        raise NopairsError(f"LPIPS: {reason}")
    # Imported here: torchvision and the package take seconds, which a measurement without the weights need not spend.
    make_torchvision_importable()
    import lpips

    with warnings.catch_warnings():  # the package calls torchvision in a deprecated way
        warnings.simplefilter("ignore")
        model: nn.Module = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    # The package itself would load the backbone as an unrestricted pickle.
    backbone = torch.load(hub.weight_file(WEIGHTS[net]), map_location="cpu", weights_only=True)
    parts: Any = model.net
    parts.load_state_dict(
        {name: backbone[f"features.{name.split('.', 1)[1]}"] for name in parts.state_dict()}
    )
    return model


class Lpips:
    """Perceptual distance of two images, 0 for equal ones; lower is better.

    Args:
        net: backbone, `alex` or `vgg`. Published numbers of the two can't be compared.

    Raises:
        NopairsError: the backbone's weights are not on this machine (see `unavailable`). Nothing is
            downloaded.
    """

    def __init__(self, net: str = "alex") -> None:
        self._model = network(net)

    @torch.inference_mode()
    def __call__(self, clean: np.ndarray, restored: np.ndarray) -> float:
        """Distance of two uint8 images (height, width, 3) of one shape, at least 31 pixels each way.

        Raises:
            NopairsError: the shapes differ or the images are too small.
        """
        if clean.shape != restored.shape or min(clean.shape[:2]) < SMALLEST_SIDE:
            shapes = f"{clean.shape} and {restored.shape}"
            raise NopairsError(
                f"LPIPS: images of {shapes}; give equal shapes of {SMALLEST_SIDE} pixels or more"
            )
        return float(self._model(_to_tensor(clean), _to_tensor(restored)))


def _to_tensor(image: np.ndarray) -> torch.Tensor:
    """Turn uint8 (H, W, 3) into float32 (1, 3, H, W) in [-1, 1]."""
    return torch.tensor(image).permute(2, 0, 1)[None].float() / 127.5 - 1
