"""The priors' rivals: their networks, plug and play with a denoiser that is known, and results that others in a batch do not change."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage import data

from nopairs.errors import NopairsError
from nopairs.priors.base import NoOptions, Prior
from nopairs.priors.dip import DIP, DIPDescent
from nopairs.priors.networks import Corrected, Folded, InstanceNorm, UNet
from nopairs.priors.operators import (
    Blur,
    BlurDownsample,
    BlurDownsampleOptions,
    BlurOptions,
    Identity,
    IdentityOptions,
)
from nopairs.priors.patchnr import PatchNR, PatchNROptions
from nopairs.priors.pnp import DenoiserOptions, NoiseData, PlugAndPlay, PlugAndPlaySteps
from nopairs.priors.supervised import PairData, Supervised, SupervisedOptions
from nopairs.priors.zeroshot import ZSSR, Flows, ZeroShotDescent, ZeroShotPatchNR, ZSSRTraining
from nopairs.training.options import TrainingOptions

SMALLER = BlurDownsample(BlurDownsampleOptions(size=4, sigma=1.0, factor=2, noise=0.01))


def textures() -> torch.Tensor:
    images = [image[100:148, 100:148] / 255 for image in (data.brick(), data.gravel())]
    return torch.from_numpy(np.stack(images)).float()[:, None]


@pytest.mark.parametrize("size", [(16, 24), (17, 23)])
def test_networks_begin_as_the_identity_for_any_size(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    image = torch.rand(2, 1, *size)
    torch.testing.assert_close(Folded(4, 8, 2)(image), image)
    torch.testing.assert_close(Folded(2, 8, 2, extra=1)(image, image), image)
    torch.testing.assert_close(Corrected(UNet(1, 1, 8, 2))(image), image)
    assert UNet(3, 2, 8, 2)(torch.rand(1, 3, *size)).shape == (1, 2, *size)


@pytest.mark.parametrize("batch", [1, 2])
def test_instances_are_normalised_as_torch_does(batch: int) -> None:
    ours, theirs = InstanceNorm(4, affine=True), torch.nn.InstanceNorm2d(4, affine=True)
    for layer in (ours, theirs):
        torch.nn.init.uniform_(layer.weight, generator=torch.Generator().manual_seed(0))
    values = torch.rand(batch, 4, 9, 7).requires_grad_(True)
    gradients = [torch.autograd.grad(layer(values).pow(3).sum(), values)[0] for layer in (ours, theirs)]
    torch.testing.assert_close(ours(values), theirs(values))
    torch.testing.assert_close(*gradients)
    assert gradients[0].abs().max() > 0.01


def test_plug_and_play_with_a_known_denoiser(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the best denoiser of N(0.5, 0.2^2) at a fixed deviation, splitting ends at the minimum of its quadratic cost."""
    operator = Blur(BlurOptions(size=3, sigma=0.6, noise=0.1))
    prior = PlugAndPlay(DenoiserOptions(width=4, depth=1))
    gain = 0.2**2 / (0.2**2 + 0.1**2)
    monkeypatch.setattr(prior, "denoise", lambda noisy, level: 0.5 + gain * (noisy - 0.5))
    observed = operator.observe(textures(), torch.Generator().manual_seed(0))
    how = PlugAndPlaySteps(strength=1.0, steps=60, first=0.1, last=1.0, solver_steps=20)
    found = prior.reconstruct(observed, operator, how)
    impulse = torch.zeros(1, 1, 48, 48)
    impulse[..., 0, 0] = 1
    transfer = torch.fft.fft2(operator(impulse))
    # z = d(x) and (A* A + 1) x = A* y + z, with pull strength noise^2 / deviation^2 = 1.
    x = (transfer.conj() * torch.fft.fft2(observed - 0.5)) / (transfer.abs().square() + 1 - gain)
    torch.testing.assert_close(found, 0.5 + gain * torch.fft.ifft2(x).real, atol=2e-3, rtol=0)


