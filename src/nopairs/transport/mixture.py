"""A denoising problem in the plane whose best estimates are known: the paper's appendix A.1."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from nopairs.metrics.gaussian import Moments, gelbrich, stochastic_map

WEIGHTS = torch.tensor([0.3, 0.2, 0.3, 0.2], dtype=torch.float64)
MEANS = torch.tensor([[-2.0, -1.5], [-1.5, 2.0], [2.0, 1.5], [2.5, -2.0]], dtype=torch.float64)
COVARIANCES = torch.tensor(
    [
        [[0.6, 0.4], [0.4, 0.5]],
        [[0.3, -0.2], [-0.2, 0.6]],
        [[0.7, -0.4], [-0.4, 0.5]],
        [[0.2, 0.1], [0.1, 0.4]],
    ],
    dtype=torch.float64,
)
NOISE = 1.2  # standard deviation


@dataclass(frozen=True)
class Estimates:
    """Clean points, noisy ones, and three estimates of the former from the latter; each (n, 2).

    mmse: the posterior mean, which has the least squared error.
    posterior: a draw from the posterior, which has the clean points' distribution.
    transported: the posterior mean moved by the optimal map of Gaussians, with moments from other points.
    """

    clean: torch.Tensor
    noisy: torch.Tensor
    mmse: torch.Tensor
    posterior: torch.Tensor
    transported: torch.Tensor

    def errors(self) -> dict[str, float]:
        """Mean squared error of each estimate."""
        return {name: float((getattr(self, name) - self.clean).square().sum(1).mean()) for name in ESTIMATES}

    def distances(self) -> dict[str, float]:
        """Gelbrich distance of each estimate's distribution from that of the clean points."""
        return {name: _distance(getattr(self, name), self.clean) for name in ESTIMATES}


ESTIMATES = ("mmse", "posterior", "transported")


def estimate(count: int, seed: int) -> Estimates:
    """Draw `count` points, add noise and estimate them; the map is fitted on as many other points, unpaired."""
    generator = torch.Generator().manual_seed(seed)
    natural, _ = sample(count, generator)
    _, other_noisy = sample(count, generator)
    source, target = _moments(posterior(other_noisy, generator)[0]), _moments(natural)
    move = stochastic_map(source.covariance, target.covariance, source.mean, target.mean)
    clean, noisy = sample(count, generator)
    mmse, drawn = posterior(noisy, generator)
    return Estimates(clean, noisy, mmse, drawn, move(mmse, generator))


def sample(count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw clean points of the mixture and noisy versions of them, (count, 2) each."""
    component = torch.multinomial(WEIGHTS, count, replacement=True, generator=generator)
    roots = torch.linalg.cholesky(COVARIANCES)[component]
    clean = MEANS[component] + torch.einsum("nij,nj->ni", roots, _normal(count, generator))
    return clean, clean + NOISE * _normal(count, generator)


def posterior(noisy: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean of p(clean given noisy) and a draw from it, for noisy points (n, 2).

    It is a mixture too: in each component the clean point has a Gaussian posterior, and the component's weight is its evidence.
    """
    of_noisy = COVARIANCES + NOISE**2 * torch.eye(2, dtype=torch.float64)
    gains = COVARIANCES @ torch.linalg.inv(of_noisy)
    means = MEANS + torch.einsum("kij,nkj->nki", gains, noisy[:, None] - MEANS)
    evidence = torch.distributions.MultivariateNormal(MEANS, of_noisy).log_prob(noisy[:, None])
    shares = (evidence + WEIGHTS.log()).softmax(1)
    roots = torch.linalg.cholesky(COVARIANCES - gains @ COVARIANCES)
    component = torch.multinomial(shares, 1, generator=generator)[:, 0]
    chosen = means[torch.arange(len(noisy)), component]
    drawn = chosen + torch.einsum("nij,nj->ni", roots[component], _normal(len(noisy), generator))
    return (shares[..., None] * means).sum(1), drawn


def _normal(count: int, generator: torch.Generator) -> torch.Tensor:
    return torch.randn(count, 2, dtype=torch.float64, generator=generator)


def _moments(points: torch.Tensor) -> Moments:
    moments = Moments(points.shape[1])
    moments.add(points)
    return moments


def _distance(points: torch.Tensor, reference: torch.Tensor) -> float:
    first, second = _moments(points), _moments(reference)
    return gelbrich(first.mean, first.covariance, second.mean, second.covariance)
