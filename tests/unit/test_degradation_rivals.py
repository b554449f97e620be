"""DSGAN, DASR and DeFlow: what they promise, and that they learn a degradation that is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nopairs.errors import NopairsError
from nopairs.models import make
from nopairs.training.data import UnpairedData
from nopairs.training.loop import Trainer
from nopairs.training.options import TrainingOptions

FLOW = {
    "steps": 2,
    "transitions": 1,
    "levels": 2,
    "width": 8,
    "encoder": "residual",
    "encoder_width": 8,
    "blocks": 1,
    "reduced": 4,
}
GAN = {"width": 8, "blocks": 1, "critic_width": 8, "perceptual": "gradients"}


class Noisy(UnpairedData):
    """Smooth images, and others with noise of 20 of 255 on a brighter ground."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        grounds = np.linspace(60, 160, 64)[:, None, None, None] * np.ones((64, 16, 16, 3))
        noisy = grounds + 15 + rng.normal(0, 20, grounds.shape)
        self.val, self.channels, self.index = [], None, {}
        sides = {"clean": grounds, "degraded": noisy}
        self.tiles = {role: (tiles.clip(0, 255).astype(np.uint8), [""] * 64) for role, tiles in sides.items()}
        self.share, self.crop, self.align = 8, 16, 1


def trainer(kind: str, options: dict[str, object], folder: Path, steps: int, **training: object) -> Trainer:
    torch.manual_seed(0)
    network = make("degradation", kind, options)
    if hasattr(network, "add_tutors"):
        network.add_tutors()
    chosen = TrainingOptions(steps=steps, batch=16, crop=16, precision="float32", log_every=50, **training)  # type: ignore[arg-type]
    return Trainer(network, Noisy(), chosen, folder, seed=0, device=torch.device("cpu"), fingerprint="")


def shaken(**options: object) -> torch.nn.Module:
    torch.manual_seed(0)
    flow = make("degradation", "deflow", {**FLOW, **options}).eval()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return flow


