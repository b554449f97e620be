"""ResFlow: its network at the start, what it learns, and its restorations."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from nopairs.errors import NopairsError
from nopairs.models import load_restorer, make, save_model
from nopairs.restorers.flow_network import NetworkOptions
from nopairs.restorers.flow_paths import grid, time_weight
from nopairs.restorers.resflow import ResFlow, ResFlowOptions, correlated, normal_field, round_trip_error
from nopairs.restorers.tiling import restore_tiled
from nopairs.training.data import PairedData
from nopairs.training.options import TrainingOptions

SMALL = {
    "width": 8,
    "multipliers": (1, 2),
    "blocks": 1,
    "attention": (),
    "norm": "none",
    "adapter_width": 4,
    "precision": "float32",
}


def small(seed: int = 0, noisy: bool = True, **options: object) -> ResFlow:
    """A small network; `noisy` moves all weights, those that start at zero too."""
    torch.manual_seed(seed)
    model = ResFlow(ResFlowOptions(**{**SMALL, **options})).eval()  # type: ignore[arg-type]
    if noisy:
        stir(model.network)
    return model


@torch.no_grad()
def stir(network: torch.nn.Module) -> None:
    for parameter in network.parameters():
        parameter.add_(0.08 * torch.randn_like(parameter))


@pytest.fixture
def image() -> Iterator[torch.Tensor]:
    torch.manual_seed(1)
    yield torch.rand(1, 3, 18, 15)


@pytest.mark.parametrize(
    "options", [{}, {"width": 32, "norm": "group", "attention": (1,), "head_width": 32, "blocks": 2}]
)
def test_before_training_the_model_is_the_unet_without_adapter(options: dict[str, object]) -> None:
    model = small(noisy=False, **options)
    unet, adapter = model.network.unet, model.network.adapter
    stir(unet)  # or both would be zero
    x, y, t = torch.randn(2, 3, 16, 16), torch.randn(2, 3, 16, 16), torch.tensor([0.3, 1.0])
    alone = unet(x, t)
    assert alone.abs().max() > 0.01
    assert torch.equal(model.network(x, y, t), alone)
    stir(adapter)
    assert not torch.allclose(model.network(x, y, t), alone, atol=1e-3)


def test_an_untrained_model_leaves_images_as_they_are(image: torch.Tensor) -> None:
    torch.testing.assert_close(small(noisy=False)(image), image)


def test_the_time_matters() -> None:
    model, x = small(), torch.randn(1, 3, 8, 8)
    zero = torch.zeros_like(x)
    at = [model.network(x, zero, torch.tensor([t])) for t in (0.2, 0.9)]
    assert not torch.allclose(*at, atol=1e-3)


@pytest.mark.parametrize(("learned", "outputs"), [("exact", 3), ("learned", 6)])
def test_the_loss_is_the_weighted_error_of_the_velocity(learned: str, outputs: int) -> None:
    """Of an untrained model, which predicts zero: the weighted mean square of the velocities themselves."""
    model = small(noisy=False, auxiliary_velocity=learned, schedule="linear")
    clean, degraded = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    torch.manual_seed(5)
    loss = model.losses(0.0, clean=clean, degraded=degraded)["loss"]
    torch.manual_seed(5)
    t, noise = torch.rand(2), torch.randn_like(clean)
    velocity = torch.cat([2 * (degraded - clean), noise], 1)[:, :outputs]
    expected = (time_weight(t) * velocity.square().mean((1, 2, 3))).mean()
    torch.testing.assert_close(loss, expected)


def test_drawn_times_give_the_weighted_loss_but_for_a_factor() -> None:
    """By (x_1 - x_0)^2, which does not depend on the time, only the factor is left: the mean weight."""
    clean, degraded = torch.rand(4096, 3, 1, 1), torch.rand(4096, 3, 1, 1)
    clean, degraded = clean.expand(-1, -1, 2, 2), degraded.expand(-1, -1, 2, 2)
    losses = {}
    for times in ("weighted", "drawn"):
        torch.manual_seed(0)
        model = small(noisy=False, times=times, auxiliary_velocity="exact")
        losses[times] = float(model.losses(0.0, clean=clean, degraded=degraded)["loss"].detach())
    mean_weight = float(time_weight(torch.linspace(0, 1, 10_001)).mean())
    assert losses["weighted"] / losses["drawn"] == pytest.approx(mean_weight, rel=0.05)


def test_a_share_of_the_images_is_shown_where_restorations_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small(at_start=0.25, times="drawn")
    seen: list[torch.Tensor] = []
    original = model.network.forward

    def forward(x: torch.Tensor, y: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        seen.append(times)
        return original(x, y, times)

    monkeypatch.setattr(model.network, "forward", forward)
    torch.manual_seed(0)
    images = torch.zeros(2000, 3, 4, 4)
    model.losses(0.0, clean=images, degraded=images)
    assert float((seen[0] == 1).float().mean()) == pytest.approx(0.25, abs=0.04)
    assert float(seen[0].min()) > 0 and float(seen[0].max()) == 1


def test_it_learns_to_denoise() -> None:
    """Flat grey images with noise: after a few steps one step of a restoration is nearer to them than the input."""
    model = small(noisy=False, auxiliary_velocity="exact", times="drawn", steps=1).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    generator = torch.Generator().manual_seed(0)

    def pairs() -> tuple[torch.Tensor, torch.Tensor]:
        clean = torch.rand(8, 1, 1, 1, generator=generator).expand(8, 3, 16, 16)
        return clean, clean + 0.2 * torch.randn(8, 3, 16, 16, generator=generator)

    for _ in range(60):
        clean, degraded = pairs()
        loss = model.losses(0.0, clean=clean, degraded=degraded)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    clean, degraded = pairs()
    with torch.inference_mode():
        assert F.mse_loss(model(degraded), clean) < 0.35 * F.mse_loss(degraded, clean)


def two_valued(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Images whose pixels are dark or light by chance, and the same under noise that hides half of it."""
    sign = torch.randint(0, 2, (8, 1, 8, 8), generator=generator) * 2.0 - 1
    clean = (0.5 + 0.2 * sign).expand(8, 3, 8, 8)
    return clean, clean + 0.6 * torch.randn(8, 3, 8, 8, generator=generator)


