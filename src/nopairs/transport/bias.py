"""Where transport maps are known: how far from them end neural optimal transport and the GANs that are regularised by a content loss.

Three kinds of problems. Gaussians N(0, A) and N(m, B) in some dimension have an affine optimal map (`metrics/gaussian.py`);
so have Gaussians with the moments of image patches, blurred and noisy ones of one photo and clean ones of another. Point masses
at 0 and 1 have one number for a map, t = T(0), and closed forms for the regularised GANs: with a squared Wasserstein-2 distance
t = 1 / (1 + weight) at every weight, and with Wasserstein-1 t = 1 up to a weight of 1/2 and 1 / (2 weight) above. Between Gaussians
the first holds too: the map of least weight E|y - T(y)|^2 + W2^2(T#P, Q) goes 1 / (1 + weight) of the way (McCann's interpolation),
so that its error is (weight / (1 + weight))^2 of that of no map at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import nn

from nopairs.errors import NopairsError
from nopairs.metrics import gaussian
from nopairs.metrics.names import POINTS
from nopairs.training import minimax
from nopairs.training.loop import Batch, Trainer
from nopairs.training.options import TrainingOptions

# Weight of the critic's gradient penalty, as in its paper.
PENALTY = 10.0
JUDGED = 2**15  # points that a map is judged on
# Of the photo whose patches are the source: deviation of its blur, pixels, and of its noise.
PATCH_BLUR, PATCH_NOISE = 1.0, 0.1


@dataclass(frozen=True)
class BiasOptions:
    """What is compared, and the networks' size, equal for all methods.

    dimensions: of the random Gaussians; 1 stands for the two point masses.
    patch_size: side of the image patches, pixels; 0 leaves them out.
    weights: of the GANs' content loss.
    seeds: of problems and trainings.
    width, depth: hidden layers of map and critic.
    inner: steps of the map for one of OTS's critic, and of the Lipschitz critic for one of its map.
    """

    dimensions: tuple[int, ...] = (1, 16, 128)
    patch_size: int = 6
    weights: tuple[float, ...] = (0.1, 0.3, 1.0)
    seeds: tuple[int, ...] = (0, 1, 2)
    width: int = 128
    depth: int = 2
    inner: int = 5

    def __post_init__(self) -> None:
        for name in ("dimensions", "weights", "seeds"):
            if not getattr(self, name):
                raise NopairsError(f"bias: no {name}; name at least one")
        if min(self.dimensions) < 1 or min(self.weights) <= 0 or min(self.width, self.depth, self.inner) < 1:
            raise NopairsError("bias: dimensions, weights, width, depth and inner must be positive")
        if self.patch_size < 0:
            raise NopairsError(f"bias: patch_size {self.patch_size} must not be negative")

    def problems(self) -> list[str]:
        """Names of the problems, as `problem_of` takes them."""
        names = [POINTS if dimension == 1 else f"gaussians{dimension}" for dimension in self.dimensions]
        return [*names, f"patches{self.patch_size}"] if self.patch_size else names

    def runs(self) -> list[tuple[str, float]]:
        """Method and weight of every training of a problem."""
        return [("ots", 1.0), *((gan, weight) for gan in ("gan_w2", "gan_w1") for weight in self.weights)]


@dataclass(frozen=True)
class Problem:
    """Source N(0, A) and target N(m, B): square roots of the covariances, the target's mean, and the optimal map's matrix; float64."""

    source_root: torch.Tensor
    target_root: torch.Tensor
    mean: torch.Tensor
    matrix: torch.Tensor

    @property
    def dimension(self) -> int:
        """Dimension of the points."""
        return len(self.mean)

    def source(self, count: int, rng: np.random.Generator) -> torch.Tensor:
        """Draw source points, (count, dimension) float32."""
        return (_normal(count, self.dimension, rng) @ self.source_root).float()

    def target(self, count: int, rng: np.random.Generator) -> torch.Tensor:
        """Draw target points."""
        return (self.mean + _normal(count, self.dimension, rng) @ self.target_root).float()

    def optimal(self, points: torch.Tensor) -> torch.Tensor:
        """Move points by the optimal map."""
        return (self.mean + points.double() @ self.matrix.T).float()

    def variance(self) -> float:
        """Return the target's total variance, or the squared distance where both are point masses."""
        return float(self.target_root.square().sum()) or float(self.mean.square().sum())


