"""patchNR: the flow against its inverse and numerical Jacobians, its training, and a reconstruction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data

from nopairs.errors import NopairsError
from nopairs.priors.operators import BlurDownsample, BlurDownsampleOptions, Identity, IdentityOptions
from nopairs.priors.patchnr import Anchor, PatchData, PatchNR, PatchNRDescent, PatchNROptions, find
from nopairs.training.loop import Trainer
from nopairs.training.options import TrainingOptions

SMALLER = BlurDownsample(BlurDownsampleOptions(size=8, sigma=1.5, factor=2, noise=0.01))


def texture(part: slice) -> np.ndarray:
    return np.ascontiguousarray(data.brick()[None, 200:328, part])


def flow(**options: object) -> PatchNR:
    """A flow whose blocks are not the identity."""
    torch.manual_seed(0)
    network = PatchNR(PatchNROptions(patch_size=3, blocks=3, width=16, **options))  # type: ignore[arg-type]
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    network.fit(torch.from_numpy(texture(slice(0, 256)) / 255).float(), 0)
    return network.double()


@pytest.mark.parametrize("whitening", [False, True])
def test_inverse_and_likelihood(whitening: bool) -> None:
    network = flow(whitening=whitening)
    rows = torch.rand(6, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    latent, determinant = network.to_latent(rows)
    torch.testing.assert_close(network.to_patches(latent), rows)
    assert (latent - rows).abs().min() > 1e-6
    step = 1e-6
    for k in range(2):
        jacobian = torch.stack(
            [
                (
                    network.to_latent(rows[k : k + 1] + step * unit)[0]
                    - network.to_latent(rows[k : k + 1] - step * unit)[0]
                )[0]
                / (2 * step)
                for unit in torch.eye(9, dtype=torch.float64)
            ],
            1,
        )
        torch.testing.assert_close(
            torch.linalg.slogdet(jacobian).logabsdet, determinant[k], atol=1e-5, rtol=1e-5
        )
    density = torch.distributions.Normal(0.0, 1.0).log_prob(latent).sum(1) + determinant
    torch.testing.assert_close(network.negative_log_density(rows), -density / 9)


def test_a_density_has_integral_one() -> None:
    """By importance sampling from a wider normal distribution, in the four dimensions of a 2x2 patch."""
    torch.manual_seed(1)
    network = PatchNR(PatchNROptions(patch_size=2, blocks=2, width=8)).double()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    wide = torch.distributions.Normal(
        torch.tensor(0.5, dtype=torch.float64), torch.tensor(2.0, dtype=torch.float64)
    )
    rows = wide.sample((50_000, 4))
    with torch.no_grad():
        logarithms = -4 * network.negative_log_density(rows) - wide.log_prob(rows).sum(1)
    assert abs(float(logarithms.exp().mean()) - 1) < 0.05


def test_whitening_makes_patches_white() -> None:
    image = torch.from_numpy(texture(slice(0, 256)) / 255).float()
    network = PatchNR(PatchNROptions(patch_size=4, blocks=1, width=8, whitening=True))
    network.fit(image, 0)
    rows = image.unfold(1, 4, 1).unfold(2, 4, 1).reshape(-1, 16)
    with torch.no_grad():
        covariance = torch.cov(network.to_latent(rows)[0].T)
    assert (covariance - torch.eye(16)).abs().max() < 0.05


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> PatchNR:
    options = PatchNROptions(patch_size=4, blocks=2, width=32, whitening=True)
    torch.manual_seed(0)
    network = PatchNR(options)
    images = texture(slice(0, 256))
    network.fit(torch.from_numpy(images / 255).float(), 0)
    training = TrainingOptions(steps=120, batch=256, lr=3e-3, validate_every=60, precision="float32")
    batches = PatchData(images, [texture(slice(256, 384))], options, training)
    before = batches.validate(network)["likelihood"]
    folder = tmp_path_factory.mktemp("patchnr")
    result = Trainer(
        network, batches, training, folder, seed=0, device=torch.device("cpu"), fingerprint="x"
    ).run()
    network.load_state_dict(result.weights)
    assert (
        result.best is not None and result.best > before + 0.05
    )  # nats a pixel above the Gaussian that fits best
    return network.eval()


def test_a_trained_prior_super_resolves(trained: PatchNR) -> None:
    clean = torch.from_numpy(texture(slice(384, 448)) / 255).float()[None]
    observed = SMALLER.observe(clean, torch.Generator().manual_seed(0))
    how = PatchNRDescent(strength=0.5, steps=40, stride=2, precision="float32")
    found = trained.reconstruct(observed, SMALLER, how, seed=1)
    assert torch.equal(found, trained.reconstruct(observed, SMALLER, how, seed=1))
    errors = [float((image - clean).square().mean()) for image in (SMALLER.start(observed), found)]
    assert 10 * np.log10(errors[0] / errors[1]) > 1.5
    assert all(parameter.requires_grad for parameter in trained.parameters())
    colours = torch.cat([observed, 1 - observed], 1)
    both = trained.reconstruct(colours, SMALLER, how, seed=1)
    assert float((both[:, :1] - found).square().mean().sqrt()) < 0.01


def test_a_grid_is_better_than_as_many_random_patches(trained: PatchNR) -> None:
    clean = torch.from_numpy(texture(slice(384, 448)) / 255).float()[None]
    observed = SMALLER.observe(clean, torch.Generator().manual_seed(0))
    found = [
        trained.reconstruct(
            observed,
            SMALLER,
            PatchNRDescent(strength=0.5, steps=40, stride=2, patches=count, precision="float32"),
        )
        for count in (0, 1953)
    ]
    errors = [float((image - clean).square().mean()) for image in (*found, SMALLER.start(observed))]
    assert errors[0] < errors[1] < errors[2]


def test_newtons_first_step_finds_the_minimum_around_an_estimate_and_the_second_stays() -> None:
    """Of one patch and a flow that is the identity: the observation, the flow and the estimate each give a Gaussian."""
    network = PatchNR(PatchNROptions(patch_size=4, blocks=1, width=4, whitening=True))
    observed, estimate = torch.rand(2, 1, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    how = PatchNRDescent(strength=50.0, steps=2, lr=1.0, precondition=True, precision="float32")
    operator, whiten = Identity(IdentityOptions(0.1)), network.whiten[None]
    anchor = Anchor(estimate, 0.05)
    found = find(network.densities, network.options, whiten, observed, operator, how, 0, anchor)
    expected = (observed / 0.1**2 + 50 * 0.5 + estimate / 0.05**2) / (0.1**-2 + 50 + 0.05**-2)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_bad_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NopairsError, match="width is 0"):
        PatchNROptions(width=0)
    with pytest.raises(NopairsError, match="smaller than a patch"):
        PatchData(np.zeros((1, 5, 5), np.uint8), [], PatchNROptions(), TrainingOptions(1))
