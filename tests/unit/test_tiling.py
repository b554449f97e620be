"""Tiled restoration equals that of the whole image, whatever the sizes."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nopairs.errors import NopairsError
from nopairs.restorers.tiling import restore_tiled, self_ensembled

SIZES = [(1, 1), (1, 50), (37, 1), (2, 3), (15, 64), (64, 64), (37, 53), (65, 33), (101, 47)]


class ConvNet(nn.Module):
    """A chain of 3 x 3 convolutions with zero padding."""

    multiple = 1

    def __init__(self, depth: int) -> None:
        super().__init__()
        widths = [3, *[6] * (depth - 1), 3]
        layers = [nn.Conv2d(i, o, 3, padding=1) for i, o in pairwise(widths)]
        self.layers = nn.Sequential(*[part for layer in layers for part in (layer, nn.Tanh())])
        self.margin = depth

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.layers(image)


class StridedNet(nn.Module):
    """Goes down to a fraction of the size and up: what a pixel gets depends on its place in the grid."""

    def __init__(self, multiple: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 8, 3, stride=multiple, padding=1)
        self.inner = nn.Conv2d(8, 8, 3, padding=1)
        self.up = nn.ConvTranspose2d(8, 3, multiple, stride=multiple)
        self.multiple = multiple
        self.margin = 3 * multiple

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        assert image.shape[2] % self.multiple == 0 and image.shape[3] % self.multiple == 0
        return self.up(torch.tanh(self.inner(torch.tanh(self.down(image)))))


def random_image(height: int, width: int) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(height * 1000 + width))


def whole(net: nn.Module, image: torch.Tensor) -> torch.Tensor:
    """Restore without tiles: mirror to the multiple one row and one column at a time, restore, and crop."""
    height, width = image.shape[2:]
    rows = [mirror(place, height) for place in range(math.ceil(height / net.multiple) * net.multiple)]
    columns = [mirror(place, width) for place in range(math.ceil(width / net.multiple) * net.multiple)]
    with torch.no_grad():
        return net(image[:, :, rows][..., columns])[..., :height, :width]


def mirror(place: int, size: int) -> int:
    """Return the pixel seen at a place beyond the border, with mirrors standing on the outermost pixels."""
    period = max(2 * (size - 1), 1)
    return min(place % period, period - place % period) if size > 1 else 0


def make(net: type[nn.Module], argument: int) -> nn.Module:
    torch.manual_seed(argument)
    return net(argument).eval()


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("depth", [1, 3, 8, 17])
@pytest.mark.parametrize("tile", [16, 40])
def test_equals_the_whole_image(depth: int, height: int, width: int, tile: int) -> None:
    net, image = make(ConvNet, depth), random_image(height, width)
    torch.testing.assert_close(restore_tiled(net, image, tile=tile), whole(net, image), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("multiple", [2, 4, 8])
@pytest.mark.parametrize("tile", [13, 32])
def test_equals_the_whole_image_with_strides(multiple: int, height: int, width: int, tile: int) -> None:
    net, image = make(StridedNet, multiple), random_image(height, width)
    torch.testing.assert_close(restore_tiled(net, image, tile=tile), whole(net, image), atol=1e-6, rtol=0)


def test_padding_to_the_multiple_is_torch_reflection() -> None:
    net, image = make(StridedNet, 4), random_image(22, 31)
    with torch.no_grad():
        expected = net(F.pad(image, (0, 1, 0, 2), mode="reflect"))[..., :22, :31]
    torch.testing.assert_close(restore_tiled(net, image), expected, atol=1e-6, rtol=0)


def test_a_margin_that_is_too_small_leaves_seams() -> None:
    net, image = make(ConvNet, 8), random_image(64, 64)
    difference = (restore_tiled(net, image, tile=16, margin=3) - whole(net, image)).abs()
    assert difference.max() > 1e-4
    assert (
        difference[..., :8, :8].max() < 1e-6
    )  # five pixels of the first tile's edge are wrong, not its inside


def test_tiles_are_no_larger_than_asked() -> None:
    seen: list[torch.Size] = []

    class Recorder(ConvNet):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            seen.append(image.shape)
            return super().forward(image)

    restore_tiled(make(Recorder, 2), random_image(50, 41), tile=20)
    assert len(seen) == 9 and max(max(shape[2:]) for shape in seen) <= 20 + 2 * 2


def test_input_and_gradients_are_left_alone() -> None:
    net, image = make(ConvNet, 2), random_image(30, 30)
    before = image.clone()
    result = restore_tiled(net, image, tile=16)
    assert torch.equal(image, before) and result.data_ptr() != image.data_ptr()
    assert not result.is_inference()  # so that a caller may go on to compute with it under autograd
    assert all(parameter.grad is None for parameter in net.parameters())


VIEWS = [lambda image: image.flip(3), lambda image: image.transpose(2, 3)]


@pytest.mark.parametrize("view", VIEWS, ids=["mirrored", "transposed"])
def test_the_mean_of_eight_views_follows_the_image(view: Callable[[torch.Tensor], torch.Tensor]) -> None:
    net, image = make(ConvNet, 3), random_image(37, 53)
    assert not torch.allclose(restore_tiled(net, view(image)), view(restore_tiled(net, image)), atol=1e-3)
    net.self_ensemble = True
    followed = restore_tiled(net, view(image), tile=20)
    assert torch.allclose(followed, view(restore_tiled(net, image)), atol=1e-5)


def test_the_mean_of_eight_views_is_of_the_restorers_scale() -> None:
    image = random_image(4, 6)
    enlarged = self_ensembled(nn.Upsample(scale_factor=2), image)
    assert torch.allclose(enlarged, nn.Upsample(scale_factor=2)(image), atol=1e-6)


def test_a_model_that_changes_the_size_is_refused() -> None:
    net = nn.Upsample(scale_factor=2)
    net.margin, net.multiple = 0, 1
    with pytest.raises(NopairsError, match="keeps the image's size"):
        restore_tiled(net, random_image(9, 9))


def test_values_that_are_not_finite_are_refused() -> None:
    class Broken(nn.Module):
        margin, multiple = 0, 1

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image.log() * 0  # not a number where a pixel is zero

    image = random_image(9, 9).clamp(min=0.1)
    restore_tiled(Broken(), image)
    image[0, 1, 8, 8] = 0
    with pytest.raises(NopairsError, match="not finite"):
        restore_tiled(Broken(), image, tile=4)
