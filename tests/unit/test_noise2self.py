"""Noise2Self: what is hidden, what the network may know, and what it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage import data

from nopairs.errors import NopairsError
from nopairs.restorers.noise2self import Noise2Self, Noise2SelfOptions, grid_mask, hide

SMALL = {"depth": 3, "width": 8, "batch_norm": False}


def small(**options: object) -> Noise2Self:
    torch.manual_seed(0)
    return Noise2Self(Noise2SelfOptions(**{**SMALL, **options})).eval()


def test_each_pixel_is_hidden_in_one_phase() -> None:
    masks = torch.stack([grid_mask((7, 10), 3, phase) for phase in range(9)])
    assert (masks.sum(0) == 1).all()
    first = masks[0].nonzero()
    assert first.tolist() == [[row, column] for row in (0, 3, 6) for column in (0, 3, 6, 9)]


def test_hidden_pixels_are_the_mean_of_their_neighbours_and_others_stay() -> None:
    image = torch.rand(2, 3, 9, 9)
    hidden = grid_mask((9, 9), 4, 5)  # (1, 1), (1, 5), ...
    masked = hide(image, hidden)
    around = image[:, :, 4:7, 4:7].clone()
    around[:, :, 1] *= 2
    around[:, :, :, 1] *= 2
    around[:, :, 1, 1] = 0
    torch.testing.assert_close(masked[:, :, 5, 5], around.sum((2, 3)) / 12)
    assert torch.equal(masked[:, :, ~hidden], image[:, :, ~hidden])


def test_no_restored_pixel_depends_on_its_own_degraded_one() -> None:
    network, image = small(), torch.rand(1, 3, 9, 9, requires_grad=True)
    for row, column in ((4, 4), (0, 8), (3, 6)):
        (gradient,) = torch.autograd.grad(network(image)[0, :, row, column].sum(), image)
        assert not gradient[0, :, row, column].any() and gradient.any()
    sighted = small(blind=False)
    (gradient,) = torch.autograd.grad(sighted(image)[0, :, 4, 4].sum(), image)
    assert gradient[0, :, 4, 4].any()


def test_the_loss_is_that_of_the_hidden_pixels_alone() -> None:
    network, image = small(), torch.rand(2, 3, 16, 16)
    torch.manual_seed(3)
    phase = int(torch.randint(16, ()))
    torch.manual_seed(3)
    loss = network.losses(0.0, degraded=image)["loss"]
    hidden = grid_mask((16, 16), 4, phase)
    expected = (network(image) - image)[:, :, hidden].square().mean()
    torch.testing.assert_close(loss, expected)


def test_a_short_training_on_noisy_crops_alone_removes_independent_noise() -> None:
    clean = torch.from_numpy(data.astronaut()[:256, 120:376] / 255).permute(2, 0, 1)[None].float()
    generator = torch.Generator().manual_seed(0)
    noisy = clean + 0.15 * torch.randn(clean.shape, generator=generator)
    tiles = noisy.unfold(2, 32, 32).unfold(3, 32, 32).permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, 32, 32)
    network = small(width=16).train()
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    for step in range(60):
        losses = network.losses(step / 60, degraded=tiles[torch.randperm(64, generator=generator)[:16]])
        optimiser.zero_grad()
        losses["loss"].backward()
        optimiser.step()
    with torch.inference_mode():
        errors = [float((image - clean).square().mean()) for image in (noisy, network.eval()(noisy))]
    assert errors[1] < errors[0] / 3


def test_an_image_of_one_row_is_restored() -> None:
    assert small()(torch.rand(1, 3, 1, 9)).shape == (1, 3, 1, 9)


def test_it_learns_from_degraded_images_alone() -> None:
    assert Noise2SelfOptions(**SMALL).roles == ("degraded",)
    with pytest.raises(NopairsError, match="grid 1"):
        Noise2SelfOptions(grid=1)
    assert np.isclose(small().margin, SMALL["depth"] + 1)
