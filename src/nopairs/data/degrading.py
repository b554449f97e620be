"""Fixed degradations by a recipe, in the order in which they are applied: smaller, noisier, compressed.

Images that were made smaller are enlarged again by repeating their pixels, so that all files of a scene have one size; a network
for super-resolution is given every `scale`-th pixel, and so sees the small image.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from nopairs.errors import NopairsError


@dataclass(frozen=True)
class Degrading:
    """A recipe.

    scale: how many times smaller the image becomes (Pillow's bicubic, which averages over what it leaves out).
    noise: standard deviation of white Gaussian noise, of 255, added to the small image.
    jpeg: quality of a JPEG that the noisy image becomes (4:2:0 chroma, Pillow's scale); 0 compresses nothing.
    """

    scale: int = 1
    noise: float = 0.0
    jpeg: int = 0

    def __post_init__(self) -> None:
        if self.scale < 1 or self.noise < 0 or not 0 <= self.jpeg <= 100:
            raise NopairsError(
                f"recipe: scale {self.scale} must be at least 1, noise {self.noise} not negative, jpeg {self.jpeg} within 0..100"
            )
        if (self.scale, self.noise, self.jpeg) == (1, 0, 0):
            raise NopairsError("recipe: nothing in it; give `scale`, `noise` or `jpeg`")


def whole(clean: np.ndarray, recipe: Degrading) -> np.ndarray:
    """Cut uint8 (H, W, 3) to sides that the scale divides; raises NopairsError where nothing is left."""
    height, width = (side // recipe.scale * recipe.scale for side in clean.shape[:2])
    if not (height and width):
        raise NopairsError(
            f"recipe: an image of {clean.shape[1]}x{clean.shape[0]} pixels, for scale {recipe.scale}"
        )
    return clean[:height, :width]


def degrade(clean: np.ndarray, recipe: Degrading, rng: np.random.Generator) -> np.ndarray:
    """Return uint8 (H, W, 3), sides multiples of the scale, degraded and of the same size."""
    image = Image.fromarray(clean)
    if recipe.scale > 1:
        size = (clean.shape[1] // recipe.scale, clean.shape[0] // recipe.scale)
        image = image.resize(size, Image.Resampling.BICUBIC)
    pixels = np.asarray(image)
    if recipe.noise:
        noisy = pixels + recipe.noise * rng.standard_normal(pixels.shape)
        pixels = np.rint(np.clip(noisy, 0, 255)).astype(np.uint8)
    if recipe.jpeg:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=recipe.jpeg)
        pixels = np.asarray(Image.open(buffer))
    return pixels.repeat(recipe.scale, 0).repeat(recipe.scale, 1)
