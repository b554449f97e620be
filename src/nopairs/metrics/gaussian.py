"""Optimal transport between Gaussians in closed form, and the statistics that it needs. All in float64.

Names follow "Deep optimal transport" (Adrai et al., 2023): S is the covariance of the source, restored images, and N that of the
target, natural ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from nopairs.errors import NopairsError

# Eigenvalues below this share of the largest one are rounding errors: the directions count as empty.
NEGLIGIBLE = 1e-10


class Moments:
    """Mean and covariance of any number of samples, in one pass and constant memory.

    Batches are merged by Chan, Golub and LeVeque's update (1983): sums of squares about the running mean, so that a mean far
    from zero costs no digits, as it would with a sum of squares.
    """

    def __init__(self, dimension: int) -> None:
        self.count = 0
        self.mean = torch.zeros(dimension, dtype=torch.float64)
        self._squares = torch.zeros(dimension, dimension, dtype=torch.float64)

    def add(self, samples: torch.Tensor) -> None:
        """Take in samples, (n, dimension).

        Raises:
            NopairsError: the shape is another, or a value is not finite.
        """
        if samples.ndim != 2 or samples.shape[1] != len(self.mean):
            raise NopairsError(
                f"moments: samples of shape {tuple(samples.shape)}; expected (n, {len(self.mean)})"
            )
        samples = samples.to(self.mean)
        if not torch.isfinite(samples).all():
            raise NopairsError(
                "moments: a sample is not finite; look for a broken image, or an autoencoder that overflows"
            )
        if len(samples):
            mean = samples.mean(0)
            centred = samples - mean
            self._merge(len(samples), mean, centred.T @ centred)

    def merge(self, other: Moments) -> None:
        """Take in what `other` has seen."""
        if other.count:
            self._merge(other.count, other.mean, other._squares)

    def _merge(self, count: int, mean: torch.Tensor, squares: torch.Tensor) -> None:
        total = self.count + count
        shift = mean - self.mean
        self._squares = self._squares + squares + torch.outer(shift, shift) * (self.count * count / total)
        self.mean = self.mean + shift * (count / total)
        self.count = total

    @property
    def covariance(self) -> torch.Tensor:
        """The unbiased covariance, (dimension, dimension); raises NopairsError below two samples."""
        if self.count < 2:
            raise NopairsError(f"moments: {self.count} samples have no covariance; give more images")
        return self._squares / (self.count - 1)

    def shrunk(self) -> tuple[torch.Tensor, float]:
        """Return the covariance for few samples, and how far it was moved towards a multiple of the identity, 0 to 1.

        With no more samples than dimensions the covariance is singular; oracle approximating shrinkage (Chen, Wiesel, Eldar and
        Hero, 2010, equation 23) then has the least expected error for a Gaussian. With more, nothing is moved.
        """
        covariance, dimension = self.covariance, len(self.mean)
        if self.count > dimension:
            return covariance, 0.0
        trace, power = covariance.trace(), covariance.square().sum()
        spread = power - trace**2 / dimension
        numerator = (1 - 2 / dimension) * power + trace**2
        share = float(numerator / ((self.count + 1 - 2 / dimension) * spread)) if spread > 0 else 1.0
        share = min(1.0, share)
        identity = torch.eye(dimension, dtype=torch.float64)
        return (1 - share) * covariance + share * trace / dimension * identity, share


@dataclass(frozen=True)
class GaussianMap:
    """The optimal map of a Gaussian onto another: x -> target_mean + matrix (x - source_mean) + noise_root z.

    Attributes:
        source_mean, target_mean: (d,).
        matrix: (d, d).
        noise_root: (d, d), times standard normal z the noise of equation 5; zero where the source is not singular.
    """

    source_mean: torch.Tensor
    target_mean: torch.Tensor
    matrix: torch.Tensor
    noise_root: torch.Tensor

    def __call__(self, samples: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """Map float64 samples (n, d); the noise is drawn from `generator`."""
        moved = self.target_mean + (samples - self.source_mean) @ self.matrix.T
        if self.noise_root.any():
            moved = moved + torch.randn(samples.shape, generator=generator).to(moved) @ self.noise_root.T
        return moved


def root(covariance: torch.Tensor) -> torch.Tensor:
    """Return the symmetric positive semi-definite square root of (d, d), negative eigenvalues clamped to zero."""
    values, vectors = _spectrum(covariance)
    return (vectors * values.sqrt()) @ vectors.T


def inverse_root(covariance: torch.Tensor) -> torch.Tensor:
    """Return the pseudo-inverse of `root`."""
    values, vectors = _spectrum(covariance)
    return (vectors * torch.where(values > 0, values, torch.inf).rsqrt()) @ vectors.T


def transport_matrix(source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return T = S^-1/2 (S^1/2 N S^1/2)^1/2 S^-1/2 (equation 2) of covariances (d, d); S must not be singular."""
    half, inverse = root(source), inverse_root(source)
    return inverse @ root(half @ target @ half) @ inverse


