"""Forward operators: what an instrument makes of an image before its noise. Linear, with adjoints, differentiable.

Images and observations are (batch, channels, H, W); every channel is treated alike. White noise of deviation `noise` is added to
what an operator gives.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import yaml

from nopairs import registry
from nopairs.data.gaussian import gaussian_taps
from nopairs.errors import NopairsError
from nopairs.files import read_json
from nopairs.models import make_options

Size = tuple[int, int]
PADDINGS = ("circular", "none")
# The kind of an operator that is estimated from pairs before it is used.
ESTIMATED = "estimated"


class Operator(ABC):
    """A linear operator, and the deviation of the white noise that comes with it."""

    Options: type
    noise: float

    @abstractmethod
    def observed_size(self, size: Size) -> Size:
        """Return height and width of the observation of an image; raises NopairsError for a size that it does not take."""

    @abstractmethod
    def image_size(self, observed: Size) -> Size:
        """Return height and width of the image behind an observation."""

    @abstractmethod
    def fitting_size(self, size: Size) -> Size:
        """Return the largest size within `size` that the operator takes."""

    @abstractmethod
    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Map images to their noiseless observations."""

    @abstractmethod
    def adjoint(self, observed: torch.Tensor) -> torch.Tensor:
        """Map observations to images: <A x, y> = <x, A* y>."""

    @abstractmethod
    def start(self, observed: torch.Tensor) -> torch.Tensor:
        """Return a first guess of the images, by interpolation."""

    def observe(self, image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return noisy observations of images; the noise is drawn on the CPU, equal on every device."""
        clean = self(image)
        return clean + self.noise * torch.randn(clean.shape, generator=generator).to(clean)

    def misfit(self, image: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
        """Return the negative log likelihood of observations of images, |A x - y|^2 / (2 noise^2), (batch,), without its constant."""
        return (self(image) - observed).square().flatten(1).sum(1) / (2 * self.noise**2)

    def check_observed(self, observed: torch.Tensor) -> None:
        """Raise NopairsError for an observation that is not the operator's, has no pixels, or such as are no numbers."""
        if min(observed.shape[-2:]) < 1:
            raise NopairsError(
                f"an observation of {tuple(observed.shape[-2:])} pixels; there is nothing to see"
            )
        seen = (observed.shape[-2], observed.shape[-1])
        expected = self.observed_size(self.image_size(seen))
        if seen != expected:
            raise NopairsError(
                f"an observation of {seen[0]}x{seen[1]}, where the operator gives {expected[0]}x{expected[1]};"
                " name the operator that observed it"
            )
        if not torch.isfinite(observed).all():
            raise NopairsError("an observation has pixels that are not finite; mend or leave out that image")


@dataclass(frozen=True)
class IdentityOptions:
    """noise: deviation of the white noise."""

    noise: float

    def __post_init__(self) -> None:
        check_noise(self.noise)


@dataclass(frozen=True)
class BlurOptions:
    """A Gaussian kernel of `size` x `size` taps and deviation `sigma`, of sum 1.

    noise: deviation of the white noise.
    """

    size: int
    sigma: float
    noise: float

    def __post_init__(self) -> None:
        check_noise(self.noise)
        if self.size < 1 or self.sigma <= 0:
            raise NopairsError(f"blur: size {self.size} and sigma {self.sigma} must be positive")
        if self.size % 2 == 0:
            raise NopairsError(f"blur: size {self.size} must be odd, or the image would move by half a pixel")


@dataclass(frozen=True)
class BlurDownsampleOptions:
    """The kernel of `BlurOptions`, and every `factor`-th pixel in both directions of what it makes.

    padding: circular continues the image at its far edges; none takes only what the whole kernel sees.
    """

    size: int
    sigma: float
    factor: int
    noise: float
    padding: str = "circular"

    def __post_init__(self) -> None:
        check_noise(self.noise)
        if not 1 <= self.factor <= self.size or self.sigma <= 0:
            raise NopairsError(
                f"blur_downsample: factor {self.factor} must be within 1 and size {self.size}, sigma {self.sigma} positive"
            )
        if (self.size - self.factor) % 2:
            raise NopairsError(
                f"blur_downsample: size {self.size} and factor {self.factor} must both be even or both be odd"
            )
        if self.padding not in PADDINGS:
            raise NopairsError(
                f"blur_downsample: padding {self.padding!r} is unknown; take one of {', '.join(PADDINGS)}"
            )


class Convolution(Operator):
    """y_i = sum_k g_k x_(factor i + k - before), in both directions.

    The image is continued periodically, or where `inside` only places are taken where it need not be.
    """

    def __init__(
        self, kernel: torch.Tensor, factor: int, before: int, noise: float, inside: bool = False
    ) -> None:
        self.kernel = kernel
        self.factor, self.noise, self.inside = factor, noise, inside
        self.before, self.after = before, len(kernel) - factor - before
        # By how many pixels an image is larger than `factor` times its observation.
        self.rim = len(kernel) - factor if inside else 0

    def periodic(self) -> Convolution:
        """Return the same for images that are continued periodically."""
        return Convolution(self.kernel, self.factor, self.before, self.noise)

    def observed_size(self, size: Size) -> Size:
        """A `factor`-th of the image's size within the rim, which must be a multiple of it; the image as large as the kernel."""
        if any((side - self.rim) % self.factor for side in size) or min(size) < len(self.kernel):
            beyond = f" and {self.rim} more" if self.rim else ""
            raise NopairsError(
                f"an image of {size[0]}x{size[1]} pixels: both sides must be multiples of {self.factor}{beyond}"
                f" and at least {len(self.kernel)}"
            )
        return (size[0] - self.rim) // self.factor, (size[1] - self.rim) // self.factor

    def image_size(self, observed: Size) -> Size:
        """`factor` times the observation's, and the rim."""
        return observed[0] * self.factor + self.rim, observed[1] * self.factor + self.rim

    def fitting_size(self, size: Size) -> Size:
        """Multiples of `factor`, and the rim."""
        height, width = ((side - self.rim) // self.factor * self.factor + self.rim for side in size)
        return height, width

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Blur and take every `factor`-th pixel."""
        height, width = image.shape[-2:]
        observed = self.observed_size((height, width))
        values = image.reshape(-1, 1, height, width)
        if not self.inside:
            values = F.pad(values, [self.before, self.after] * 2, mode="circular")
        values = F.conv2d(values, self.kernel.to(image)[None, None], stride=self.factor)
        return values.reshape(*image.shape[:-2], *observed)

    def adjoint(self, observed: torch.Tensor) -> torch.Tensor:
        """Spread each pixel by the kernel; what falls beyond an edge comes in at the other one."""
        height, width = observed.shape[-2:]
        single = observed.reshape(-1, 1, height, width)
        spread = F.conv_transpose2d(single, self.kernel.to(observed)[None, None], stride=self.factor)
        size = self.image_size((height, width))
        if not self.inside:
            for dim, side in zip((-2, -1), size, strict=True):
                inside, over = spread.split([side, spread.shape[dim] - side], dim)
                missing = [0, 0] * (-1 - dim) + [0, side - over.shape[dim]]
                spread = (inside + F.pad(over, missing)).roll(-self.before, dim)
        return spread.reshape(*observed.shape[:-2], *size)

    def start(self, observed: torch.Tensor) -> torch.Tensor:
        """Bicubic interpolation, moved to where the observation's pixels are centred; a rim repeats the pixels beside it.

        Pixel i of an observation is centred on factor i + (size - 1)/2 - before, that of an interpolation on factor i + (factor - 1)/2.
        """
        return self._enlarged(observed, partial(F.interpolate, mode="bicubic", align_corners=False))

    def pixels(self, observed: torch.Tensor) -> torch.Tensor:
        """Return the observation's pixels as squares, in the image's size and where it has what they saw: for showing."""
        return self._enlarged(observed, partial(F.interpolate, mode="nearest-exact"))

    def _enlarged(self, observed: torch.Tensor, interpolate: Callable[..., torch.Tensor]) -> torch.Tensor:
        if self.factor == 1 and not self.inside:
            return observed.clone()
        height, width = observed.shape[-2:]
        larger = interpolate(observed.reshape(-1, 1, height, width), scale_factor=self.factor)
        shift = (len(self.kernel) - self.factor) // 2 - self.before
        moved = (
            F.pad(larger, [shift] * 4, mode="replicate")
            if self.inside
            else larger.roll((shift, shift), (-2, -1))
        )
        return moved.reshape(*observed.shape[:-2], *moved.shape[-2:])


class Identity(Convolution):
    """The image itself: what is left is denoising."""

    Options = IdentityOptions

    def __init__(self, options: IdentityOptions) -> None:
        super().__init__(torch.ones(1, 1), 1, 0, options.noise)


class Blur(Convolution):
    """A Gaussian blur of the periodically continued image."""

    Options = BlurOptions

    def __init__(self, options: BlurOptions) -> None:
        super().__init__(
            gaussian_kernel(options.size, options.sigma), 1, (options.size - 1) // 2, options.noise
        )


class BlurDownsample(Convolution):
    """A Gaussian blur and a smaller grid, as in the super-resolution of patchNR (Altekrüger et al., 2023).

    The kernel begins at the pixel itself and the image is continued at its far edges, or not at all: pixel i is centred on
    factor i + (size - 1)/2, for their 16 taps and factor 4 on 4 i + 7.5.
    """

    Options = BlurDownsampleOptions

    def __init__(self, options: BlurDownsampleOptions) -> None:
        super().__init__(
            gaussian_kernel(options.size, options.sigma),
            options.factor,
            0,
            options.noise,
            options.padding == "none",
        )


def make(settings: dict[str, Any]) -> Operator:
    """Build an operator from its `kind` and options; raises NopairsError, or TypeError, for what it does not take."""
    options = dict(settings)
    kind = options.pop("kind", "")
    made = registry.find(registry.OPERATORS, kind)
    return made(make_options(made.Options, kind, options))


def read(text: str) -> Operator:
    """Build an operator from settings as YAML or JSON, or from the JSON file that the text names."""
    settings = read_json(Path(text)) if text.endswith(".json") else yaml.safe_load(text)
    return make(settings)


def middle(size: Sequence[int], operator: Operator, most: int) -> tuple[slice, slice]:
    """Return rows and columns of the middle of an image of height and width `size`: at most `most` of each, as the operator takes them."""
    height, width = operator.fitting_size((min(size[0], most), min(size[1], most)))
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return slice(top, top + height), slice(left, left + width)


def gaussian_kernel(size: int, sigma: float) -> torch.Tensor:
    """Return a Gaussian kernel (size, size) of sum 1."""
    taps = gaussian_taps(size, sigma)
    return torch.outer(taps, taps)


def check_noise(noise: Any) -> None:
    """Raise NopairsError for a noise that is no positive number."""
    if not isinstance(noise, int | float) or noise <= 0:
        raise NopairsError(
            f"operator: noise {noise!r} must be a positive number; priors are weighed against it"
        )
