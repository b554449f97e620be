"""The scan: its adjoint, line integrals that are known, filtered back projection, and limited angles."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.data import shepp_logan_phantom
from skimage.transform import resize

from nopairs.data.phantoms import phantom
from nopairs.errors import NopairsError
from nopairs.priors import operators, radon
from nopairs.priors.base import NoOptions
from nopairs.priors.radon import Radon, RadonOptions
from nopairs.priors.tv import TV, TVDescent


def disk(side: int, radius: float, x: float = 0.0, y: float = 0.0) -> torch.Tensor:
    """A disk of value 1, of radius and centre in units of the side, with soft edges."""
    places = (torch.arange(side, dtype=torch.float64) + 0.5) / side - 0.5
    distance = torch.hypot(places[None, :] - x, places[:, None] - y)
    return ((radius - distance) * side + 0.5).clamp(0, 1)[None, None]


@pytest.mark.parametrize("block, kept", [(radon.BLOCK, radon.KEPT), (2000, radon.KEPT), (2000, 0)])
def test_adjoint(block: int, kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(radon, "BLOCK", block)
    monkeypatch.setattr(radon, "KEPT", kept)
    scan = Radon(RadonOptions(angles=20, first=3, last=15, noise=0.1))
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(2, 3, 17, 17, dtype=torch.float64, generator=generator, requires_grad=True)
    seen = scan(image)
    assert seen.shape == (2, 3, 12, 25) and scan.image_size((12, 25)) == (17, 17)
    other = torch.randn(seen.shape, dtype=torch.float64, generator=generator)
    torch.testing.assert_close((seen * other).sum(), (image * scan.adjoint(other)).sum())
    (gradient,) = torch.autograd.grad((seen * other).sum(), image)
    torch.testing.assert_close(scan.adjoint(other), gradient)
    assert len(scan.kept) == (kept > 0)
    torch.testing.assert_close(scan(image[..., :9, :9]), Radon(scan.options)(image[..., :9, :9]))
    assert scan(image.float()).dtype == torch.float32


def test_line_integrals_of_a_disk() -> None:
    """Chords of length 2 sqrt(r^2 - s^2), around where the centre is seen from each angle."""
    scan = Radon(RadonOptions(angles=6, noise=0.1))
    seen = scan(disk(128, 0.2, x=0.15, y=-0.1))[0, 0]
    detectors = seen.shape[1]
    places = (torch.arange(detectors, dtype=torch.float64) - (detectors - 1) / 2) / 128
    for k in range(6):
        angle = math.pi * k / 6
        offset = places - (0.15 * math.cos(angle) - 0.1 * math.sin(angle))
        expected = 2 * (0.2**2 - offset.square()).clamp(min=0).sqrt()
        inside = offset.abs() < 0.18
        assert (seen[k] - expected)[inside].abs().max() < 0.006
        assert seen[k][offset.abs() > 0.22].abs().max() < 1e-9


def test_filtered_back_projection_finds_values_and_places() -> None:
    scan = Radon(RadonOptions(angles=180, noise=0.1))
    image = disk(96, 0.2, x=0.1, y=0.15) + 0.5 * disk(96, 0.1, x=-0.2, y=-0.2)
    found = scan.start(scan(image))
    for x, y, value in ((0.1, 0.15, 1.0), (-0.2, -0.2, 0.5), (-0.2, 0.2, 0.0)):
        row, column = (int((place + 0.5) * 96) for place in (y, x))
        middle = found[0, 0, row - 3 : row + 4, column - 3 : column + 4]
        assert abs(float(middle.mean()) - value) < 0.03


@pytest.mark.parametrize("frequency", [0.25, 0.75])
def test_the_window_ends_at_a_share_of_the_highest_frequency(frequency: float) -> None:
    places = torch.arange(91, dtype=torch.float64) - 45
    wave = torch.cos(math.pi * frequency * places) * torch.exp(-(places**2) / (2 * 10**2))
    narrow, wide = (
        Radon(RadonOptions(angles=1, noise=0.1, hann=hann)).start(wave[None, None, None])
        for hann in (0.5, 1.0)
    )
    gain = (narrow * wide).sum() / wide.square().sum()
    windows = [math.cos(math.pi / 2 * min(1, frequency / hann)) ** 2 for hann in (0.5, 1.0)]
    assert float(gain) == pytest.approx(windows[0] / windows[1], abs=0.02)


def test_limited_angles_are_worse_and_a_prior_helps() -> None:
    phantom = torch.from_numpy(resize(shepp_logan_phantom(), (48, 48), anti_aliasing=True)).float()[
        None, None
    ]
    errors = {}
    for name, last in (("all", 0), ("limited", 70)):
        scan = Radon(RadonOptions(angles=90, first=20 if last else 0, last=last, noise=0.005, hann=0.8))
        seen = scan.observe(phantom, torch.Generator().manual_seed(0))
        errors[name] = float((scan.start(seen) - phantom).square().mean())
    found = TV(NoOptions()).reconstruct(seen, scan, TVDescent(strength=20.0, steps=40))
    assert errors["limited"] > 1.5 * errors["all"]
    gain = 10 * np.log10(errors["limited"] / float((found - phantom).square().mean()))
    assert gain > 1.5


def test_bad_scans_are_refused() -> None:
    with pytest.raises(NopairsError, match="within 10 angles"):
        RadonOptions(angles=10, first=8, last=4, noise=0.1)
    with pytest.raises(NopairsError, match="hann 0"):
        RadonOptions(angles=10, hann=0, noise=0.1)
    scan = operators.make({"kind": "radon", "angles": 10, "noise": 0.1})
    assert isinstance(scan, Radon) and scan.fitting_size((30, 20)) == (20, 20)
    with pytest.raises(NopairsError, match="of 12x29, where the operator gives 10x29"):
        scan.check_observed(torch.zeros(1, 1, 12, 29))
    with pytest.raises(NopairsError, match="needs a square one"):
        scan(torch.zeros(1, 1, 20, 30))


def test_counted_photons() -> None:
    """Their noise is Poisson's, and the likelihood's gradient is that of its definition."""
    scan = Radon(RadonOptions(angles=12, noise=0.003, photons=4096))
    image = 0.4 * torch.ones(200, 1, 16, 16)
    seen = scan.observe(image, torch.Generator().manual_seed(0))
    integrals = scan(image[:1])
    counted = 4096 * torch.exp(-scan.options.attenuation * seen)
    expected = 4096 * torch.exp(-scan.options.attenuation * integrals)
    strong = expected[0] > 500
    assert float((counted.mean(0) / expected[0] - 1)[strong].abs().max()) < 0.02
    assert abs(float((counted.var(0) / expected[0])[strong].mean()) - 1) < 0.03
    torch.testing.assert_close(counted, counted.round().clamp(min=0.1), atol=0.02, rtol=1e-5)

    wrong = (0.9 * image[:2]).double().requires_grad_(True)
    arrived = counted[:2].double()
    at = scan.options.attenuation * scan(wrong)
    likelihood = (4096 * torch.exp(-at) + arrived * (at - np.log(4096))).flatten(1).sum(1)
    least = (arrived - arrived * torch.log(arrived)).flatten(1).sum(1)
    found = scan.misfit(wrong, seen[:2].double())
    torch.testing.assert_close(found, likelihood - least, rtol=1e-4, atol=1e-2)
    assert float(scan.misfit(image[:1], scan(image[:1]))) == pytest.approx(0, abs=1e-3)


def test_a_ray_without_photons_counts_as_a_tenth_of_one() -> None:
    scan = Radon(RadonOptions(angles=2, noise=0.003, photons=4096))
    seen = scan.observe(10 * torch.ones(1, 1, 16, 16), torch.Generator().manual_seed(0))
    assert float(seen.max()) == pytest.approx(math.log(40960) / scan.options.attenuation, rel=1e-5)


def test_a_phantom_is_scanned_and_found() -> None:
    """Total variation with the likelihood of photons is far better than the filtered back projection."""
    clean = torch.from_numpy(phantom(3)).float()[None, None]
    scan = Radon(RadonOptions(angles=50, first=5, last=45, noise=0.003, photons=4096, hann=0.641))
    observed = scan.observe(clean, torch.Generator().manual_seed(0))
    found = TV(NoOptions()).reconstruct(observed, scan, TVDescent(strength=15.0, steps=60, lr=0.02))
    errors = [float((image - clean).square().mean()) for image in (scan.start(observed), found)]
    assert 10 * np.log10(errors[0] / errors[1]) > 4
    assert not np.array_equal(phantom(3), phantom(4)) and np.array_equal(phantom(3), phantom(3))
