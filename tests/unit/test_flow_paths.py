"""Paths, schedules and solvers of flows against closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from nopairs.errors import NopairsError
from nopairs.restorers.flow_paths import (
    SCHEDULES,
    SOLVERS,
    Schedule,
    auxiliary,
    evaluations,
    grid,
    straight,
    time_weight,
    trajectory,
    weighted_times,
)


@pytest.mark.parametrize("kind", SCHEDULES)
def test_derivatives_are_those_of_the_values(kind: str) -> None:
    schedule, noise = Schedule(kind, beta=0.7), torch.randn(9, dtype=torch.float64)
    t, h = torch.linspace(0.1, 0.9, 9, dtype=torch.float64), 1e-5
    after, before = (auxiliary(noise, t + side, schedule).value for side in (h, -h))
    torch.testing.assert_close(auxiliary(noise, t, schedule).derivative, (after - before) / (2 * h))


def test_schedules_end_at_the_auxiliary_variable() -> None:
    one, zero = torch.tensor(1.0), torch.tensor(0.0)
    assert all(Schedule(kind)(one).value == 1 for kind in SCHEDULES)
    assert Schedule("entropy", 10)(zero).value == pytest.approx(10 / 11)
    assert Schedule("linear")(zero).value == 0


def test_the_entropy_schedule_keeps_the_entropy_as_beta_vanishes() -> None:
    """Equation 33: ln(1 - t) + ln sigma_t is constant for sigma_t = beta / (1 - t), which equation 22 tends to."""
    t = torch.linspace(0, 0.9, 10, dtype=torch.float64)
    spread = []
    for beta in (1.0, 0.1, 0.01):
        entropy = torch.log(1 - t) + torch.log(Schedule("entropy", beta)(t).value / beta)
        spread.append(float(entropy.max() - entropy.min()))
    assert spread[0] > spread[1] > spread[2] and spread[2] < 0.1


@pytest.mark.parametrize("beta", [0.0, -0.5, -1.0])
def test_a_schedule_that_is_singular_between_0_and_1_is_refused(beta: float) -> None:
    with pytest.raises(NopairsError, match=f"singular at t = {1 + beta:g}"):
        Schedule("entropy", beta)


@pytest.mark.parametrize("beta", [-3.0, math.inf, math.nan])
def test_an_impossible_beta_is_refused(beta: float) -> None:
    with pytest.raises(NopairsError, match="must be positive"):
        Schedule("entropy", beta)


def test_an_unknown_schedule_is_refused() -> None:
    with pytest.raises(NopairsError, match="schedule 'cubic' is unknown"):
        Schedule("cubic")


def test_the_path_joins_clean_and_degraded() -> None:
    clean, degraded = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    t = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)
    path = straight(clean, degraded, t)
    assert torch.equal(path.value[0], clean[0]) and torch.equal(path.value[1], degraded[1])
    assert torch.equal(path.derivative, degraded - clean)


def test_drawn_times_have_the_density_of_the_weight() -> None:
    t = torch.linspace(0, 1, 100_001, dtype=torch.float64)
    weight = time_weight(t) / time_weight(t).mean()
    drawn = weighted_times((torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000)
    for function in (torch.square, torch.cos, lambda t: (t < 0.5).double()):
        assert float(function(drawn).mean()) == pytest.approx(float((weight * function(t)).mean()), abs=2e-4)
    assert time_weight(torch.tensor([0.0, 1.0])).tolist() == pytest.approx([0, 1])


def test_the_last_step_has_its_own_length() -> None:
    assert grid(4).tolist() == [1, 0.75, 0.5, 0.25, 0]
    assert grid(4, 0.4).tolist() == pytest.approx([1, 0.8, 0.6, 0.4, 0])
    assert grid(2, 0.4).tolist() == pytest.approx([1, 0.4, 0]) and grid(1, 0.4).tolist() == [1, 0]


@pytest.mark.parametrize("last", [0.0, 0.05])
@pytest.mark.parametrize("solver", SOLVERS)
def test_solvers_take_the_steps_of_their_closed_forms(solver: str, last: float) -> None:
    """Of dz / dt = a z a step of h multiplies by 1 + ah, and one of second order by 1 + ah + (ah)^2 / 2."""
    rate, times = 0.8, grid(5, last)
    expected = 1.0
    for h in times.diff().tolist():
        expected *= 1 + rate * h + (0 if solver == "euler" else (rate * h) ** 2 / 2)
    states = trajectory(lambda z, t: rate * z, torch.ones(1, dtype=torch.float64), times, solver)
    assert len(states) == 6 and float(states[-1]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("midpoint", 2), ("heun", 2)])
def test_errors_fall_with_the_solver_s_order(solver: str, order: int) -> None:
    """Denoising a Gaussian: E[x_1 - x_0 | x_t] = t n^2 / (s^2 + t^2 n^2) x_t, so that x_t grows as the root of s^2 + t^2 n^2."""
    s, n = 0.5, 0.4
    start = torch.tensor([1.3], dtype=torch.float64)
    exact = 1.3 * s / math.hypot(s, n)
    errors = []
    for steps in (16, 32):
        end = trajectory(lambda z, t: t * n**2 / (s**2 + t**2 * n**2) * z, start, grid(steps), solver)
        errors.append(abs(float(end[-1]) - exact))
    # The midpoint rule happens to be of third order here on a uniform grid.
    assert errors[0] / errors[1] > 0.8 * 2**order
    assert solver != "euler" or errors[0] / errors[1] < 1.2 * 2**order


@pytest.mark.parametrize("solver", SOLVERS)
def test_one_euler_step_is_the_mean_and_many_keep_the_spread(solver: str) -> None:
    """Of the Gaussian above: one step from t = 1 gives the posterior mean, the flow itself the clean images' variance."""
    s, n = 0.5, 0.4
    start = torch.ones(1, dtype=torch.float64)
    many = trajectory(lambda z, t: t * n**2 / (s**2 + t**2 * n**2) * z, start, grid(200), solver)[-1]
    assert float(many) == pytest.approx(s / math.hypot(s, n), rel=2e-3)
    if solver == "euler":
        one = trajectory(lambda z, t: t * n**2 / (s**2 + t**2 * n**2) * z, start, grid(1), solver)[-1]
        assert float(one) == pytest.approx(s**2 / (s**2 + n**2))


