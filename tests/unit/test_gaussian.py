from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import pinvh, sqrtm

from nopairs.errors import NopairsError
from nopairs.metrics import patches
from nopairs.metrics.gaussian import (
    Moments,
    gelbrich,
    inverse_root,
    root,
    stochastic_map,
    transport_matrix,
)
from nopairs.transport import mixture


def covariance(dimension: int, seed: int, rank: int | None = None) -> torch.Tensor:
    factor = torch.randn(
        dimension, rank or 2 * dimension, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    return factor @ factor.T / factor.shape[1]


def numbers(count: int, dimension: int, seed: int) -> torch.Tensor:
    return torch.randn(count, dimension, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_roots() -> None:
    matrix = covariance(7, 0)
    assert torch.allclose(root(matrix) @ root(matrix), matrix)
    assert torch.allclose(inverse_root(matrix) @ root(matrix), torch.eye(7, dtype=torch.float64))
    singular = covariance(7, 0, rank=3)
    projection = inverse_root(singular) @ root(singular)
    assert torch.allclose(projection @ projection, projection)
    assert float(projection.trace()) == pytest.approx(3)


def test_map_and_distance_are_pots() -> None:
    pot = pytest.importorskip("ot.gaussian")
    source, target = covariance(9, 1), covariance(9, 2)
    source_mean, target_mean = numbers(2, 9, 3)
    arguments = [value.numpy() for value in (source_mean, target_mean, source, target)]
    matrix, offset = pot.bures_wasserstein_mapping(*arguments)
    ours = stochastic_map(source, target, source_mean, target_mean)
    assert np.allclose(ours.matrix, matrix)
    assert np.allclose(transport_matrix(source, target), matrix)
    samples = numbers(5, 9, 4)
    assert np.allclose(ours(samples), samples.numpy() @ matrix + offset)
    distance = gelbrich(source_mean, source, target_mean, target)
    assert distance == pytest.approx(float(pot.bures_wasserstein_distance(*arguments)))


@pytest.mark.parametrize(("source_rank", "target_rank"), [(None, None), (4, None), (None, 4), (3, 5)])
def test_pushed_forward_covariance_is_the_targets(source_rank: int | None, target_rank: int | None) -> None:
    source, target = covariance(8, 5, source_rank), covariance(8, 6, target_rank)
    move = stochastic_map(source, target)
    pushed = move.matrix @ source @ move.matrix.T + move.noise_root @ move.noise_root.T
    assert torch.allclose(pushed, target, atol=1e-9)


def test_singular_source_is_equation_5_as_it_stands() -> None:
    source, target = covariance(6, 7, rank=3), covariance(6, 8)
    s, n = source.numpy(), target.numpy()
    half, inverse = sqrtm(n).real, np.linalg.inv(sqrtm(n).real)
    m = inverse @ sqrtm(half @ s @ half).real @ inverse
    inverse_s = pinvh(s, rtol=1e-10)
    noise = half @ (np.eye(6) - half @ m @ inverse_s @ m @ half) @ half
    ours = stochastic_map(source, target)
    assert np.allclose(ours.matrix, n @ m @ inverse_s, atol=1e-6)
    assert np.allclose(ours.noise_root @ ours.noise_root.T, noise, atol=1e-6)


def test_noise_is_a_number_where_eigenvalues_are_negative_by_rounding() -> None:
    source = covariance(40, 9, rank=12) - 1e-13 * torch.eye(40, dtype=torch.float64)
    target = covariance(40, 10)
    assert torch.linalg.eigvalsh(source).min() < 0
    move = stochastic_map(source, target)
    samples = move(numbers(50, 40, 11) @ root(source), torch.Generator().manual_seed(0))
    assert torch.isfinite(samples).all()
    assert float((move.noise_root @ move.noise_root.T).trace()) > 0.1 * float(target.trace())


def test_a_source_of_one_point_becomes_noise_of_the_target() -> None:
    target = covariance(5, 12)
    move = stochastic_map(torch.zeros_like(target), target)
    drawn = move(torch.zeros(40_000, 5, dtype=torch.float64), torch.Generator().manual_seed(0))
    assert torch.allclose(torch.cov(drawn.T), target, atol=0.05)


def test_equal_distributions_are_left_alone() -> None:
    matrix = covariance(6, 13)
    move = stochastic_map(matrix, matrix)
    assert torch.allclose(move.matrix, torch.eye(6, dtype=torch.float64))
    assert not move.noise_root.any()
    assert gelbrich(torch.ones(6), matrix, torch.ones(6), matrix) == pytest.approx(0, abs=1e-6)


def test_commuting_covariances_scale_each_axis() -> None:
    source, target = torch.tensor([1.0, 4.0, 9.0]).double(), torch.tensor([4.0, 1.0, 36.0]).double()
    move = stochastic_map(source.diag(), target.diag())
    assert torch.allclose(move.matrix, torch.tensor([2.0, 0.5, 2.0]).double().diag())
    zero = torch.zeros(3)
    assert gelbrich(zero, source.diag(), zero, target.diag()) == pytest.approx(11**0.5)


def test_the_map_is_symmetric_and_positive() -> None:
    matrix = transport_matrix(covariance(10, 14), covariance(10, 15))
    assert torch.allclose(matrix, matrix.T)
    assert torch.linalg.eigvalsh(matrix).min() > 0


def test_moments_are_those_of_all_samples_at_once() -> None:
    samples = numbers(1000, 4, 16) @ covariance(4, 17)
    moments, other = Moments(4), Moments(4)
    for part in samples[:600].split([1, 99, 500]):
        moments.add(part)
    other.add(samples[600:])
    moments.merge(other)
    moments.merge(Moments(4))
    assert moments.count == 1000
    assert torch.allclose(moments.mean, samples.mean(0))
    assert torch.allclose(moments.covariance, torch.cov(samples.T))


def test_a_mean_far_from_zero_costs_no_digits() -> None:
    samples = numbers(20_000, 2, 18)
    moments = Moments(2)
    for part in (samples + 1e8).split(1000):
        moments.add(part)
    assert torch.allclose(moments.covariance, torch.cov(samples.T), rtol=1e-5)
    far = samples + 1e8
    naive = (far.square().sum(0) - far.sum(0).square() / len(far)) / (len(far) - 1)
    assert not torch.allclose(naive, torch.cov(samples.T).diagonal(), rtol=1e-2)


def test_few_samples_are_shrunk_towards_the_truth() -> None:
    truth = covariance(30, 19)
    samples = numbers(20, 30, 20) @ root(truth)
    moments = Moments(30)
    moments.add(samples)
    shrunk, share = moments.shrunk()
    assert 0 < share < 1
    assert torch.linalg.eigvalsh(shrunk).min() > 0
    assert (shrunk - truth).norm() < (moments.covariance - truth).norm()
    assert float(shrunk.trace()) == pytest.approx(float(moments.covariance.trace()))
    moments.add(numbers(30, 30, 21) @ root(truth))
    assert moments.shrunk()[1] == 0


def test_alpha_is_the_share_of_the_distance() -> None:
    source_mean, target_mean = numbers(2, 6, 22)
    source, target = covariance(6, 23), covariance(6, 24)
    move = stochastic_map(source, target, source_mean, target_mean)
    distance = gelbrich(source_mean, source, target_mean, target)
    alpha = 0.25
    matrix = alpha * torch.eye(6, dtype=torch.float64) + (1 - alpha) * move.matrix
    between = gelbrich(
        alpha * source_mean + (1 - alpha) * target_mean, matrix @ source @ matrix.T, target_mean, target
    )
    assert between == pytest.approx(0.25 * distance)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (torch.zeros(3, 5), r"\(3, 5\); expected \(n, 4\)"),
        (torch.full((3, 4), float("nan")), "not finite"),
    ],
)
def test_bad_samples(samples: torch.Tensor, message: str) -> None:
    with pytest.raises(NopairsError, match=message):
        Moments(4).add(samples)


