"""Patches: against slices, and what put back gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nopairs.errors import NopairsError
from nopairs.priors import patches


def numbered(*shape: int) -> torch.Tensor:
    return torch.arange(float(np.prod(shape))).reshape(shape)


def test_every_patch_and_its_adjoint() -> None:
    image = numbered(2, 7, 9)
    rows = patches.every(image, 3)
    assert rows.shape == (2 * 5 * 7, 9)
    assert torch.equal(rows[35 + 7 + 2].view(3, 3), image[1, 1:4, 2:5])
    generator = torch.Generator().manual_seed(0)
    other = torch.randn(rows.shape, generator=generator)
    torch.testing.assert_close((rows * other).sum(), (image * patches.put_back(other, 7, 9)).sum())


def test_random_patches_are_the_same_places_of_each_image() -> None:
    first = numbered(1, 3, 8, 10)
    image = torch.cat([first, first + 1000])
    drawn = patches.some(image, 4, 50, torch.Generator().manual_seed(0))
    assert drawn.shape == (2, 150, 16)
    assert torch.equal(drawn[0] + 1000, drawn[1])
    corners = drawn[0, :50, 0].long()
    assert set((corners // 10).tolist()) == set(range(5)) and set((corners % 10).tolist()) == set(range(7))
    assert torch.equal(drawn[0, 50:100], drawn[0, :50] + 80)


@pytest.mark.parametrize(("stride", "cover"), [(6, 1), (3, 4), (2, 9)])
def test_a_grid_covers_all_pixels_equally_but_near_the_edges(stride: int, cover: int) -> None:
    image = numbered(1, 1, 26, 31)
    for seed in range(5):
        drawn = patches.grid(image, 6, stride, torch.Generator().manual_seed(seed))
        counts = drawn.flatten().long().bincount(minlength=26 * 31).view(26, 31)
        assert counts.max() == cover and (counts[11:15, 11:20] == cover).all()
        patch = drawn[0, -1].long().view(6, 6)
        assert (patch.diff(dim=1) == 1).all() and (patch.diff(dim=0) == 31).all()
    corners = {
        float(patches.grid(image, 6, stride, torch.Generator().manual_seed(seed))[0, 0, 0])
        for seed in range(300)
    }
    assert len(corners) == stride**2


def test_training_patches_are_of_the_image_to_a_level() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 4)).astype(np.uint8)
    drawn = patches.training_patches(images, 4, 64, np.random.default_rng(1), symmetries=False)
    levels = (drawn * 255).round().view(64, 4, 4).numpy()
    assert all((one == images[0]).all() or (one == images[1]).all() for one in levels)
    deviation = (drawn * 255 - (drawn * 255).round()).std()
    assert abs(float(deviation) - 12**-0.5) < 0.02


def test_symmetries_are_the_eight_of_a_square() -> None:
    images = np.arange(9, dtype=np.uint8).reshape(1, 3, 3)
    drawn = patches.training_patches(images, 3, 400, np.random.default_rng(1), symmetries=True)
    levels = (drawn * 255).round().view(400, 3, 3).numpy()
    turned = [np.rot90(side, k) for side in (images[0], images[0].T) for k in range(4)]
    counts = [sum((one == way).all() for one in levels) for way in turned]
    assert sum(counts) == 400 and min(counts) > 25


def test_images_smaller_than_a_patch_are_refused() -> None:
    small, generator = torch.zeros(1, 1, 5, 20), torch.Generator()
    for draw in (patches.grid, patches.some):
        with pytest.raises(NopairsError, match="5x20 pixels is smaller than a patch of 6x6"):
            draw(small, 6, 3, generator)
    with pytest.raises(NopairsError, match="smaller than a patch"):
        patches.training_patches(np.zeros((1, 4, 4), np.uint8), 5, 1, np.random.default_rng(0), False)


def test_turns_are_the_eight_symmetries() -> None:
    square = torch.arange(9).view(3, 3)
    turned = {tuple(square.flatten()[turn].tolist()) for turn in patches.turns(3)}
    expected = {
        tuple(torch.rot90(way, k).flatten().tolist()) for way in (square, square.flip(1)) for k in range(4)
    }
    assert turned == expected and len(turned) == 8


def test_an_edge_that_leaves_nothing_is_refused() -> None:
    assert patches.within(torch.zeros(1, 9, 10), 4).shape == (1, 1, 2)
    with pytest.raises(NopairsError, match="nothing is left of 10x8 pixels within an edge of 4"):
        patches.within(torch.zeros(1, 10, 8), 4)
