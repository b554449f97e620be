"""The scan: its adjoint, line integrals that are known, filtered back projection, and limited angles."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.data import shepp_logan_phantom
from skimage.transform import resize

from nopairs.errors import NopairsError
from nopairs.priors import operators, radon
from nopairs.priors.radon import Radon, RadonOptions
from nopairs.priors.tv import TV, NoOptions, TVDescent


def disk(side: int, radius: float, x: float = 0.0, y: float = 0.0) -> torch.Tensor:
    """A disk of value 1, of radius and centre in units of the side, with soft edges."""
    places = (torch.arange(side, dtype=torch.float64) + 0.5) / side - 0.5
    distance = torch.hypot(places[None, :] - x, places[:, None] - y)
    return ((radius - distance) * side + 0.5).clamp(0, 1)[None, None]


@pytest.mark.parametrize("block", [radon.BLOCK, 2000])
def test_adjoint(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(radon, "BLOCK", block)
    scan = Radon(RadonOptions(angles=20, first=3, last=15, noise=0.1))
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(2, 3, 17, 17, dtype=torch.float64, generator=generator, requires_grad=True)
    seen = scan(image)
    assert seen.shape == (2, 3, 12, 25) and scan.image_size((12, 25)) == (17, 17)
    other = torch.randn(seen.shape, dtype=torch.float64, generator=generator)
    torch.testing.assert_close((seen * other).sum(), (image * scan.adjoint(other)).sum())
    (gradient,) = torch.autograd.grad((seen * other).sum(), image)
    torch.testing.assert_close(scan.adjoint(other), gradient)


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
    with pytest.raises(NopairsError, match="needs a square one"):
        scan(torch.zeros(1, 1, 20, 30))