@pytest.mark.parametrize(
    "prior, how",
    [
        (DIP(NoOptions()), DIPDescent(steps=4, width=4, scales=1, precision="float32")),
        (
            ZSSR(SupervisedOptions(fold=2, width=4, depth=1, edge=2)),
            ZSSRTraining(training_steps=3, batch=2, crop=16),
        ),
        (
            ZeroShotPatchNR(PatchNROptions(patch_size=3, blocks=1, width=4, whitening=True)),
            ZeroShotDescent(steps=4, training_steps=3, batch=16, precision="float32"),
        ),
    ],
)
def test_an_image_is_learned_from_alone(prior: Prior, how: object) -> None:
    """The same seed gives the same image, whichever others are there; global random numbers are left as they were."""
    observed = SMALLER.observe(textures(), torch.Generator().manual_seed(0))
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    together = prior.reconstruct(observed, SMALLER, how, seed=1)
    alone = torch.cat([prior.reconstruct(one[None], SMALLER, how, seed=1) for one in observed])
    assert together.shape == (2, 1, 48, 48)
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)
    if isinstance(prior, DIP):  # the training loop seeds the global generator by design
        assert torch.equal(torch.rand(1), expected)


def test_an_untrained_network_makes_a_better_image_than_it_begins_with() -> None:
    clean = textures()
    observed = SMALLER.observe(clean, torch.Generator().manual_seed(0))
    how = DIPDescent(strength=4, steps=100, width=8, scales=2, precision="float32")
    found = DIP(NoOptions()).reconstruct(observed, SMALLER, how)
    error, before = ((image - clean).square().mean((1, 2, 3)) for image in (found, SMALLER.start(observed)))
    assert (error < 0.8 * before).all(), (error, before)


def test_the_denoiser_learns_from_noise_of_all_levels() -> None:
    images = data.brick()[None, :64, :64]
    options = DenoiserOptions(most=0.3)
    batch = NoiseData(images, [], options, TrainingOptions(1, 64, 16)).batch(np.random.default_rng(0))
    level = (batch["noisy"] - batch["clean"]).std(dim=(1, 2, 3))
    assert float((level - batch["level"].flatten()).abs().max()) < 0.06
    assert batch["level"].min() < 0.05 and batch["level"].max() > 0.25


def test_the_edge_of_a_crop_does_not_count() -> None:
    network = Supervised(SupervisedOptions(fold=2, width=4, depth=1, edge=3))  # begins as the identity
    clean = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    start = clean + 1
    start[..., 3:-3, 3:-3] -= 0.8
    loss = network.losses(0.0, clean=clean, start=start)["loss"].detach()
    assert float(loss) == pytest.approx(0.2**2, rel=1e-4)


def test_mistakes_are_refused() -> None:
    images = np.zeros((1, 64, 64), np.uint8)
    with pytest.raises(NopairsError, match="without an `operator:`"):
        PairData(images, [], SupervisedOptions(), TrainingOptions(1), None)
    with pytest.raises(NopairsError, match="nothing is left of a crop of 32"):
        PairData(images, [], SupervisedOptions(edge=16), TrainingOptions(1, crop=32), SMALLER)
    with pytest.raises(NopairsError, match="network 'resnet' is unknown"):
        SupervisedOptions(network="resnet")
    with pytest.raises(NopairsError, match="steps is 0"):
        PlugAndPlaySteps(steps=0)
    with pytest.raises(NopairsError, match="zssr: training steps 0"):
        ZSSRTraining(training_steps=0)
    with pytest.raises(NopairsError, match="scales 0"):
        DIPDescent(scales=0)


def test_flows_together_are_the_flows_alone() -> None:
    images = textures()
    options = PatchNROptions(patch_size=3, blocks=2, width=8, whitening=True)
    flows = Flows(options, images, seed=0)
    before = [value.detach().clone() for value in flows.parameters.values()]
    flows.train_on(
        images, ZeroShotDescent(training_steps=20, batch=64, training_lr=0.01, precision="float32"), seed=0
    )
    assert any((now != then).any() for now, then in zip(flows.parameters.values(), before, strict=True))
    rows = torch.rand(2, 5, 9, generator=torch.Generator().manual_seed(1))
    together = flows(rows).detach()
    for k in range(2):
        alone = PatchNR(options)
        state = {name: value[k].detach() for name, value in flows.parameters.items()}
        state |= {"whiten": flows.whiten[k], "centre": flows.centre[k], "permutations": alone.permutations}
        alone.load_state_dict(state)
        torch.testing.assert_close(together[k], alone.negative_log_density(rows[k]).detach())


