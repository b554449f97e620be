"""Bicubic resizing in MATLAB's convention."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nopairs.data.resizing import enlarge, reduce, reduce_pixels, whole
from nopairs.errors import NopairsError


def keys(x: np.ndarray) -> np.ndarray:
    """Keys' cubic kernel, a = -1/2, as in MATLAB's imresize."""
    x = np.abs(x)
    inner, outer = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, inner, np.where(x <= 2, outer, 0))


def matlab_matrix(size: int, scale: float) -> np.ndarray:
    """The weights of imresize's `contributions`: (outputs, inputs), the image continued by reflection."""
    wide = min(scale, 1.0)
    rows = []
    for k in range(round(size * scale)):
        centre = (k + 0.5) / scale - 0.5
        places = np.arange(np.floor(centre - 2 / wide) - 1, centre + 2 / wide + 2).astype(int)
        weights = keys((centre - places) * wide)
        row = np.zeros(size)
        mirrored = np.where((places // size) % 2 == 0, places % size, size - 1 - places % size)
        np.add.at(row, mirrored, weights / weights.sum())
        rows.append(row)
    return np.array(rows)


@pytest.mark.parametrize("shape", [(24, 40), (8, 4), (4, 4)])
def test_both_directions_are_matlabs(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).random(shape)
    tensor = torch.from_numpy(image)[None, None]
    for function, scale in ((reduce, 0.25), (enlarge, 4.0)):
        expected = matlab_matrix(shape[0], scale) @ image @ matlab_matrix(shape[1], scale).T
        np.testing.assert_allclose(function(tensor, 4)[0, 0], expected, atol=1e-6)


def test_known_values_of_a_step() -> None:
    """What imresize(step, 1/4) makes of a step from 0 to 1: it rings by 13/1024, and its two middle pixels lie symmetrically."""
    step = torch.zeros(1, 1, 4, 32)
    step[..., 16:] = 1
    row = reduce(step, 4)[0, 0, 0] * 1024
    torch.testing.assert_close(row, torch.tensor([0, 0, -13, 79, 945, 1037, 1024, 1024.0]), atol=1e-3, rtol=0)


def test_pixels_are_rounded_and_sides_cut() -> None:
    image = np.random.default_rng(0).integers(0, 256, (41, 30, 3)).astype(np.uint8)
    cut = whole(image, 4)
    assert cut.shape == (40, 28, 3)
    small = reduce_pixels(cut, 4)
    assert small.shape == (10, 7, 3) and small.dtype == np.uint8
    exact = matlab_matrix(40, 0.25) @ cut[..., 1] @ matlab_matrix(28, 0.25).T
    assert np.abs(small[..., 1] - exact.clip(0, 255)).max() < 0.51
    np.testing.assert_array_equal(reduce_pixels(np.full((8, 8, 3), 77, np.uint8), 4), 77)
    with pytest.raises(NopairsError, match="too small for scale 4"):
        whole(image[:3], 4)
