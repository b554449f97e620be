"""Newton's steps for Gaussian images: the inverse itself, the precision that patches give, and shorter descents."""

from __future__ import annotations

import pytest
import torch
from skimage import data

from nopairs.errors import NopairsError
from nopairs.priors import patches
from nopairs.priors.newton import Newton, patch_precision
from nopairs.priors.operators import BlurDownsample, BlurDownsampleOptions, Identity, IdentityOptions
from nopairs.priors.patchnr import PatchNR, PatchNRDescent, PatchNROptions
from nopairs.priors.radon import Radon, RadonOptions

SMALLER = BlurDownsample(BlurDownsampleOptions(size=8, sigma=1.5, factor=2, noise=0.1))


def whitening() -> torch.Tensor:
    image = torch.from_numpy(data.gravel()[:200, :200] / 255).float()[None]
    flow = PatchNR(PatchNROptions(patch_size=4, blocks=1, width=4, whitening=True))
    flow.fit(image, 0)
    return flow.whiten


def test_precision_is_the_mean_energy_of_all_patches() -> None:
    """Of an image that ends periodically, whose patches reach over its edges."""
    whiten, image = whitening(), torch.rand(1, 1, 12, 10, generator=torch.Generator().manual_seed(0))
    around = torch.nn.functional.pad(image, (0, 3, 0, 3), mode="circular")
    energy = (patches.every(around[0], 4) @ whiten.T).square().sum() / 4**2
    filtered = torch.fft.irfft2(torch.fft.rfft2(image) * patch_precision(whiten, (12, 10)), s=(12, 10))
    torch.testing.assert_close((image * filtered).sum(), energy, rtol=1e-3, atol=0)


def test_the_inverse() -> None:
    precision = patch_precision(whitening(), (24, 20))
    image = torch.randn(2, 1, 24, 20, generator=torch.Generator().manual_seed(0))
    newton = Newton(SMALLER, (24, 20), precision)
    product = SMALLER.adjoint(SMALLER(image)) / SMALLER.noise**2
    product += torch.fft.irfft2(torch.fft.rfft2(image) * precision, s=(24, 20))
    torch.testing.assert_close(newton(product), image, atol=1e-3, rtol=0)


def test_the_start_is_the_best_image_of_the_observations_own_mean() -> None:
    """White images of variance 0.1^2, observed with as much noise: half of each deviation from the mean is left."""
    newton = Newton(Identity(IdentityOptions(0.1)), (8, 6), torch.full((8, 4), 100.0))
    observed = torch.rand(2, 1, 8, 6, generator=torch.Generator().manual_seed(0))
    observed[1] += 3
    mean = observed.mean((-2, -1), keepdim=True)
    torch.testing.assert_close(newton.start(observed), (observed + mean) / 2)


@pytest.mark.parametrize("padding", ["circular", "none"])
def test_fewer_steps_than_adam(padding: str) -> None:
    """A flow that is the identity after its whitening is a Gaussian: Newton's start is its best image."""
    operator = BlurDownsample(BlurDownsampleOptions(size=8, sigma=1.5, factor=2, noise=0.01, padding=padding))
    image = torch.from_numpy(data.gravel()[:96, :96] / 255).float()[None, None]
    flow = PatchNR(PatchNROptions(patch_size=4, blocks=1, width=4, whitening=True))
    flow.fit(image[0], 0)
    observed = operator.observe(image, torch.Generator().manual_seed(0))

    @torch.no_grad()
    def loss(found: torch.Tensor) -> float:
        energy = flow.negative_log_density(patches.every(found[0], 4)).mean()
        return float(operator.misfit(found, observed) / found.numel() + energy)

    few = PatchNRDescent(strength=1.0, steps=5, lr=0.5, stride=1, precondition=True, precision="float32")
    many = PatchNRDescent(strength=1.0, steps=25, lr=0.03, stride=1, precision="float32")
    newton, adam = (loss(flow.reconstruct(observed, operator, how)) for how in (few, many))
    assert newton < adam


def test_what_it_is_not_for_is_refused() -> None:
    observed = SMALLER(torch.rand(1, 1, 16, 16))
    how = PatchNRDescent(precondition=True)
    with pytest.raises(NopairsError, match="whitening: true"):
        PatchNR(PatchNROptions(width=4)).reconstruct(observed, SMALLER, how)
    scan = Radon(RadonOptions(angles=4, noise=0.1))
    with pytest.raises(NopairsError, match="needs an operator that is a convolution"):
        Newton(scan, (8, 8), torch.ones(8, 5))