def stochastic_map(
    source: torch.Tensor,
    target: torch.Tensor,
    source_mean: torch.Tensor | None = None,
    target_mean: torch.Tensor | None = None,
) -> GaussianMap:
    """Return the map of equation 5, which exists for singular sources too, and is equation 2's elsewhere.

    With M = N^-1/2 (N^1/2 S N^1/2)^1/2 N^-1/2, x0 = mu_N + N M S^+ (x - mu_S) + w and
    Cov w = N^1/2 (I - N^1/2 M S^+ M N^1/2) N^1/2. If N^1/2 S^1/2 = U s V^T, then N^1/2 M = W S^1/2 with W = U V^T, so that
    N M S^+ = N^1/2 W S^+1/2, and the bracket is I - W W^T: a projection, which is positive semi-definite whatever the rounding. The
    formula as it stands loses that to the product of pseudo-inverses, and its noise becomes NaN.

    Args:
        source: covariance S, (d, d); negative eigenvalues are clamped to zero.
        target: covariance N, (d, d), clamped likewise.
        source_mean: (d,); zero if None.
        target_mean: (d,); zero if None.
    """
    source_half, target_half = root(source), root(target)
    left, values, right = torch.linalg.svd(target_half @ source_half)
    kept = values > NEGLIGIBLE * values.max()
    rotation = left[:, kept] @ right[kept]
    empty = torch.eye(len(source), dtype=torch.float64) - left[:, kept] @ left[:, kept].T
    zero = torch.zeros(len(source), dtype=torch.float64)
    noise_root = zero.diag() if kept.all() else target_half @ empty
    return GaussianMap(
        zero if source_mean is None else source_mean,
        zero if target_mean is None else target_mean,
        target_half @ rotation @ inverse_root(source),
        noise_root,
    )


def gelbrich(
    source_mean: torch.Tensor, source: torch.Tensor, target_mean: torch.Tensor, target: torch.Tensor
) -> float:
    """Return the Wasserstein-2 distance of two Gaussians; of other distributions with these moments it is a lower bound.

    G^2 = |mu_S - mu_N|^2 + tr(S + N - 2 (S^1/2 N S^1/2)^1/2), for means (d,) and covariances (d, d). The trace of the last root is
    the sum of the singular values of N^1/2 S^1/2.
    """
    common = torch.linalg.svdvals(root(target) @ root(source)).sum()
    squared = (source_mean - target_mean).square().sum() + source.trace() + target.trace() - 2 * common
    return float(squared.clamp(min=0).sqrt())


def _spectrum(covariance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return eigenvalues, of which negligible and negative ones are zero, and eigenvectors."""
    if covariance.ndim != 2 or covariance.shape[0] != covariance.shape[1]:
        raise NopairsError(f"covariance of shape {tuple(covariance.shape)}; expected (d, d)")
    values, vectors = torch.linalg.eigh(covariance.to(torch.float64))
    largest = values.max().clamp(min=0)
    return torch.where(values > NEGLIGIBLE * largest, values, 0.0), vectors
