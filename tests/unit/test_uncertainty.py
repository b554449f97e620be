"""Coverage: right for samples of the truth's own distribution, and the figure's panels."""

from __future__ import annotations

import numpy as np

from nopairs.reporting.uncertainty import coverage, uncertainty


def test_samples_like_the_truth_cover_their_level() -> None:
    rng = np.random.default_rng(0)
    centre = rng.random((80, 80))
    truth = centre + 0.1 * rng.standard_normal((80, 80))
    for factor, low, high in ((1.0, -0.02, 0.02), (0.5, -1.0, -0.1), (2.0, 0.04, 1.0)):
        samples = centre + factor * 0.1 * rng.standard_normal((39, 80, 80))
        found = coverage(truth, samples)
        assert found.level.tolist() == [0.5, 0.8, 0.9, 0.95]
        assert ((found.coverage - found.level > low) & (found.coverage - found.level < high)).all()
    few = coverage(truth, samples[:3])
    assert few.level.tolist() == [0.5]


def test_the_figure_has_truth_observation_samples_and_deviation() -> None:
    rng = np.random.default_rng(0)
    figure = uncertainty(rng.random((128, 128)), rng.random((128, 128)), rng.random((5, 128, 128)), "x")
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.images]
    assert titles == ["truth", "observation", "sample 1", "sample 2", "sample 3", "deviation of all 5"]
    shapes = [axes.images[0].get_array().shape for axes in figure.axes if axes.images]
    assert shapes == [(96, 96)] * 6
