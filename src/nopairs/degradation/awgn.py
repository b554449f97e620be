"""Additive white Gaussian noise, the simplest degradation model: nothing is learned."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class AwgnOptions:
    """No options: the strength of sampling is the noise's standard deviation, in [0, 1] units."""


class Awgn(nn.Module):
    """y = x + sigma n with n ~ N(0, I) (LUD-VAE, section 4.4)."""

    Options = AwgnOptions
    MODES = ("clean",)
    most_strength = 1.0
    learned = False

    def __init__(self, options: AwgnOptions) -> None:
        super().__init__()

    def make_pairs(
        self,
        clean: torch.Tensor,
        degraded: torch.Tensor | None,
        mode: str,
        strength: torch.Tensor,
        generator: torch.Generator,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (clean, noisy), both (batch, 3, H, W); `strength` (batch,) is each image's sigma."""
        noise = torch.randn(clean.shape, generator=generator).to(clean)
        return clean, clean + strength.view(-1, 1, 1, 1) * noise
