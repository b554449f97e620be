"""patchNR around a network's estimate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage import data

from nopairs.errors import NopairsError
from nopairs.priors.anchored import AnchoredData, AnchoredDescent, AnchoredOptions, AnchoredPatchNR
from nopairs.priors.operators import BlurDownsample, BlurDownsampleOptions, Identity, IdentityOptions
from nopairs.training.options import TrainingOptions

SMALLER = BlurDownsample(BlurDownsampleOptions(size=8, sigma=1.5, factor=2, noise=0.01))
HOW = AnchoredDescent(strength=0.3, steps=40, lr=0.1, stride=4, precondition=True, precision="float32")


def texture(part: slice) -> np.ndarray:
    return np.ascontiguousarray(data.brick()[None, 200:328, part])


@pytest.fixture(scope="module")
def prior() -> AnchoredPatchNR:
    """Blocks are the identity: its patches are Gaussian; its network returns about what it gets."""
    torch.manual_seed(0)
    options = AnchoredOptions(
        patch_size=4, blocks=1, width=8, whitening=True, fold=2, channels=8, depth=2, edge=4
    )
    network = AnchoredPatchNR(options)
    network.fit(torch.from_numpy(texture(slice(0, 256)) / 255).float(), 0)
    return network.eval()


@pytest.fixture(scope="module")
def observed() -> torch.Tensor:
    clean = torch.from_numpy(texture(slice(384, 448)) / 255).float()[None]
    return SMALLER.observe(clean, torch.Generator().manual_seed(0))


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).square().mean().sqrt())


def test_the_deviation_says_how_far_images_leave_the_estimate(
    prior: AnchoredPatchNR, observed: torch.Tensor
) -> None:
    estimate = prior.network.reconstruct(observed, SMALLER, prior.network.Reconstruction())
    found = [prior.reconstruct(observed, SMALLER, replace(HOW, deviation=d)) for d in (1e-4, 0.02, 1e3)]
    away = [distance(one, estimate) for one in found]
    assert away[0] < 1e-4 < away[1] < away[2]
    free = prior.flow.reconstruct(observed, SMALLER, HOW)  # Gaussian patches: one minimum, wherever it begins
    assert distance(found[2], free) < 0.2 * distance(found[2], estimate)


def test_adam_finds_what_newtons_steps_find(prior: AnchoredPatchNR, observed: torch.Tensor) -> None:
    newton = prior.reconstruct(observed, SMALLER, replace(HOW, deviation=0.02))
    adam = prior.reconstruct(
        observed, SMALLER, replace(HOW, deviation=0.02, precondition=False, steps=200, lr=0.01, stride=2)
    )
    estimate = prior.network.reconstruct(observed, SMALLER, prior.network.Reconstruction())
    inside = (..., slice(8, -8), slice(8, -8))  # Newton's matrix is periodic, the edges are not
    assert distance(newton[inside], adam[inside]) < 0.3 * distance(newton[inside], estimate[inside])


def test_the_minimum_weighs_observation_prior_and_estimate_by_their_variances() -> None:
    """Of one patch: an image is N(0.5, 1/strength), observed with deviation 0.1, estimated with 0.05."""
    prior = AnchoredPatchNR(AnchoredOptions(patch_size=4, blocks=1, width=4, fold=2, channels=4, depth=1))
    torch.nn.init.constant_(prior.network.network.last.bias, 0.2)
    observed = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    how = AnchoredDescent(strength=50.0, deviation=0.05, steps=150, lr=0.02, precision="float32")
    found = prior.reconstruct(observed, Identity(IdentityOptions(0.1)), how)
    expected = (observed / 0.1**2 + 50 * 0.5 + (observed + 0.2) / 0.05**2) / (0.1**-2 + 50 + 0.05**-2)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_flow_and_network_learn_side_by_side(prior: AnchoredPatchNR) -> None:
    training = TrainingOptions(steps=1, batch=3, crop=32, precision="float32")
    batches = AnchoredData(
        texture(slice(0, 256)), [texture(slice(256, 384))], replace(prior.options, batch=5), training, SMALLER
    )
    batch = batches.batch(np.random.default_rng(0))
    assert batch["patches"].shape == (5, 16) and batch["clean"].shape == (3, 1, 32, 32)
    losses = prior.losses(0.0, **batch)
    torch.testing.assert_close(losses["loss"], losses["density"] + losses["error"])
    losses["loss"].backward()
    assert all(p.grad is not None for part in (prior.flow, prior.network) for p in part.parameters())
    prior.zero_grad()
    measures = batches.validate(prior)
    assert list(measures) == ["psnr", "likelihood"]  # the first one chooses the step


@pytest.mark.parametrize("how", [{"deviation": 0.0}, {"strength": 0.0}])
def test_bad_options_are_refused(how: dict[str, float]) -> None:
    with pytest.raises(NopairsError, match=f"{next(iter(how))} 0.0"):
        replace(HOW, **how)
    with pytest.raises(NopairsError, match="batch is 0"):
        AnchoredOptions(batch=0)
