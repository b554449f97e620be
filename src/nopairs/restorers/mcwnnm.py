"""Multi-channel weighted nuclear norm minimisation (Xu, Zhang, Zhang, Feng, ICCV 2017): low rank among similar patches, for noise
whose level differs between the colour channels.

Parameters are those of the authors' experiment on real noise. Everything is computed for many groups of patches at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from nopairs.errors import NopairsError
from nopairs.restorers.classical import ClassicalRestorer, mirrored

# Groups of patches that one thread works on at a time: their matrices fit into its cache.
CHUNK = 128
# Smaller sides than this are mirrored, so that a window holds some patches.
SMALLEST_SIDE = 16
# Weight of a singular value s: this x sqrt(patches) x noise variance / s.
WEIGHT = 2 * math.sqrt(2)
# A channel's noise counts as at least this share of the noisiest channel's: one that is clipped everywhere seems to have none, and
# would leave the others without weight.
LEAST_SHARE = 0.2
# Distance between the patches that the noise level is estimated from.
ESTIMATION_STEP = 3


@dataclass(frozen=True)
class MCWNNMOptions:
    """Options; the defaults are the authors' for real noise.

    strength: factor on the estimated noise levels, their lambda. It makes up for an estimate that is too low, as it is for noise
        that is correlated between pixels; 1 to 1.5 suits white noise, and 4 is the authors' choice for photos in the sRGB space.
    patch_size: side of a patch, pixels.
    patches: similar patches in a group (70 in the paper; the authors' code subtracts 10 before the first matching).
    window: largest distance of a similar patch from its reference along each axis, pixels.
    step: distance between reference patches, pixels.
    passes: how often the groups are restored; later passes take each group's noise levels from what the last one removed.
    iterations: of the alternating direction method of multipliers.
    rho: its penalty.
    """

    strength: float
    patch_size: int = 6
    patches: int = 60
    window: int = 20
    step: int = 5
    passes: int = 2
    iterations: int = 10
    rho: float = 6.0

    def __post_init__(self) -> None:
        if not (self.strength > 0 and self.rho > 0):
            raise NopairsError(f"mcwnnm: strength {self.strength} and rho {self.rho} must be positive")
        for name in ("patch_size", "patches", "window", "step", "passes", "iterations"):
            if getattr(self, name) < 1:
                raise NopairsError(f"mcwnnm: {name} is {getattr(self, name)}; it must be at least 1")
        if self.step > self.patch_size:
            raise NopairsError(
                f"mcwnnm: step {self.step} leaves pixels between patches of {self.patch_size} unrestored; take {self.patch_size} or less"
            )


class MCWNNM(ClassicalRestorer):
    """Restores groups of similar patches Y, a patch a row, as argmin |(Y - X) W|^2 + |X|_w,*.

    W weighs each channel by the inverse of its noise level, and w each singular value by the inverse of itself.
    """

    Options = MCWNNMOptions

    def __init__(self, options: MCWNNMOptions) -> None:
        super().__init__()
        self.options = options
        self.margin = options.window + options.patch_size
        self.levels: torch.Tensor | None = None

    def survey(self, tiles: Callable[[], Iterable[torch.Tensor]]) -> MCWNNM:
        """Return the restorer with the noise levels of the image that consists of `tiles` (1, 3, h, w): with its own a tile would show."""
        known = MCWNNM(self.options)
        images = (tile[0].permute(1, 2, 0).float().cpu().numpy() for tile in tiles())
        known.levels = noise_levels(map(_as_tensor, images), self.options.patch_size)
        return known

    def restore(self, image: np.ndarray) -> np.ndarray:
        """Restore float32 (height, width, 3) in [0, 1]; the result is clipped to [0, 1]."""
        height, width = image.shape[:2]
        noisy, levels = _as_tensor(image), self.levels
        if levels is None:
            levels = noise_levels([noisy], self.options.patch_size)
        restored = denoise(noisy, levels, self.options).permute(1, 2, 0).numpy()
        return np.clip(restored[:height, :width], 0, 1)


def _as_tensor(image: np.ndarray) -> torch.Tensor:
    """Return (height, width, 3) as (3, H, W), float32, with sides of at least SMALLEST_SIDE."""
    pixels = mirrored(image, SMALLEST_SIDE).astype(np.float32)
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def noise_levels(tiles: Iterable[torch.Tensor], patch_size: int) -> torch.Tensor:
    """Estimate the deviation of white noise in each channel, (3,), of an image that consists of `tiles` (3, h, w)."""
    moments = [_patch_moments(tile, patch_size) for tile in tiles]
    counts, means, covariances = (torch.stack(part) for part in zip(*moments, strict=True))
    shares = (counts / counts.sum())[:, None, None]
    apart = means - (shares * means).sum(0)
    # Within the tiles, and between them.
    covariance = (shares[..., None] * (covariances + apart[..., None] * apart[..., None, :])).sum(0)
    return torch.tensor([noise_level(one) for one in covariance])


def _patch_moments(tile: torch.Tensor, patch_size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return how many patches a tile (3, h, w) has, and each channel's mean (3, pixels) and covariance (3, pixels, pixels) of them."""
    channels = F.unfold(tile[:, None].double(), patch_size, stride=ESTIMATION_STEP)
    covariances = torch.stack([torch.cov(patches, correction=0) for patches in channels])
    return torch.tensor(float(channels.shape[2])), channels.mean(2), covariances


def noise_level(covariance: torch.Tensor) -> float:
    """Estimate the deviation of white noise from the covariance of an image's patches (pixels, pixels).

    Chen, Zhu and Heng (ICCV 2015): of its eigenvalues the largest are dropped until the mean of the others is their median, which
    is then the noise's variance.
    """
    variances = torch.linalg.eigvalsh(covariance).clamp(min=0)
    for count in range(len(variances), 0, -1):
        kept = variances[:count]
        if (kept > kept.mean()).sum() >= (kept < kept.mean()).sum():
            break
    return math.sqrt(kept.mean())


def denoise(noisy: torch.Tensor, levels: torch.Tensor, options: MCWNNMOptions) -> torch.Tensor:
    """Restore an image (3, H, W) with noise of deviations `levels` (3,); sides are at least a patch. Not clipped."""
    size = options.patch_size
    patches = F.unfold(noisy[None], size)[0].T.contiguous()
    groups = match(noisy, options)
    total, count = torch.zeros_like(patches), torch.zeros(len(patches), 1)
    # LAPACK takes one small matrix after the other, in one thread.
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        chunks = groups.split(CHUNK)
        for chunk, restored in zip(
            chunks,
            pool.map(lambda chunk: denoise_groups(patches[chunk], levels, options), chunks),
            strict=True,
        ):
            total.index_add_(0, chunk.flatten(), restored.flatten(0, 1))
            count.index_add_(0, chunk.flatten(), torch.ones(chunk.numel(), 1))
    folded, weights = (
        F.fold(part.T[None], noisy.shape[1:], size)[0] for part in (total, count.expand_as(total))
    )
    return folded / weights


def match(image: torch.Tensor, options: MCWNNMOptions) -> torch.Tensor:
    """Return, for each reference patch of an image (3, H, W), the numbers of the patches nearest to it, (references, patches).

    Patches are numbered row by row. References lie on a grid whose last row and column are moved to the border. Where a window
    holds fewer patches than a group should, all groups are smaller.
    """
    size, window, (height, width) = options.patch_size, options.window, image.shape[1:]
    tops, lefts = (_reference_places(side - size, options.step) for side in (height, width))
    over_rows, over_columns = _sums(tops, size, height), _sums(lefts, size, width)
    shifts = torch.arange(-window, window + 1)
    far_down, far_right = (
        _outside(places, shifts, side - size) for places, side in ((tops, height), (lefts, width))
    )
    padded = F.pad(image[None], (window,) * 4, mode="replicate")[0]
    distances = torch.empty(len(shifts), len(shifts), len(tops), len(lefts))
    for down in range(len(shifts)):
        for right in range(len(shifts)):
            shifted = padded[:, down : down + height, right : right + width]
            distance = over_rows @ (shifted - image).square_().sum(0) @ over_columns.T
            outside = far_down[down][:, None] | far_right[right]
            distances[down, right] = distance.masked_fill_(outside, math.inf)
    # Itself first: among equal ones, as in clipped areas, it might be left out, and its pixels be of no group.
    distances[window, window] = -1
    by_reference = distances.flatten(2).flatten(0, 1).T.contiguous()
    nearest = min(options.patches, int(by_reference.isfinite().sum(1).min()))
    chosen = by_reference.topk(nearest, largest=False, sorted=False).indices
    top, left = torch.meshgrid(tops, lefts, indexing="ij")
    rows = top.reshape(-1, 1) + shifts[chosen // len(shifts)]
    columns = left.reshape(-1, 1) + shifts[chosen % len(shifts)]
    return rows * (width - size + 1) + columns


def _reference_places(last: int, step: int) -> torch.Tensor:
    return torch.tensor([*range(0, last, step), last])


def _sums(starts: torch.Tensor, size: int, length: int) -> torch.Tensor:
    """Return the matrix (starts, length) that sums up the `size` values from each start."""
    places = torch.arange(length)
    return ((places >= starts[:, None]) & (places < starts[:, None] + size)).float()


def _outside(places: torch.Tensor, shifts: torch.Tensor, last: int) -> torch.Tensor:
    """Whether (shifts, places) shifted places are before the first or behind the last one."""
    shifted = places + shifts[:, None]
    return (shifted < 0) | (shifted > last)


def denoise_groups(groups: torch.Tensor, levels: torch.Tensor, options: MCWNNMOptions) -> torch.Tensor:
    """Restore groups of patches (groups, patches, 3 x pixels) with noise of deviations `levels` (3,)."""
    mean = groups.mean(1, keepdim=True)
    centred = groups - mean
    each = levels.expand(len(groups), 3)
    for _ in range(options.passes):
        each = options.strength * each.clamp(min=LEAST_SHARE * each.amax(1, keepdim=True))
        low_rank = minimise(centred, each, options)
        each = (centred - low_rank).square().mean(1).unflatten(1, (3, -1)).mean(2).sqrt()
    return low_rank + mean


def minimise(noisy: torch.Tensor, levels: torch.Tensor, options: MCWNNMOptions) -> torch.Tensor:
    """Minimise |(Y - X) W|^2 + |X|_w,* for groups Y (groups, patches, 3 x pixels) and levels (groups, 3) by ADMM.

    In the scaled form: X fits the patches, Z is X + B with its singular values shrunk, and B sums up how they differ.
    """
    patches, pixels = noisy.shape[1:]
    lowest = levels.amin(1, keepdim=True)
    squared = torch.where(levels > 0, lowest / levels, 1).square().repeat_interleave(pixels // 3, 1)[:, None]
    weight = WEIGHT * math.sqrt(patches) * lowest[:, 0].square()
    half = options.rho / 2
    z = torch.zeros_like(noisy)
    weighed = squared * noisy
    # X + B never exceeds Y W^2 / half while Z is zero: where that is not enough to be kept, Z stays zero.
    bound = torch.linalg.eigvalsh(weighed @ weighed.mT)[:, -1] / half**2
    active = bound > 4 * weight / half
    if not active.any():
        return z
    data, divisor, constant = weighed[active], squared[active] + half, weight[active] / half
    kept, dual = z[active], z[active]
    for _ in range(options.iterations):
        both = (data + half * (kept - dual)) / divisor + dual
        kept = shrink(both, constant)
        dual = both - kept
    z[active] = kept
    return z


def shrink(matrices: torch.Tensor, constant: torch.Tensor) -> torch.Tensor:
    """Return argmin_Z |Z - M|^2 / 2 + sum_i w_i s_i(Z) with w_i = constant / s_i(Z), for M (batch, rows, columns).

    The fixed point of reweighting (Gu et al., 2017, remark 1): s becomes (s + sqrt(s^2 - 4 constant)) / 2, or 0 where s^2 is too
    small. Larger singular values have smaller weights, so that shrinking each by its own weight is the minimum.
    """
    squares, vectors = torch.linalg.eigh(matrices @ matrices.mT)
    excess = squares - 4 * constant[:, None]
    # (s + sqrt(s^2 - 4 c)) / 2 in units of s.
    gain = torch.where(excess > 0, (1 + (excess.clamp(min=0) / squares.clamp(min=1e-30)).sqrt()) / 2, 0)
    return (vectors * gain[:, None]) @ (vectors.mT @ matrices)
