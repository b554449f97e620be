"""DeFlow: both domains in one conditional flow, where the degradation is a shift of the latent (Wolf et al., CVPR 2021).

A flow f, conditioned on features of a much reduced image, takes clean images to z ~ N(0, I) and degraded ones to z + u, u ~ N(m, S)
independent of it; LUD-VAE's appendix C, equation 13, is its likelihood. A clean image is degraded by z = f(x), then f^-1(z + u). The
features are those of RRDB's blocks, learned with the flow; `start` begins with published weights, and without it this is the -NP variant.

Trainings of this flow are known to diverge. Logarithms of scales are bounded, so that no layer's inverse can explode; batches whose
likelihood is not finite are left out and counted, and a training that leaves out more than its `skips` fails.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from nopairs.data import weights
from nopairs.data.resizing import reduce
from nopairs.degradation.blocks import encoder
from nopairs.errors import NopairsError
from nopairs.restorers import rrdb
from nopairs.training import parallel

ENCODERS = ("rrdb", "residual")


@dataclass(frozen=True)
class DeflowOptions:
    """Size of the flow; the defaults are the paper's.

    steps: of normalisation, mixing, injection and coupling at each level (its K).
    transitions: steps without injection and coupling that begin each level.
    levels: halvings of the side, each with four times the channels (its L).
    width: channels within the couplings.
    encoder: network that reads the condition, one of `ENCODERS`: RRDB, or plain residual blocks for small flows.
    encoder_width, blocks: its channels and blocks.
    start: an RRDB's weights to begin with (a path, or `catalogue:<entry>/<path>`), of any scale; none learns them from scratch.
    reduced: how many times smaller the image is that conditions.
    noise: standard deviation of the noise on the condition, in [0, 1] units: it hides what is left of the domain.
    quant: images get uniform noise of this part of their range, in training and when they are degraded: 8-bit levels have no density.
    clamp: largest logarithm of any scale. Small flows want less than 1, or they multiply the shift in textures.
    haste: how many times faster than other weights the latents' shifts are learned. They must grow to the noise's deviation over the
        clean images' finest one: 100,000 steps of the paper's rate let them grow by ten, a thousand of 1e-3 by one.
    """

    steps: int = 16
    transitions: int = 2
    levels: int = 3
    width: int = 128
    encoder: str = "rrdb"
    encoder_width: int = 64
    blocks: int = 23
    start: str = ""
    reduced: int = 8
    noise: float = 0.03
    quant: float = 1 / 32
    clamp: float = 1.0
    haste: float = 1.0
    weight_files: ClassVar[tuple[str, ...]] = ("start",)

    def __post_init__(self) -> None:
        for name in ("steps", "levels", "width", "encoder_width", "blocks", "reduced", "clamp", "haste"):
            if getattr(self, name) <= 0:
                raise NopairsError(f"deflow: {name} is {getattr(self, name)}; it must be positive")
        for name in ("noise", "quant", "transitions"):
            if getattr(self, name) < 0:
                raise NopairsError(f"deflow: {name} is {getattr(self, name)}; it must not be negative")
        if self.encoder not in ENCODERS:
            raise NopairsError(
                f"deflow: encoder {self.encoder!r} is unknown; take one of {', '.join(ENCODERS)}"
            )
        if self.start and self.encoder != "rrdb":
            raise NopairsError("deflow: `start` names an RRDB's weights; give `encoder: rrdb`")
        weights.check(self.start)

    @property
    def roles(self) -> tuple[str, ...]:
        """Roles of the dataset that training reads."""
        return ("clean", "degraded")

    @property
    def multiple(self) -> int:
        """What sides of images are padded to a multiple of."""
        return math.lcm(2**self.levels, self.reduced)


class Affine(nn.Module):
    """Scales and shifts of channels, read from other channels; none at first."""

    def __init__(self, seen: int, changed: int, width: int, clamp: float) -> None:
        """`seen`, `changed`: channels that are read, and that are scaled; `width`: of the hidden layers, none if 0."""
        super().__init__()
        self.clamp = clamp
        layers: list[nn.Module] = []
        if width:
            layers = [nn.Conv2d(seen, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 1), nn.ReLU()]
        last = nn.Conv2d(width or seen, 2 * changed, 3, padding=1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]  # it has one
        self.layers = nn.Sequential(*layers, last)

    def forward(self, seen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map (batch, seen, H, W) to logarithms of scales, within +-clamp, and shifts, both (batch, changed, H, W)."""
        raw, shift = self.layers(seen).float().chunk(2, 1)
        return bounded(raw, self.clamp), shift


