"""DualSR: its kernel, whose turn it is, and that it enlarges better than interpolation."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from skimage import data

from nopairs.errors import NopairsError
from nopairs.priors.dualsr import Dual, DualSR, DualSROptions, DualSRTraining, flatness
from nopairs.priors.operators import (
    Blur,
    BlurDownsample,
    BlurDownsampleOptions,
    BlurOptions,
    Convolution,
    gaussian_kernel,
)

SMALL = DualSROptions(width=16, depth=3, critic_width=8)


def smaller(padding: str = "none") -> BlurDownsample:
    return BlurDownsample(BlurDownsampleOptions(size=8, sigma=1.0, factor=2, noise=0.01, padding=padding))


def brick(side: int) -> torch.Tensor:
    return torch.from_numpy(data.brick()[:side, :side] / 255).float()[None, None]


def test_the_kernel_is_positive_of_sum_one_and_lies_where_the_operators_does() -> None:
    pair = Dual(SMALL, smaller()).pair
    assert bool((pair.kernel() > 0).all()) and float(pair.kernel().sum()) == pytest.approx(1, rel=1e-5)
    places = torch.arange(8.0)
    for dim in (0, 1):
        assert float((pair.kernel().sum(dim) * places).sum()) == pytest.approx(3.5, abs=1e-4)
    pair.logits.data = gaussian_kernel(8, 1.0).log()
    image = brick(38)
    assert torch.allclose(pair.make_smaller(image), smaller()(image), atol=1e-6)


def test_the_critic_moves_in_its_turn_and_the_pair_in_its_own() -> None:
    dual = Dual(SMALL, smaller())
    assert [dual.turn(step) for step in range(3)] == ["pair", "critic", "pair"]
    batch = {"large": brick(38), "small": brick(16)}
    for name, player in dual.players.items():
        dual.zero_grad()
        for other, rest in dual.players.items():
            rest.requires_grad_(other == name)
        dual.losses(0.5, **batch)["loss"].backward()
        assert all(parameter.grad is not None for parameter in player.parameters())
    assert {id(p) for player in dual.players.values() for p in player.parameters()} == {
        id(p) for p in dual.parameters()
    }


def test_the_critic_wants_one_of_parts_of_the_observation_and_nothing_of_what_was_made() -> None:
    dual = Dual(SMALL, smaller())
    large, small = brick(38), brick(16)
    real, made = dual.critic(small), dual.critic(dual.pair.make_smaller(large))
    dual.pair.requires_grad_(False)
    found = dual.losses(0.0, large=large, small=small)["loss"]
    torch.testing.assert_close(found, (real - 1).square().mean() + made.square().mean())


def test_the_pair_weighs_its_critic_its_ways_there_and_back_and_the_likeness_where_it_is_flat() -> None:
    dual = Dual(replace(SMALL, cycle=3.0, interpolation=50.0), smaller())
    pair, large, small = dual.pair, brick(38), brick(16)
    torch.nn.init.normal_(pair.network.last.weight, std=0.1)  # it begins as the interpolation
    made, interpolated, enlarged = pair.make_smaller(large), pair.operator.start(small), pair.enlarge(small)
    cycle = (pair.enlarge(made) - large).abs().mean() + (pair.make_smaller(enlarged) - small).abs().mean()
    likeness = (flatness(interpolated) * (enlarged - interpolated).abs()).mean()
    expected = (dual.critic(made) - 1).square().mean() + 3 * cycle + 50 * likeness
    torch.testing.assert_close(dual.losses(0.0, large=large, small=small)["loss"], expected)
    assert likeness > 1e-3


def test_what_is_steep_need_not_be_like_the_interpolation() -> None:
    step = torch.zeros(1, 1, 5, 6)
    step[..., 3:] = 1
    flat = flatness(step)
    assert torch.equal(flat[0, 0, :, 2:4], torch.zeros(5, 2)) and torch.equal(
        flat[0, 0, :, :2], torch.ones(5, 2)
    )
    assert torch.equal(flatness(torch.full((1, 1, 4, 4), 0.3)), torch.ones(1, 1, 4, 4))


@pytest.mark.parametrize("padding", ["none", "circular"])
def test_it_enlarges_better_than_interpolation(padding: str) -> None:
    operator = smaller(padding)
    image = brick(operator.fitting_size((134, 134))[0])
    observed = operator.observe(image, torch.Generator().manual_seed(0))
    training = DualSRTraining(training_steps=200, crop=48)
    found = DualSR(SMALL).reconstruct(observed, operator, training)
    assert found.shape == image.shape
    assert torch.equal(found, DualSR(SMALL).reconstruct(observed, operator, training))

    def error(guess: torch.Tensor) -> float:
        return float((guess - image)[..., 12:-12, 12:-12].square().mean())

    assert error(found) < 0.9 * error(operator.start(observed))


def test_other_operators_and_sizes_are_refused() -> None:
    blur = Blur(BlurOptions(size=3, sigma=1.0, noise=0.1))
    assert isinstance(blur, Convolution)
    with pytest.raises(NopairsError, match="dualsr: enlarges"):
        DualSR(SMALL).reconstruct(torch.rand(1, 1, 8, 8), blur, DualSRTraining())
    with pytest.raises(NopairsError, match="at least 1"):
        DualSROptions(depth=0)
