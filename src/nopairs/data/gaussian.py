"""Gaussian filters of images."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def gaussian_taps(size: int, sigma: float) -> torch.Tensor:
    """Return a Gaussian sampled at `size` points around its centre, of sum 1."""
    places = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    taps = torch.exp(-(places**2) / (2 * sigma**2))
    return (taps / taps.sum()).float()


def gaussian_blur(images: torch.Tensor, size: int, sigma: float, padding: str = "reflect") -> torch.Tensor:
    """Blur (batch, channels, H, W) with a truncated, renormalised Gaussian; borders are reflected, or padded in another of torch's ways."""
    channels, half = images.shape[1], size // 2
    taps = gaussian_taps(size, sigma).to(images.device)
    # A blurred copy in bfloat16 would be off by more than its noise.
    with torch.autocast(images.device.type, enabled=False):
        images = F.pad(images.float(), (half, half, half, half), mode=padding)
        images = F.conv2d(images, taps.view(1, 1, 1, -1).repeat(channels, 1, 1, 1), groups=channels)
        return F.conv2d(images, taps.view(1, 1, -1, 1).repeat(channels, 1, 1, 1), groups=channels)
