"""The variational solver: minima that are known, batches, divergence; and total variation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage import data

from nopairs.errors import NopairsError
from nopairs.priors.base import NoOptions, planes
from nopairs.priors.operators import (
    Blur,
    BlurDownsample,
    BlurDownsampleOptions,
    BlurOptions,
    Identity,
    IdentityOptions,
)
from nopairs.priors.tv import TV, Interpolation, TVDescent, variation
from nopairs.priors.variational import DescentOptions, descend, minimise

SMALLER = BlurDownsample(BlurDownsampleOptions(size=16, sigma=2.0, factor=4, noise=0.01))


def texture(seed: int = 0) -> torch.Tensor:
    image = data.brick() if seed == 0 else data.gravel()
    return torch.from_numpy(image[100:164, 100:164] / 255).float()[None, None]


def power(image: torch.Tensor, _: torch.Generator) -> torch.Tensor:
    """The negative log density of a pixel, for independent normal pixels of deviation 0.2 around 0.5."""
    return ((image - 0.5) / 0.2).square().mean((1, 2, 3)) / 2


def test_strength_one_gives_the_posterior_mode() -> None:
    """Of Gaussian pixels and noise: the known linear shrinkage, for an operator that is inverted frequency by frequency."""
    operator = Blur(BlurOptions(size=5, sigma=0.8, noise=0.1))
    observed = operator.observe(texture(), torch.Generator().manual_seed(0))
    impulse = torch.zeros(1, 1, 64, 64)
    impulse[0, 0, 0, 0] = 1
    transfer = torch.fft.fft2(operator(impulse))
    gain = transfer.conj() * 0.2**2 / (transfer.abs().square() * 0.2**2 + 0.1**2)
    expected = 0.5 + torch.fft.ifft2(gain * torch.fft.fft2(observed - 0.5)).real
    found = minimise(observed, operator, power, DescentOptions(strength=1.0, steps=300))
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)


def test_an_image_has_the_same_result_in_a_batch_as_alone() -> None:
    images = torch.cat([texture(0), texture(1)])
    observed = SMALLER.observe(images, torch.Generator().manual_seed(0))

    def drawn(image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        row = int(torch.randint(60, (), generator=generator))
        return image[:, :, row : row + 4].square().mean((1, 2, 3))

    options = DescentOptions(strength=0.5, steps=20)
    together = minimise(observed, SMALLER, drawn, options, seed=4)
    alone = torch.cat([minimise(one[None], SMALLER, drawn, options, seed=4) for one in observed])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    assert torch.equal(together, minimise(observed, SMALLER, drawn, options, seed=4))
    assert not torch.equal(together, minimise(observed, SMALLER, drawn, options, seed=5))


def test_divergence_keeps_the_best_images(capsys: pytest.CaptureFixture[str]) -> None:
    observed = SMALLER.observe(texture(), torch.Generator().manual_seed(0))

    def explodes(image: torch.Tensor, _: torch.Generator) -> torch.Tensor:
        far = (image - SMALLER.start(observed)).abs().amax((1, 2, 3))
        return torch.where(far > 0.05, torch.nan, 0.0) * image.mean()

    found = minimise(observed, SMALLER, explodes, DescentOptions(strength=1.0, steps=50, lr=0.03))
    assert "diverged" in capsys.readouterr().err
    assert torch.isfinite(found).all()
    misfit = [(SMALLER(image) - observed).square().mean() for image in (found, SMALLER.start(observed))]
    assert misfit[0] < misfit[1]


def test_an_image_that_diverges_leaves_the_others_alone(capsys: pytest.CaptureFixture[str]) -> None:
    observed = SMALLER.observe(torch.cat([texture(0), texture(1)]), torch.Generator().manual_seed(0))
    options = DescentOptions(strength=1.0, steps=30)

    def second_explodes(image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        far = (image - SMALLER.start(observed)).abs().amax((1, 2, 3))
        broken = (far > 0.05) & torch.tensor([False, True])
        return power(image, generator) + torch.where(broken, torch.inf, 0.0)

    found = minimise(observed, SMALLER, second_explodes, options)
    assert "of images [2] of 2 diverged" in capsys.readouterr().err
    torch.testing.assert_close(found[:1], minimise(observed[:1], SMALLER, power, options), atol=1e-5, rtol=0)
    assert torch.isfinite(found).all() and not torch.equal(found[1:], SMALLER.start(observed)[1:])


def test_a_batch_is_done_when_its_images_are_settled_or_diverged() -> None:
    observed = SMALLER.observe(torch.cat([texture(0), texture(1)]), torch.Generator().manual_seed(0))
    seen = []

    def second_explodes(image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        seen.append(image.detach().clone())
        broken = torch.tensor([0.0, torch.inf if len(seen) == 2 else 0.0])
        return 1e-3 * power(image, generator) + broken

    options = DescentOptions(strength=1.0, steps=100, discrepancy=1.0)
    found = minimise(observed, SMALLER, second_explodes, options)
    assert 2 < len(seen) < 60
    torch.testing.assert_close(found[1], seen[0][1])  # the best so far, not where momentum took it
    alone = minimise(observed[:1], SMALLER, lambda image, g: 1e-3 * power(image, g), options)
    torch.testing.assert_close(found[:1], alone, atol=1e-5, rtol=0)


def test_what_the_last_step_broke_is_not_returned() -> None:
    image = torch.full((1, 1, 8, 8), 0.5, requires_grad=True)
    operator = Identity(IdentityOptions(noise=0.1))

    class Breaks(torch.optim.SGD):
        def step(self, closure: None = None) -> None:  # type: ignore[override]
            with torch.no_grad():
                image.fill_(torch.nan)

    found = descend(
        Breaks([image]),
        lambda: image,
        torch.full((1, 1, 8, 8), 0.4),
        operator,
        power,
        DescentOptions(strength=1.0, steps=1),
        0,
    )
    torch.testing.assert_close(found, torch.full((1, 1, 8, 8), 0.5))


def test_an_image_is_done_when_its_residual_is_as_small_as_the_noise() -> None:
    observed = SMALLER.observe(torch.cat([texture(0), texture(1)]), torch.Generator().manual_seed(0))

    def residuals(images: torch.Tensor) -> torch.Tensor:
        return SMALLER.misfit(images, observed) * 2 / observed[0].numel()

    early = DescentOptions(strength=0.1, steps=100, discrepancy=1.0)
    found = minimise(observed, SMALLER, power, early)
    assert (residuals(SMALLER.start(observed)) > 2).all()
    assert ((residuals(found) > 0.8) & (residuals(found) <= 1)).all()
    alone = torch.cat([minimise(one[None], SMALLER, power, early) for one in observed])
    torch.testing.assert_close(found, alone, atol=1e-5, rtol=0)
    late = minimise(observed, SMALLER, power, DescentOptions(strength=0.1, steps=100, decay=False))
    assert (residuals(late) < residuals(found)).all()


def test_broken_observations_are_refused() -> None:
    observed = SMALLER(texture())
    observed[0, 0, 3, 3] = float("nan")
    with pytest.raises(NopairsError, match="not finite"):
        TV(NoOptions()).reconstruct(observed, SMALLER, TVDescent())
    with pytest.raises(NopairsError, match="not finite"):
        Interpolation(NoOptions()).reconstruct(observed, SMALLER, NoOptions())
    with pytest.raises(NopairsError, match="steps 0"):
        DescentOptions(strength=1.0, steps=0)


def test_variation_of_a_step_and_a_slope() -> None:
    image = torch.zeros(2, 1, 10, 10)
    image[0, 0, :, 5:] = 0.8
    image[1, 0] = torch.arange(10.0)[:, None] * 0.1
    torch.testing.assert_close(variation(image, 0.0), torch.tensor([0.08, 0.09]))


def test_total_variation_denoises_and_resolves() -> None:
    clean = texture()
    for operator, gain in ((Identity(IdentityOptions(0.1)), 2.0), (SMALLER, 0.3)):
        observed = operator.observe(clean, torch.Generator().manual_seed(0))
        errors = [
            float((image - clean).square().mean())
            for image in (
                operator.start(observed),
                TV(NoOptions()).reconstruct(observed, operator, TVDescent(steps=100)),
            )
        ]
        assert 10 * np.log10(errors[0] / errors[1]) > gain


def test_grey_images_are_one_plane_and_colours_three() -> None:
    colour = np.random.default_rng(0).integers(0, 256, (2, 5, 6, 3)).astype(np.uint8)
    assert planes(colour).shape == (6, 5, 6) and (planes(colour)[4] == colour[1, ..., 1]).all()
    grey = np.repeat(colour[..., :1], 3, axis=3)
    assert (planes(grey) == colour[..., 0]).all()


@pytest.mark.parametrize("decay", [True, False])
def test_the_rate_falls_to_nothing_or_stays(decay: bool) -> None:
    observed = SMALLER.observe(texture(), torch.Generator().manual_seed(0))
    image = SMALLER.start(observed).requires_grad_(True)
    adam, rates = torch.optim.Adam([image], lr=0.2), []

    def watched(image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        rates.append(adam.param_groups[0]["lr"])
        return power(image, generator)

    options = DescentOptions(strength=1.0, steps=4, lr=0.2, decay=decay)
    descend(adam, lambda: image, observed, SMALLER, watched, options, seed=0)
    assert rates == pytest.approx([0.2, 0.15, 0.1, 0.05] if decay else [0.2] * 4)
