"""Deep optimal transport (Adrai et al., 2023): restored images are given the statistics of natural ones, in an autoencoder's latents.

Patches of latents are taken for Gaussian. Their optimal map, applied to every patch and averaged where patches overlap, is one
convolution.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from nopairs.errors import NopairsError
from nopairs.metrics.gaussian import NEGLIGIBLE, GaussianMap, Moments, gelbrich, stochastic_map
from nopairs.restorers.tiling import round_up
from nopairs.training.hardware import autocast

LOWEST_ALPHA, HIGHEST_ALPHA = -0.5, 1.5
ALPHAS = (-0.5, -0.25, 0.0, 0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0, 1.1, 1.25, 1.5)
"""What alpha is chosen from, and what curves are drawn through."""
TILE = 1024
"""Default side of a tile, in pixels: images up to it are moved whole."""
BLANK = 0.1  # share of variance below which images are near constant; blurred by boxes of 9 pixels a photo keeps three quarters
# Pixels at a tile's border that are thrown away, since its autoencoder lacked what lies beyond: TAEF2's differ up to 64 pixels away
# (docs/transport.md); and over how many pixels one tile then fades into the next.
MARGIN, FADE = 64, 32


@dataclass(frozen=True)
class DotOptions:
    """What is fitted.

    patch: side of a patch of latents; 3 in the paper.
    images: how many images of each side, natural and restored, the statistics are taken from; 10 in the paper. Whole photos, or
        where a dataset has too few of them, tiles.
    first: places by which they are shifted in their list, to take others of them; for the ablation.
    paired: whether both sides come from the same photos (better PSNR, worse perception, says the paper).
    scale: by how much those images are made smaller first, for the ablation on resolution; 1 leaves them.
    times: how often the map is applied, each time with its own pass through the autoencoder; for the ablation.
    stability: what is added to the diagonal of the restored images' covariance, as a share of its mean.
    seed: of the noise where the source is singular.
    channels: of the latents; the fit fills it in.
    """

    patch: int = 3
    images: int = 10
    first: int = 0
    paired: bool = False
    scale: float = 1.0
    times: int = 1
    stability: float = 1e-6
    seed: int = 0
    channels: int = 0

    def __post_init__(self) -> None:
        if self.patch < 1 or self.images < 1 or self.times < 1 or self.first < 0:
            raise NopairsError(
                f"dot: patch {self.patch}, images {self.images} and times {self.times} must be at least 1, and first {self.first}"
                " not negative"
            )
        if not 0 < self.scale <= 1 or self.stability < 0:
            raise NopairsError(
                f"dot: scale {self.scale} must be above 0 and at most 1, stability {self.stability} not negative"
            )


@dataclass(frozen=True)
class FitFacts:
    """What a fit found.

    Attributes:
        patches: patches of restored and of natural latents.
        shrinkage: how far their covariances were moved towards multiples of the identity, 0 to 1.
        distance: Gelbrich distance of the two, per value of a patch (root mean square).
        singular: whether the restored latents leave directions empty, which noise fills.
        variance: of the restored latents, as a share of that of the natural ones.
    """

    patches: tuple[int, int]
    shrinkage: tuple[float, float]
    distance: float
    singular: bool
    variance: float

    def remarks(self, dimension: int) -> list[str]:
        """Return what a user should know."""
        sides = zip(("restored", "natural"), self.patches, self.shrinkage, strict=True)
        remarks = [
            f"{count} patches of {name} latents for {dimension} dimensions: too few, so their covariance was shrunk by {share:.0%};"
            " give more or larger images, or a smaller patch"
            for name, count, share in sides
            if share
        ]
        if self.singular:
            remarks.append(
                "the restored latents are singular: noise fills the directions that they leave empty"
            )
        if self.variance < BLANK:
            remarks.append(
                f"the restored latents have {self.variance:.1%} of the variance of the natural ones, so that the map makes much of little;"
                " look whether those images are blank"
            )
        return remarks


class Dot(nn.Module):
    """The fitted map; its state is all that is saved."""

    Options = DotOptions
    source_mean: torch.Tensor
    target_mean: torch.Tensor
    matrix: torch.Tensor
    noise_root: torch.Tensor

    def __init__(self, options: DotOptions) -> None:
        super().__init__()
        if options.channels < 1:
            raise NopairsError("dot: `channels` is what the fit fills in; fit first")
        self.options = options
        dimension = options.channels * options.patch**2
        for name in ("source_mean", "target_mean"):
            self.register_buffer(name, torch.zeros(dimension, dtype=torch.float64))
        self.register_buffer("matrix", torch.eye(dimension, dtype=torch.float64))
        self.register_buffer("noise_root", torch.zeros(dimension, dimension, dtype=torch.float64))

    def set(self, move: GaussianMap) -> None:
        """Take over a fitted map of patches."""
        for name in ("source_mean", "target_mean", "matrix", "noise_root"):
            getattr(self, name).copy_(getattr(move, name))

    def noise_for(self, height: int, width: int) -> torch.Tensor | None:
        """Return the standard normal field (1, channels, height, width) that an image's noise is made from; None where none is."""
        if not self.noise_root.any():
            return None
        generator = torch.Generator().manual_seed(self.options.seed)
        return torch.randn(1, self.options.channels, height, width, generator=generator)

    def forward(self, latents: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        """Move latents (batch, channels, H, W), at least a patch large; `noise` is what `noise_for` gave, or a part of it.

        Raises:
            NopairsError: the number of channels is not the fit's, or the latents are smaller than a patch.
        """
        options = self.options
        if latents.shape[1] != options.channels:
            raise NopairsError(
                f"dot: latents of {latents.shape[1]} channels, but the fit had {options.channels}; use the autoencoder of the fit"
            )
        size = latents.shape[2:]
        if min(size) < options.patch:
            raise NopairsError(f"dot: latents of {tuple(size)} are smaller than a patch of {options.patch}")
        offset = self.target_mean - self.matrix @ self.source_mean
        moved = self._averaged(latents, self.matrix, offset)
        if noise is not None:
            moved = moved + self._averaged(noise.to(latents), self.noise_root, torch.zeros_like(offset))
        return moved

    def _averaged(self, field: torch.Tensor, matrix: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
        """Apply a matrix (d, d) and an offset (d,) to all patches, and average them where they overlap.

        Inside, where patch^2 patches lie over each place, map and average together are one convolution: of each channel from all
        channels' (2 patch - 1)^2 neighbours. Only the rim is computed patch by patch.
        """
        rim = self.options.patch - 1
        if min(field.shape[2:]) <= 2 * rim:
            return self._patch_by_patch(field, matrix, offset)
        result = torch.empty_like(field)
        inside = result[:, :, rim : field.shape[2] - rim, rim : field.shape[3] - rim]
        bias = offset.view(self.options.channels, -1).mean(1)
        inside.copy_(F.conv2d(field, self._neighbours(matrix).to(field), bias.to(field)))
        for dimension in (2, 3) if rim else ():
            last = field.shape[dimension] - rim
            for start, place in ((0, 0), (last - rim, last)):
                strip = self._patch_by_patch(field.narrow(dimension, start, 2 * rim), matrix, offset)
                result.narrow(dimension, place, rim).copy_(strip.narrow(dimension, place - start, rim))
        return result

    def _patch_by_patch(
        self, field: torch.Tensor, matrix: torch.Tensor, offset: torch.Tensor
    ) -> torch.Tensor:
        """As `_averaged`: a convolution whose filters are the matrix's rows, a fold, and a division."""
        size, options = field.shape[2:], self.options
        filters = matrix.reshape(-1, options.channels, options.patch, options.patch)
        moved = F.conv2d(field, filters.to(field), offset.to(field))
        return F.fold(moved.flatten(2), size, options.patch) / _overlaps(size, options.patch).to(field)

    def _neighbours(self, matrix: torch.Tensor) -> torch.Tensor:
        """Return the mean over a patch's places of what they get from each neighbour: (channels, channels, 2 patch - 1, 2 patch - 1).

        Patches are flattened as `F.unfold` does.
        """
        channels, patch = self.options.channels, self.options.patch
        rows = matrix.view(channels, patch, patch, channels, patch, patch)
        total = matrix.new_zeros(channels, channels, 2 * patch - 1, 2 * patch - 1)
        for i in range(patch):
            for j in range(patch):
                top, left = patch - 1 - i, patch - 1 - j
                total[:, :, top : top + patch, left : left + patch] += rows[:, i, j]
        return total / patch**2


@functools.lru_cache(maxsize=16)
def _overlaps(size: torch.Size, patch: int) -> torch.Tensor:
    """Return how many patches lie over each place, (H, W)."""
    rows, columns = (
        torch.minimum(torch.arange(side) + 1, torch.tensor(min(patch, side - patch + 1))) for side in size
    )
    return torch.minimum(rows, rows.flip(0))[:, None] * torch.minimum(columns, columns.flip(0))[None]


def patches_of(latents: torch.Tensor, patch: int) -> torch.Tensor:
    """Return all overlapping patches of (batch, channels, H, W), flattened: (n, channels * patch^2), float64."""
    columns = F.unfold(latents.to(torch.float64), patch)
    return columns.transpose(1, 2).flatten(0, 1)


def fit(
    restored: Iterable[torch.Tensor], natural: Iterable[torch.Tensor], options: DotOptions
) -> tuple[Dot, FitFacts]:
    """Fit the map of restored to natural latents, each image's (batch, channels, H, W), in one pass over each.

    Raises:
        NopairsError: latents are not finite, differ in channels, or are too few for a covariance.
    """
    source, target = (_moments(latents, options.patch) for latents in (restored, natural))
    if len(source.mean) != len(target.mean):
        sides = " and ".join(str(len(side.mean) // options.patch**2) for side in (source, target))
        raise NopairsError(f"dot: restored and natural latents of {sides} channels; use one autoencoder")
    (source_covariance, source_share), (target_covariance, target_share) = source.shrunk(), target.shrunk()
    ridge = options.stability * source_covariance.diagonal().mean()
    # What leaves directions empty stays so: noise is for them to fill.
    spectrum = torch.linalg.eigvalsh(source_covariance)
    full = bool(spectrum[0] > NEGLIGIBLE * spectrum[-1])
    if full:
        source_covariance = source_covariance + ridge * torch.eye(len(source.mean), dtype=torch.float64)
    move = stochastic_map(source_covariance, target_covariance, source.mean, target.mean)
    dot = Dot(_with_channels(options, len(source.mean) // options.patch**2))
    dot.set(move)
    distance = gelbrich(source.mean, source_covariance, target.mean, target_covariance)
    facts = FitFacts(
        (source.count, target.count),
        (source_share, target_share),
        distance / math.sqrt(len(source.mean)),
        bool(move.noise_root.any()),
        float(
            source_covariance.trace() / target_covariance.trace().clamp(min=torch.finfo(torch.float64).tiny)
        ),
    )
    return dot, facts


def _with_channels(options: DotOptions, channels: int) -> DotOptions:
    return DotOptions(**{**vars(options), "channels": channels})


def _moments(images: Iterable[torch.Tensor], patch: int) -> Moments:
    moments: Moments | None = None
    for latents in images:
        if min(latents.shape[2:]) < patch:
            raise NopairsError(
                f"dot: latents of {tuple(latents.shape[2:])} are smaller than a patch of {patch}; give larger images"
            )
        samples = patches_of(latents.cpu(), patch)
        moments = moments or Moments(samples.shape[1])
        moments.add(samples)
    if moments is None:
        raise NopairsError("dot: no image to take statistics from")
    return moments


class Enhancer:
    """A fitted map with its autoencoder: images in, images out, of any size."""

    def __init__(self, dot: Dot, autoencoder: Any, precision: str = "auto", tile: int = TILE) -> None:
        """`autoencoder` as in `transport.autoencoders`; `precision` is that of its networks; tiles have `tile` pixels a side.

        Raises:
            NopairsError: the autoencoder has other channels than the fit.
        """
        if autoencoder.channels != dot.options.channels:
            raise NopairsError(
                f"dot: fitted on latents of {dot.options.channels} channels, but this autoencoder's have {autoencoder.channels}"
            )
        self.dot = dot
        self.codec = Codec(autoencoder, precision)
        self.tile = round_up(tile, autoencoder.factor)

    def transport(self, images: torch.Tensor) -> torch.Tensor:
        """Return the moved images of (batch, 3, H, W) in [0, 1], not clipped: the estimate at alpha = 0."""
        for _ in range(self.dot.options.times):
            images = self._once(images)
        return images

    def __call__(self, images: torch.Tensor, alpha: float = 0.0) -> torch.Tensor:
        """Return alpha x* + (1 - alpha) x0 of restored images x* (equation 4), not clipped; alpha = 1 changes nothing."""
        return images if alpha == 1 else blend(images, self.transport(images), alpha)

    @torch.inference_mode()
    def _once(self, images: torch.Tensor) -> torch.Tensor:
        factor, size = self.codec.factor, images.shape[2:]
        least = factor * self.dot.options.patch
        rows, columns = (_reflected(side, max(round_up(side, factor), least)) for side in size)
        padded = images[:, :, rows[:, None], columns]
        noise = self.dot.noise_for(len(rows) // factor, len(columns) // factor)

        def move(part: torch.Tensor, top: int, left: int) -> torch.Tensor:
            latents = self.codec.encode(part)
            height, width = latents.shape[2:]
            place = (slice(top // factor, None), slice(left // factor, None))
            field = None if noise is None else noise[:, :, *place][:, :, :height, :width]
            return self.codec.decode(self.dot(latents, field))

        moved = in_tiles(move, padded, self.tile, factor)
        return moved[:, :, : size[0], : size[1]]


class Codec:
    """An autoencoder's two halves, in the hardware's fast precision; what goes in and comes out is float32."""

    def __init__(self, autoencoder: Any, precision: str = "auto") -> None:
        self.model = autoencoder.eval().to(memory_format=torch.channels_last)
        self.factor, self.precision = int(autoencoder.factor), precision
        self.device = next(autoencoder.parameters()).device

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Return the latents of images (batch, 3, H, W), sides multiples of `factor`."""
        return self._run(self.model.encode, images)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Return the images of latents."""
        return self._run(self.model.decode, latents)

    @torch.inference_mode()
    def _run(self, half: Any, values: torch.Tensor) -> torch.Tensor:
        values = values.to(self.device, torch.float32, memory_format=torch.channels_last)
        with autocast(self.device, self.precision):
            result = half(values)
        result = result.float().contiguous()
        if not torch.isfinite(result).all():
            raise NopairsError(
                "dot: the autoencoder returned values that are not finite; check the image and its weights"
            )
        return result

    def latents_of(self, image: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        """Return the latents of an image (1, 3, H, W) in [0, 1] for statistics: cut to whole latents, and made smaller by `scale`."""
        if scale != 1:
            image = F.interpolate(image, scale_factor=scale, mode="bicubic", antialias=True).clamp(0, 1)
        height, width = (side // self.factor * self.factor for side in image.shape[2:])
        if not (height and width):
            raise NopairsError(
                f"dot: an image of {tuple(image.shape[2:])} pixels has no latents; give larger ones"
            )
        return self.encode(image[:, :, :height, :width]).cpu()

    def round_trip(self, images: torch.Tensor, tile: int = TILE) -> torch.Tensor:
        """Return images (batch, 3, H, W) of any size, encoded and decoded."""
        rows, columns = (_reflected(side, round_up(side, self.factor)) for side in images.shape[2:])
        padded = images[:, :, rows[:, None], columns]
        decoded = in_tiles(
            lambda part, *_: self.decode(self.encode(part)), padded, round_up(tile, self.factor), self.factor
        )
        return decoded[:, :, : images.shape[2], : images.shape[3]]


def blend(restored: torch.Tensor, transported: torch.Tensor, alpha: float) -> torch.Tensor:
    """Return alpha x* + (1 - alpha) x0 (equation 4)."""
    return alpha * restored + (1 - alpha) * transported.to(restored)


def in_tiles(function: Any, images: torch.Tensor, tile: int, multiple: int = 1) -> torch.Tensor:
    """Apply `function` (part, its first row, its first column) to overlapping tiles that fade into each other.

    An autoencoder that normalises over the whole tile, or attends to all of it, has no finite margin beyond which tiles agree: beside a
    margin they need to fade. Memory beyond the images' own depends on the tile only.

    Args:
        function: returns a part of the same size.
        images: (batch, 3, H, W).
        tile: side of a tile in pixels; images up to it are one tile.
        multiple: tiles begin at multiples of it; sides are multiples of it.
    """
    row_spans, column_spans = (tile_spans(side, tile, multiple) for side in images.shape[2:])
    overlap = _overlap(tile, multiple)
    if len(row_spans) == len(column_spans) == 1:
        return function(images, 0, 0).to(images.device)
    output = torch.zeros_like(images)
    for rows in row_spans:
        for columns in column_spans:
            part = function(images[:, :, rows, columns], rows.start, columns.start).to(output.device)
            weight = _ramp(rows, images.shape[2], overlap)[:, None] * _ramp(columns, images.shape[3], overlap)
            output[:, :, rows, columns] += weight * part
    return output


def tile_spans(size: int, tile: int, multiple: int = 1) -> list[slice]:
    """Divide an axis into tiles of at most `tile`, of nearly equal length, that overlap and begin at multiples of `multiple`."""
    overlap = _overlap(tile, multiple)
    count = max(math.ceil((size - overlap) / (tile - overlap)), 1)
    step = round_up(math.ceil((size - overlap) / count), multiple)
    return [slice(k * step, min((k + 1) * step + overlap, size)) for k in range(count)]


def _overlap(tile: int, multiple: int) -> int:
    # At most a third: each pixel then lies in two tiles at most along an axis, whose weights add up to one.
    return min(2 * MARGIN + FADE, tile // 3) // multiple * multiple


def _ramp(span: slice, size: int, overlap: int) -> torch.Tensor:
    """Return the weights of a tile along one axis: they add up to one with those of its neighbours."""
    places = torch.arange(span.start, span.stop) + 0.5
    margin = overlap * MARGIN // (2 * MARGIN + FADE)
    rise = ((places - span.start - margin) / (overlap - 2 * margin)).clamp(0, 1)
    fall = ((span.stop - places - margin) / (overlap - 2 * margin)).clamp(0, 1)
    return (rise if span.start else 1) * (fall if span.stop < size else torch.ones(len(places)))


def _reflected(size: int, padded: int) -> torch.Tensor:
    """Return the pixel at each place of an axis that is padded by reflection, which may exceed the image."""
    return torch.from_numpy(np.pad(np.arange(size), (0, padded - size), mode="reflect"))
