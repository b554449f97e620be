"""LUD-VAE: its operators and losses against closed forms, its sampling, its size."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from nopairs.data.gaussian import gaussian_taps
from nopairs.degradation.blocks import VectorQuantiser, decoder, encoder
from nopairs.degradation.covariance import to_blocks, to_opponent
from nopairs.degradation.ludvae import (
    NLL_WEIGHT,
    LudVae,
    LudVaeOptions,
    correlate,
    gaussian_nll,
)
from nopairs.errors import NopairsError
from nopairs.training.divergence import kl_to_standard_normal

SMALL = {"width": 8, "code_width": 4, "noise_width": 4, "blocks": 1, "stride": 2}
GAUSSIAN = {"image_latent": "continuous", "likelihood": "gaussian", "excess_variance": True}


def small(**options: object) -> LudVae:
    torch.manual_seed(0)
    return LudVae(LudVaeOptions(**{**SMALL, **options}))  # type: ignore[arg-type]


def test_correlated_noise_keeps_its_variance_and_gets_the_kernels_correlation() -> None:
    noise = correlate(torch.randn(4, 3, 256, 256, generator=torch.Generator().manual_seed(0)), 0.8)
    assert noise.var().item() == pytest.approx(1, abs=0.02)
    taps = gaussian_taps(2 * math.ceil(2.4) + 1, 0.8)
    expected = (taps[1:] * taps[:-1]).sum() / taps.square().sum()
    assert (noise[..., 1:] * noise[..., :-1]).mean().item() == pytest.approx(expected.item(), abs=0.02)


def test_kl_equals_torchs() -> None:
    mean, log_variance = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    normal = torch.distributions.Normal(mean, torch.exp(0.5 * log_variance))
    expected = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0)).sum()
    torch.testing.assert_close(kl_to_standard_normal(mean, log_variance), expected)


def test_gaussian_nll_equals_torchs() -> None:
    error, log_variance = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8)
    expected = torch.nn.functional.gaussian_nll_loss(error, torch.zeros_like(error), log_variance.exp())
    torch.testing.assert_close(gaussian_nll(error.square(), log_variance), expected)


def test_quantiser_takes_the_nearest_code_and_passes_the_gradient_straight() -> None:
    quantiser = VectorQuantiser(16, 4).eval()
    z = torch.randn(2, 4, 3, 5, requires_grad=True)
    quantised, commitment = quantiser(z)
    distances = torch.cdist(z.detach().permute(0, 2, 3, 1).reshape(-1, 4), quantiser.codebook)
    nearest = quantiser.codebook[distances.argmin(1)].view(2, 3, 5, 4).permute(0, 3, 1, 2)
    torch.testing.assert_close(quantised.detach(), nearest)
    weight = torch.randn_like(z)
    (gradient,) = torch.autograd.grad((quantised * weight).sum(), z, retain_graph=True)
    torch.testing.assert_close(gradient, weight)
    (gradient,) = torch.autograd.grad(commitment, z)
    torch.testing.assert_close(gradient, 2 * (z.detach() - nearest) / z.numel())


def test_quantiser_learns_clusters_and_revives_dead_codes() -> None:
    torch.manual_seed(0)
    centres = 5 * torch.randn(8, 4)
    quantiser = VectorQuantiser(64, 4).train()
    quantiser.codebook += 100  # all codes but one start out of reach
    for _ in range(400):
        chosen = centres[torch.randint(8, (256,))] + 0.05 * torch.randn(256, 4)
        quantiser(chosen.view(1, 16, 16, 4).permute(0, 3, 1, 2))
    assert torch.cdist(centres, quantiser.codebook).min(1).values.max() < 0.3
    used = quantiser.counts / quantiser.counts.sum()
    assert torch.exp(torch.special.entr(used).sum()) > 6  # codes in effective use


def test_codes_are_moving_means_of_the_vectors_nearest_to_them() -> None:
    quantiser, centres = VectorQuantiser(2, 2).train(), torch.tensor([[5.0, 0.0], [-5.0, 0.0]])
    quantiser.codebook.copy_(centres)
    quantiser.counts.fill_(10)
    quantiser.sums.copy_(10 * centres)
    z = torch.tensor([[6.0, 1.0], [4.0, 3.0], [5.0, 2.0], [-4.0, 0.0]])
    quantiser(z.view(1, 2, 2, 2).permute(0, 3, 1, 2))
    counts = torch.tensor([0.99 * 10 + 0.01 * 3, 0.99 * 10 + 0.01])
    sums = 0.99 * 10 * centres + 0.01 * torch.stack([z[:3].sum(0), z[3]])
    torch.testing.assert_close(quantiser.counts, counts)
    torch.testing.assert_close(quantiser.codebook, sums / counts[:, None])


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_encoder_and_decoder_shapes(steps: int) -> None:
    features = encoder(3, 8, 1, steps)(torch.rand(2, 3, 32, 16))
    assert features.shape == (2, 8, 32 >> steps, 16 >> steps)
    assert decoder(8, 8, 5, 1, steps)(features).shape == (2, 5, 32, 16)


def test_full_size_has_ten_million_parameters() -> None:
    count = sum(p.numel() for p in LudVae(LudVaeOptions()).parameters())
    assert 9e6 < count < 11e6


@pytest.mark.parametrize(
    "options",
    [
        {},
        {
            "image_latent": "continuous",
            "posterior": "normalised",
            "likelihood": "gaussian",
            "excess_variance": True,
            "h": "additive_noise",
            "noise_clean": 0.1,
            "noise_degraded": 0.1,
        },
        {"learn_from": "pairs", "h": "identity", "image_latent": "continuous"},
    ],
)
def test_losses_are_finite_and_train_every_parameter(options: dict[str, object]) -> None:
    model = small(**options)
    clean, degraded = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)
    losses = model.losses(0.5, clean=clean, degraded=degraded)
    losses["loss"].backward()
    assert all(torch.isfinite(value) for value in losses.values())
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


def test_from_pairs_the_image_latent_of_both_halves_is_the_clean_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clean, degraded = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)
    model, seen = small(learn_from="pairs", h="identity").eval(), []
    infer = model.image_latent
    monkeypatch.setattr(model, "image_latent", lambda image: seen.append(image) or infer(image))
    losses = model.losses(0.5, clean=clean, degraded=degraded)
    assert len(seen) == 2 and all(torch.equal(image, clean) for image in seen)
    with torch.no_grad():  # without its noise decoder the degraded half is reconstructed as the clean one
        for parameter in model.noise_decoder.parameters():
            parameter.zero_()
    losses = model.losses(0.5, clean=clean, degraded=clean + 0.25)
    image = model.decode_image(infer(clean)[0])[0]
    torch.testing.assert_close(losses["degraded_mse"], (image - clean - 0.25).square().mean())
    assert LudVaeOptions().roles == ("clean", "degraded") and model.options.roles == ("pairs",)


def test_without_shared_gradient_the_degraded_half_leaves_the_image_path_alone() -> None:
    clean = torch.rand(2, 3, 32, 32)
    gradients = []
    for degraded in (torch.rand(2, 3, 32, 32), torch.zeros(2, 3, 32, 32)):
        model = small(image_latent="continuous", shared_gradient=False)
        model.losses(0.5, clean=clean, degraded=degraded)["loss"].backward()
        gradients.append([p.grad for p in model.image_encoder.parameters()])
    for first, second in zip(*gradients, strict=True):
        assert first is not None and second is not None
        torch.testing.assert_close(first, second)


def test_without_shared_gradient_the_degraded_half_leaves_the_codes_alone() -> None:
    clean = torch.rand(2, 3, 32, 32)
    codebooks = []
    for degraded in (torch.rand(2, 3, 32, 32), torch.zeros(2, 3, 32, 32)):
        model = small(image_latent="vq", shared_gradient=False).train()
        before = {name: value.clone() for name, value in model.named_buffers()}
        torch.manual_seed(1)
        model.losses(0.5, clean=clean, degraded=degraded)
        codebooks.append({name: value for name, value in model.named_buffers() if "codebook" in name})
    assert codebooks[0]
    for name, codebook in codebooks[0].items():
        assert not torch.equal(codebook, before[name])
        assert torch.equal(codebook, codebooks[1][name])


def test_kl_weight_ramps_to_its_end_beside_errors_and_commitment() -> None:
    model = small(kl_weight=2.0, kl_ramp=0.5, commitment=0.7).eval()
    images = {"clean": torch.rand(1, 3, 16, 16), "degraded": torch.rand(1, 3, 16, 16)}
    for progress, weight in ((0.0, 0.0), (0.25, 1.0), (0.5, 2.0), (1.0, 2.0)):
        losses = model.losses(progress, **images)
        assert losses["commitment"] > 0
        expected = losses["clean_mse"] + losses["degraded_mse"] + 0.7 * losses["commitment"]
        torch.testing.assert_close(losses["loss"], expected + weight * losses["kl"])


def test_commitment_binds_the_codes_of_both_halves() -> None:
    torch.manual_seed(0)
    model = small(h="identity").eval()
    clean, degraded = torch.rand(2, 1, 3, 16, 16)
    parts = [model.image_latent(image)[1] for image in (clean, degraded)]
    assert min(parts) > 0
    losses = model.losses(0.5, clean=clean, degraded=degraded)
    torch.testing.assert_close(losses["commitment"], parts[0] + parts[1])


@pytest.mark.parametrize("mode", LudVae.MODES)
def test_pairs_of_any_size_repeat_with_the_seed(mode: str) -> None:
    model = small().eval()
    clean, degraded = torch.rand(2, 3, 37, 23), torch.rand(2, 3, 37, 23)

    def sample(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.inference_mode():
            return model.make_pairs(clean, degraded, mode, torch.ones(2), torch.Generator().manual_seed(seed))

    first, again, other = sample(0), sample(0), sample(1)
    assert first[0].shape == first[1].shape == clean.shape
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    if mode == "method2":
        assert torch.equal(first[1], degraded)
    else:
        assert torch.equal(first[0], clean) and not torch.equal(first[1], other[1])


def test_difference_mode_is_method3_without_the_image_decoders_error() -> None:
    model = small().eval()
    clean = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        z, _ = model.image_latent(model.h(clean, degraded=False))
        image, _ = model.decode_image(z)
        plain = model.make_pairs(clean, None, "method3", torch.ones(1), torch.Generator().manual_seed(3))[1]
        difference = model.make_pairs(
            clean, None, "difference", torch.ones(1), torch.Generator().manual_seed(3)
        )[1]
    torch.testing.assert_close(difference, clean + plain - image)


def test_the_excess_variance_is_sampled_with_the_noise() -> None:
    model = small(image_latent="continuous", likelihood="gaussian", excess_variance=True).eval()
    clean = torch.full((1, 3, 64, 64), 0.5)
    with torch.inference_mode():
        z, _ = model.image_latent(model.h(clean, degraded=False))
        z_n = model.prior_noise_latent(z, torch.zeros(1), torch.Generator().manual_seed(0))
        mean, log_excess = model.decode_noise(z, z_n)
        assert log_excess is not None
        for strength in (1.0, 2.0):  # at strength t, z_n and the white part both scale with t
            seeds = (torch.Generator().manual_seed(k) for k in range(40))
            draws = [
                model.make_pairs(clean, None, "difference", torch.tensor([strength]), g)[1] for g in seeds
            ]
            spread = torch.stack(draws).var(0).mean().item()
            assert spread > 0.9 * strength**2 * log_excess.exp().mean().item()
    assert mean.shape == log_excess.shape == clean.shape


def test_the_noise_decoder_beside_an_amplitude_gives_nothing_for_no_latent() -> None:
    model = small(image_latent="continuous", likelihood="gaussian", excess_variance=True)
    z, z_n = torch.randn(2, 8, 16, 16), torch.zeros(2, 8, 16, 16)
    torch.testing.assert_close(model.decode_noise(z, z_n)[0], torch.zeros(2, 3, 32, 32))


def test_a_normalised_posterior_has_the_priors_moments() -> None:
    model = small(posterior="normalised")
    sample, _ = model._draw(torch.randn(4, 8, 64, 64) * 5 + 3)
    torch.testing.assert_close(sample.mean((0, 2, 3)), torch.zeros(4), atol=0.05, rtol=0)
    torch.testing.assert_close(sample.var((0, 2, 3)), torch.ones(4), atol=0.05, rtol=0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"h": "blur"},
        {"stride": 3},
        {"blur_size": 8},
        {"kl_ramp": 0.0},
        {"likelihood": "l1"},
        {"excess_variance": True},
    ],
)
def test_impossible_options_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(NopairsError, match=r"ludvae: "):
        LudVaeOptions(**wrong)  # type: ignore[arg-type]


def test_the_gaussian_objective_is_the_sum_of_its_parts() -> None:
    model = small(image_latent="continuous", likelihood="gaussian", excess_variance=True, kl_ramp=0.5).eval()
    images = {"clean": torch.rand(2, 3, 32, 32), "degraded": torch.rand(2, 3, 32, 32)}
    for progress, ramp in ((0.0, 0.0), (0.25, 0.5), (1.0, 1.0)):
        found = model.losses(progress, **images)
        likelihood = found["clean_nll"] + found["degraded_nll"] + ramp * found["kl"]
        expected = (
            found["clean_mse"] + model.options.commitment * found["commitment"] + NLL_WEIGHT * likelihood
        )
        torch.testing.assert_close(found["loss"], expected)
        assert found["kl"] > 0


def test_h_adds_to_each_half_its_own_noise() -> None:
    model, flat = (
        small(h="additive_noise", noise_clean=0.05, noise_degraded=0.2),
        torch.full((4, 3, 64, 64), 0.5),
    )
    for degraded, sigma in ((False, 0.05), (True, 0.2)):
        noise = model.h(flat, degraded, torch.Generator().manual_seed(0)) - flat
        assert float(noise.std()) == pytest.approx(sigma, rel=0.05)


def test_no_noise_for_the_degraded_half_is_a_choice_too() -> None:
    model = small(h="additive_noise", noise_degraded=0.0, likelihood="gaussian", excess_variance=True).train()
    images = {"clean": torch.rand(2, 3, 32, 32), "degraded": torch.rand(2, 3, 32, 32)}
    assert model.losses(0.5, **images)["loss"].isfinite()
    assert all(value.isfinite().all() for value in model.state_dict().values())


def test_the_priors_latent_is_white_at_each_level_and_scales_with_strength() -> None:
    model, z = small(), torch.zeros(2, 8, 32, 32)
    strengths = torch.tensor([0.25, 3.0])
    one = model.prior_noise_latent(z, torch.ones(2), torch.Generator().manual_seed(0))
    other = model.prior_noise_latent(z, strengths, torch.Generator().manual_seed(0))
    torch.testing.assert_close(other, strengths.view(2, 1, 1, 1) * one)
    assert float(one.std()) == pytest.approx(1, abs=0.05)
    coarse, fine = one.chunk(2, 1)
    assert torch.equal(coarse[..., ::2, ::2], coarse[..., 1::2, 1::2])
    assert abs(torch.corrcoef(torch.stack([coarse.flatten(), fine.flatten()]))[0, 1]) < 0.05


def test_kl_is_that_of_both_levels_by_value(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small(h="identity").eval()
    clean, degraded = torch.rand(2, 2, 3, 16, 16)
    draw, parts = model._draw, []

    def drawn(distribution: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        sample, kl = draw(distribution)
        parts.append(kl)
        return sample, kl

    monkeypatch.setattr(model, "_draw", drawn)
    losses = model.losses(0.5, clean=clean, degraded=degraded)
    assert len(parts) == 2
    torch.testing.assert_close(losses["kl"], sum(parts) / degraded.numel())


def test_a_free_posterior_is_drawn_from_with_its_moments() -> None:
    shape = (1, 4, 64, 64)
    distribution = torch.cat([torch.full(shape, 2.0), torch.full(shape, math.log(0.25))], 1)
    sample, kl = small()._draw(distribution)
    assert float(sample.mean()) == pytest.approx(2, abs=0.02)
    assert float(sample.std()) == pytest.approx(0.5, rel=0.05)
    torch.testing.assert_close(kl, kl_to_standard_normal(*distribution.chunk(2, 1)))


@pytest.mark.parametrize("sees", ["degraded", "residual"])
def test_the_noise_encoder_sees_the_degraded_image_or_its_residual(
    sees: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, seen = small(h="identity", noise_encoder_sees=sees).eval(), []
    infer = model.noise_latent
    monkeypatch.setattr(model, "noise_latent", lambda image: seen.append(image) or infer(image))
    clean, degraded = torch.rand(2, 1, 3, 16, 16)
    model.losses(0.5, clean=clean, degraded=degraded)
    image = model.decode_image(model.image_latent(degraded)[0])[0]
    torch.testing.assert_close(seen[0], degraded - image if sees == "residual" else degraded)


def test_errors_of_the_degraded_half_have_the_excess_variance_too() -> None:
    model = small(**GAUSSIAN).eval()
    for covariance in (model.error, model.excess):
        covariance.spectrum.copy_(torch.rand(3, 8, 8) + 0.1)
    clean, clean_scale, degraded, degraded_scale, excess = torch.randn(5, 1, 3, 16, 16)
    found = model._nlls(clean, clean_scale, degraded, degraded_scale, excess)
    powers = [to_blocks(to_opponent(error)).square() for error in (clean, degraded)]
    torch.testing.assert_close(found[0], gaussian_nll(powers[0], model.error.log_variance(clean_scale)))
    variance = model.error.log_variance(degraded_scale).exp() + model.excess.log_variance(excess).exp()
    torch.testing.assert_close(found[1], gaussian_nll(powers[1], variance.log()))


def test_the_excess_covariance_is_what_the_errors_covariance_leaves() -> None:
    model, zero = small(**GAUSSIAN).train(), torch.zeros(8, 3, 32, 32)
    generator = torch.Generator().manual_seed(0)
    for _ in range(300):
        clean, degraded = torch.randn(2, 8, 3, 32, 32, generator=generator)
        model._nlls(clean, zero, math.sqrt(3) * degraded, zero, zero)
    assert float(model.error.spectrum.mean()) == pytest.approx(1, rel=0.03)
    assert float(model.excess.spectrum.mean()) == pytest.approx(2, rel=0.05)


def test_the_clean_halfs_error_is_from_the_clean_image(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small(**GAUSSIAN, h="identity").eval()
    seen: list[torch.Tensor] = []
    of_errors = model._nlls
    monkeypatch.setattr(model, "_nlls", lambda *errors: seen.extend(errors) or of_errors(*errors))
    clean, degraded = torch.rand(2, 1, 3, 16, 16)
    model.losses(0.5, clean=clean, degraded=degraded)
    torch.testing.assert_close(seen[0], model.decode_image(model.image_latent(clean)[0])[0] - clean)


def test_the_clean_halfs_likelihood_trains_s_alone_and_the_degraded_halfs_all_but_s() -> None:
    model = small(**GAUSSIAN, h="identity")
    clean, degraded = torch.rand(2, 1, 3, 16, 16)
    for part, trained in (
        ("clean_nll", [False, True, False, False]),
        ("degraded_nll", [True, False, True, True]),
    ):
        model.zero_grad()
        model.losses(0.5, clean=clean, degraded=degraded)[part].backward()
        image, noise, amplitude = (
            network[-2].weight.grad
            for network in (model.image_decoder, model.noise_decoder, model.amplitude_decoder)
        )
        gradients = [*image.chunk(2), noise, amplitude]
        assert [gradient is not None and bool(gradient.any()) for gradient in gradients] == trained


def test_sampled_noise_without_excess_has_no_means_of_blocks() -> None:
    model, clean = small(**GAUSSIAN).eval(), torch.rand(1, 3, 32, 32)
    model.excess.spectrum.zero_()
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        noise = model.make_pairs(clean, None, "difference", torch.ones(1), generator)[1] - clean
    assert noise.abs().max() > 1e-4
    assert F.avg_pool2d(noise, 8).abs().max() < 1e-6


def test_only_method2_takes_the_degraded_halfs_h(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small(h="additive_noise", noise_clean=0.0, noise_degraded=0.3).eval()
    h, seen = model.h, []

    def watched(
        images: torch.Tensor, degraded: bool, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        seen.append(degraded)
        return h(images, degraded, generator)

    monkeypatch.setattr(model, "h", watched)
    clean, degraded = torch.rand(2, 1, 3, 16, 16)
    for mode in model.MODES:
        model.make_pairs(clean, degraded, mode, torch.ones(1), torch.Generator())
    assert seen == [mode == "method2" for mode in model.MODES]


def test_pairs_with_an_h_that_adds_noise_repeat_with_the_seed() -> None:
    model, clean = small(h="additive_noise", noise_clean=0.3).eval(), torch.rand(1, 3, 16, 16)
    first, again, other = (
        model.make_pairs(clean, None, "method3", torch.ones(1), torch.Generator().manual_seed(seed))[1]
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_the_amplitude_is_bounded_only_when_sampling() -> None:
    model = small(**GAUSSIAN)
    model.excess.seen.copy_(torch.tensor([[-6.0], [36.0]]).repeat(1, 3))  # means and squares: no spread
    z = torch.randn(1, 8, 8, 8)
    assert (model.eval().log_amplitude(z) == -6).all()
    assert (model.train().log_amplitude(z) != -6).any()


def test_the_excess_is_probed_with_what_h_added(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small(**GAUSSIAN, h="additive_noise", noise_degraded=0.2).train()
    h, probed, smoothed = model.h, [], []

    def watched(*images: torch.Tensor, **options: bool) -> torch.Tensor:
        smoothed.append(h(*images, **options))
        return smoothed[-1]

    monkeypatch.setattr(model, "h", watched)
    monkeypatch.setattr(model.excess, "probe", lambda *errors: probed.extend(errors))
    images = torch.rand(1, 3, 16, 16)
    model.losses(0.5, clean=images, degraded=images)
    torch.testing.assert_close(probed[1], smoothed[1] - images)