def _normal(count: int, dimension: int, rng: np.random.Generator) -> torch.Tensor:
    return torch.from_numpy(rng.standard_normal((count, dimension)))


def gaussians(dimension: int, seed: int) -> Problem:
    """Return a problem of random Gaussians: variances within [1/3, 3] along random axes, means at a distance of 1."""
    rng = np.random.default_rng([dimension, seed])
    roots = []
    for _ in range(2):
        axes, _ = np.linalg.qr(rng.standard_normal((dimension, dimension)))
        variances = np.exp(rng.uniform(-np.log(3), np.log(3), dimension))
        roots.append(torch.from_numpy((axes * np.sqrt(variances)) @ axes.T))
    mean = torch.from_numpy(rng.standard_normal(dimension))
    source, target = roots
    matrix = gaussian.transport_matrix(source @ source, target @ target)
    return Problem(source, target, mean / mean.norm(), matrix)


def image_patches(size: int, seed: int) -> Problem:
    """Return Gaussians with the moments of image patches: a photo's, blurred and noisy, and another one's, clean.

    In units of the clean ones' mean deviation; the source's mean is taken from both. `seed` is that of the noise.
    """
    from scipy.ndimage import gaussian_filter  # here: every start of the workflow reads this module
    from skimage import data

    rng = np.random.default_rng([size, seed])
    blurred = gaussian_filter(data.brick() / 255, PATCH_BLUR)
    moments = []
    for image in (blurred + PATCH_NOISE * rng.standard_normal(blurred.shape), data.camera() / 255):
        patches = np.lib.stride_tricks.sliding_window_view(image, (size, size)).reshape(-1, size**2)
        moments.append((patches.mean(0), np.cov(patches.T, bias=True)))
    (source_mean, source_covariance), (target_mean, target_covariance) = moments
    unit = np.sqrt(np.trace(target_covariance) / size**2)
    source, target = (
        torch.from_numpy(covariance / unit**2) for covariance in (source_covariance, target_covariance)
    )
    return Problem(
        gaussian.root(source),
        gaussian.root(target),
        torch.from_numpy((target_mean - source_mean) / unit),
        gaussian.transport_matrix(source, target),
    )


def problem_of(name: str, seed: int) -> Problem:
    """Return a problem by its name: points, gaussians<dimension> or patches<side>."""
    if name == POINTS:
        return points()
    made = gaussians if name.startswith("gaussians") else image_patches
    return made(int(name.removeprefix("gaussians").removeprefix("patches")), seed)


def closed_form(method: str, weight: float, untouched: dict[str, float], points: bool) -> dict[str, float]:
    """Return what theory says of `judge`'s measures where it does; `untouched` are those of no map at all, of the same problem."""
    if method == "ots":
        return {"uvp": 0.0, "push": 0.0, "end": 1.0}
    if method == "gan_w2":
        left = weight / (1 + weight)
        return {"uvp": left**2 * untouched["uvp"], "push": left**2 * untouched["push"], "end": 1 - left}
    if not points:
        return {}
    end = min(1.0, 0.5 / weight)
    return {"uvp": 100 * (1 - end) ** 2, "push": 100 * (1 - end) ** 2, "end": end}


def points() -> Problem:
    """Return the problem of a point mass at 0 that is to go to 1, on a line."""
    zero = torch.zeros(1, 1, dtype=torch.float64)
    return Problem(zero, zero, torch.ones(1, dtype=torch.float64), zero)


def perceptron(inputs: int, outputs: int, width: int, depth: int) -> nn.Sequential:
    """Return `depth` hidden layers of `width` with smooth rectifiers."""
    sizes = [inputs, *[width] * depth]
    hidden = [part for pair in pairwise(sizes) for part in (nn.Linear(*pair), nn.SiLU())]
    return nn.Sequential(*hidden, nn.Linear(width, outputs))


