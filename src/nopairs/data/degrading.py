"""Fixed degradations by a recipe, in the order in which they are applied: smaller, noisier, compressed.

Images that were made smaller are enlarged again by repeating their pixels, so that all files of a scene have one size; a network
for super-resolution is given every `scale`-th pixel, and so sees the small image. A dataset's own `scale` makes images small before
the recipe, and leaves them so.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from nopairs.errors import NopairsError


@dataclass(frozen=True)
class Degrading:
    """A recipe.

    scale: how many times smaller the image becomes (Pillow's bicubic, which averages over what it leaves out).
    noise: standard deviation of Gaussian noise, of 255, added to the small image.
    correlation: sigma of the Gaussian that correlates that noise, pixels; 0 leaves it white.
    alternating: whether the noise changes its sign from pixel to pixel in both directions, which moves the low frequencies of
        correlated noise to the highest ones.
    stripes: standard deviation of an offset of each row and of each column, of 255.
    jpeg: quality of a JPEG that the noisy image becomes (4:2:0 chroma, Pillow's scale); 0 compresses nothing.
    """

    scale: int = 1
    noise: float = 0.0
    correlation: float = 0.0
    alternating: bool = False
    stripes: float = 0.0
    jpeg: int = 0

    def __post_init__(self) -> None:
        if self.scale < 1 or self.noise < 0 or not 0 <= self.jpeg <= 100:
            raise NopairsError(
                f"recipe: scale {self.scale} must be at least 1, noise {self.noise} not negative, jpeg {self.jpeg} within 0..100"
            )
        if self.correlation < 0 or self.stripes < 0:
            raise NopairsError(
                f"recipe: correlation {self.correlation} and stripes {self.stripes} must not be negative"
            )
        if (self.scale, self.noise, self.stripes, self.jpeg) == (1, 0, 0, 0):
            raise NopairsError("recipe: nothing in it; give `scale`, `noise`, `stripes` or `jpeg`")


def degrade(clean: np.ndarray, recipe: Degrading, rng: np.random.Generator) -> np.ndarray:
    """Return uint8 (H, W, 3), sides multiples of the scale, degraded and of the same size."""
    image = Image.fromarray(clean)
    if recipe.scale > 1:
        size = (clean.shape[1] // recipe.scale, clean.shape[0] // recipe.scale)
        image = image.resize(size, Image.Resampling.BICUBIC)
    pixels = np.asarray(image)
    if recipe.noise or recipe.stripes:
        noisy = pixels + _noise(pixels.shape, recipe, rng)
        pixels = np.rint(np.clip(noisy, 0, 255)).astype(np.uint8)
    if recipe.jpeg:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=recipe.jpeg)
        pixels = np.asarray(Image.open(buffer))
    return pixels.repeat(recipe.scale, 0).repeat(recipe.scale, 1)


def _noise(shape: tuple[int, ...], recipe: Degrading, rng: np.random.Generator) -> np.ndarray:
    """Draw the recipe's noise and stripes for an image of `shape` (H, W, 3), in levels of 255."""
    noise = rng.standard_normal(shape)
    if recipe.correlation:
        # The periodic filter keeps the noise stationary; its gain follows from its response to one pixel, wrapped alike.
        pixel = np.zeros(shape[:2])
        pixel[0, 0] = 1
        gain = np.sqrt(np.square(gaussian_filter(pixel, recipe.correlation, mode="wrap")).sum())
        noise = gaussian_filter(noise, (recipe.correlation, recipe.correlation, 0), mode="wrap") / gain
    if recipe.alternating:
        rows, columns = np.indices(shape[:2])
        noise *= np.where((rows + columns) % 2, -1.0, 1.0)[..., None]
    noise = recipe.noise * noise
    if recipe.stripes:
        stripes = rng.standard_normal((shape[0], 1, 1)) + rng.standard_normal((1, shape[1], 1))
        noise = noise + recipe.stripes * stripes
    return noise
