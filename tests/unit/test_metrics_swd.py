from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.stats import wasserstein_distance
from skimage import data

from nopairs.errors import NopairsError
from nopairs.metrics.swd import _level_distances, _wasserstein, laplacian_pyramid, sliced_wasserstein


@pytest.fixture(scope="module")
def photos() -> list[np.ndarray]:
    return [data.astronaut()[:96, 100:260], data.chelsea()[50:150, 80:208], data.coffee()[100:228, 200:330]]


def noisy(photos: list[np.ndarray], sigma: float) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [photo + rng.normal(0, sigma, photo.shape) for photo in photos]


def distance(photos: list[np.ndarray], others: list[np.ndarray]) -> float:
    return sliced_wasserstein(photos, others, paired=True, draws=2).value


def test_equal_sets_are_at_distance_zero(photos: list[np.ndarray]) -> None:
    result = sliced_wasserstein(photos, photos, paired=True, draws=4)
    assert (result.value, result.std) == (0, 0)


def test_rises_with_noise_and_with_blur(photos: list[np.ndarray]) -> None:
    by_noise = [distance(photos, noisy(photos, sigma)) for sigma in (2, 8, 30)]
    by_blur = [distance(photos, [gaussian_filter(p, (s, s, 0)) for p in photos]) for s in (0.6, 1.2, 2.4)]
    assert 0 < by_noise[0] < by_noise[1] < by_noise[2]
    assert 0 < by_blur[0] < by_blur[1] < by_blur[2]


def test_contrast_does_not_count_of_any_channel(photos: list[np.ndarray]) -> None:
    fainter = [photo * (0.5, 0.7, 0.9) for photo in photos]
    assert distance(photos, fainter) < 1e-3 * distance(photos, noisy(photos, 2))


def test_noise_shows_in_the_finest_level(photos: list[np.ndarray]) -> None:
    levels = sliced_wasserstein(photos, noisy(photos, 8), paired=True, draws=2).levels
    assert levels == sorted(levels, reverse=True)
    assert len(levels) == 3  # 96 pixels: 96, 48, 24


def test_repeats_and_depends_on_the_seed(photos: list[np.ndarray]) -> None:
    others = noisy(photos, 8)
    first, again, other = (sliced_wasserstein(photos, others, True, seed=seed, draws=9) for seed in (0, 0, 1))
    assert first == again
    assert first.value != other.value == pytest.approx(first.value, rel=0.1)


def test_compares_sets_of_different_sizes(photos: list[np.ndarray]) -> None:
    result = sliced_wasserstein(photos, photos[:1], paired=False, draws=4)
    assert result.value > 0 and math.isnan(result.std)
    assert sliced_wasserstein(photos[:1], photos, paired=False, draws=4).std > 0


def test_one_dimensional_distance_equals_scipy() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=40), rng.normal(1, 2, size=25)
    weights_a, weights_b = rng.dirichlet(np.ones(40)), rng.dirichlet(np.ones(25))
    values = torch.tensor(np.concatenate([a, b]))[:, None]
    weights = torch.tensor(np.concatenate([weights_a, -weights_b]))[None]
    expected = wasserstein_distance(a, b, weights_a, weights_b)
    assert float(_wasserstein(values, weights)) == pytest.approx(expected)


def test_pyramid_separates_scales() -> None:
    flat = laplacian_pyramid(np.full((33, 46, 3), 7, np.float32), 3)
    assert [band.shape for band in flat] == [(33, 46, 3), (17, 23, 3), (9, 12, 3)]
    assert np.abs(flat[0][2:-2, 2:-2]).max() < 1e-5 and np.allclose(flat[2], 7)
    checks = np.indices((64, 64)).sum(0)[..., None] % 2 * np.ones(3, np.float32)
    fine, coarse = laplacian_pyramid(checks, 2)
    assert fine.std() > 0.49 and coarse[2:-2, 2:-2].std() < 1e-5


@pytest.mark.parametrize(
    "reference, images, paired",
    [
        ([], [], False),
        ([np.zeros((15, 40, 3))], [np.zeros((40, 40, 3))], False),
        ([np.zeros((40, 40, 3))] * 2, [np.zeros((40, 40, 3))], True),
    ],
)
def test_refuses_impossible_sets(reference: list[np.ndarray], images: list[np.ndarray], paired: bool) -> None:
    with pytest.raises(NopairsError):
        sliced_wasserstein(reference, images, paired)


def test_a_shift_is_its_mean_projection_and_draws_have_the_same_scale() -> None:
    patches = torch.randn(6, 40, 147, generator=torch.Generator().manual_seed(0))
    shift = torch.zeros(147)
    shift[0] = 2
    even = torch.full((3, 6), 1 / 6)
    value, draws = _level_distances(patches, patches + shift, even, even, 0)
    # A unit direction's component has a mean size of about sqrt(2 / (pi d)).
    assert value == pytest.approx(2e3 * math.sqrt(2 / (math.pi * 147)), rel=0.2)
    assert ((draws / value - 1).abs() < 0.4).all()


def test_images_of_one_scene_have_no_spread(photos: list[np.ndarray]) -> None:
    others = noisy(photos, 8)
    apart, together = (
        sliced_wasserstein(photos, others, paired=True, draws=4, scenes=scenes).std
        for scenes in (["a", "b", "b"], ["a", "a", "a"])
    )
    assert apart > 0 and math.isnan(together)


def test_sets_that_are_no_pairs_are_resampled_apart(photos: list[np.ndarray]) -> None:
    shaded = [share * photo for share, photo in zip((1, 0.5, 0.2), photos, strict=True)]
    result = sliced_wasserstein(shaded, shaded, paired=False, draws=8)
    assert result.std > 0 and result.value == pytest.approx(0, abs=1e-6)


def test_the_distance_is_the_mean_of_its_levels_and_draws_are_around_it(photos: list[np.ndarray]) -> None:
    small = [photo[:32, :32] for photo in photos]
    result = sliced_wasserstein(small, noisy(small, 30), paired=True, draws=32)
    assert len(result.levels) == 2
    assert result.value == pytest.approx(np.mean(result.levels))
    assert np.mean(result.draws) == pytest.approx(result.value, rel=0.4)
