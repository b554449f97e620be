"""Autoencoders in whose latents images are transported. Their weights are read or trained, and never left random.

Each is an `nn.Module` with `encode` (images (batch, 3, H, W) in [0, 1], sides multiples of `factor`, to latents (batch, `channels`,
H / `factor`, W / `factor`)) and `decode` (back, not clipped).
"""

from __future__ import annotations

import itertools
import logging
import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from nopairs.data import weights
from nopairs.errors import NopairsError, one_line
from nopairs.torch_compat import make_torchvision_importable
from nopairs.training import parallel
from nopairs.training.divergence import kl_to_standard_normal

# Side of the image that shows by how much an autoencoder of unknown architecture shrinks.
PROBE = 64


@dataclass(frozen=True)
class Taef2Options:
    """Paths of the two weight files, or `catalogue:taef2/...`, which the workflow fetches."""

    encoder: str
    decoder: str
    weight_files: ClassVar[tuple[str, ...]] = ("encoder", "decoder")

    def __post_init__(self) -> None:
        weights.check(self.encoder)
        weights.check(self.decoder)


class Taef2(nn.Module):
    """TAEF2 (Boer Bohan): a tiny autoencoder with the latents of FLUX.2, 32 channels at an eighth of the side."""

    Options = Taef2Options
    learned = False
    channels = 32
    factor = 8

    def __init__(self, options: Taef2Options) -> None:
        super().__init__()
        self.encoder, self.decoder = _taef2_encoder(), _taef2_decoder()
        for part, path in ((self.encoder, options.encoder), (self.decoder, options.decoder)):
            _load(part, path)

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Return the latents of images."""
        return self.encoder(images)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Return the images of latents."""
        return self.decoder(latents)


class _Block(nn.Module):
    """Three convolutions and a skip; `pooled` blocks also see the whole image, through a group normalisation."""

    def __init__(self, width: int, pooled: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(width, width, 3, padding=1)]
        for _ in range(2):
            layers += [nn.ReLU(inplace=True), nn.Conv2d(width, width, 3, padding=1)]
        self.conv = nn.Sequential(*layers)
        wide = 4 * width
        narrow = [nn.Conv2d(width, wide, 1, bias=False), nn.GroupNorm(4, wide)]
        pool = [*narrow, nn.ReLU(inplace=True), nn.Conv2d(wide, width, 1, bias=False)]
        self.pool = nn.Sequential(*pool) if pooled else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.pool is not None:
            x = x + self.pool(x)
        return F.relu(self.conv(x) + x)


class _Squash(nn.Module):
    """Keeps latents within (-3, 3), as in training."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 3 * torch.tanh(x / 3)


def _taef2_encoder(width: int = 64) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1), _Block(width)]
    for level in range(3):
        pooled = level == 2
        layers += [nn.Conv2d(width, width, 3, stride=2, padding=1, bias=False)]
        layers += [_Block(width, pooled) for _ in range(3)]
    return nn.Sequential(*layers, nn.Conv2d(width, Taef2.channels, 3, padding=1))


def _taef2_decoder(width: int = 64) -> nn.Sequential:
    layers: list[nn.Module] = [_Squash(), nn.Conv2d(Taef2.channels, width, 3, padding=1), nn.ReLU()]
    for level in range(3):
        pooled = level == 0
        layers += [_Block(width, pooled) for _ in range(3)]
        layers += [nn.Upsample(scale_factor=2), nn.Conv2d(width, width, 3, padding=1, bias=False)]
    return nn.Sequential(*layers, _Block(width), nn.Conv2d(width, 3, 3, padding=1))


def _load(part: nn.Module, path: str) -> None:
    """Fill a part with the tensors of a file, of whatever precision; nothing else is read from it."""
    file = weights.local_file(path)
    if not file.is_file():
        remedy = weights.remedy(file, "name TAEF2's encoder and decoder")
        raise NopairsError(f"{path}: no such weight file; {remedy}")
    try:
        with warnings.catch_warnings():  # about pickles, which are refused anyway
            warnings.simplefilter("ignore")
            part.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    except Exception:  # of many kinds, some of whose messages advise to trust the file
        raise NopairsError(f"{path}: not TAEF2's weights; fetch them again") from None


@dataclass(frozen=True)
class DiffusersOptions:
    """folder: a folder in diffusers' format (config.json and safetensors), or a hub name such as stabilityai/sd-vae-ft-mse."""

    folder: str
    weight_folders: ClassVar[tuple[str, ...]] = ("folder",)


class _Diffusers(nn.Module):
    """An autoencoder of the diffusers package, which works in [-1, 1]."""

    Options = DiffusersOptions
    learned = False
    CLASS = ""

    def __init__(self, options: DiffusersOptions) -> None:
        super().__init__()
        self.model = _from_diffusers(self.CLASS, options.folder)
        if self.model.config.in_channels != 3:
            raise NopairsError(
                f"{options.folder}: takes images of {self.model.config.in_channels} channels; an RGB one is needed"
            )
        with torch.inference_mode():
            latents = self.encode(torch.full((1, 3, PROBE, PROBE), 0.5))
        self.channels, self.factor = latents.shape[1], PROBE // latents.shape[2]

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Return the latents of images."""
        raise NotImplementedError

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Return the images of latents."""
        return self.model.decode(latents).sample / 2 + 0.5


