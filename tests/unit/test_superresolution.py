"""Restorers that enlarge, what they are trained against, and the simple degradations beside them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from nopairs import hub
from nopairs.data.resizing import enlarge, reduce
from nopairs.errors import NopairsError
from nopairs.metrics import perceptual
from nopairs.models import load_restorer, make, save_model
from nopairs.restorers.critics import Potential
from nopairs.restorers.esrgan import relativistic_loss
from nopairs.restorers.ots import Ots, OtsOptions
from nopairs.training import features, minimax
from nopairs.training.data import PairedData, UnpairedData
from nopairs.training.loop import Trainer
from nopairs.training.options import TrainingOptions

SMALL = {
    "rrdb": {"width": 4, "blocks": 1},
    "edsr": {"width": 4, "blocks": 1},
    "esrgan": {"width": 4, "blocks": 1, "perceptual": "gradients", "critic_width": 4},
    "cincgan": {"width": 4, "blocks": 1, "inner_width": 4, "inner_blocks": 1, "critic_width": 4},
    "ots": {
        "width": 4,
        "blocks": 1,
        "perceptual": "gradients",
        "critic_width": 4,
        "critic_levels": 2,
        "inner": 2,
    },
}
OPTIONS = TrainingOptions(steps=8, batch=4, crop=8, lr=1e-3, precision="float32", log_every=2)


def tiles(count: int = 6, side: int = 16) -> np.ndarray:
    return np.random.default_rng(side).integers(0, 256, (count, side, side, 3)).astype(np.uint8)


class Unpaired(UnpairedData):
    def __init__(self) -> None:
        self.val, self.channels, self.index = [], None, {}
        self.tiles = {"clean": (tiles(6, 64), [""] * 6), "degraded": (tiles(), [""] * 6)}
        self.share, self.crop, self.align = 2, 8, 1


def trainer(kind: str, folder: Path, options: TrainingOptions = OPTIONS) -> Trainer:
    torch.manual_seed(0)
    network = make("restorer", kind, {**SMALL[kind], "residual": True})
    if hasattr(network, "add_tutors"):
        network.add_tutors()
    data = Unpaired() if kind in ("ots", "cincgan") else PairedData(tiles(6, 64), tiles(), [], options)
    return Trainer(network, data, options, folder, seed=3, device=torch.device("cpu"), fingerprint="")


@pytest.mark.parametrize("kind", SMALL)
def test_enlarges_and_begins_at_bicubic_where_residual(kind: str) -> None:
    images = torch.rand(2, 3, 12, 9)
    assert make("restorer", kind, SMALL[kind])(images).shape == (2, 3, 48, 36)
    torch.manual_seed(0)
    restorer = make("restorer", kind, {**SMALL[kind], "width": 16, "residual": True})
    assert restorer.scale == 4
    assert (restorer(images) - enlarge(images, 4)).abs().mean() < 0.06


@pytest.mark.parametrize(("residual", "share"), [(False, 0.1), (True, 0.5)])
@pytest.mark.parametrize("scale", [1, 2, 4, 8])
def test_rrdbs_blocks_and_trunk_begin_at_a_share_of_hes_weights_at_every_scale(
    scale: int, residual: bool, share: float
) -> None:
    torch.manual_seed(0)
    model = make("restorer", "rrdb", {"width": 16, "blocks": 1, "scale": scale, "residual": residual}).model
    convolutions = {name: one for name, one in model.named_modules() if isinstance(one, nn.Conv2d)}
    trunk = {name for name in convolutions if name.startswith("1.sub")}
    assert len(trunk) == 16 and len(convolutions) == 19 + math.log2(scale)
    for name, layer in convolutions.items():
        inputs = 9 * layer.in_channels
        usual, he = (1 / (3 * inputs)) ** 0.5, (2 / (1.04 * inputs)) ** 0.5  # torch's own, and He's
        last = name == list(convolutions)[-1]
        others = (0.1 * usual if last else he) if residual else usual
        expected = share * he if name in trunk else others
        assert float(layer.weight.detach().std()) == pytest.approx(expected, rel=0.15), name
    assert residual is not bool(model[-1].bias.any())


@pytest.mark.parametrize("kind", ["esrgan", "ots", "cincgan"])
def test_players_are_trained_resumed_bit_for_bit_and_saved_alone(kind: str, tmp_path: Path) -> None:
    whole = trainer(kind, tmp_path / "whole")
    start = {name: value.clone() for name, value in whole.network.state_dict().items()}
    weights = whole.run().weights
    names = {id(parameter): name for name, parameter in whole.network.named_parameters()}
    for part in whole.players.values():
        mine = [names[id(parameter)] for parameter in part.parameters()]
        assert any(not torch.equal(weights[name], start[name]) for name in mine)
    parts = trainer(kind, tmp_path / "parts")
    for _ in range(5):
        parts._step()
    parts._save()
    resuming = trainer(kind, tmp_path / "parts")
    resuming._resume()
    assert resuming.state.step == 5
    resumed = resuming.run().weights
    assert all(torch.equal(resumed[name], weights[name]) for name in weights)
    kept = make("restorer", kind, SMALL[kind]).state_dict().keys()
    save_model(tmp_path / "model", "restorer", kind, SMALL[kind], {name: weights[name] for name in kept}, {})
    assert load_restorer(tmp_path / "model")(torch.rand(1, 3, 8, 8)).shape == (1, 3, 32, 32)


def test_esrgans_generator_learns_alone_first_and_its_opponent_is_kept_from_steep_slopes() -> None:
    esrgan = make("restorer", "esrgan", {**SMALL["esrgan"], "pixel_steps": 2, "penalty": 3.0})
    esrgan.add_tutors()
    clean, degraded = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 8, 8)
    esrgan.discriminator.requires_grad_(False)
    assert [esrgan.turn(step) for step in (2, 3, 0, 1)] == [
        "generator",
        "discriminator",
        "generator",
        "generator",
    ]
    alone = esrgan.losses(0.0, clean=clean, degraded=degraded)
    assert set(alone) == {"loss"}
    torch.testing.assert_close(alone["loss"], (esrgan(degraded) - clean).abs().mean())
    esrgan.turn(2)
    both = esrgan.losses(0.0, clean=clean, degraded=degraded)
    torch.testing.assert_close(both["pixel"], alone["loss"])
    esrgan.discriminator.requires_grad_(True)
    judged = relativistic_loss(esrgan.discriminator(clean), esrgan.discriminator(esrgan(degraded)))
    steepness = minimax.slope_penalty(esrgan.discriminator, clean)
    assert steepness > 0
    torch.testing.assert_close(
        esrgan.losses(0.0, clean=clean, degraded=degraded)["loss"], judged + 3 * steepness
    )


def test_esrgans_generator_weighs_pixels_features_and_its_opponents_scores() -> None:
    weights = {"pixel": 0.3, "perceptual_weight": 0.7, "adversarial": 1.1}
    torch.manual_seed(0)
    esrgan = make("restorer", "esrgan", {**SMALL["esrgan"], **weights})
    esrgan.add_tutors()
    esrgan.discriminator.requires_grad_(False)
    esrgan.discriminator.score[-1].weight.mul_(30)
    clean, degraded = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 8, 8)
    restored = esrgan(degraded)
    scores, aims = esrgan.discriminator(restored), esrgan.discriminator(clean)
    expected = 0.3 * (restored - clean).abs().mean() + 0.7 * esrgan.features.distance(restored, clean)
    expected = expected + 1.1 * relativistic_loss(scores, aims)
    assert abs(relativistic_loss(scores, aims) - relativistic_loss(aims, scores)) > 0.01
    torch.testing.assert_close(esrgan.losses(0.0, clean=clean, degraded=degraded)["loss"], expected)


def test_ots_compares_with_bicubic_first_and_then_with_a_frozen_copy() -> None:
    restorer = Ots(OtsOptions(**SMALL["ots"], rounds=2))  # type: ignore[arg-type]
    restorer.add_tutors()
    images = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(restorer._reference(images, 0.0), enlarge(images, 4))
    before = restorer(images)
    torch.testing.assert_close(restorer._reference(images, 0.5), before)
    with torch.no_grad():
        restorer.map.head.weight.add_(1)
    torch.testing.assert_close(restorer._reference(images, 0.9), before)
    assert restorer.cost(before, before).item() == 0
    moved = before + 0.1
    only_pixels = Ots(OtsOptions(**{**SMALL["ots"], "perceptual_weight": 0.0}))  # type: ignore[arg-type]
    assert only_pixels.cost(moved, before).item() == pytest.approx(0.01 + 0.1 / 3, rel=1e-4)


def test_the_potential_is_kept_from_slopes_that_no_cost_within_reach_has() -> None:
    options = {**SMALL["ots"], "perceptual": "none", "perceptual_weight": 0.0, "reach": 0.1, "cost_weight": 7}
    restorer = Ots(OtsOptions(**options))  # type: ignore[arg-type]
    moved, reference = torch.full((1, 3, 16, 16), 0.6, requires_grad=True), torch.full((1, 3, 16, 16), 0.5)
    (slope,) = torch.autograd.grad(restorer.cost(moved, reference), moved)
    assert restorer.steepest(moved.numel()) == pytest.approx(slope.norm().item(), rel=1e-4)
    restorer.add_tutors()
    restorer.map.requires_grad_(False)
    clean, degraded = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 8, 8)
    free = Ots(OtsOptions(**{**options, "reach": 0.0}))  # type: ignore[arg-type]
    free.add_tutors()
    free.map.requires_grad_(False)
    free.load_state_dict(restorer.state_dict())
    for factor, costs in ((1e-4, False), (1e4, True)):
        for network in (restorer, free):
            nn.init.normal_(
                network.potential.score.weight, std=factor, generator=torch.Generator().manual_seed(0)
            )
        bound, plain = (n.losses(0.0, clean=clean, degraded=degraded)["loss"] for n in (restorer, free))
        assert (bound.item() > plain.item() + 1) if costs else (bound.item() == plain.item())


def test_a_potential_without_colour_sees_differences_alone() -> None:
    images = torch.rand(2, 3, 16, 16)
    tinted = images + torch.tensor([0.1, -0.2, 0.3]).view(1, 3, 1, 1)
    for colour in (True, False):
        torch.manual_seed(0)
        potential = Potential(4, 2, colour=colour)
        assert torch.allclose(potential(images), potential(tinted), atol=1e-5) is not colour
        assert not torch.allclose(potential(images), potential(images.flip(2, 3) ** 2), atol=1e-5)


def test_a_potential_without_colour_sees_colour_noise_as_strong_as_brightness() -> None:
    potential, seen = Potential(4, 2, colour=False), []
    potential.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    noise = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    grey = 0.04 * noise.expand(1, 3, 16, 16) / 3**0.5
    coloured = 0.01 * torch.cat([noise, 0 * noise, -noise], 1) / 2**0.5  # a quarter as strong
    for images in (grey, coloured):
        potential(0.5 + images)
    assert seen[0].std() > 0.05
    torch.testing.assert_close(seen[0][:, 0], seen[1][:, 1], atol=1e-5, rtol=1e-4)
    for channel in (seen[0][:, 1:], seen[1][:, ::2]):
        assert channel.abs().max() < 1e-5


def test_cincgans_losses_where_everything_is_the_identity_or_bicubic() -> None:
    restorer = make("restorer", "cincgan", {**SMALL["cincgan"], "residual": True})
    restorer.add_tutors()
    for part in (restorer.cleaner, restorer.degrader, restorer.reducer, restorer.enlarger):
        nn.init.zeros_(part.tail[-1].weight)
        nn.init.zeros_(part.tail[-1].bias)
    restorer.players["discriminators"].requires_grad_(False)
    restorer.small_critic.eval()
    restorer.large_critic.eval()
    # On flat images nothing is lost but what the discriminators say.
    found = restorer.losses(
        0.0, clean=torch.full((2, 3, 64, 64), 0.4), degraded=torch.full((2, 3, 16, 16), 0.6)
    )
    judged = ((restorer.small_critic, 16), (restorer.large_critic, 64))
    expected = sum(
        (critic(torch.full((2, 3, side, side), 0.6)) - 1).square().mean() for critic, side in judged
    )
    torch.testing.assert_close(found["loss"], expected, atol=1e-4, rtol=1e-3)


def test_cincgans_discriminators_want_one_of_clean_images_and_nothing_of_made_ones() -> None:
    restorer = make("restorer", "cincgan", {**SMALL["cincgan"], "residual": True})
    restorer.add_tutors()
    restorer.players["generators"].requires_grad_(False)
    clean, degraded = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 16, 16)
    cleaned = restorer.cleaner(degraded)
    sides = (
        (restorer.small_critic, reduce(clean, 4), cleaned),
        (restorer.large_critic, clean, restorer.enlarger(cleaned)),
    )
    expected = sum(
        (critic(real) - 1).square().mean() + critic(made).square().mean() for critic, real, made in sides
    )
    torch.testing.assert_close(restorer.losses(0.0, clean=clean, degraded=degraded)["loss"], expected)


def test_cincgans_generators_weigh_the_parts_of_either_cycle() -> None:
    weights = {"cycle": [200.0, 300.0], "identity": [5.0, 7.0], "smoothness": [11.0, 13.0]}
    restorer = make("restorer", "cincgan", {**SMALL["cincgan"], **weights})
    restorer.add_tutors()
    restorer.players["discriminators"].requires_grad_(False)
    clean, degraded = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 16, 16)
    small, cleaned = reduce(clean, 4), restorer.cleaner(degraded)
    enlarged = restorer.enlarger(cleaned)
    back = (restorer.degrader(cleaned), restorer.reducer(reduce(enlarged, 4)))
    kept = (restorer.cleaner(small) - small, restorer.enlarger(small) - clean)
    critics = (restorer.small_critic, restorer.large_critic)
    found = restorer.losses(0.0, clean=clean, degraded=degraded)
    for cycle, made in enumerate((cleaned, enlarged)):
        expected = (
            (critics[cycle](made) - 1).square().mean()
            + weights["cycle"][cycle] * (back[cycle] - degraded).square().mean()
            + weights["identity"][cycle] * kept[cycle].abs().mean()
            + weights["smoothness"][cycle] * (made.diff(dim=2).abs().mean() + made.diff(dim=3).abs().mean())
        )
        torch.testing.assert_close(found[("inner", "outer")[cycle]], expected)
    torch.testing.assert_close(found["loss"], found["inner"] + found["outer"])


def test_relativistic_scores() -> None:
    real, fake = torch.tensor([[2.0], [4.0]]), torch.tensor([[-1.0], [1.0]])
    expected = (torch.log1p(torch.exp(-(real - 0))).mean() + torch.log1p(torch.exp(fake - 3)).mean()) / 2
    torch.testing.assert_close(relativistic_loss(real, fake), expected)
    assert relativistic_loss(real, fake) < relativistic_loss(fake, real)


def test_vgg_without_its_weights_is_refused_and_the_substitute_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(NopairsError, match="perceptual: gradients"):
        features.Features("vgg19")
    file = hub.weight_file(features.WEIGHTS["vgg19"])
    file.parent.mkdir(parents=True)
    file.write_bytes(b"other")
    with pytest.raises(NopairsError, match="SHA-256 differs"):
        features.Features("vgg19")


@pytest.mark.parametrize("kind", ["vgg16", "vgg19"])
def test_what_otss_and_esrgans_perceptual_parts_compare(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers named by where they are in VGG, the differences squared and summed or absolute, the images normalised or not."""
    layers = nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=1) for _ in range(35)))
    monkeypatch.setattr(features, "_vgg", lambda kind: layers)
    images, reference = torch.rand(2, 2, 3, 12, 12)
    mean, deviation = (torch.tensor(value).view(1, 3, 1, 1) for value in (features.MEAN, features.DEVIATION))
    if kind == "vgg16":
        kept = [(layers[: index + 1](images), layers[: index + 1](reference)) for index in (3, 8, 15, 22)]
        expected = sum((one - other).square().mean() for one, other in kept)
    else:
        one, other = (layers[:35]((image - mean) / deviation) for image in (images, reference))
        expected = (one - other).abs().mean()
    torch.testing.assert_close(features.Features(kind).distance(images, reference), expected)


