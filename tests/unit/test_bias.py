"""OTS and regularised GANs where the optimal map is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from skimage import data
from torch import nn

from nopairs.errors import NopairsError
from nopairs.metrics import gaussian
from nopairs.reporting.bias import bias_figure, bias_table
from nopairs.training import minimax
from nopairs.training.options import TrainingOptions
from nopairs.transport.bias import (
    BiasOptions,
    Contest,
    closed_form,
    gaussians,
    image_patches,
    judge,
    points,
    problem_of,
    train,
)

OPTIONS = BiasOptions(width=48)


def training(steps: int) -> TrainingOptions:
    return TrainingOptions(
        steps=steps,
        batch=64,
        lr=2e-3,
        schedule="cosine",
        ema=0.95,
        betas=(0.0, 0.9),
        precision="float32",
        log_every=1000,
    )


def test_the_optimal_map_makes_the_target_and_no_map_is_as_far_as_the_distributions() -> None:
    problem = gaussians(4, 0)

    class Optimal(nn.Module):
        def forward(self, source: torch.Tensor) -> torch.Tensor:
            return problem.optimal(source)

    best, untouched = judge(Optimal(), problem, 0), judge(nn.Identity(), problem, 0)
    assert best["uvp"] == 0 and best["push"] < 0.02
    covariances = [half @ half for half in (problem.source_root, problem.target_root)]
    distance = gaussian.gelbrich(torch.zeros(4).double(), covariances[0], problem.mean, covariances[1])
    assert untouched["uvp"] == pytest.approx(100 * distance**2 / problem.variance(), rel=0.05)


def test_the_smooth_discrepancy_is_gelbrichs_distance_of_the_samples() -> None:
    problem = gaussians(3, 1)
    contest = Contest(problem, "gan_w2", 1.0, OPTIONS)
    samples = problem.source(500, np.random.default_rng(0)) + 0.7
    centred = samples.double() - samples.double().mean(0)
    target = problem.target_root @ problem.target_root
    expected = (
        gaussian.gelbrich(samples.double().mean(0), centred.T @ centred / 500, problem.mean, target) ** 2
    )
    assert float(contest.squared_wasserstein(samples)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("weight", [0.5, 2.0])
def test_with_a_smooth_discrepancy_the_map_stops_short_at_every_weight(weight: float, tmp_path: Path) -> None:
    found = train(points(), "gan_w2", weight, OPTIONS, training(250), tmp_path, 0)
    assert found["end"] == pytest.approx(1 / (1 + weight), abs=0.01)
    assert closed_form("gan_w2", weight, {"uvp": 100.0, "push": 100.0}, True)["end"] == pytest.approx(
        1 / (1 + weight)
    )


def test_between_gaussians_too(tmp_path: Path) -> None:
    problem = gaussians(2, 0)
    untouched = judge(nn.Identity(), problem, 0)
    found = train(problem, "gan_w2", 1.0, OPTIONS, training(400), tmp_path, 0)
    assert found["uvp"] == pytest.approx(closed_form("gan_w2", 1.0, untouched, False)["uvp"], rel=0.1)


def test_image_patches_have_the_moments_of_photos() -> None:
    problem = image_patches(4, 0)
    assert problem.dimension == 16 and problem.variance() == pytest.approx(16)
    assert torch.allclose(
        problem.matrix @ problem.source_root @ problem.source_root @ problem.matrix.T,
        problem.target_root @ problem.target_root,
        atol=1e-8,
    )
    windows = np.lib.stride_tricks.sliding_window_view(data.camera() / 255, (4, 4)).reshape(-1, 16)
    covariance = np.cov(windows.T, bias=True)
    expected = torch.from_numpy(covariance / np.trace(covariance) * 16)
    assert torch.allclose(problem.target_root @ problem.target_root, expected)
    assert not torch.equal(problem.source_root, image_patches(4, 1).source_root)


def test_problems_by_name() -> None:
    assert BiasOptions().problems() == ["points", "gaussians16", "gaussians128", "patches6"]
    assert BiasOptions(dimensions=(2,), patch_size=0).problems() == ["gaussians2"]
    assert [problem_of(name, 0).dimension for name in ("points", "gaussians3", "patches2")] == [1, 3, 4]


def test_ots_finds_the_map(tmp_path: Path) -> None:
    problem = gaussians(2, 0)
    found = train(problem, "ots", 1.0, OPTIONS, training(1500), tmp_path, 0)
    assert found["uvp"] < 1 and judge(nn.Identity(), problem, 0)["uvp"] > 10


def test_threshold_of_a_lipschitz_critic() -> None:
    ends = [closed_form("gan_w1", weight, {}, True)["end"] for weight in (0.1, 0.5, 1.0)]
    assert ends == [1.0, 1.0, 0.5]
    assert closed_form("gan_w1", 0.1, {}, False) == {}


def test_the_penalty_is_of_slopes_above_one_only() -> None:
    critic = nn.Linear(2, 1)
    moved, target = torch.randn(8, 2), torch.randn(8, 2)
    for slope, expected in ((0.5, 0.0), (3.0, 4.0)):
        nn.init.constant_(critic.weight, slope / 2**0.5)
        assert minimax.gradient_penalty(critic, moved, target).item() == pytest.approx(expected, abs=1e-5)


def test_r1_is_half_the_mean_square_of_the_slope_at_real_points() -> None:
    real = torch.randn(5, 3, 2, 2)
    assert minimax.slope_penalty(lambda x: 2 * x.sum((1, 2, 3)), real).item() == pytest.approx(4 * 12 / 2)
    expected = (real.flatten(1).square().sum(1)).mean() / 2
    torch.testing.assert_close(minimax.slope_penalty(lambda x: x.square().sum((1, 2, 3)) / 2, real), expected)


def test_turns() -> None:
    assert [minimax.map_turn(step, 2) for step in range(6)] == [True, True, False, True, True, False]


def test_table_and_figure(tmp_path: Path) -> None:
    for seed in (0, 1):
        rows = [
            {
                "problem": d,
                "method": m,
                "weight": w,
                "seed": seed,
                "uvp": u + seed,
                "push": u,
                "end": 0.5,
                "uvp_theory": 4.0,
            }
            for d in ("points", "gaussians16", "patches6")
            for m, w, u in (("none", "", 20), ("ots", 1.0, 0.2), ("gan_w2", 0.5, 4), ("gan_w1", 0.5, 3))
        ]
        pd.DataFrame(rows).to_csv(tmp_path / f"{seed}.csv", index=False)
    paths = [tmp_path / "0.csv", tmp_path / "1.csv"]
    table = bias_table(paths).set_index(["method", "metric"])
    assert table.loc[("gan_w2, 0.5", "uvp %, 16"), "mean"] == 4.5
    assert table.loc[("gan_w2, 0.5", "uvp %, 16"), "published"] == 4.0
    # Student's quantile with one degree of freedom.
    assert table.loc[("ots", "uvp %, 16"), "ci_high"] == pytest.approx(0.7 + 12.706 * 0.5, rel=1e-3)
    assert {"uvp %, patches", "end, points"} <= set(table.index.get_level_values("metric"))
    assert len(bias_figure(paths).axes) == 3


def test_impossible_options() -> None:
    with pytest.raises(NopairsError, match="no weights"):
        BiasOptions(weights=())
    with pytest.raises(NopairsError, match="positive"):
        BiasOptions(dimensions=(0,))
    with pytest.raises(NopairsError, match="patch_size -1"):
        BiasOptions(patch_size=-1)


def test_maps_are_judged_on_points_of_the_seed() -> None:
    problem = gaussians(3, 0)
    first, again, other = (judge(nn.Identity(), problem, seed) for seed in (0, 0, 1))
    assert first == again
    assert first["uvp"] != other["uvp"] and first["uvp"] == pytest.approx(other["uvp"], rel=0.1)
