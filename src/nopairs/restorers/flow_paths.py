"""Paths from clean to degraded images, schedules of the auxiliary variable, and solvers: what ResFlow is made of.

Time t goes from 0 (clean) to 1 (degraded). The state is z_t = (x_t, y_t): the image on its way, and an auxiliary variable that is to
hold what the degraded image has lost, so that the way is reversible (Reversing Flow for Image Restoration, sections 6 and 7).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from nopairs.errors import NopairsError

SCHEDULES = ("constant", "linear", "entropy")
SOLVERS = ("euler", "midpoint", "heun")
# The loss weighs the time t by (1 - cos(pi t / 2)) to this power: the start of a restoration, t = 1, most.
WEIGHT_POWER = 1.75
# Points of the table from which times are drawn.
_TABLE = 2049
# Steps of the trajectories that are drawn: few and many.
WAYS = (4, 16)
Field = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""A velocity: state (batch, ...) and time (a scalar tensor) in, d state / d t of the state's shape out."""


@dataclass(frozen=True)
class Moving:
    """A quantity at some time, and its derivative by time."""

    value: torch.Tensor
    derivative: torch.Tensor


@dataclass(frozen=True)
class Schedule:
    """Scale sigma_t of the auxiliary variable y_t = sigma_t y_1, where y_1 is standard normal.

    kind: constant, 1; linear, t; entropy, beta / (1 - t + beta), which keeps the entropy of z_t nearly constant where clean images
        fill their range and degraded ones are a point (equation 22).
    beta: of the last: the smaller, the nearer to the exact, but singular equation 34.
    """

    kind: str = "entropy"
    beta: float = 10.0

    def __post_init__(self) -> None:
        if self.kind not in SCHEDULES:
            raise NopairsError(f"schedule {self.kind!r} is unknown; take one of {', '.join(SCHEDULES)}")
        if self.kind != "entropy":
            return
        if -1 <= self.beta <= 0:
            raise NopairsError(
                f"schedule entropy: beta {self.beta} makes it singular at t = {1 + self.beta:g}; take a positive one, such as 10"
            )
        if not (math.isfinite(self.beta) and self.beta > 0):
            raise NopairsError(f"schedule entropy: beta {self.beta} must be positive and finite")

    def __call__(self, t: torch.Tensor) -> Moving:
        """Return sigma and its derivative at times `t`, of any shape."""
        if self.kind == "constant":
            return Moving(torch.ones_like(t), torch.zeros_like(t))
        if self.kind == "linear":
            return Moving(t, torch.ones_like(t))
        rest = 1 - t + self.beta
        return Moving(self.beta / rest, self.beta / rest**2)


def straight(clean: torch.Tensor, degraded: torch.Tensor, t: torch.Tensor) -> Moving:
    """Return x_t = (1 - t) clean + t degraded (equation 21) and its velocity; `t` is (batch, 1, 1, 1) or a scalar."""
    return Moving((1 - t) * clean + t * degraded, degraded - clean)


def auxiliary(noise: torch.Tensor, t: torch.Tensor, schedule: Schedule) -> Moving:
    """Return y_t = sigma_t y_1 and its velocity, where `noise` is y_1, and y_0 = 0 (equation 22)."""
    sigma = schedule(t)
    return Moving(sigma.value * noise, sigma.derivative * noise)


def time_weight(t: torch.Tensor) -> torch.Tensor:
    """Return the weight of the squared error at time t: (cos(pi (t - 2) / 2) + 1) ^ 1.75, from 0 at t = 0 to 1 at t = 1."""
    return (1 - torch.cos(math.pi / 2 * t)) ** WEIGHT_POWER


def weighted_times(uniform: torch.Tensor) -> torch.Tensor:
    """Turn numbers that are uniform on [0, 1] into times with a density in proportion to `time_weight`.

    Their unweighted mean loss is the weighted mean of uniform times up to a factor, and has less variance.
    """
    t = torch.linspace(0, 1, _TABLE, dtype=torch.float64)
    reached = torch.cumulative_trapezoid(time_weight(t), t)
    reached = torch.cat([torch.zeros(1, dtype=torch.float64), reached / reached[-1]]).to(uniform.device)
    right = torch.searchsorted(reached, uniform.double().contiguous()).clamp(1, _TABLE - 1)
    left = right - 1
    part = (uniform - reached[left]) / (reached[right] - reached[left])
    return ((left + part) / (_TABLE - 1)).to(uniform.dtype)


def grid(steps: int, last_step: float = 0.0) -> torch.Tensor:
    """Return steps + 1 times from 1 to 0, float64: the last step of a length of its own, unless that is 0, and the others equal.

    Raises:
        NopairsError: fewer steps than one, or a last step that leaves the others nothing.
    """
    if steps < 1:
        raise NopairsError(f"resflow: steps is {steps}; a restoration takes at least 1")
    if not 0 <= last_step < 1:
        raise NopairsError(f"resflow: last_step is {last_step}; it must be within [0, 1)")
    if not last_step or steps == 1:
        return torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    return torch.cat(
        [torch.linspace(1, last_step, steps, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)]
    )


def evaluations(steps: int, solver: str) -> int:
    """Return how often a solver asks for the velocity."""
    return steps if solver == "euler" else 2 * steps


def trajectory(
    field: Field, start: torch.Tensor, times: Sequence[float] | torch.Tensor, solver: str
) -> list[torch.Tensor]:
    """Solve d state / d t = field(state, t) from `start` at times[0]; return the states at all `times`, the first included.

    Args:
        field: the velocity.
        start: state (batch, ...); its type is that of the sums.
        times: ascending or descending, steps of any lengths.
        solver: `euler`, of first order; `midpoint` or `heun`, of second order, which ask for the velocity twice a step. Heun's also
            asks at the step's end, the other two do not.
    """
    step = {"euler": _euler, "midpoint": _midpoint, "heun": _heun}[solver]
    points = torch.as_tensor(times, dtype=torch.float64).tolist()
    states = [start]
    for now, then in itertools.pairwise(points):
        states.append(step(field, states[-1], now, then))
    return states


def _at(field: Field, state: torch.Tensor, t: float) -> torch.Tensor:
    return field(state, torch.tensor(t, dtype=state.dtype, device=state.device))


def _euler(field: Field, state: torch.Tensor, now: float, then: float) -> torch.Tensor:
    return state + (then - now) * _at(field, state, now)


def _midpoint(field: Field, state: torch.Tensor, now: float, then: float) -> torch.Tensor:
    middle = _euler(field, state, now, (now + then) / 2)
    return state + (then - now) * _at(field, middle, (now + then) / 2)


def _heun(field: Field, state: torch.Tensor, now: float, then: float) -> torch.Tensor:
    first = _at(field, state, now)
    last = _at(field, state + (then - now) * first, then)
    return state + (then - now) / 2 * (first + last)
