"""Classical denoisers, which learn nothing: non-local means and BM3D, with strengths chosen on `val`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from skimage.restoration import denoise_nl_means
from torch import nn

from nopairs.errors import NopairsError

# Smaller sides are mirrored: BM3D's library crashes on images of 8x8 pixels, one of its blocks; scikit-image drops sides of 1 pixel.
BM3D_SIDE = 16
NLM_SIDE = 2


class ClassicalRestorer(nn.Module, ABC):
    """A restorer without weights that works on single images; as a module it stands in for a trained one."""

    learned = False
    multiple = 1
    margin: int  # pixels around one that its restored value depends on

    @abstractmethod
    def restore(self, image: np.ndarray) -> np.ndarray:
        """Restore float32 (height, width, 3) in [0, 1]; the result is clipped to [0, 1]."""

    def forward(self, degraded: torch.Tensor) -> torch.Tensor:
        """Map (batch, 3, H, W) in [0, 1] to the restored images of the same shape, in [0, 1]."""
        images = degraded.float().permute(0, 2, 3, 1).contiguous().cpu().numpy()
        restored = np.stack([self.restore(image) for image in images])
        return torch.from_numpy(restored).permute(0, 3, 1, 2).to(degraded)


@dataclass(frozen=True)
class NLMOptions:
    """Non-local means. `strength` is the noise's standard deviation; `patch_distance` bounds the search."""

    strength: float
    patch_size: int = 5
    patch_distance: int = 6

    def __post_init__(self) -> None:
        _check_strength("nlm", self.strength)


class NLM(ClassicalRestorer):
    """Non-local means (Buades, Coll, Morel, 2005) by scikit-image: fast mode, on colour patches.

    `h = 0.8 * strength`, with `strength` also given as the known noise level whose expected distance between
    equal patches is subtracted, as scikit-image's documentation advises for its fast mode.
    """

    Options = NLMOptions

    def __init__(self, options: NLMOptions) -> None:
        super().__init__()
        self.options = options
        self.margin = options.patch_distance + options.patch_size

    def restore(self, image: np.ndarray) -> np.ndarray:
        """Restore float32 (height, width, 3) in [0, 1]; the result is clipped to [0, 1]."""
        options = self.options
        height, width = image.shape[:2]
        restored = denoise_nl_means(
            mirrored(image, NLM_SIDE),
            patch_size=options.patch_size,
            patch_distance=options.patch_distance,
            h=0.8 * options.strength,
            sigma=options.strength,
            fast_mode=True,
            channel_axis=-1,
        )[:height, :width]
        return np.clip(restored, 0, 1).astype(np.float32)


@dataclass(frozen=True)
class BM3DOptions:
    """BM3D. `strength` is the noise's standard deviation, for images in [0, 1].

    `exact_variance` accounts for overlapping blocks in the noise's variance (Mäkinen et al., 2020), the
    package's default: on camera-like noise it gained 0.07 dB in six times the time.
    """

    strength: float
    exact_variance: bool = False

    def __post_init__(self) -> None:
        _check_strength("bm3d", self.strength)


class BM3D(ClassicalRestorer):
    """Block matching and 3-D filtering in colour (Dabov et al., 2007) by the authors' package, standard
    profile.

    The package is free for non-commercial use only.
    """

    Options = BM3DOptions
    margin = 64  # two stages, each reaching a block beyond half its search window of 39

    def __init__(self, options: BM3DOptions) -> None:
        super().__init__()
        self.options = options

    def restore(self, image: np.ndarray) -> np.ndarray:
        """Restore float32 (height, width, 3) in [0, 1]; the result is clipped to [0, 1]."""
        height, width = image.shape[:2]
        restored = self._filter(mirrored(image.astype(np.float64), BM3D_SIDE))[:height, :width]
        return np.clip(restored, 0, 1).astype(np.float32)

    def _filter(self, pixels: np.ndarray) -> np.ndarray:
        import bm3d  # here: it takes a second, also when the configuration is merely checked

        profile = bm3d.BM3DProfile()
        profile.num_threads = 1  # the only number with repeatable results; two gained no time
        if not self.options.exact_variance:
            profile.nf = 0
        red, green, blue = np.moveaxis(pixels, -1, 0)
        if min(np.ptp(red - blue), np.ptp(red - 2 * green + blue)) < 1e-9:
            # A colour axis is constant, as in a grey photo: the package would divide by its range.
            return np.stack(
                [bm3d.bm3d(channel, self.options.strength, profile) for channel in (red, green, blue)], -1
            )
        return bm3d.bm3d_rgb(pixels, self.options.strength, profile)


def mirrored(image: np.ndarray, least: int) -> np.ndarray:
    """Mirror an image (height, width, 3) at its right and lower border until no side is smaller than `least`."""
    missing = [(0, max(least - side, 0)) for side in image.shape[:2]]
    return np.pad(image, [*missing, (0, 0)], mode="symmetric")


def _check_strength(name: str, strength: float) -> None:
    if not 0 < strength < 1:
        raise NopairsError(
            f"{name}: strength {strength} is not between 0 and 1; give e.g. 0.1, noise of 25 in 255"
        )
