"""Computed tomography: parallel beams through an image, from all or some of the angles of half a turn."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from nopairs.errors import NopairsError
from nopairs.priors.operators import Operator, Size, check_noise

# Samples of an image at a time: some ten megabytes of coordinates.
BLOCK = 1 << 21
# Samples of all rays that are kept between steps at most, 256 MB.
KEPT = 1 << 25
# Photons that a ray counts as of which none arrives.
FEWEST = 0.1


@dataclass(frozen=True)
class RadonOptions:
    """A scan. Lengths are in units of the image's side.

    angles: in half a turn, evenly spread.
    first, last: the scan has the angles from `first` to before `last`; 0 as `last` stands for all.
    hann: the share of the highest frequency at which the window of the filtered back projection ends.
    noise: deviation of the white noise on the line integrals.
    photons: with which each ray begins; what arrives is counted and has Poisson noise, in place of white noise. `noise` then is
        about what an integral's deviation is, for what can weigh white noise only. 0 counts none.
    attenuation: of a ray by a side's length of 1; LoDoPaB has 81.35858 a metre, and sides of 0.26 m.
    """

    angles: int
    noise: float
    first: int = 0
    last: int = 0
    hann: float = 1.0
    photons: int = 0
    attenuation: float = 21.1532

    def __post_init__(self) -> None:
        check_noise(self.noise)
        if not 0 <= self.first < (self.last or self.angles) <= self.angles:
            raise NopairsError(
                f"radon: first {self.first} and last {self.last} must be in order and within {self.angles} angles"
            )
        if self.photons < 0 or self.attenuation <= 0:
            raise NopairsError(
                f"radon: photons {self.photons} must not be negative, attenuation {self.attenuation} must be positive"
            )
        if not 0 < self.hann <= 1:
            raise NopairsError(f"radon: hann {self.hann} must be above 0 and at most 1")


class Radon(Operator):
    """Line integrals of square images: observations are (batch, channels, angles, detectors).

    There is a detector for each pixel of the diagonal. Rays are sampled at every pixel's length, between the pixels bilinearly.
    """

    Options = RadonOptions

    def __init__(self, options: RadonOptions) -> None:
        self.options, self.noise = options, options.noise
        numbers = torch.arange(options.first, options.last or options.angles, dtype=torch.float64)
        self.angles = math.pi * numbers / options.angles
        self.kept: dict[tuple[int, torch.dtype, torch.device], list[torch.Tensor]] = {}

    def observed_size(self, size: Size) -> Size:
        """Angles and detectors; the image must be square."""
        if size[0] != size[1]:
            raise NopairsError(f"an image of {size[0]}x{size[1]} pixels: a scan needs a square one")
        return len(self.angles), math.ceil(math.sqrt(2) * size[0])

    def image_size(self, observed: Size) -> Size:
        """The side whose diagonal has so many detectors."""
        side = math.floor(observed[1] / math.sqrt(2))
        return side, side

    def fitting_size(self, size: Size) -> Size:
        """A square of the shorter side."""
        return min(size), min(size)

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Integrate along all rays."""
        return _Scan.apply(image, self)

    def observe(self, image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return noisy line integrals. A ray of which no photon arrives counts as a tenth of one, as in LoDoPaB."""
        if not self.options.photons:
            return super().observe(image, generator)
        arriving = self.options.photons * torch.exp(-self.options.attenuation * self(image).cpu())
        counted = torch.poisson(arriving, generator).clamp(min=FEWEST)
        return (-torch.log(counted / self.options.photons) / self.options.attenuation).to(image)

    def misfit(self, image: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
        """Return the negative log likelihood of counted photons, (batch,), less that of an image which explains all of them."""
        if not self.options.photons:
            return super().misfit(image, observed)
        counted = self.options.photons * torch.exp(-self.options.attenuation * observed)
        beyond = self.options.attenuation * (self(image) - observed)
        return (counted * (torch.expm1(-beyond) + beyond)).flatten(1).sum(1)

    def adjoint(self, observed: torch.Tensor) -> torch.Tensor:
        """Spread each integral along its ray."""
        side, _ = self.image_size((observed.shape[-2], observed.shape[-1]))
        spread = observed.new_zeros(*observed.shape[:-2], side, side)
        at = 0
        for rays in self._rays(side, observed):
            count = len(rays)
            with torch.enable_grad():
                leaf = torch.zeros_like(spread, requires_grad=True)
                seen = _integrate(leaf, rays)
            spread += torch.autograd.grad(seen, leaf, observed[..., at : at + count, :])[0]
            at += count
        return spread

    def start(self, observed: torch.Tensor) -> torch.Tensor:
        """Filtered back projection: the Ram-Lak filter, in a Hann window."""
        detectors = observed.shape[-1]
        side, _ = self.image_size((observed.shape[-2], detectors))
        length = 2 ** math.ceil(math.log2(2 * detectors))
        places = torch.fft.fftfreq(length, 1 / length).abs()
        kernel = torch.where(places % 2 == 1, -1 / (math.pi * places.clamp(min=1)) ** 2, 0.0)
        kernel[0] = 1 / 4
        frequency = torch.fft.rfftfreq(length) * 2 / self.options.hann
        window = torch.where(frequency <= 1, torch.cos(math.pi / 2 * frequency).square(), 0.0)
        gains = (torch.fft.rfft(kernel).real * window).to(observed)
        filtered = torch.fft.irfft(torch.fft.rfft(observed, length) * gains, length)[..., :detectors]
        return self.adjoint(filtered) * (math.pi / self.options.angles * side**2)

    def project(self, image: torch.Tensor) -> torch.Tensor:
        """As a call, without gradients."""
        self.observed_size((image.shape[-2], image.shape[-1]))
        return torch.cat([_integrate(image, rays) for rays in self._rays(image.shape[-1], image)], -2)

    def _rays(self, side: int, like: torch.Tensor) -> Iterable[torch.Tensor]:
        """Where rays are sampled, in torch's coordinates from -1 to 1: (angles, detectors, samples, 2), some angles at a time.

        To place them takes longer than to integrate along them, so that those of small images are kept for the next step.
        """
        _, detectors = self.observed_size((side, side))
        if len(self.angles) * detectors**2 > KEPT:
            return self._placed(side, detectors, like)
        key = (side, like.dtype, like.device)
        if key not in self.kept:
            self.kept = {key: list(self._placed(side, detectors, like))}  # of one size at a time
        return self.kept[key]

    def _placed(self, side: int, detectors: int, like: torch.Tensor) -> Iterator[torch.Tensor]:
        places = (torch.arange(detectors, dtype=torch.float64) - (detectors - 1) / 2) * (2 / side)
        for angles in self.angles.split(max(1, BLOCK // detectors**2)):
            cos, sin = angles.cos()[:, None, None], angles.sin()[:, None, None]
            across, along = places[None, :, None], places[None, None, :]
            rays = torch.stack([across * cos - along * sin, across * sin + along * cos], -1)
            yield rays.to(like)


def _integrate(image: torch.Tensor, rays: torch.Tensor) -> torch.Tensor:
    """Return the integrals (batch, channels, angles, detectors) of images along rays."""
    angles, detectors, samples, _ = rays.shape
    grid = rays.view(1, angles * detectors, samples, 2).expand(len(image), -1, -1, -1)
    values = F.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return values.sum(-1).view(*image.shape[:2], angles, detectors) / image.shape[-1]


class _Scan(torch.autograd.Function):
    """A scan, whose gradient is its adjoint: nothing is kept in between, where the rays' samples would fill gigabytes."""

    @staticmethod
    def forward(ctx: Any, image: torch.Tensor, scan: Radon) -> torch.Tensor:
        ctx.scan = scan
        return scan.project(image)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return ctx.scan.adjoint(gradient), None