def one_step_of_two_valued_images(coupling: str) -> tuple[float, float, float, float]:
    """Return the errors of one step by zero and by a draw of the auxiliary variable, that one's spread, and how far two draws are apart."""
    model = small(
        noisy=False, auxiliary_velocity="exact", times="drawn", coupling=coupling, multipliers=(1,)
    ).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    for _ in range(100):
        clean, degraded = two_valued(generator)
        loss = model.losses(0.0, clean=clean, degraded=degraded)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    clean, degraded = two_valued(generator)
    draws = [None, *torch.randn(2, 8, 3, 8, 8, generator=generator)]
    with torch.inference_mode():
        mean, one, other = (model.follow(degraded, draw, grid(1))[-1] for draw in draws)
    errors = float(F.mse_loss(mean, clean)), float(F.mse_loss(one, clean))
    return *errors, float(one.std()), float((one - other).std())


def test_the_auxiliary_variable_has_a_meaning_only_where_it_is_coupled() -> None:
    """Independent of the pair it changes nothing, and one step gives the mean. Coupled, it chooses among the possible images: they
    spread as the clean ones do (0.2), and their error is that of a draw from the posterior, twice the least; by zero it is the least."""
    least, error, spread, apart = one_step_of_two_valued_images("independent")
    assert apart < 0.03 and spread < 0.17
    by_zero, drawn, drawn_spread, drawn_apart = one_step_of_two_valued_images("residual")
    assert drawn_apart > 0.15 and 0.17 < drawn_spread < 0.23
    assert 1.4 < drawn / error < 2.3 and 0.9 < by_zero / least < 1.2