class Step(nn.Module):
    """One step of the flow: a scale and shift for each channel and an invertible mixture of channels (SRFlow's transition step).

    Told a condition, it goes on with an affine map of all channels that reads the condition alone, and a coupling that reads both.
    """

    def __init__(self, channels: int, told: int, options: DeflowOptions) -> None:
        """`told`: channels of the condition; 0 for a transition step."""
        super().__init__()
        self.log_scale, self.shift = (nn.Parameter(torch.zeros(1, channels, 1, 1)) for _ in range(2))
        rotation, _ = torch.linalg.qr(torch.randn(channels, channels))
        self.mixture = nn.Parameter(rotation)
        self.kept, self.told, self.clamp = channels // 2, told, options.clamp
        if told:
            self.injector = Affine(told, channels, options.width, options.clamp)
            self.coupling = Affine(self.kept + told, channels - self.kept, options.width, options.clamp)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the step's output, and the logarithm of its Jacobian's determinant, (batch,)."""
        pixels = x.shape[2] * x.shape[3]
        scale = bounded(self.log_scale, self.clamp)
        x = torch.einsum("dc,bchw->bdhw", self.mixture, (x + self.shift) * scale.exp())
        total = pixels * (scale.sum() + torch.linalg.slogdet(self.mixture.float())[1])
        if not self.told:
            return x, total.expand(len(x))
        log_scale, shift = self.injector(condition)
        x = (x + shift) * log_scale.exp()
        total = total + log_scale.sum((1, 2, 3))
        kept, changed = x[:, : self.kept], x[:, self.kept :]
        log_scale, shift = self.coupling(torch.cat([kept, condition], 1))
        x = torch.cat([kept, (changed + shift) * log_scale.exp()], 1)
        return x, total + log_scale.sum((1, 2, 3))

    def inverse(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Undo `forward`."""
        if self.told:
            kept, changed = x[:, : self.kept], x[:, self.kept :]
            log_scale, shift = self.coupling(torch.cat([kept, condition], 1))
            x = torch.cat([kept, changed * (-log_scale).exp() - shift], 1)
            log_scale, shift = self.injector(condition)
            x = x * (-log_scale).exp() - shift
        x = torch.einsum("dc,bchw->bdhw", torch.linalg.inv(self.mixture.float()), x)
        return x * (-bounded(self.log_scale, self.clamp)).exp() - self.shift


