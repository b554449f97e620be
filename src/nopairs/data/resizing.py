"""Bicubic resizing as MATLAB's `imresize` does it, the convention of super-resolution datasets."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from nopairs.errors import NopairsError

# Half the support of the cubic kernel, in pixels of the smaller image.
REACH = 2


def whole(image: np.ndarray, scale: int) -> np.ndarray:
    """Cut (H, W, C) to sides that `scale` divides; raises NopairsError where nothing is left."""
    height, width = (side // scale * scale for side in image.shape[:2])
    if not (height and width):
        raise NopairsError(
            f"an image of {image.shape[1]}x{image.shape[0]} pixels is too small for scale {scale}"
        )
    return image[:height, :width]


def reduce(images: torch.Tensor, scale: int) -> torch.Tensor:
    """Reduce (batch, channels, H, W), sides multiples of `scale`, with antialiasing: Keys' kernel (a = -1/2), `scale` times wider.

    Unlike torch's and Pillow's, which renormalise the kernel at borders, MATLAB continues the image there by reflection.
    """
    if scale == 1:
        return images
    return _resize(images, scale * REACH, 1 / scale, REACH)


def enlarge(images: torch.Tensor, scale: int) -> torch.Tensor:
    """Enlarge (batch, channels, H, W) by Keys' kernel (a = -1/2); not clipped."""
    return images if scale == 1 else _resize(images, REACH, float(scale), scale * REACH)


def _resize(images: torch.Tensor, border: int, factor: float, cut: int) -> torch.Tensor:
    padded = _mirrored(_mirrored(images, border, 2), border, 3)
    # With `antialias` torch takes a = -1/2 in both directions; without it, -3/4.
    resized = F.interpolate(padded.float(), scale_factor=factor, mode="bicubic", antialias=True)
    return resized[:, :, cut:-cut, cut:-cut]


def _mirrored(images: torch.Tensor, border: int, dim: int) -> torch.Tensor:
    """Continue images beyond their edges, of which the last pixel comes twice, however small they are."""
    size = images.shape[dim]
    places = torch.from_numpy(np.pad(np.arange(size), border, mode="symmetric")).to(images.device)
    return images.index_select(dim, places)


def reduce_pixels(image: np.ndarray, scale: int) -> np.ndarray:
    """Reduce uint8 (H, W, 3), sides multiples of `scale`, and round to uint8."""
    small = reduce(torch.from_numpy(image.astype(np.float64)).permute(2, 0, 1)[None], scale)[0]
    return small.clamp(0, 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