@pytest.mark.parametrize(("levels", "sizes"), [(2, [48]), (3, [6, 96])])
def test_the_flow_is_invertible_and_its_determinant_is_that_of_its_jacobian(
    levels: int, sizes: list[int]
) -> None:
    """Of three levels the first parts with half of its channels."""
    flow = shaken(levels=levels)
    image = torch.rand(1, 3, 8, 8)
    features = flow.features(image)
    latents, log_determinant = flow.encode(image, features)
    assert [z.shape[1] for z in latents] == sizes
    torch.testing.assert_close(flow.decode(latents, features), image, atol=5e-5, rtol=0)
    jacobian = torch.autograd.functional.jacobian(
        lambda flat: torch.cat([z.flatten() for z in flow.encode(flat.view(1, 3, 8, 8), features)[0]]),
        image.flatten(),
    )
    expected = torch.linalg.slogdet(jacobian.double())[1].float()
    torch.testing.assert_close(log_determinant[0], expected, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("levels", [2, 3])
def test_what_degrades_is_in_the_latents_of_every_level(levels: int) -> None:
    """Without a shift an image stays as it is; a shift of any latent changes it."""
    flow = shaken(levels=levels, quant=0.0)
    clean = torch.rand(1, 3, 12, 8)
    with torch.no_grad():
        for latent in flow.latents:
            latent.shift_weight.zero_()
            latent.root_weight.zero_()
        strength, generator = torch.ones(1), torch.Generator().manual_seed(0)
        made = flow.make_pairs(clean, None, "clean", strength, generator)[1]
        torch.testing.assert_close(made, clean, atol=5e-5, rtol=0)
        for latent in flow.latents:
            latent.shift_weight.fill_(0.5)
            assert (flow.make_pairs(clean, None, "clean", strength, generator)[1] - clean).abs().mean() > 1e-3
            latent.shift_weight.zero_()


def test_deflows_features_begin_with_an_rrdbs_weights_and_are_learned_on(tmp_path: Path) -> None:
    published = make("restorer", "rrdb", {"width": 4, "blocks": 2, "scale": 8})
    torch.save(
        {f"model.{name}": value for name, value in published.model.state_dict().items()}, tmp_path / "x8.pth"
    )
    chosen = {**FLOW, "encoder": "rrdb", "encoder_width": 4, "blocks": 2, "start": str(tmp_path / "x8.pth")}
    run = trainer("deflow", chosen, tmp_path / "model", 3, lr=1e-2)
    flow, images = run.network.eval(), torch.rand(1, 3, 8, 8)
    trunk = published.model[:2](images)
    seen = flow.condition(images)
    assert seen.shape == (1, 8, 8, 8)  # one of two blocks, and the whole
    torch.testing.assert_close(seen[:, 4:], trunk)
    torch.testing.assert_close(published.model[1].sub[2](seen[:, :4]) + published.model[0](images), trunk)
    learned = run.run().weights["condition.layers.0.weight"]
    assert not torch.equal(learned, published.model[0].weight)
    # What was trained is loaded without the file that it began with.
    (tmp_path / "x8.pth").unlink()
    assert make("degradation", "deflow", chosen).condition.channels == 8


def test_all_of_rrdbs_features_at_the_papers_size() -> None:
    with torch.device("meta"):
        flow = make("degradation", "deflow", {})
    assert flow.condition.taps == [1, 8, 15, 22] and flow.condition.channels == 320
    assert sum(value.numel() for value in flow.parameters()) == pytest.approx(
        62.94e6, rel=0.02
    )  # Table 1 of LUD-VAE


def test_scales_are_bounded_whatever_the_weights() -> None:
    flow = make("degradation", "deflow", {**FLOW, "clamp": 0.5}).eval()
    with torch.no_grad():
        for step in flow.levels[0]:
            step.log_scale.fill_(1000)
        for step in flow.levels[1][flow.options.transitions :]:
            step.injector.layers[-1].bias.fill_(1000)
            step.coupling.layers[-1].bias.fill_(1000)
    image = torch.rand(1, 3, 8, 8)
    _, log_determinant = flow.encode(image, flow.features(image))
    values = 3 * 8 * 8
    # Three steps of the first level and two of the second scale by at most e^0.5, these two half of the channels once more.
    assert abs(float(log_determinant.detach())) <= (3 + 2 * 1.5) * 0.5 * values + 1
    assert log_determinant.isfinite().all()


def test_the_shifts_density_is_the_sums_of_two_gaussians() -> None:
    latent = shaken(haste=3.0).latents[-1]
    z = torch.randn(2, 48, 2, 2)
    root = latent.root.detach()
    covariance = torch.eye(48) + root @ root.T
    expected = torch.distributions.MultivariateNormal(latent.shift.detach(), covariance)
    vectors = z.permute(0, 2, 3, 1)
    torch.testing.assert_close(latent.log_density(z, True), expected.log_prob(vectors).sum((1, 2)))
    torch.testing.assert_close(
        latent.log_density(z, False), torch.distributions.Normal(0.0, 1.0).log_prob(z).sum((1, 2, 3))
    )


def test_haste_moves_the_shift_faster_from_the_same_start() -> None:
    moved = []
    for haste in (1.0, 20.0):
        latent = make("degradation", "deflow", {**FLOW, "haste": haste}).latents[-1]
        torch.testing.assert_close(latent.root, 0.01 * torch.eye(48))
        optimiser = torch.optim.Adam(latent.parameters(), lr=1e-3)
        (-latent.log_density(torch.ones(1, 48, 1, 1), True)).sum().backward()
        optimiser.step()
        moved.append(latent.shift.detach())
    torch.testing.assert_close(moved[0], torch.full((48,), 1e-3), rtol=1e-3, atol=0)
    torch.testing.assert_close(moved[1], 20 * moved[0], rtol=1e-3, atol=0)


def test_deflow_degrades_with_the_noise_it_was_trained_with() -> None:
    """On the condition, and on the image: with neither, and nothing added to latents, the image comes back."""
    image = torch.full((1, 3, 16, 16), 0.5)

    def degrade(seed: int, **noise: float) -> torch.Tensor:
        flow = shaken(**noise)
        generator = torch.Generator().manual_seed(seed)
        with torch.inference_mode():
            for latent in flow.latents:
                latent.shift_weight.zero_()
            made: torch.Tensor = flow.make_pairs(image, None, "clean", torch.zeros(1), generator)[1]
        return made - image

    assert degrade(0, noise=0.0, quant=0.0).abs().max() < 1e-5
    added = degrade(0, noise=0.0, quant=0.25)
    assert 0.9 * 0.125 < added.abs().max() <= 0.125 + 1e-5
    assert float(added.std()) == pytest.approx(0.25 / 12**0.5, rel=0.1)
    seen: list[torch.Tensor] = []
    flow = shaken(noise=0.2)
    flow.condition.register_forward_pre_hook(lambda _, told: seen.append(told[0]))
    for seed in (0, 0, 1):
        flow.make_pairs(image, None, "clean", torch.zeros(1), torch.Generator().manual_seed(seed))
    assert torch.equal(seen[0], seen[1]) and not torch.equal(seen[0], seen[2])
    assert float((seen[0] - 0.5).std()) == pytest.approx(0.2, rel=0.3)


def test_dasrs_bands_of_a_constant_are_it_and_nothing() -> None:
    model, image = make("degradation", "dasr", GAN), torch.full((1, 3, 8, 8), 0.3)
    torch.testing.assert_close(model.low(image), torch.full((1, 3, 4, 4), 0.3))
    assert not model.high(image).any()


def test_deflow_learns_noise_of_any_size_of_image(tmp_path: Path) -> None:
    run = trainer("deflow", {**FLOW, "noise": 0.15}, tmp_path, 120, lr=8e-3, clip=1.0, skips=5)
    flow = make("degradation", "deflow", {**FLOW, "noise": 0.15})
    flow.load_state_dict(run.run().weights)
    clean = torch.full((8, 3, 18, 13), 0.45)
    same, noisy = flow.eval().make_pairs(
        clean, None, "clean", torch.ones(8), torch.Generator().manual_seed(0)
    )
    assert torch.equal(same, clean) and noisy.shape == clean.shape
    assert 10 < float(noisy.detach().std((0, 2, 3)).mean()) * 255 < 30
    again = flow.make_pairs(clean, None, "clean", torch.ones(8), torch.Generator().manual_seed(0))[1]
    assert torch.equal(noisy, again)


def test_deflows_skipped_batches_are_counted_and_too_many_fail(tmp_path: Path) -> None:
    run = trainer("deflow", FLOW, tmp_path, 5, skips=1)
    with torch.no_grad():
        run.network.latents[-1].shift_weight.fill_(float("inf"))
    with pytest.raises(NopairsError, match="not finite at step 1 after 1 skipped batches"):
        run.run()


def test_dsgans_colour_loss_keeps_low_frequencies(tmp_path: Path) -> None:
    """Without an opponent: with one, where a short training ends differs from machine to machine."""
    gan = {**GAN, "adversarial": 0.0, "perceptual_weight": 0.0}
    run = trainer("dsgan", gan, tmp_path, 200, lr=2e-3)
    with torch.no_grad():
        run.network.generator[-1].bias.fill_(0.2)
    trained = run.run().weights
    model = make("degradation", "dsgan", gan)
    model.load_state_dict({name: trained[name] for name in model.state_dict()})
    generator = torch.Generator().manual_seed(0)
    clean = torch.full((4, 3, 20, 24), 0.4)
    _, made = model.make_pairs(clean, None, "clean", torch.ones(4), generator)
    assert made.shape == clean.shape
    assert float((model.low(made) - model.low(clean)).detach().abs().mean()) < 0.02
    _, unchanged = model.make_pairs(clean, None, "clean", torch.zeros(4), generator)
    assert torch.equal(unchanged, clean)


def test_dsgan_has_its_authors_parameters() -> None:
    """1.62 million in LUD-VAE's Table 1: the discriminator is counted too."""
    model = make("degradation", "dsgan", {"perceptual": "none"})
    model.add_tutors()
    assert sum(weight.numel() for weight in model.parameters()) == 1_624_653


def test_dsgans_players_want_opposite_scores_of_high_frequencies() -> None:
    torch.manual_seed(0)
    model = make("degradation", "dsgan", GAN)
    model.add_tutors()
    clean, degraded = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)
    turns = {}
    for player in model.players:
        for name, part in model.players.items():
            part.requires_grad_(name == player)
        turns[player] = model.losses(0.0, clean=clean, degraded=degraded + 0.3)["loss"]
        # A brighter degraded image has the same high frequencies, but at the borders' means.
        again = model.losses(0.0, clean=clean, degraded=degraded)["loss"]
        torch.testing.assert_close(turns[player], again, atol=1e-5, rtol=0)
        assert turns[player].requires_grad
    last, losses = model.discriminator[-1].bias, []
    model.discriminator.requires_grad_(False)
    for score in (0.0, 5.0):
        last.data.fill_(score)
        losses.append(float(model.losses(0.0, clean=clean, degraded=degraded)["adversarial"].detach()))
    assert losses[1] < losses[0]  # the generator wants high scores


