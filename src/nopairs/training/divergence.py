"""The divergence that variational autoencoders are held to."""

from __future__ import annotations

import torch


def kl_to_standard_normal(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """Return KL(N(mean, exp(log_variance)) || N(0, I)), summed over all elements."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum()
