"""Gaussian filters against their known width and scipy's."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d

from nopairs.data.gaussian import gaussian_blur, gaussian_taps


@pytest.mark.parametrize(
    ("size", "sigma", "effective"), [(9, 2, 1.85), (9, 3, 2.23), (9, 4, 2.38), (9, 6, 2.49)]
)
def test_truncated_kernel_has_the_known_effective_sigma(size: int, sigma: float, effective: float) -> None:
    taps, offsets = gaussian_taps(size, sigma), torch.arange(size) - size // 2
    assert taps.sum().item() == pytest.approx(1)
    assert math.sqrt((taps * offsets**2).sum()) == pytest.approx(effective, abs=0.005)


def test_blur_equals_scipys_with_the_same_taps() -> None:
    image = torch.rand(1, 3, 30, 20)
    taps = gaussian_taps(9, 4.0).numpy()
    expected = correlate1d(correlate1d(image.numpy(), taps, 2, mode="mirror"), taps, 3, mode="mirror")
    np.testing.assert_allclose(gaussian_blur(image, 9, 4.0).numpy(), expected, atol=1e-6)
