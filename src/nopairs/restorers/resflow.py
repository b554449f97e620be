"""ResFlow: a restorer that follows a deterministic flow from the degraded image back to the clean one (Qin et al., CVPR 2025)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from nopairs.errors import NopairsError
from nopairs.restorers.flow_network import NetworkOptions, VelocityNet
from nopairs.restorers.flow_paths import (
    SOLVERS,
    Field,
    Moving,
    Schedule,
    auxiliary,
    evaluations,
    grid,
    straight,
    time_weight,
    trajectory,
    weighted_times,
)
from nopairs.training import parallel
from nopairs.training.hardware import autocast
from nopairs.training.options import PRECISIONS

AUXILIARIES = ("sampled", "mean", "averaged")
TIMES = ("weighted", "drawn")
VELOCITIES = ("exact", "learned")
COUPLINGS = ("independent", "residual")
# Side of the squares over which what is missing is brought to unit variance.
_LOCAL = 9
# Share of the images whose auxiliary variable is zero where it is coupled, so that restorations by zero stay the mean: what they miss
# would otherwise grow with what the variable tells, until it told all.
UNTOLD = 0.5
# What a tile's context is limited to. The flow's dependence on far pixels is faint, and the exact radius grows with the evaluations.
MOST_MARGIN = 192


@dataclass(frozen=True)
class ResFlowOptions(NetworkOptions):
    """The network's size, what it learns, and how images are restored.

    schedule, beta: scale of the auxiliary variable over time, as `Schedule` has them.
    times: `weighted`, uniform times whose errors the loss weighs; `drawn`, times drawn in proportion to the weight.
    at_start: share of the images whose time is 1 instead, where every restoration begins.
    auxiliary_velocity: `learned` by the network beside the image's, as in the paper; or `exact`, since it is known in closed form.
    coupling: of the auxiliary variable y_1 with the pair: `independent`, as in the paper, or `residual`, correlated by `share` with what
        the restoration by y_1 = 0 in one step misses, so that the variable tells which of the possible clean images is meant.
    steps: of a restoration; their velocities are asked at t = 1 first.
    solver: `euler`, or of second order `midpoint` or `heun`.
    last_step: its length, which ends at t = 0; 0: all steps are equally long.
    auxiliary: `sampled`, one draw; `mean`, zero; `averaged`, the mean of the images of `samples` draws.
    seed: of the draws.
    precision: of the network in restorations: auto takes bfloat16 where the hardware is faster with it.
    """

    schedule: str = "entropy"
    beta: float = 10.0
    times: str = "weighted"
    at_start: float = 0.0
    auxiliary_velocity: str = "learned"
    coupling: str = "independent"
    share: float = 0.8
    steps: int = 4
    solver: str = "euler"
    last_step: float = 0.0
    auxiliary: str = "sampled"
    samples: int = 1
    seed: int = 0
    precision: str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        Schedule(self.schedule, self.beta)
        grid(self.steps, self.last_step)
        if self.samples < 1:
            raise NopairsError(f"resflow: samples is {self.samples}; it must be at least 1")
        for name in ("share", "at_start"):
            if not 0 <= getattr(self, name) < 1:
                raise NopairsError(f"resflow: {name} is {getattr(self, name)}; it must be within [0, 1)")
        for name, known in (
            ("times", TIMES),
            ("coupling", COUPLINGS),
            ("auxiliary_velocity", VELOCITIES),
            ("solver", SOLVERS),
            ("auxiliary", AUXILIARIES),
            ("precision", PRECISIONS),
        ):
            if getattr(self, name) not in known:
                raise NopairsError(
                    f"resflow: {name} {getattr(self, name)!r} is unknown; take one of {', '.join(known)}"
                )


class ResFlow(nn.Module):
    """Learns the velocity of the straight path from clean to degraded images, and follows it back.

    The network works in [-1, 1]. The auxiliary variable of a pixel depends on the seed and the pixel's place in the image alone, so
    that restorations repeat, and tiles fit together.
    """

    Options = ResFlowOptions
    learned = True
    positioned = True

    def __init__(self, options: ResFlowOptions) -> None:
        super().__init__()
        self.options, self.schedule = options, Schedule(options.schedule, options.beta)
        self.learns_auxiliary = options.auxiliary_velocity == "learned"
        self.network = VelocityNet(options, 6 if self.learns_auxiliary else 3)
        self.multiple = options.multiple
        self.margin = min(MOST_MARGIN, options.radius * evaluations(options.steps, options.solver))
        self.memory = torch.channels_last
        self.to(memory_format=self.memory)  # type: ignore[call-overload]

    def losses(
        self, progress: float, *, clean: torch.Tensor, degraded: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return the weighted mean squared error of the velocity, of images (batch, 3, H, W) in [0, 1].

        Raises:
            NopairsError: clean and degraded images differ in size.
        """
        if clean.shape != degraded.shape:
            raise NopairsError(
                f"resflow: clean images {tuple(clean.shape)} and degraded ones {tuple(degraded.shape)} differ in size;"
                " enlarge the smaller ones first"
            )
        uniform = parallel.rand((len(clean),), clean.device)
        drawn = self.options.times == "drawn"
        times = weighted_times(uniform) if drawn else uniform
        if self.options.at_start:
            times = times.where(parallel.rand((len(clean),), clean.device) >= self.options.at_start, 1.0)
        t = times.view(-1, 1, 1, 1)
        clean, degraded, noise = 2 * clean - 1, 2 * degraded - 1, parallel.randn_like(clean)
        if self.options.coupling == "residual":
            told = parallel.rand((len(clean),), clean.device).view_as(t) >= UNTOLD
            noise = told * correlated(self._missing(clean, degraded), noise, self.options.share)
        x, y = straight(clean, degraded, t), auxiliary(noise, t, self.schedule)
        velocity = self.network(x.value, y.value, times).float()
        error = (velocity - self._target(x, y)).square().mean((1, 2, 3))
        return {"loss": (error if drawn else time_weight(times) * error).mean()}

    @torch.no_grad()
    def _missing(self, clean: torch.Tensor, degraded: torch.Tensor) -> torch.Tensor:
        """Return what a restoration in one step by the mean of the auxiliary variable misses, images in [-1, 1]."""
        velocity = self.network(degraded, torch.zeros_like(degraded), degraded.new_ones(len(degraded)))
        return clean - (degraded - velocity[:, :3].float())

    def _target(self, x: Moving, y: Moving) -> torch.Tensor:
        return torch.cat([x.derivative, y.derivative], 1) if self.learns_auxiliary else x.derivative

    def forward(
        self, degraded: torch.Tensor, rows: torch.Tensor | None = None, columns: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Restore (batch, 3, H, W) in [0, 1], of any size; not clipped.

        `rows` and `columns` are the places of the pixels in the image that this is a part of; from 0 if None.
        """
        height, width = degraded.shape[2:]
        rows = torch.arange(height) if rows is None else rows
        columns = torch.arange(width) if columns is None else columns
        mean = self.options.auxiliary == "mean"
        samples = self.options.samples if self.options.auxiliary == "averaged" else 1
        restored = torch.zeros_like(degraded, dtype=torch.float32)
        for sample in range(samples):
            noise = (
                None if mean else normal_field(rows, columns, self.options.seed, sample).to(degraded.device)
            )
            restored += self.follow(degraded, noise, grid(self.options.steps, self.options.last_step))[-1]
        return restored / samples

    def follow(
        self, images: torch.Tensor, noise: torch.Tensor | None, times: torch.Tensor
    ) -> list[torch.Tensor]:
        """Follow the flow from images (batch, 3, H, W) in [0, 1] at times[0]; return the images at all `times`.

        `noise` is y_1, (1 or batch, 3, H, W); zero if None.
        """
        height, width = images.shape[2:]
        states = self.flow(*self.state(images, noise, times[0]), times)
        return [(state[:, :3, :height, :width] + 1) / 2 for state in states]

    def state(
        self, images: torch.Tensor, noise: torch.Tensor | None, t: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the state at time t, x or (x, y), and y_1, both padded to sides that the network takes; arguments as `follow`'s."""
        x = pad(2 * images.float() - 1, self.multiple).contiguous(memory_format=self.memory)
        noise = torch.zeros_like(x) if noise is None else pad(noise.to(x), self.multiple).expand_as(x)
        y = auxiliary(noise, t.to(x), self.schedule).value
        return (torch.cat([x, y], 1) if self.learns_auxiliary else x), noise

    def flow(self, state: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> list[torch.Tensor]:
        """Return the states at all `times`, that at times[0] given."""
        return trajectory(self._field(noise), state, times, self.options.solver)

    def _field(self, noise: torch.Tensor) -> Field:
        """Return the velocity of the state: (x, y), or x alone where y is known at any time."""

        def field(state: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            x = state[:, :3]
            y = state[:, 3:] if self.learns_auxiliary else auxiliary(noise, t, self.schedule).value
            with autocast(state.device, self.options.precision):
                return self.network(x, y, t.expand(len(x))).float()

        return field


def correlated(missing: torch.Tensor, noise: torch.Tensor, share: float) -> torch.Tensor:
    """Return a variable of unit variance like `noise`, whose correlation with `missing`, both (batch, 3, H, W), is `share`.

    What is missing is brought to unit variance around each pixel, so that the strength of it is left to be told by the degraded image.
    """
    power = missing.square().mean(1, keepdim=True)
    around = F.avg_pool2d(power, _LOCAL, 1, _LOCAL // 2, count_include_pad=False)
    return share * missing * torch.rsqrt(around + 1e-6) + math.sqrt(1 - share**2) * noise


def normal_field(rows: torch.Tensor, columns: torch.Tensor, seed: int, sample: int = 0) -> torch.Tensor:
    """Return standard normal numbers (1, 3, H, W) of the pixels where `rows` and `columns` cross, the same in any tile."""
    wanted, places = np.unique(rows.numpy(), return_inverse=True)
    width = int(columns.max()) + 1
    drawn = [
        np.random.default_rng([seed, sample, row]).standard_normal((width, 3), np.float32) for row in wanted
    ]
    field = np.stack(drawn)[:, columns.numpy()][places]
    return torch.from_numpy(field).permute(2, 0, 1)[None]


def pad(images: torch.Tensor, multiple: int) -> torch.Tensor:
    """Continue (batch, channels, H, W) by its last rows and columns, reflected where there are enough, to multiples of `multiple`."""
    height, width = images.shape[2:]
    bottom, right = -height % multiple, -width % multiple
    if not (bottom or right):
        return images
    mode = "reflect" if bottom < height and right < width else "replicate"
    return F.pad(images, (0, right, 0, bottom), mode=mode)


@torch.inference_mode()
def round_trip_error(model: ResFlow, degraded: torch.Tensor, steps: int) -> float:
    """Return how far from a degraded image one ends who restores it and follows the flow back (Proposition 1).

    Args:
        model: in evaluation mode; its solver is taken.
        degraded: (batch, 3, H, W) in [0, 1].
        steps: of each way, of equal length; the error is the solver's, and vanishes as they grow.

    Returns:
        The root mean squared difference, in [0, 1].
    """
    degraded = pad(degraded, model.multiple)  # what is cut off between the two ways would be missing
    rows, columns = map(torch.arange, degraded.shape[2:])
    noise = normal_field(rows, columns, model.options.seed).to(degraded.device)
    times = grid(steps)
    start, noise = model.state(degraded, noise, times[0])
    restored = model.flow(start, noise, times)[-1]
    back = model.flow(restored, noise, times.flip(0))[-1]
    return float((back - start)[:, :3].square().mean().sqrt()) / 2