class Contest(nn.Module):
    """A map, and where the method has one a critic, with the losses of `ots`, `gan_w2` or `gan_w1`; networks are the same for all."""

    def __init__(self, problem: Problem, method: str, weight: float, options: BiasOptions) -> None:
        """`weight` is that of the content loss; OTS's cost has weight 1."""
        super().__init__()
        self.problem, self.method, self.weight, self.inner = problem, method, weight, options.inner
        # Wider in more dimensions, so that no layer has less room than the points need.
        width = max(options.width, 2 * problem.dimension)
        self.map = perceptron(problem.dimension, problem.dimension, width, options.depth)
        self.critic = perceptron(problem.dimension, 1, width, options.depth)

    @property
    def players(self) -> dict[str, nn.Module]:
        """Map and critic."""
        return {"map": self.map, "critic": self.critic}

    def turn(self, step: int) -> str:
        """OTS moves the map more often, and the Lipschitz critic's GAN the critic, as their papers do."""
        if self.method == "gan_w2":
            return "map"
        often, seldom = ("map", "critic") if self.method == "ots" else ("critic", "map")
        return often if minimax.map_turn(step, self.inner) else seldom

    def forward(self, degraded: torch.Tensor) -> torch.Tensor:
        """Move points (batch, dimension)."""
        return degraded + self.map(degraded)

    def losses(
        self, progress: float, *, degraded: torch.Tensor, clean: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return the loss of whoever's turn it is."""
        map_moves = next(self.map.parameters()).requires_grad
        moved = self(degraded)
        if not map_moves:
            loss = minimax.potential_loss(self.critic(moved), self.critic(clean))
            if self.method == "gan_w1":
                loss = loss + PENALTY * minimax.gradient_penalty(self.critic, moved, clean)
            return {"loss": loss}
        cost = (moved - degraded).square().sum(1).mean()
        if self.method == "gan_w2":
            return {"loss": self.weight * cost + self.squared_wasserstein(moved), "cost": cost}
        return {"loss": minimax.map_loss(self.weight * cost, self.critic(moved)), "cost": cost}

    def squared_wasserstein(self, moved: torch.Tensor) -> torch.Tensor:
        """Return W2^2 between the Gaussians of the moved points' moments and of the target's: smooth, and 0 where they are equal.

        tr (S^1/2 N S^1/2)^1/2 is the sum of the singular values of the centred points times N^1/2.
        """
        mean, half = self.problem.mean.to(moved), self.problem.target_root.to(moved)
        centred = (moved - moved.mean(0)) / len(moved) ** 0.5
        common = torch.linalg.matrix_norm(centred @ half, "nuc")
        shift = (moved.mean(0) - mean).square().sum()
        return shift + centred.square().sum() + half.square().sum() - 2 * common


class Samples:
    """Endless batches of a problem."""

    def __init__(self, problem: Problem, batch: int) -> None:
        self.problem, self.size = problem, batch

    def batch(self, rng: np.random.Generator) -> Batch:
        """Draw `degraded` and `clean`, independently."""
        return {"degraded": self.problem.source(self.size, rng), "clean": self.problem.target(self.size, rng)}

    def describe(self) -> str:
        """Say where the points come from."""
        return f"drawn in {self.problem.dimension} dimensions"

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return nothing: the last map is judged."""
        return {}


@torch.no_grad()
def judge(move: nn.Module, problem: Problem, seed: int) -> dict[str, float]:
    """Return a map's error and the distance of what it makes to the target, both in percent of the target's variance.

    `uvp` is L2-UVP = 100 E|T(y) - T*(y)|^2 / Var(Q) (Korotin et al., 2021), `push` the same of the Gelbrich distance between the
    moments of T(y) and Q, which no map at all may have without being the optimal one; `end` is E T(y) . m / |m|^2.
    """
    source = problem.source(JUDGED, np.random.default_rng([1, seed]))
    moved = move(source)
    error = (moved - problem.optimal(source)).double().square().sum(1).mean()
    moments = gaussian.Moments(problem.dimension)
    moments.add(moved)
    target = problem.target_root @ problem.target_root
    push = gaussian.gelbrich(moments.mean, moments.covariance, problem.mean, target) ** 2
    variance = problem.variance()
    end = float(moments.mean @ problem.mean / problem.mean.square().sum())
    return {"uvp": 100 * float(error) / variance, "push": 100 * push / variance, "end": end}


def train(
    problem: Problem,
    method: str,
    weight: float,
    options: BiasOptions,
    training: TrainingOptions,
    folder: Path,
    seed: int,
) -> dict[str, float]:
    """Train a map in `folder` and return what `judge` finds."""
    torch.manual_seed(seed)
    contest = Contest(problem, method, weight, options)
    trainer = Trainer(
        contest,
        Samples(problem, training.batch),
        training,
        folder,
        seed=seed,
        device=torch.device("cpu"),
        fingerprint=f"{method} {weight} {options} {training} {seed}",
    )
    contest.load_state_dict(trainer.run().weights)
    return judge(contest.eval(), problem, seed)
