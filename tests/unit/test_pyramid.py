"""DnCNN on a pyramid: its sizes, its reach, its start."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nopairs.errors import NopairsError
from nopairs.restorers.pyramid import Pyramid, PyramidOptions
from nopairs.restorers.tiling import restore_tiled


def pyramid(levels: int = 3, depth: int = 3) -> Pyramid:
    torch.manual_seed(0)
    network = Pyramid(PyramidOptions(depth=depth, width=8, levels=levels)).eval()
    for layers in network.levels:
        layers[-1].weight.data.mul_(10)  # type: ignore[index, union-attr, operator]
    return network


def test_without_a_prediction_the_image_is_returned() -> None:
    network = pyramid()
    for layers in network.levels:
        nn.init.zeros_(layers[-1].weight)  # type: ignore[index, union-attr, arg-type]
    image = torch.rand(2, 3, 21, 34)
    assert torch.allclose(network(image), image, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (8, 16), (37, 50)])
def test_any_size_is_restored(size: tuple[int, int]) -> None:
    assert pyramid()(torch.rand(1, 3, *size)).shape == (1, 3, *size)


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_tiles_leave_no_seam(levels: int) -> None:
    network, image = pyramid(levels), torch.rand(1, 3, 148, 92)
    with torch.inference_mode():
        assert torch.allclose(restore_tiled(network, image, tile=32), network(image), atol=1e-5)


def test_it_sees_as_far_as_its_coarsest_level() -> None:
    network, image = pyramid(), torch.rand(1, 3, 129, 129, requires_grad=True)
    network(image)[..., 64, 64].sum().backward()
    assert image.grad is not None
    seen = image.grad[0].abs().sum((0, 1)).nonzero()
    reach = int((seen - 64).abs().max())
    assert 3 * 2**2 - 4 <= reach <= network.margin
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_a_wrong_number_of_levels_is_refused() -> None:
    with pytest.raises(NopairsError, match="levels 0 must be within"):
        PyramidOptions(levels=0)