def test_too_little_for_a_covariance_and_a_root_of_what_is_no_square() -> None:
    moments = Moments(2)
    moments.add(torch.zeros(1, 2))
    with pytest.raises(NopairsError, match="1 samples have no covariance"):
        _ = moments.covariance
    with pytest.raises(NopairsError, match="expected \\(d, d\\)"):
        root(torch.zeros(2, 3))


def test_mixture_in_the_plane() -> None:
    estimates = mixture.estimate(20_000, seed=0)
    errors, distances = estimates.errors(), estimates.distances()
    # The least squared error; twice that for draws from the posterior; in between, with the right moments, what is transported.
    assert errors["posterior"] == pytest.approx(2 * errors["mmse"], rel=0.03)
    assert errors["mmse"] < errors["transported"] < 0.75 * errors["posterior"]
    assert distances["transported"] < 0.2 * distances["mmse"]
    assert distances["posterior"] < 0.2 * distances["mmse"]


def test_shrinkage_is_the_oracle_approximation() -> None:
    count, dimension = 10, 12
    samples = numbers(count, dimension, 0) * torch.linspace(1, 3, dimension)
    moments = Moments(dimension)
    moments.add(samples)
    trace, power = (float(m.trace()) for m in (moments.covariance, moments.covariance @ moments.covariance))
    expected = (1 - 2 / dimension) * power + trace**2
    expected /= (count + 1 - 2 / dimension) * (power - trace**2 / dimension)
    assert expected < 1
    assert moments.shrunk()[1] == pytest.approx(expected)


def test_moments_of_an_image_are_those_of_all_its_patches() -> None:
    image = np.random.default_rng(0).integers(0, 255, (83, 20, 3)).astype(np.uint8)
    corners = [(top, left) for top in range(0, 78, 2) for left in range(0, 15, 2)]
    cut = [image[top : top + 6, left : left + 6].transpose(2, 0, 1).ravel() for top, left in corners]
    moments = patches._moments(image)
    assert moments.count == len(cut)
    np.testing.assert_allclose(moments.mean.numpy(), np.mean(cut, 0))
    np.testing.assert_allclose(moments.covariance.numpy(), np.cov(np.transpose(cut)), atol=1e-6)