class AutoencoderKL(_Diffusers):
    """The variational autoencoder of Stable Diffusion; latents are the posterior's mean."""

    CLASS = "AutoencoderKL"

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Return the latents of images."""
        return self.model.encode(2 * images - 1).latent_dist.mode()


class AutoencoderTiny(_Diffusers):
    """TAESD and its kin."""

    CLASS = "AutoencoderTiny"

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Return the latents of images."""
        return self.model.encode(2 * images - 1).latents


def _from_diffusers(kind: str, folder: str) -> Any:
    # Imported here: the package takes seconds, which other autoencoders need not spend.
    make_torchvision_importable()
    import diffusers

    diffusers.utils.logging.set_verbosity(logging.CRITICAL)  # what goes wrong is told below, in one line
    try:
        model, loaded = getattr(diffusers, kind).from_pretrained(
            folder, use_safetensors=True, output_loading_info=True, low_cpu_mem_usage=False
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise NopairsError(
            f"{folder}: no {kind} could be read there ({one_line(error)}); give a folder with config.json and "
            "diffusion_pytorch_model.safetensors, or a hub name where there is internet"
        ) from None
    # Weights that the file lacks would stay random.
    if missing := loaded["missing_keys"]:
        raise NopairsError(
            f"{folder}: not the weights of this {kind}; {sorted(missing)[0]} is missing, for one"
        )
    return model.eval()


@dataclass(frozen=True)
class EmbeddedOptions:
    """The small autoencoder that the workflow trains.

    width: channels at full resolution; each level doubles them, up to four times as many.
    levels: halvings of the side: 2 (f4) or 3 (f8).
    latents: channels of the latents.
    kl: weight of the divergence from a standard normal, against a squared error summed over an image's values.
    """

    width: int = 32
    levels: int = 2
    latents: int = 4
    kl: float = 1e-4

    def __post_init__(self) -> None:
        if self.width < 4 or self.levels not in (1, 2, 3) or self.latents < 1 or self.kl < 0:
            raise NopairsError(
                f"embedded: width {self.width}, levels {self.levels}, latents {self.latents}, kl {self.kl};"
                " expected at least 4, one of 1 to 3, at least 1, and not negative"
            )

    @property
    def roles(self) -> tuple[str, ...]:
        """Roles of the dataset that training reads."""
        return ("clean",)

    @property
    def multiple(self) -> int:
        """What the sides of images must be multiples of."""
        return int(2**self.levels)


class Embedded(nn.Module):
    """A small KL autoencoder (Kingma and Welling, 2014), trained on a dataset's own clean images."""

    Options = EmbeddedOptions
    learned = True

    def __init__(self, options: EmbeddedOptions) -> None:
        super().__init__()
        self.options = options
        self.channels, self.factor = options.latents, 2**options.levels
        widths = [options.width * min(2**level, 4) for level in range(options.levels + 1)]
        down: list[nn.Module] = [nn.Conv2d(3, widths[0], 3, padding=1)]
        up: list[nn.Module] = [nn.Conv2d(options.latents, widths[-1], 3, padding=1), _Residual(widths[-1])]
        for fine, coarse in itertools.pairwise(widths):
            down += [_Residual(fine), nn.Conv2d(fine, coarse, 4, stride=2, padding=1)]
        for coarse, fine in itertools.pairwise(reversed(widths)):
            up += [nn.Conv2d(coarse, 4 * fine, 3, padding=1), nn.PixelShuffle(2), _Residual(fine)]
        self.down = nn.Sequential(*down, _Residual(widths[-1]), nn.SiLU())
        self.to_latents = nn.Conv2d(widths[-1], 2 * options.latents, 3, padding=1)
        self.up = nn.Sequential(*up, nn.SiLU(), nn.Conv2d(widths[0], 3, 3, padding=1))

    def _posterior(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and logarithm of the variance of the latents."""
        mean, log_variance = self.to_latents(self.down(2 * images - 1)).chunk(2, dim=1)
        return mean, log_variance.clamp(-20, 10)

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Return the latents of images: the posterior's mean."""
        return self._posterior(images)[0]

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Return the images of latents."""
        return self.up(latents) / 2 + 0.5

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return images encoded and decoded."""
        return self.decode(self.encode(images))

    def losses(self, progress: float, *, clean: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the squared error of the reconstruction and the divergence, per value of the image."""
        mean, log_variance = (part.float() for part in self._posterior(clean))
        noise = parallel.randn_like(mean)
        decoded = self.decode(mean + noise * (0.5 * log_variance).exp()).float()
        error = F.mse_loss(decoded, clean)
        divergence = kl_to_standard_normal(mean, log_variance) / clean.numel()
        return {"loss": error + self.options.kl * divergence, "mse": error, "kl": divergence}


class _Residual(nn.Module):
    """Two convolutions and a skip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        # The skip alone at the start.
        nn.init.zeros_(self.second.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(F.silu(self.first(F.silu(x))))