class Latent(nn.Module):
    """A latent's distribution at each place: N(0, I) of clean images, and of degraded ones that plus u ~ N(shift, root root^T)."""

    def __init__(self, channels: int, haste: float) -> None:
        super().__init__()
        self.haste = haste
        # Weights are the shift and its root over `haste`. Small at first: both domains begin with one distribution.
        self.shift_weight = nn.Parameter(torch.zeros(channels))
        self.root_weight = nn.Parameter(0.01 / haste * torch.eye(channels))

    @property
    def shift(self) -> torch.Tensor:
        """Mean of u, (channels,)."""
        return self.haste * self.shift_weight

    @property
    def root(self) -> torch.Tensor:
        """Root of the covariance of u, (channels, channels)."""
        return self.haste * self.root_weight

    def log_density(self, z: torch.Tensor, shifted: bool) -> torch.Tensor:
        """Return log N(z; 0, I), or of the shifted latents log N(z; shift, I + root root^T), summed over all values: (batch,)."""
        if shifted:
            covariance = torch.eye(len(self.shift), device=z.device) + self.root @ self.root.T
            density = torch.distributions.MultivariateNormal(self.shift, covariance)
            return density.log_prob(z.permute(0, 2, 3, 1)).sum((1, 2))
        return -0.5 * (z.square() + math.log(2 * math.pi)).sum((1, 2, 3))

    def degrade(self, z: torch.Tensor, strength: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return z + u, u drawn for each place; `strength` (batch,) scales its deviation, not its mean."""
        normal = torch.randn(z.shape, generator=generator).to(z) * strength.view(-1, 1, 1, 1).float()
        return z + self.shift.view(1, -1, 1, 1) + torch.einsum("dc,bchw->bdhw", self.root, normal)


def bounded(raw: torch.Tensor, clamp: float) -> torch.Tensor:
    """Return values within +-clamp, equal to `raw` near zero."""
    return clamp * torch.tanh(raw / clamp)


class Rrdbs(nn.Module):
    """What RRDB knows of an image before it enlarges it: the outputs of four of its blocks and of the whole."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.layers = rrdb.layers(width, blocks, scale=1)[:2]
        # Of 23 blocks the 2nd, 9th, 16th and 23rd, as the original takes them.
        self.taps = sorted({round(1 + (blocks - 2) * part / 3) for part in range(4)} & set(range(blocks)))
        self.channels = width * (len(self.taps) + 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map (batch, 3, H, W) to (batch, channels, H, W)."""
        first, shortcut = self.layers
        features = start = first(images)
        kept = []
        for number, layer in enumerate(shortcut.sub):
            features = layer(features)
            if number in self.taps:
                kept.append(features)
        return torch.cat([*kept, start + features], 1)


class Deflow(nn.Module):
    """The conditional flow and the latents' shifts."""

    Options = DeflowOptions
    MODES = ("clean",)
    learned = True

    def __init__(self, options: DeflowOptions) -> None:
        super().__init__()
        self.options = options
        if options.encoder == "rrdb":
            self.condition: Any = Rrdbs(options.encoder_width, options.blocks)
            told = self.condition.channels
        else:
            self.condition = encoder(3, options.encoder_width, options.blocks, 0)
            told = options.encoder_width
        # Level after level; each begins by moving 2 x 2 pixels into channels. Half of the channels become a latent of their
        # own after every level but the last two, as the original's.
        levels, splits, latents, channels = [], [], [], 3
        kinds = [0] * options.transitions + [told] * options.steps
        for level in range(options.levels):
            channels *= 4
            levels.append(nn.ModuleList(Step(channels, kind, options) for kind in kinds))
            if level < options.levels - 2:
                channels //= 2
                splits.append(Affine(channels, channels, 0, options.clamp))
                latents.append(Latent(channels, options.haste))
        self.levels: Any = nn.ModuleList(levels)
        self.splits: Any = nn.ModuleList(splits)
        self.latents: Any = nn.ModuleList([*latents, Latent(channels, options.haste)])

    def add_tutors(self) -> None:
        """Read the weights that training begins with; a trained model needs them no more."""
        options = self.options
        if options.start:
            rrdb.read_start(options.start, self.condition.layers, options.encoder_width, options.blocks)

    def features(self, images: torch.Tensor, noise: torch.Tensor | None = None) -> list[torch.Tensor]:
        """Return the condition at each level's size, from (batch, 3, H, W), sides multiples of `options.multiple`.

        `noise`, of deviation 1, is that of the reduced images; None: none.
        """
        small = reduce(images, self.options.reduced)
        if noise is not None:
            small = small + self.options.noise * noise.to(small)
        seen = self.condition(small).float()
        sizes = [
            [side // 2 ** (level + 1) for side in images.shape[2:]] for level in range(self.options.levels)
        ]
        return [F.interpolate(seen, size=size, mode="nearest") for size in sizes]

    def _reduced(self, images: torch.Tensor) -> tuple[int, ...]:
        """Return the shape of the images that condition."""
        return (*images.shape[:2], *(side // self.options.reduced for side in images.shape[2:]))

    def encode(
        self, images: torch.Tensor, features: list[torch.Tensor]
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Return the latents, finest first, each (batch, channels, H', W'), and the log-determinant (batch,)."""
        x, total, latents = images - 0.5, images.new_zeros(len(images)), []
        for level, steps in enumerate(self.levels):
            x = F.pixel_unshuffle(x, 2)
            for step in steps:
                x, log_determinant = step(x, features[level])
                total = total + log_determinant
            if level < len(self.splits):
                x, parted = x.chunk(2, 1)
                log_scale, shift = self.splits[level](x)
                latents.append((parted + shift) * log_scale.exp())
                total = total + log_scale.sum((1, 2, 3))
        return [*latents, x], total

    def decode(self, latents: list[torch.Tensor], features: list[torch.Tensor]) -> torch.Tensor:
        """Return the images of latents, undoing `encode`."""
        x = latents[-1]
        for level, steps in reversed(list(enumerate(self.levels))):
            if level < len(self.splits):
                log_scale, shift = self.splits[level](x)
                x = torch.cat([x, latents[level] * (-log_scale).exp() - shift], 1)
            for step in reversed(steps):
                x = step.inverse(x, features[level])
            x = F.pixel_shuffle(x, 2)
        return x + 0.5

    def losses(
        self, progress: float, *, clean: torch.Tensor, degraded: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return the negative log-likelihood of both domains (equation 13), in nats a value, for images with noise of `quant`."""
        with torch.autocast(clean.device.type, enabled=False):
            nlls = {}
            for name, images in (("clean", clean), ("degraded", degraded)):
                images = images.float()
                noisy = images + self.options.quant * (parallel.rand(images.shape, images.device) - 0.5)
                told = self.features(images, parallel.randn(self._reduced(images)))
                latents, log_determinant = self.encode(noisy, told)
                log_likelihood = log_determinant
                for latent, z in zip(self.latents, latents, strict=True):
                    log_likelihood = log_likelihood + latent.log_density(z, shifted=name == "degraded")
                nlls[f"{name}_nll"] = -log_likelihood.mean() / images[0].numel()
        return {"loss": sum(nlls.values(), torch.zeros_like(nlls["clean_nll"])) / 2, **nlls}

    def make_pairs(
        self,
        clean: torch.Tensor,
        degraded: torch.Tensor | None,
        mode: str,
        strength: torch.Tensor,
        generator: torch.Generator,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (clean, degraded) with u drawn for each place; `strength` scales its deviation, not its mean. Sides are padded."""
        height, width = clean.shape[2:]
        multiple = self.options.multiple
        padded = F.pad(clean, (0, -width % multiple, 0, -height % multiple), mode="reflect").float()
        with torch.autocast(clean.device.type, enabled=False):
            # As the authors do, with the noise that the flow was trained with.
            features = self.features(padded, torch.randn(self._reduced(padded), generator=generator))
            noise = torch.rand(padded.shape, generator=generator).to(padded) - 0.5
            latents, _ = self.encode(padded + self.options.quant * noise, features)
            shifted = [
                latent.degrade(z, strength, generator)
                for latent, z in zip(self.latents, latents, strict=True)
            ]
            made = self.decode(shifted, features)
        return clean, made[..., :height, :width]
