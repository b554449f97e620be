from __future__ import annotations

import math

import numpy as np
import pytest

from nopairs.errors import NopairsError
from nopairs.metrics.bootstrap import (
    difference_interval,
    image_counts,
    mean_interval,
    resampled_difference,
)

SCENES = 24
CROPS = 4
NAMES = [f"scene{i}" for i in range(SCENES) for _ in range(CROPS)]


def clustered(rng: np.random.Generator) -> np.ndarray:
    """Values of one seed, of mean 30 with strong scene effects and weak crop effects."""
    scenes = np.repeat(rng.normal(0, 2, SCENES), CROPS)
    return (30 + scenes + rng.normal(0, 0.5, SCENES * CROPS))[None]


def test_interval_covers_the_true_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    intervals = [mean_interval(clustered(rng), NAMES, seed=trial, draws=400) for trial in range(300)]
    coverage = np.mean([interval.low <= 30 <= interval.high for interval in intervals])
    assert 0.89 <= coverage <= 0.98


def test_images_taken_as_independent_would_be_overconfident() -> None:
    values = clustered(np.random.default_rng(1))
    by_scene = mean_interval(values, NAMES)
    by_image = mean_interval(values, [str(i) for i in range(values.shape[1])])
    assert by_scene.high - by_scene.low > 1.5 * (by_image.high - by_image.low)


def test_width_is_that_of_the_mean_of_scenes() -> None:
    values = clustered(np.random.default_rng(2))
    standard_error = values.reshape(SCENES, CROPS).mean(1).std(ddof=1) / math.sqrt(SCENES)
    interval = mean_interval(values, NAMES)
    assert interval.mean == pytest.approx(values.mean())
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * standard_error, rel=0.08)


def test_seeds_widen_the_interval() -> None:
    values = clustered(np.random.default_rng(3)) + np.array([-3, -1, 1, 3])[:, None]
    with_seeds = mean_interval(values, NAMES)
    without = mean_interval(values.mean(0, keepdims=True), NAMES)
    assert with_seeds.mean == pytest.approx(without.mean)
    assert with_seeds.high - with_seeds.low > 1.5 * (without.high - without.low)


def test_difference_from_itself_is_exactly_zero() -> None:
    values = clustered(np.random.default_rng(4))
    interval = difference_interval(values, values, NAMES)
    assert (interval.mean, interval.low, interval.high) == pytest.approx((0, 0, 0), abs=1e-12)


def test_paired_difference_is_narrower_than_unpaired_and_right() -> None:
    rng = np.random.default_rng(5)
    rival = clustered(rng)
    values = rival + 0.3 + rng.normal(0, 0.2, rival.shape)
    paired = difference_interval(values, rival, NAMES)
    single = mean_interval(values, NAMES)
    assert paired.low < 0.3 < paired.high and paired.low > 0
    assert paired.high - paired.low < 0.2 * (single.high - single.low)


def test_methods_may_have_different_numbers_of_seeds() -> None:
    rng = np.random.default_rng(6)
    rival = clustered(rng)
    interval = difference_interval(np.stack([rival[0] + 1, rival[0] + 3]), rival, NAMES)
    assert interval.mean == pytest.approx(2)
    assert (interval.low, interval.high) == pytest.approx((1, 3))  # both seeds the one, or both the other


def test_repeats_by_seed() -> None:
    values = clustered(np.random.default_rng(7))
    assert mean_interval(values, NAMES, seed=1) == mean_interval(values, NAMES, seed=1)
    assert mean_interval(values, NAMES, seed=1) != mean_interval(values, NAMES, seed=2)


def test_scenes_weigh_by_their_images() -> None:
    values = np.array([[0.0, 10, 10, 10]])
    assert mean_interval(values, ["a", "b", "b", "b"]).mean == 7.5


def test_one_scene_has_no_interval() -> None:
    interval = mean_interval(np.array([[1.0, 2.0]]), ["a", "a"])
    assert interval.mean == 1.5 and math.isnan(interval.low) and math.isnan(interval.high)


@pytest.mark.parametrize(
    "values", [np.zeros((1, 3)), np.zeros(2), np.array([[1, np.nan]]), np.array([[1, np.inf]])]
)
def test_refuses_missing_values(values: np.ndarray) -> None:
    with pytest.raises(NopairsError):
        mean_interval(values, ["a", "b"])


def test_sets_of_other_scenes_are_resampled_apart() -> None:
    """With equal counts the splits of a table would move together, as if they had one split's scenes."""
    first, again, other = (
        image_counts(scenes, 400)
        for scenes in (["a", "a", "b", "c"], ["a", "a", "b", "c"], ["d", "d", "e", "f"])
    )
    np.testing.assert_array_equal(first, again)
    assert abs(np.corrcoef(first[:, 2], other[:, 2])[0, 1]) < 0.2
    np.testing.assert_array_equal(first[:, 0], first[:, 1])


def test_the_interval_of_a_constant_is_it_however_many_images_a_scene_has() -> None:
    interval = mean_interval(np.full((2, 4), 5.0), ["a", "b", "b", "b"])
    assert (interval.low, interval.high) == pytest.approx((5, 5))


def test_sets_that_were_not_resampled_equally_often_have_no_difference() -> None:
    with pytest.raises(NopairsError, match="5 and 1 resamplings"):
        resampled_difference(0.0, np.zeros((2, 5)), np.zeros((2, 1)), 3)