def test_the_coupled_variable_has_unit_variance_and_the_share_s_correlation() -> None:
    torch.manual_seed(0)
    missing, noise = torch.randn(4, 3, 64, 64) * torch.linspace(0.1, 2, 64), torch.randn(4, 3, 64, 64)
    made = correlated(missing, noise, 0.6)
    assert float(made.std()) == pytest.approx(1, abs=0.03)
    strength = missing / torch.linspace(0.1, 2, 64)
    assert float((made * strength).mean()) == pytest.approx(0.6, abs=0.03)
    assert torch.equal(correlated(missing, noise, 0.0), noise)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (18, 15), (16, 16)])
def test_images_of_any_size_keep_it(size: tuple[int, int]) -> None:
    image = torch.rand(2, 3, *size)
    with torch.inference_mode():
        restored = small(multipliers=(1, 1, 1))(image)
    assert restored.shape == image.shape and torch.isfinite(restored).all()


def test_a_patch_halves_the_resolution_inside() -> None:
    model = small(patch=2)
    assert model.multiple == 4 and model.network.unet.stem.in_channels == 12
    assert model.network(torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8), torch.ones(1)).shape == (1, 6, 8, 8)


@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_tiles_fit_together(solver: str) -> None:
    model = small(steps=1 if solver == "heun" else 2, solver=solver, auxiliary="averaged", samples=2)
    image = torch.rand(1, 3, 100, 91)
    with torch.inference_mode():
        whole = model(image)
    torch.testing.assert_close(restore_tiled(model, image, tile=32), whole, atol=2e-5, rtol=0)
    assert not torch.allclose(restore_tiled(model, image, tile=32, margin=2), whole, atol=2e-5)


def test_restorations_repeat_and_depend_on_the_seed(image: torch.Tensor) -> None:
    first, again, other = (small(seed=0, **{"auxiliary": "sampled"}) for _ in range(3))
    other.options = ResFlowOptions(**{**SMALL, "seed": 1})  # type: ignore[arg-type]
    with torch.inference_mode():
        torch.manual_seed(7)
        assert torch.equal(first(image), again(image))
        assert not torch.equal(first(image), other(image))


def test_the_average_is_that_of_the_samples(image: torch.Tensor) -> None:
    model, average = small(), small(auxiliary="averaged", samples=3)
    rows, columns = map(torch.arange, image.shape[2:])
    with torch.inference_mode():
        single = [model.follow(image, normal_field(rows, columns, 0, k), grid(4))[-1] for k in range(3)]
        torch.testing.assert_close(average(image), torch.stack(single).mean(0))
        mean = small(auxiliary="mean")(image)
        torch.testing.assert_close(mean, model.follow(image, None, grid(4))[-1])


def test_the_field_is_standard_normal_and_that_of_the_pixel() -> None:
    field = normal_field(torch.arange(64), torch.arange(64), seed=3)
    assert field.shape == (1, 3, 64, 64)
    assert abs(float(field.mean())) < 0.03 and float(field.std()) == pytest.approx(1, abs=0.03)
    rows, columns = torch.tensor([63, 5, 5]), torch.tensor([2, 9])
    assert torch.equal(normal_field(rows, columns, seed=3), field[:, :, rows[:, None], columns])
    assert not torch.equal(normal_field(torch.arange(64), torch.arange(64), seed=3, sample=1), field)


@pytest.mark.parametrize("learned", ["exact", "learned"])
@pytest.mark.parametrize(("solver", "gain"), [("euler", 3.0), ("midpoint", 10.0)])
def test_the_flow_is_reversible_up_to_the_solver(
    image: torch.Tensor, solver: str, gain: float, learned: str
) -> None:
    """Proposition 1: there and back again; the error falls with the steps, and faster of second order."""
    model = small(solver=solver, auxiliary_velocity=learned)
    errors = [round_trip_error(model, image, steps) for steps in (2, 8, 32)]
    assert errors[1] < errors[0] / gain and errors[2] < errors[1] / gain
    with torch.inference_mode():
        assert float((model(image) - image).square().mean().sqrt()) > 30 * errors[2]