@pytest.mark.parametrize("solver", SOLVERS)
def test_there_and_back_again(solver: str) -> None:
    """The reverse flow undoes the flow (equation 20), up to the solver's error, which falls with the steps."""
    start = torch.linspace(-1, 1, 7, dtype=torch.float64)
    errors = []
    for steps in (4, 16):
        there = trajectory(lambda z, t: torch.sin(z) + t, start, grid(steps), solver)[-1]
        back = trajectory(lambda z, t: torch.sin(z) + t, there, grid(steps).flip(0), solver)[-1]
        errors.append(float((back - start).abs().max()))
    assert errors[1] < errors[0] / 3


def test_evaluations_are_counted() -> None:
    for solver in SOLVERS:
        asked: list[float] = []
        trajectory(lambda z, t, asked=asked: asked.append(float(t)) or z, torch.ones(1), grid(3), solver)
        assert len(asked) == evaluations(3, solver)


@pytest.mark.parametrize("steps", [0, -1])
def test_steps_below_one_are_refused(steps: int) -> None:
    with pytest.raises(NopairsError, match=f"steps is {steps}; a restoration takes at least 1"):
        grid(steps)


def test_the_weight_of_half_of_the_time() -> None:
    assert float(time_weight(torch.tensor(0.5))) == pytest.approx((1 - math.cos(math.pi / 4)) ** 1.75)