def test_lpips_as_a_loss_is_the_measure_and_has_a_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a network that trains, too, where its dropout would make it a draw."""
    import lpips

    monkeypatch.setattr(perceptual, "unavailable", lambda net="alex": None)
    network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).eval()
    monkeypatch.setattr(perceptual, "network", lambda net: network)
    images, reference = torch.rand(2, 1, 3, 40, 40).requires_grad_()
    compare = features.Features("lpips")
    nn.Sequential(compare).train()
    found = compare.distance(images, reference)
    torch.testing.assert_close(found, network(2 * images - 1, 2 * reference - 1).mean())
    assert float(torch.autograd.grad(found, images)[0].abs().sum()) > 0


def test_the_substitute_compares_edges_and_no_levels() -> None:
    compare = features.Features("gradients")
    images = torch.rand(2, 3, 16, 16)
    assert float(compare.distance(images, images + 0.1)) == pytest.approx(0, abs=1e-6)
    assert float(compare.distance(images, 0.5 * images)) > 0.02


def test_weights_of_spandrels_layout_are_a_start_and_of_another_size_refused(tmp_path: Path) -> None:
    published = make("restorer", "rrdb", {"width": 4, "blocks": 1})
    torch.save(
        {f"model.{name}": value for name, value in published.model.state_dict().items()}, tmp_path / "x4.pth"
    )
    started = make("restorer", "rrdb", {"width": 4, "blocks": 1, "start": str(tmp_path / "x4.pth")})
    started.add_tutors()
    images = torch.rand(1, 3, 8, 8)
    assert torch.equal(started(images), published(images))
    assert torch.equal(load_restorer(tmp_path / "x4.pth")(images), published(images))
    other = make("restorer", "rrdb", {"width": 8, "blocks": 1, "start": str(tmp_path / "x4.pth")})
    with pytest.raises(NopairsError, match="not weights of an RRDB of 1 blocks of 8 channels"):
        other.add_tutors()


def test_noise_patches_are_the_flattest_without_their_means() -> None:
    degraded = tiles(4, 32)
    flat = np.random.default_rng(1).normal(100, 3, (16, 16, 3)).round().astype(np.uint8)
    degraded[2, 16:, :16] = flat
    model = make("degradation", "noise_patches", {"patch": 16})
    clean = torch.full((40, 3, 24, 20), 0.5)
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(NopairsError, match="no patches were collected"):
        model.make_pairs(clean, None, "clean", torch.ones(40), generator)
    model.collect(degraded, 0)
    _, noisy = model.make_pairs(clean, None, "clean", torch.full((40,), 2.0), generator)
    noise = (noisy - clean) * 255 / 2
    centred = flat - flat.mean((0, 1))
    for image in noise.numpy():
        corner = np.sort(image[:, :16, :16].reshape(3, -1))
        np.testing.assert_allclose(corner, np.sort(centred.reshape(-1, 3).T), atol=1e-3)
    assert len({tuple(image[0, 0].tolist()) for image in noise}) == 8  # the symmetries of a square
    share = make("degradation", "noise_patches", {"patch": 16, "share": 0.5})
    share.collect(degraded, 0)
    assert len(share.noise) == 8
    for options, message in (
        ({"patch": 64}, "make `patch` smaller"),
        ({"patch": 16, "max_variance": 1e-3}, "name a `share`"),
    ):
        with pytest.raises(NopairsError, match=message):
            make("degradation", "noise_patches", options).collect(degraded, 0)


def test_bicubic_degrades_nothing() -> None:
    images = torch.rand(2, 3, 8, 8)
    pair = make("degradation", "bicubic", {}).make_pairs(
        images, None, "clean", torch.ones(2), torch.Generator()
    )
    assert all(torch.equal(side, images) for side in pair)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("rrdb", {"scale": 3}),
        ("edsr", {"width": 0}),
        ("esrgan", {"perceptual": "vgg"}),
        ("esrgan", {"penalty": -1.0}),
        ("esrgan", {"critic_width": 0}),
        ("ots", {"perceptual": "vgg"}),
        ("ots", {"inner": 0}),
        ("ots", {"reach": -0.1}),
        ("cincgan", {"identity": [-1.0, 5.0]}),
    ],
)
def test_impossible_options(kind: str, options: dict[str, object]) -> None:
    with pytest.raises(NopairsError, match=kind):
        make("restorer", kind, options)


def test_nothing_is_trained_in_features() -> None:
    assert isinstance(features.Features("none"), nn.Module)
    assert not list(features.Features("gradients").parameters())
