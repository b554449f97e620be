"""The local covariance of errors: its basis against scipy's, its estimates against what was put in."""

from __future__ import annotations

import pytest
import torch
from scipy.fft import dctn

from nopairs.degradation.covariance import (
    DECAY,
    LocalCovariance,
    from_blocks,
    from_opponent,
    to_blocks,
    to_opponent,
    with_usual_means,
    without_means,
)
from nopairs.errors import NopairsError


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_blocks_are_scipys_orthonormal_cosine_transform_and_invert() -> None:
    images = noise(2, 3, 16, 24)
    frequencies = to_blocks(images)
    expected = dctn(images[1, 2, 8:16, 16:24].numpy(), norm="ortho")
    torch.testing.assert_close(frequencies[1, 2, 1, 2], torch.from_numpy(expected), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(from_blocks(frequencies), images)


def test_opponent_colours_keep_energy_and_put_grey_into_the_first() -> None:
    images = noise(2, 3, 8, 8)
    opponent = to_opponent(images)
    torch.testing.assert_close(opponent.square().sum(), images.square().sum())
    torch.testing.assert_close(from_opponent(opponent), images)
    grey = to_opponent(torch.full((1, 3, 1, 1), 0.5)).flatten()
    torch.testing.assert_close(grey, torch.tensor([0.5 * 3**0.5, 0, 0]), atol=1e-6, rtol=0)


def test_basis_stays_in_float32_under_autocast() -> None:
    images = noise(1, 3, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(to_blocks(images), to_blocks(images.clone()))
        assert to_blocks(images).dtype == torch.float32
        torch.testing.assert_close(from_blocks(to_blocks(images)), images)


def test_spectrum_and_samples_have_the_variances_that_were_put_in() -> None:
    """Errors of a known spectrum and amplitude are drawn, learned from, drawn again: a round trip."""
    truth, learned = LocalCovariance(), LocalCovariance()
    truth.spectrum.copy_(torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(1)) + 0.1)
    log_amplitude = torch.linspace(-6, -2, 64).repeat(4, 3, 64, 1)
    deviation = torch.exp(0.5 * truth.log_variance(log_amplitude))
    for step in range(400):
        frequencies = deviation * noise(*deviation.shape, seed=step)
        learned.update(frequencies.square(), log_amplitude)
    torch.testing.assert_close(learned.spectrum, truth.spectrum, rtol=0.06, atol=0)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([learned.sample(torch.zeros(4, 3, 64, 64), generator) for _ in range(20)])
    assert drawn.var().item() == pytest.approx(truth.spectrum.mean().item(), rel=0.03)


def test_probe_measures_the_share_that_leaks_and_samples_restore_it() -> None:
    covariance = LocalCovariance()
    for step in range(300):
        added = noise(4, 3, 32, 32, seed=2 * step)
        covariance.probe(0.3 * added + noise(4, 3, 32, 32, seed=2 * step + 1), added)
    reached = 0.3 * (1 - DECAY**300)
    torch.testing.assert_close(covariance.leak, torch.full((3, 8, 8), reached), atol=0.04, rtol=0)
    drawn = covariance.sample(torch.zeros(8, 3, 64, 64), torch.Generator().manual_seed(0))
    assert drawn.var().item() == pytest.approx(1 / 0.7**2, rel=0.05)


def test_crops_that_blocks_do_not_divide_are_refused() -> None:
    with pytest.raises(NopairsError, match="multiple of 8"):
        to_blocks(torch.zeros(1, 3, 60, 64))


def test_means_of_blocks_are_taken_away_and_take_their_neighbours_deviation() -> None:
    images = noise(2, 3, 16, 16) + 5
    torch.testing.assert_close(
        to_blocks(without_means(images))[..., 0, 0], torch.zeros(2, 3, 2, 2), atol=1e-4, rtol=0
    )
    deviation = torch.rand(3, 8, 8)
    usual = with_usual_means(deviation)
    torch.testing.assert_close(usual[:, 0, 0], (deviation[:, 0, 1] + deviation[:, 1, 0]) / 2)
    assert torch.equal(usual[:, 1:], deviation[:, 1:])


def test_an_amplitude_that_was_never_seen_is_brought_to_the_usual_ones() -> None:
    covariance = LocalCovariance(-11.0, 0.0)
    seen = torch.tensor([-6.0, -7.0, -8.0]).view(1, 3, 1, 1) + 0.5 * torch.randn(4, 3, 64, 64)
    assert torch.allclose(covariance.bounded(seen), seen.clamp(-11, 0), atol=1e-4), (
        "before training: all that may be"
    )
    for _ in range(400):
        covariance.update_range(seen)
    bounded = covariance.bounded(torch.full((1, 3, 1, 1), -1.0)).flatten()
    assert torch.allclose(bounded, torch.tensor([-5.0, -6.0, -7.0]), atol=0.05)
    usual = (covariance.bounded(seen) == seen).float().mean()
    assert 0.93 < usual < 0.97, "two deviations hold 95 %"


def test_means_of_blocks_are_sampled_with_the_usual_variance() -> None:
    covariance = LocalCovariance()
    covariance.spectrum[:, 0, 0] = 400.0
    drawn = covariance.sample(torch.zeros(8, 3, 64, 64), torch.Generator().manual_seed(0))
    assert float(drawn.var()) == pytest.approx(1, rel=0.05)