def test_bfloat16_changes_little(image: torch.Tensor) -> None:
    with torch.inference_mode():
        plain, fast = small()(image), small(precision="bfloat16")(image)
    assert 0 < float((plain - fast).abs().max()) < 0.03


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"steps": 0}, "steps is 0; a restoration takes at least 1"),
        ({"samples": 0}, "samples is 0"),
        ({"beta": -0.25}, "singular at t = 0.75"),
        ({"schedule": "cosine"}, "schedule 'cosine' is unknown"),
        ({"solver": "rk45"}, "solver 'rk45' is unknown"),
        ({"auxiliary": "zero"}, "auxiliary 'zero' is unknown"),
        ({"last_step": 1}, "last_step is 1"),
        ({"coupling": "ot"}, "coupling 'ot' is unknown"),
        ({"share": 1}, "share is 1"),
        ({"at_start": 1.0}, "at_start is 1.0"),
        ({"norm": "batch"}, "norm 'batch' is unknown"),
        ({"norm": "group"}, "width 8 must be a multiple of 32"),
        ({"attention": (2,)}, "attention at level 2, but there are 2"),
        ({"attention": (1,), "head_width": 5}, "head_width 5 does not divide"),
        ({"multipliers": ()}, "must be at least 1"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, object], told: str) -> None:
    with pytest.raises(NopairsError, match=told) as error:
        make("restorer", "resflow", {**SMALL, **options})
    assert "\n" not in str(error.value)


def test_pairs_of_unequal_size_are_refused() -> None:
    with pytest.raises(
        NopairsError, match=r"clean images \(1, 3, 8, 8\) and degraded ones \(1, 3, 4, 4\) differ"
    ):
        small().losses(0.0, clean=torch.rand(1, 3, 8, 8), degraded=torch.rand(1, 3, 4, 4))
    tiles = np.zeros((2, 16, 16, 3), np.uint8)
    with pytest.raises(
        NopairsError, match=r"pairs: 2 clean tiles of 16x16 pixels, but 2 degraded ones of 9x9"
    ):
        PairedData(tiles, tiles[:, :9, :9], [], TrainingOptions(steps=1, crop=8))


def test_models_are_saved_and_loaded_and_another_architecture_is_refused(
    tmp_path: Path, image: torch.Tensor
) -> None:
    model = small()
    save_model(tmp_path, "restorer", "resflow", SMALL, model.state_dict(), {})
    with torch.inference_mode():
        assert torch.equal(load_restorer(tmp_path)(image), model(image))
    weights = load_file(tmp_path / "model.safetensors")
    save_file(weights, tmp_path / "model.safetensors")
    save_model(tmp_path, "restorer", "resflow", {**SMALL, "width": 12}, weights, {})
    with pytest.raises(NopairsError, match="not the weights of this resflow") as error:
        load_restorer(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("patch", [1, 2])
def test_the_radius_covers_what_an_output_depends_on(patch: int) -> None:
    kept = {key: value for key, value in SMALL.items() if key != "precision"}
    options = NetworkOptions(**kept, patch=patch)  # type: ignore[arg-type]
    model, side = small(patch=patch), 4 * options.radius // 4 * 4
    x = torch.zeros(1, 3, side, side, requires_grad=True)
    y = torch.zeros(1, 3, side, side, requires_grad=True)
    at = side // 2
    out = model.network(x, y, torch.ones(1))[0, 0, at, at]
    for gradient in torch.autograd.grad(out, (x, y)):
        reached = gradient[0].abs().sum(0).nonzero()
        assert int((reached - at).abs().max()) <= options.radius


def test_margins_grow_with_the_evaluations_and_end() -> None:
    one, two = small(steps=1), small(steps=1, solver="midpoint")
    assert two.margin == 2 * one.margin and math.isfinite(one.margin)
    assert small(steps=1000).margin == 192


def test_the_round_trips_error_is_between_images_from_0_to_1(
    image: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small(steps=1)
    black, white = (model.state(torch.full_like(image, value), None, torch.ones(()))[0] for value in (0, 1))
    span = float((white - black)[:, :3].mean())
    monkeypatch.setattr(model, "flow", lambda state, noise, times: [state, state + 0.05 * span])
    assert round_trip_error(model, image, 1) == pytest.approx(2 * 0.05, rel=1e-5)