def test_flows_keep_the_average_of_their_weights() -> None:
    """Adam's first step is its rate for each weight; of the average's first step nine tenths are new."""
    images = textures()
    flows = Flows(PatchNROptions(patch_size=3, blocks=1, width=4, whitening=True), images, seed=0)
    before = [value.detach().clone() for value in flows.parameters.values()]
    flows.train_on(
        images, ZeroShotDescent(training_steps=1, batch=64, training_lr=0.01, precision="float32"), seed=0
    )
    moved = [(now - then).abs().max() for now, then in zip(flows.parameters.values(), before, strict=True)]
    assert float(max(moved)) == pytest.approx(0.009, rel=1e-3)


def test_training_a_flow_on_an_observation_raises_its_likelihood() -> None:
    images = textures()
    options = PatchNROptions(patch_size=3, blocks=2, width=16, whitening=True)
    rows = images.unfold(2, 3, 1).unfold(3, 3, 1).reshape(2, -1, 9)
    flows = Flows(options, images, seed=0)
    before = flows(rows).mean(1)
    flows.train_on(images, ZeroShotDescent(training_steps=150, batch=256, precision="float32"), seed=0)
    assert (flows(rows).mean(1) < before - 0.01).all()


def test_a_flow_learns_patches_in_all_their_symmetries() -> None:
    """Of stripes, patches that are turned become as likely as those that are there."""
    stripes = torch.rand(1, 1, 24, 1, generator=torch.Generator().manual_seed(0)).expand(1, 1, 24, 24)
    rows = stripes.unfold(2, 3, 1).unfold(3, 3, 1).reshape(1, -1, 3, 3)
    flows = Flows(PatchNROptions(patch_size=3, blocks=2, width=16), stripes, seed=0)
    how = ZeroShotDescent(training_steps=100, batch=128, training_lr=0.01, precision="float32")
    flows.train_on(stripes, how, seed=0)
    there, turned = (float(flows(some.flatten(2)).detach().mean()) for some in (rows, rows.mT))
    assert turned < there + 0.3


def test_a_likelihood_that_is_not_finite_is_told() -> None:
    options = PatchNROptions(patch_size=3, blocks=1, width=4, whitening=True)
    flows = Flows(options, textures(), seed=0)
    with pytest.raises(NopairsError, match="not finite"):
        flows.train_on(
            textures(),
            ZeroShotDescent(training_steps=30, batch=16, training_lr=1e30, precision="float32"),
            seed=0,
        )


def test_plug_and_play_tells_each_deviation_and_pulls_by_the_ratio_of_variances(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the operator does nothing each step is a mean of the observation and the image so far."""
    prior, told = PlugAndPlay(DenoiserOptions(width=4, depth=1)), []

    def halved(noisy: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        told.append(level)
        return noisy / 2

    monkeypatch.setattr(prior, "denoise", halved)
    observed = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    how = PlugAndPlaySteps(strength=0.5, steps=3, first=0.8, last=2.0)
    found = prior.reconstruct(observed, Identity(IdentityOptions(0.1)), how)
    expected = observed
    for deviation in (0.8, 0.4, 0.2):
        pull = 0.5 * 0.1**2 / deviation**2
        expected = (observed + pull * expected) / (1 + pull) / 2
    torch.testing.assert_close(found, expected)
    for level, deviation in zip(told, (0.8, 0.4, 0.2), strict=True):
        torch.testing.assert_close(level, torch.full((2, 1, 1, 1), deviation))


def test_an_untrained_network_begins_with_the_seeds_numbers() -> None:
    observed = SMALLER.observe(textures(), torch.Generator().manual_seed(0))
    how = DIPDescent(steps=3, width=4, scales=1, precision="float32")
    first, again, other = (DIP(NoOptions()).reconstruct(observed, SMALLER, how, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.allclose(first, other, atol=1e-5)
