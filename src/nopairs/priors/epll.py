"""EPLL: expected patch log likelihood under a mixture of Gaussians (Zoran, Weiss, 2011), by half-quadratic splitting."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from nopairs.errors import NopairsError
from nopairs.priors import patches
from nopairs.priors.base import Log, Prior
from nopairs.priors.operators import Operator
from nopairs.priors.variational import solve

# Patches worked on at a time: what each component makes of them stays within some ten megabytes.
CHUNK = 2048
# What every component's covariance has of the whole set's, as if so many patches were of it: no component can collapse.
PSEUDO_PATCHES = 1.0


@dataclass(frozen=True)
class EPLLOptions:
    """The mixture.

    patch_size: side of a patch, pixels.
    components: Gaussians in the mixture.
    patches: what it is learned from, drawn at random.
    iterations: of expectation and maximisation.
    floor: added to every variance; 8-bit levels alone have 1.3e-6.
    """

    patch_size: int = 6
    components: int = 100
    patches: int = 100_000
    iterations: int = 40
    floor: float = 1e-5

    def __post_init__(self) -> None:
        for name in ("patch_size", "components", "iterations", "floor"):
            if getattr(self, name) <= 0:
                raise NopairsError(f"epll: {name} is {getattr(self, name)}; it must be positive")
        if self.patches < 2 * self.components:
            raise NopairsError(f"epll: {self.patches} patches are too few for {self.components} components")


@dataclass(frozen=True, kw_only=True)
class Splitting:
    """How images are found.

    strength: weight of the mixture's negative log density by pixel; 1 is as if patches side by side were independent.
    deviations: how far patches may be from their estimates, in units of the image; the last ones say where it ends.
    turns: over patches and image at each deviation; few leave a blurred image far from the minimum.
    solver_steps: of conjugate gradients, in each turn.
    """

    strength: float = 1.0
    deviations: tuple[float, ...] = (0.1, 0.06, 0.04, 0.025, 0.015, 0.01)
    turns: int = 6
    solver_steps: int = 20

    def __post_init__(self) -> None:
        if (
            self.strength <= 0
            or min(self.turns, self.solver_steps) < 1
            or not self.deviations
            or min(self.deviations) <= 0
        ):
            raise NopairsError(
                f"epll: strength {self.strength}, deviations {self.deviations}, turns {self.turns} and solver_steps {self.solver_steps}"
                " must be positive"
            )


class EPLL(Prior):
    """A mixture of Gaussians on patches, learned by expectation and maximisation."""

    Options = EPLLOptions
    Reconstruction = Splitting

    def __init__(self, options: EPLLOptions) -> None:
        super().__init__()
        self.options = options
        count, size = options.components, options.patch_size**2
        self.log_weights: torch.Tensor
        self.means: torch.Tensor
        self.covariances: torch.Tensor
        self.register_buffer("log_weights", torch.full((count,), -math.log(count)))
        self.register_buffer("means", torch.full((count, size), 0.5))
        self.register_buffer("covariances", torch.eye(size).repeat(count, 1, 1))

    def fit(self, images: torch.Tensor, seed: int) -> Log:
        """Learn the mixture from patches of images (count, H, W); the log has the mean negative log density of a pixel.

        It starts from random patches, to the nearest of which each patch belongs.
        """
        generator = torch.Generator().manual_seed(seed)
        each = math.ceil(self.options.patches / len(images))
        rows = patches.some(images[None], self.options.patch_size, each, generator)[0]
        spread = torch.cov(rows.T, correction=0)
        seeds = rows[torch.randperm(len(rows), generator=generator)[: self.options.components]]
        nearest = torch.cat([torch.cdist(part, seeds).argmin(1) for part in rows.split(CHUNK)])
        self._maximise(rows, spread, torch.eye(len(seeds))[nearest])
        log = []
        for step in range(1, self.options.iterations + 1):
            mixture = _Mixture(self, 0.0)
            joint = torch.cat([mixture.log_joint(part) for part in rows.split(CHUNK)])
            density = joint.logsumexp(1, keepdim=True)
            self._maximise(rows, spread, (joint - density).exp())
            log.append({"step": step, "loss": -float(density.mean()) / rows.shape[1]})
        return log

    def _maximise(self, rows: torch.Tensor, spread: torch.Tensor, shares: torch.Tensor) -> None:
        """Set the mixture by the share (patches, components) that each component has in each patch."""
        count, size = self.means.shape
        centre = rows.mean(0)
        numbers = torch.zeros(count, dtype=torch.float64)
        sums = torch.zeros(count, size, dtype=torch.float64)
        products = torch.zeros(count, size * size, dtype=torch.float64)
        for part, share in zip((rows - centre).split(CHUNK), shares.split(CHUNK), strict=True):
            numbers += share.sum(0)
            sums += share.T @ part
            products += share.T @ (part[:, :, None] * part[:, None, :]).flatten(1)
        means = sums / numbers.clamp(min=1e-9)[:, None]
        scatter = (
            products.view(count, size, size) - numbers[:, None, None] * means[:, :, None] * means[:, None]
        )
        total = numbers[:, None, None] + PSEUDO_PATCHES
        covariances = (scatter + PSEUDO_PATCHES * spread) / total + self.options.floor * torch.eye(size)
        self.means.copy_(means + centre)
        self.covariances.copy_(covariances)
        self.log_weights.copy_((numbers / numbers.sum()).clamp(min=1e-12).log())

    def negative_log_density(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the negative log density of each patch (count, size^2), by pixel: (count,)."""
        mixture = _Mixture(self, 0.0)
        densities = [mixture.log_joint(part).logsumexp(1) for part in rows.split(CHUNK)]
        return -torch.cat(densities) / rows.shape[1]

    def estimate(self, rows: torch.Tensor, deviation: float) -> torch.Tensor:
        """Return what patches (count, size^2) with white noise were, by the component that is most probable for each."""
        mixture = _Mixture(self, deviation)
        chosen = torch.cat([mixture.log_joint(part).argmax(1) for part in rows.split(CHUNK)])
        noisy = self.covariances + deviation**2 * torch.eye(rows.shape[1]).to(rows)
        gains = torch.linalg.solve(noisy, self.covariances)
        estimates = torch.empty_like(rows)
        for component in chosen.unique().tolist():
            mine = (chosen == component).nonzero()[:, 0]
            estimates[mine] = (rows[mine] - self.means[component]) @ gains[component] + self.means[component]
        return estimates

    @torch.no_grad()
    def reconstruct(
        self, observed: torch.Tensor, operator: Operator, options: Splitting, seed: int = 0
    ) -> torch.Tensor:
        """Map observations (batch, channels, h, w) to images; nothing is random.

        Minimises |A x - y|^2 / (2 noise^2) + w sum_i |P_i x - z_i|^2 / (2 deviation^2) - w sum_i log p(z_i) in turns over z and x.
        """
        operator.check_observed(observed)
        image = operator.start(observed)
        patches.check_size(image, self.options.patch_size)
        height, width = image.shape[-2:]
        size = self.options.patch_size
        places = (height - size + 1) * (width - size + 1)
        weight = options.strength * height * width / (places * size**2)
        covered = patches.put_back(torch.ones(places, size**2).to(image), height, width)
        back = operator.adjoint(observed)
        for deviation in (each for each in options.deviations for _ in range(options.turns)):
            rows = patches.every(image.flatten(0, 1), size)
            pull = weight * operator.noise**2 / deviation**2
            target = patches.put_back(self.estimate(rows, deviation), height, width).view_as(image)

            def normal(x: torch.Tensor, pull: float = pull) -> torch.Tensor:
                return operator.adjoint(operator(x)) + pull * covered * x

            image = solve(normal, back + pull * target, image, options.solver_steps)
        return image


class _Mixture:
    """The mixture of a model with white noise on top, prepared for many patches."""

    def __init__(self, model: EPLL, deviation: float) -> None:
        count, size = model.means.shape
        noise = deviation**2 * torch.eye(size).to(model.means)
        factors = torch.linalg.cholesky(model.covariances + noise)
        inverse = torch.linalg.solve_triangular(factors, torch.eye(size).to(factors), upper=False)
        self.rows = inverse.reshape(-1, size).T.contiguous()
        self.offset = (inverse @ model.means[:, :, None]).flatten()
        logarithms = factors.diagonal(dim1=1, dim2=2).log().sum(1)
        self.constant = model.log_weights - logarithms - size / 2 * math.log(2 * math.pi)
        self.shape = (-1, count, size)

    def log_joint(self, part: torch.Tensor) -> torch.Tensor:
        """Return the log of weight times density, (patches, components)."""
        distance = torch.addmm(self.offset, part, self.rows, beta=-1).view(self.shape).square().sum(2)
        return self.constant - distance / 2
