"""Operators that are estimated from pairs, where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage import data

from nopairs.errors import NopairsError
from nopairs.priors import operators
from nopairs.priors.base import NoOptions
from nopairs.priors.estimated import Kernel, KernelOptions, estimate
from nopairs.priors.operators import Operator, gaussian_kernel
from nopairs.priors.tv import TV, TVDescent


def pairs(operator: Operator) -> tuple[np.ndarray, np.ndarray]:
    """Clean and degraded images of three colours, 8 bits."""
    photo = data.astronaut()
    clean = np.stack([photo[:128, 128:256], photo[128:256, 200:328], photo[256:384, :128]])
    planes = torch.from_numpy(np.moveaxis(clean, -1, 1) / 255).float()
    seen = operator.observe(planes, torch.Generator().manual_seed(0))
    return clean, np.rint(np.clip(np.moveaxis(seen.numpy(), 1, -1), 0, 1) * 255).astype(np.uint8)


@pytest.mark.parametrize("noise", [0.01, 0.05])
@pytest.mark.parametrize("factor, size", [(1, 5), (2, 6)])
def test_the_truth_is_found(factor: int, size: int, noise: float) -> None:
    kernel = gaussian_kernel(size, 1.2)
    kernel = kernel * torch.linspace(0.5, 1.5, size)  # not the same from both sides
    truth = Kernel(KernelOptions(tuple(map(tuple, kernel.tolist())), noise, factor))
    found = operators.make(estimate(*pairs(truth), size=size))
    assert isinstance(found, Kernel) and found.factor == factor
    assert abs(found.noise / noise - 1) < 0.05
    assert float((found.kernel - truth.kernel).abs().max()) < 0.06 * float(truth.kernel.max()) + 0.5 * noise
    # What counts: it blurs as the truth does.
    image = torch.from_numpy(data.camera()[100:228, 100:228] / 255).float()[None, None]
    assert float((found(image) - truth(image)).square().mean().sqrt()) < 0.2 * noise + 0.002


def test_of_large_images_all_colours_are_looked_at() -> None:
    """Every third row of a pixel's three would be of one colour."""
    rng = np.random.default_rng(0)
    clean = rng.integers(60, 190, (1, 352, 352, 3)).astype(np.uint8)
    deviations = np.array([4, 12, 20])
    degraded = np.clip(clean + rng.normal(0, deviations, clean.shape), 0, 255).round().astype(np.uint8)
    found = estimate(clean, degraded, 3)
    assert 255 * found["noise"] == pytest.approx(np.sqrt(np.mean(deviations**2.0)), rel=0.02)


def test_taps_that_pairs_say_nothing_of_stay_near_the_identity() -> None:
    """Stripes show a column's sum only; of all kernels with these sums the nearest to the identity is found."""
    rows = np.random.default_rng(0).integers(50, 200, (2, 90, 1, 1))
    clean = np.broadcast_to(rows, (2, 90, 90, 3)).astype(np.uint8)
    taps = np.array([0.2, 0.5, 0.3])
    blurred = sum(tap * np.roll(clean.astype(float), 1 - k, 1) for k, tap in enumerate(taps))
    found = estimate(clean, np.rint(blurred).astype(np.uint8), size=3)
    identity = np.outer([0, 1, 0], [0, 1, 0])
    expected = identity + (taps - [0, 1, 0])[:, None] / 3
    np.testing.assert_allclose(found["kernel"], expected, atol=0.005)


def test_a_prior_restores_with_what_was_estimated() -> None:
    truth = Kernel(KernelOptions(tuple(map(tuple, gaussian_kernel(7, 1.5).tolist())), 0.02))
    found = operators.make(estimate(*pairs(truth), size=7))
    clean = torch.from_numpy(data.camera()[100:196, 100:196] / 255).float()[None, None]
    observed = truth.observe(clean, torch.Generator().manual_seed(1))
    how = TVDescent(strength=8.0, steps=60)
    errors = [
        float((TV(NoOptions()).reconstruct(observed, told, how) - clean).square().mean())
        for told in (truth, found)
    ]
    assert errors[1] < 1.1 * errors[0] < float((observed - clean).square().mean())


def test_pairs_that_do_not_fit_are_refused() -> None:
    images = np.zeros((2, 16, 16, 3), np.uint8)
    with pytest.raises(NopairsError, match="do not fit"):
        estimate(images, images[:, :9], 3)
    with pytest.raises(NopairsError, match="too few for a kernel of 15x15"):
        estimate(images[:1], images[:1], 15)
    with pytest.raises(NopairsError, match="as many taps each"):
        KernelOptions(((1.0, 0.0),), 0.1)
