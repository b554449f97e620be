"""Patches of images as rows: all of them, some at random, or a grid."""

from __future__ import annotations

import numpy as np
import torch

from nopairs.errors import NopairsError


def check_size(image: torch.Tensor | np.ndarray, size: int) -> None:
    """Raise NopairsError if images (..., height, width) are smaller than a patch."""
    height, width = image.shape[-2:]
    if min(height, width) < size:
        raise NopairsError(f"an image of {height}x{width} pixels is smaller than a patch of {size}x{size}")


def within(images: torch.Tensor, edge: int) -> torch.Tensor:
    """Cut `edge` pixels off each side of images (..., H, W); raises NopairsError where nothing is left."""
    height, width = images.shape[-2:]
    if min(height, width) <= 2 * edge:
        raise NopairsError(
            f"nothing is left of {height}x{width} pixels within an edge of {edge}; lower `edge`, or take larger images"
        )
    return images[..., edge : images.shape[-2] - edge, edge : images.shape[-1] - edge]


def some(image: torch.Tensor, size: int, count: int, generator: torch.Generator) -> torch.Tensor:
    """Return `count` patches at random places, the same ones of each image: (batch, channels * count, size^2).

    `image` is (batch, channels, H, W).
    """
    check_size(image, size)
    height, width = image.shape[-2:]
    top = torch.randint(height - size + 1, (count, 1, 1), generator=generator)
    left = torch.randint(width - size + 1, (count, 1, 1), generator=generator)
    steps = torch.arange(size)
    places = ((top + steps[:, None]) * width + left + steps).to(image.device)
    return image.flatten(2)[:, :, places].reshape(len(image), -1, size * size)


def references(images: torch.Tensor, size: int, count: int, generator: torch.Generator) -> torch.Tensor:
    """Return `count` patches of images (count, H, W), about as many at random places of each: (count, size^2)."""
    drawn = some(images[None], size, -(-count // len(images)), generator)[0]
    if len(drawn) == count:
        return drawn
    return drawn[torch.randperm(len(drawn), generator=generator)[:count]]


def grid(image: torch.Tensor, size: int, stride: int, generator: torch.Generator) -> torch.Tensor:
    """Return the patches of a grid at a random offset, the same one in each image: (batch, patches, size^2).

    All pixels but those near the edges are in equally many patches: a mean over them varies less than one over as many random patches.
    `image` is (batch, channels, H, W).
    """
    check_size(image, size)
    top, left = (
        int(torch.randint(min(stride, side - size + 1), (), generator=generator)) for side in image.shape[-2:]
    )
    cut = image[:, :, top:, left:].unfold(2, size, stride).unfold(3, size, stride)
    return cut.reshape(len(image), -1, size * size)


def every(image: torch.Tensor, size: int) -> torch.Tensor:
    """Return all patches of images (count, H, W), row by row: (count * places, size^2)."""
    check_size(image, size)
    return image.unfold(1, size, 1).unfold(2, size, 1).reshape(-1, size * size)


def put_back(patches: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Return the sum image (count, H, W) of all patches, in the order of `every`: its adjoint."""
    size = round(patches.shape[-1] ** 0.5)
    places = (height - size + 1) * (width - size + 1)
    columns = patches.reshape(-1, places, size * size).transpose(1, 2)
    return torch.nn.functional.fold(columns, (height, width), size)[:, 0]


def cut(images: np.ndarray, size: int, count: int, rng: np.random.Generator, symmetries: bool) -> np.ndarray:
    """Draw squares of images (images, H, W), uint8 or float32 in [0, 1], as float32 (count, size, size) in [0, 1].

    Args:
        images: where from; all of one size.
        size: side of a square.
        count: how many.
        rng: the only source of randomness.
        symmetries: whether squares are also flipped and turned, in their eight ways.
    """
    check_size(images, size)
    _, height, width = images.shape
    index = rng.integers(len(images), size=(count, 1, 1))
    rows = rng.integers(height - size + 1, size=(count, 1, 1)) + np.arange(size)[:, None]
    columns = rng.integers(width - size + 1, size=(count, 1, 1)) + np.arange(size)
    squares = images[index, rows, columns].astype(np.float32)
    if images.dtype == np.uint8:
        squares /= 255
    return _turned(squares, rng.integers(8, size=count)) if symmetries else squares


def training_patches(
    images: np.ndarray, size: int, count: int, rng: np.random.Generator, symmetries: bool
) -> torch.Tensor:
    """As `cut`, as rows (count, size^2); on those of 8 bits lies uniform noise of a level's width, so that levels have a density."""
    squares = cut(images, size, count, rng, symmetries)
    if images.dtype == np.uint8:
        squares = squares + (rng.random(squares.shape, dtype=np.float32) - 0.5) / 255
    return torch.from_numpy(squares.reshape(count, -1))


def _turned(patches: np.ndarray, ways: np.ndarray) -> np.ndarray:
    """Turn and flip each of (count, size, size) in one of eight ways."""
    turned = np.where((ways & 1)[:, None, None] == 1, patches.transpose(0, 2, 1), patches)
    turned = np.where((ways & 2)[:, None, None] == 2, turned[:, ::-1], turned)
    return np.where((ways & 4)[:, None, None] == 4, turned[:, :, ::-1], turned)


def turns(size: int) -> torch.Tensor:
    """Return the eight ways to turn and flip a patch, as places of its pixels in a row: (8, size^2)."""
    square = np.arange(size * size).reshape(1, size, size).repeat(8, 0)
    return torch.from_numpy(_turned(square, np.arange(8)).reshape(8, -1))
