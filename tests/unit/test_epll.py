"""EPLL: the mixture against scipy's densities, its learning, its estimates, and a reconstruction."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from skimage import data

from nopairs.errors import NopairsError
from nopairs.priors.epll import EPLL, EPLLOptions, Splitting, solve
from nopairs.priors.operators import BlurDownsample, BlurDownsampleOptions, Identity, IdentityOptions

SMALLER = BlurDownsample(BlurDownsampleOptions(size=8, sigma=1.5, factor=2, noise=0.01))


def texture(part: slice) -> torch.Tensor:
    return torch.from_numpy(data.brick()[None, 200:328, part] / 255).float()


@pytest.fixture(scope="module")
def learned() -> tuple[EPLL, list[float]]:
    prior = EPLL(EPLLOptions(patch_size=4, components=8, patches=8000, iterations=15))
    log = prior.fit(texture(slice(0, 256)), seed=0)
    return prior, [row["loss"] for row in log]


def test_learning_raises_the_likelihood_in_every_step(learned: tuple[EPLL, list[float]]) -> None:
    prior, losses = learned
    assert len(losses) == 15 and max(np.diff(losses)) < 1e-3 and losses[-1] < losses[0] - 0.02
    again = EPLL(prior.options)
    again.fit(texture(slice(0, 256)), seed=0)
    assert torch.equal(prior.covariances, again.covariances)


def test_the_density_is_that_of_the_mixture(learned: tuple[EPLL, list[float]]) -> None:
    prior, _ = learned
    rows = texture(slice(300, 304))[0, :16].reshape(4, 16)
    density = sum(
        weight * scipy.stats.multivariate_normal(mean, covariance).pdf(rows)
        for weight, mean, covariance in zip(
            prior.log_weights.exp().numpy(),
            prior.means.numpy(),
            prior.covariances.double().numpy(),
            strict=True,
        )
    )
    np.testing.assert_allclose(prior.negative_log_density(rows) * 16, -np.log(density), rtol=2e-3)


def test_one_component_estimates_as_wiener_does() -> None:
    prior = EPLL(EPLLOptions(patch_size=2, components=1, patches=4000, iterations=2))
    prior.fit(texture(slice(0, 256)), seed=0)
    rows = torch.rand(5, 4, generator=torch.Generator().manual_seed(0))
    signal = prior.covariances[0].double()
    gain = signal @ torch.linalg.inv(signal + 0.1**2 * torch.eye(4))
    expected = prior.means[0] + (rows.double() - prior.means[0]) @ gain.T
    torch.testing.assert_close(prior.estimate(rows, 0.1).double(), expected, atol=1e-5, rtol=1e-4)


def test_a_patch_is_estimated_by_the_component_that_explains_it_with_its_noise() -> None:
    """Noise makes patches that are alike look as if they were of the component that varies more."""
    prior = EPLL(EPLLOptions(patch_size=2, components=2, patches=4))
    factors = torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(0))
    factors *= torch.tensor([0.02, 0.1])[:, None, None]
    prior.covariances.copy_(factors @ factors.mT + 1e-4 * torch.eye(4))
    prior.means.copy_(torch.tensor([0.5, 0.6])[:, None].expand(2, 4))
    prior.log_weights.copy_(torch.tensor([0.7, 0.3]).log())
    rows = 0.5 + 0.15 * torch.randn(60, 4, generator=torch.Generator().manual_seed(1))
    estimates = prior.estimate(rows, 0.1).double().numpy()
    means, covariances = prior.means.double().numpy(), prior.covariances.double().numpy()
    chosen = []
    for row, estimate in zip(rows.double().numpy(), estimates, strict=True):
        best = [
            np.argmax(
                [
                    weight * scipy.stats.multivariate_normal(mean, covariance + noise * np.eye(4)).pdf(row)
                    for weight, mean, covariance in zip((0.7, 0.3), means, covariances, strict=True)
                ]
            )
            for noise in (0.1**2, 0.0)
        ]
        mean, precision = means[best[0]], np.linalg.inv(covariances[best[0]])
        posterior = precision + np.eye(4) / 0.1**2
        expected = np.linalg.solve(posterior, precision @ mean + row / 0.1**2)
        np.testing.assert_allclose(estimate, expected, atol=1e-4)
        chosen.append(tuple(best))
    assert {(0, 0), (0, 1), (1, 1)} >= set(chosen) >= {(0, 1), (1, 1)}


def test_conjugate_gradients_solve_each_image_by_itself() -> None:
    generator = torch.Generator().manual_seed(0)
    factor = torch.randn(6, 6, dtype=torch.float64, generator=generator)
    matrix = factor @ factor.T + torch.eye(6)
    truth = torch.randn(3, 6, dtype=torch.float64, generator=generator) * torch.tensor(
        [[1.0], [100.0], [0.0]]
    )
    found = solve(lambda x: x @ matrix, truth @ matrix, torch.zeros(3, 6, dtype=torch.float64), 12)
    torch.testing.assert_close(found, truth)


def test_it_super_resolves_and_denoises(learned: tuple[EPLL, list[float]]) -> None:
    prior, _ = learned
    clean = texture(slice(384, 448))[None]
    for operator, gain in ((SMALLER, 1.5), (Identity(IdentityOptions(0.1)), 4.0)):
        observed = operator.observe(clean, torch.Generator().manual_seed(0))
        found = prior.reconstruct(observed, operator, Splitting())
        errors = [float((image - clean).square().mean()) for image in (operator.start(observed), found)]
        assert 10 * np.log10(errors[0] / errors[1]) > gain


def test_turns_repeat_each_deviation(learned: tuple[EPLL, list[float]]) -> None:
    prior, _ = learned
    observed = SMALLER.observe(texture(slice(384, 416))[None], torch.Generator().manual_seed(0))
    twice, spelt, once = (
        prior.reconstruct(observed, SMALLER, Splitting(deviations=deviations, turns=turns))
        for deviations, turns in (((0.1, 0.02), 2), ((0.1, 0.1, 0.02, 0.02), 1), ((0.1, 0.02), 1))
    )
    torch.testing.assert_close(twice, spelt)
    assert (twice - once).abs().max() > 1e-3


def test_bad_options_are_refused() -> None:
    with pytest.raises(NopairsError, match="components is 0"):
        EPLLOptions(components=0)
    with pytest.raises(NopairsError, match="too few for 100"):
        EPLLOptions(patches=150)
    with pytest.raises(NopairsError, match="must be positive"):
        Splitting(deviations=())
    with pytest.raises(NopairsError, match="turns 0"):
        Splitting(turns=0)
    with pytest.raises(NopairsError, match="smaller than a patch"):
        EPLL(EPLLOptions(components=2)).fit(torch.zeros(1, 4, 9), 0)


def test_one_turn_solves_for_the_image_as_documented() -> None:
    """w = strength * pixels / (patches * pixels of a patch) and the cost that is quadratic in x, over a dense matrix."""
    side, size, noise, deviation, strength = 6, 2, 0.1, 0.05, 0.7
    prior = EPLL(EPLLOptions(patch_size=size, components=1))
    factor = 0.2 * torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    prior.covariances.copy_(factor @ factor.T + 0.01 * torch.eye(4))
    observed = torch.rand(1, 1, side, side, generator=torch.Generator().manual_seed(1))
    places = [(top, left) for top in range(side - size + 1) for left in range(side - size + 1)]
    weight = strength * side**2 / (len(places) * size**2)
    matrix, right = torch.eye(side**2) / noise**2, observed.flatten() / noise**2
    pixels = torch.arange(side**2).view(side, side)
    for top, left in places:
        taken = torch.eye(side**2)[pixels[top : top + size, left : left + size].flatten()]
        estimate = prior.estimate((taken @ observed.flatten())[None], deviation)[0]
        matrix = matrix + weight / deviation**2 * taken.T @ taken
        right = right + weight / deviation**2 * taken.T @ estimate
    expected = torch.linalg.solve(matrix, right).view_as(observed)
    how = Splitting(strength=strength, deviations=(deviation,), turns=1, solver_steps=50)
    found = prior.reconstruct(observed, Identity(IdentityOptions(noise)), how)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