def test_dsgans_discriminator_wants_high_scores_of_degraded_images_and_low_ones_of_made_ones() -> None:
    torch.manual_seed(0)
    model = make("degradation", "dsgan", GAN)
    model.add_tutors()
    model.generator.requires_grad_(False)
    model.discriminator[-1].weight.data.mul_(3)
    clean, degraded = torch.rand(2, 2, 3, 16, 16)
    fake, real = (model.discriminator(model.high(one)) for one in (model(clean), degraded))
    expected = torch.log1p(fake.exp()).mean() + torch.log1p((-real).exp()).mean()
    torch.testing.assert_close(model.losses(0.0, clean=clean, degraded=degraded)["loss"], expected)
    assert abs(fake.mean() - real.mean()) > 0.01


def test_low_frequencies_are_means_and_flat_images_have_no_high_ones() -> None:
    model = make("degradation", "dsgan", GAN)
    torch.testing.assert_close(model.low(torch.full((1, 3, 7, 7), 0.3)), torch.full((1, 3, 7, 7), 0.3))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("dsgan", {"low_pass": 4}),
        ("dsgan", {"perceptual": "vgg"}),
        ("deflow", {"clamp": 0}),
        ("deflow", {"noise": -1.0}),
        ("deflow", {"encoder": "vgg"}),
        ("deflow", {"encoder": "residual", "start": "x8.pth"}),
    ],
)
def test_impossible_options(kind: str, options: dict[str, object]) -> None:
    with pytest.raises(NopairsError, match=kind):
        make("degradation", kind, options)


def test_dasrs_bands_are_haars_and_keep_energy() -> None:
    model = make("degradation", "dasr", GAN)
    image = torch.rand(2, 3, 8, 6)
    low, high = model.low(image), model.high(image)
    assert low.shape == (2, 3, 4, 3) and high.shape == (2, 9, 4, 3)
    # The band of means is half of Haar's.
    torch.testing.assert_close((2 * low).square().sum() + high.square().sum(), image.square().sum())
    stripes = torch.zeros(1, 3, 4, 4)
    stripes[..., ::2] = 1  # columns
    bands = model.high(stripes).view(3, 3, 2, 2)
    assert (bands[0] == 1).all() and not bands[1:].any()


def test_dasr_keeps_low_frequencies_and_is_judged_without_them(tmp_path: Path) -> None:
    gan = {**GAN, "colour": 1.0, "adversarial": 0.001}
    run = trainer("dasr", gan, tmp_path, 200, lr=2e-3)
    model = make("degradation", "dasr", gan)
    model.add_tutors()
    model.load_state_dict(run.run().weights)
    clean = torch.linspace(0.3, 0.6, 8).view(8, 1, 1, 1).expand(8, 3, 16, 16).clone()
    made = model.eval().make_pairs(clean, None, "clean", torch.ones(8), torch.Generator())[1]
    assert float((model.low(made) - model.low(clean)).abs().mean()) < 0.1
    flat = torch.full((1, 3, 16, 16), 0.2)
    torch.testing.assert_close(model.high(flat), model.high(flat + 0.5), atol=1e-6, rtol=0)


def test_deflow_adds_a_shift_whose_deviation_but_not_mean_scales_with_strength() -> None:
    latent = shaken().latents[-1]
    torch.manual_seed(0)
    with torch.no_grad():
        latent.shift_weight.copy_(torch.linspace(-1, 1, 48))
        latent.root_weight.copy_(torch.randn(48, 48))
        z, strengths = torch.randn(2, 48, 64, 64), torch.tensor([0.25, 2.0])
        added = latent.degrade(z, strengths, torch.Generator().manual_seed(0)) - z
        shift, root = latent.shift, latent.root
    for one, strength in zip(added.flatten(2), strengths, strict=True):
        expected = strength**2 * root @ root.T
        assert (torch.cov(one) - expected).norm() < 0.15 * expected.norm()
        error = torch.linalg.solve(root, one.mean(1) - shift) / strength  # in deviations
        assert error.abs().max() < 5 / 64


def test_deflow_learns_with_centred_noise_on_images_and_noise_on_their_condition(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flow = shaken(noise=0.2, quant=0.25)
    encode, encoded = flow.encode, []

    def watched(
        images: torch.Tensor, features: list[torch.Tensor]
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        encoded.append(images)
        return encode(images, features)

    told: list[torch.Tensor] = []
    monkeypatch.setattr(flow, "encode", watched)
    flow.condition.register_forward_pre_hook(lambda _, seen: told.append(seen[0]))
    image = torch.full((4, 3, 16, 16), 0.5)
    torch.manual_seed(0)
    flow.losses(0.5, clean=image, degraded=image)
    assert len(encoded) == len(told) == 2
    for noisy, reduced in zip(encoded, told, strict=True):
        assert abs(float(noisy.mean()) - 0.5) < 0.01
        assert 0.12 < (noisy - 0.5).abs().max() <= 0.125 + 1e-6
        assert float(reduced.std()) == pytest.approx(0.2, rel=0.2)
