"""The training loop: resuming, schedules, validation, and what stops it."""

from __future__ import annotations

import dataclasses
import mmap
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from nopairs.data.images import write_png
from nopairs.data.tiles import allocate_tiles, own_memory
from nopairs.errors import NopairsError
from nopairs.restorers.dncnn import DnCNN, DnCNNOptions
from nopairs.training import pairs as validation
from nopairs.training.data import PairedData, autoencoder_data, dataset_data, hold_out, validation_psnr
from nopairs.training.loop import STOPPED, Result, Trainer, update_average
from nopairs.training.options import TrainingOptions
from nopairs.training.pairs import read_validation
from nopairs.training.schedule import learning_rate

OPTIONS = TrainingOptions(
    steps=12,
    batch=2,
    crop=16,
    lr=1e-3,
    warmup=3,
    ema=0.9,
    clip=1.0,
    validate_every=4,
    log_every=2,
    save_every=0.0,
)


def pairs(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    clean = rng.integers(60, 200, (6, 24, 24, 3)).astype(np.uint8)
    return clean, np.clip(clean + rng.normal(0, 20, clean.shape), 0, 255).astype(np.uint8)


def trainer(folder: Path, options: TrainingOptions = OPTIONS, fingerprint: str = "a") -> Trainer:
    torch.manual_seed(0)
    clean, degraded = pairs()
    data = PairedData(clean, degraded, list(zip(clean[:1], degraded[:1], strict=True)), options)
    network = DnCNN(DnCNNOptions(depth=3, width=8, batch_norm=True))
    return Trainer(
        network, data, options, folder, seed=5, device=torch.device("cpu"), fingerprint=fingerprint
    )


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def assert_equal_logs(one: Path, other: Path) -> None:
    logs = [pd.read_csv(folder / "log.csv").drop(columns="seconds") for folder in (one, other)]
    pd.testing.assert_frame_equal(*logs, check_exact=True)


def test_same_seed_same_weights(tmp_path: Path) -> None:
    assert equal(trainer(tmp_path / "a").run().weights, trainer(tmp_path / "b").run().weights)


def test_a_stopped_run_resumes_bit_for_bit(tmp_path: Path) -> None:
    whole = trainer(tmp_path / "whole").run()
    stopped = trainer(tmp_path / "parts")
    original = stopped.data.batch

    def batch_then_signal(rng: np.random.Generator) -> dict[str, torch.Tensor]:
        if stopped.state.step == 6:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(rng)

    stopped.data.batch = batch_then_signal  # type: ignore[method-assign]
    with pytest.raises(SystemExit) as exit_:
        stopped.run()
    assert exit_.value.code == STOPPED
    resumed = trainer(tmp_path / "parts")
    taken, step = [], resumed._step

    def counted() -> None:
        taken.append(resumed.state.step)
        step()

    resumed._step = counted  # type: ignore[method-assign]
    result = resumed.run()
    assert taken == [7, 8, 9, 10, 11]  # the signal came in step 6, which was finished
    assert equal(result.weights, whole.weights)
    assert result.best == whole.best
    assert_equal_logs(tmp_path / "parts", tmp_path / "whole")


def test_the_averages_weights_of_the_best_validation_are_kept(tmp_path: Path) -> None:
    run, seen = trainer(tmp_path), []
    values = iter((1.0, 3.0, 2.0))

    def validate(network: torch.nn.Module) -> dict[str, float]:
        seen.append({name: value.clone() for name, value in network.state_dict().items()})
        return {"psnr": next(values)}

    run.data.validate = validate  # type: ignore[method-assign]
    result = run.run()
    assert (result.best, result.best_step) == (3.0, 8)
    assert equal(result.weights, seen[1])
    assert equal(run.average.state_dict(), seen[2]) and not equal(run.network.state_dict(), seen[2])


def test_without_validation_the_averages_last_weights_are_kept(tmp_path: Path) -> None:
    run = trainer(tmp_path, dataclasses.replace(OPTIONS, validate_every=0))
    result = run.run()
    assert result.best is None
    assert equal(result.weights, run.average.state_dict())
    assert not equal(result.weights, run.network.state_dict())


def test_batch_normalisation_follows_every_step_after_validations_too(tmp_path: Path) -> None:
    run = trainer(tmp_path, dataclasses.replace(OPTIONS, ema=0.0))
    run.run()
    assert run.network.get_buffer("model.3.num_batches_tracked") == OPTIONS.steps


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    first = trainer(tmp_path).run()
    again = trainer(tmp_path)
    again._step = lambda: pytest.fail("trained again")  # type: ignore[method-assign]
    second = again.run()
    assert equal(first.weights, second.weights)
    assert (first.steps, first.best, first.best_step, first.seconds) == (
        second.steps,
        second.best,
        second.best_step,
        second.seconds,
    )


SCRIPT = """
import sys; sys.path.insert(0, {tests!r})
from pathlib import Path
import torch, test_training as t, dataclasses
torch.set_num_threads(1)
options = dataclasses.replace(t.OPTIONS, steps=400, validate_every=100)
run = t.trainer(Path({folder!r}), options)
torch.save(run.run().weights, {out!r})
"""


def test_sigkill_at_a_random_step_changes_nothing(tmp_path: Path) -> None:
    def start(name: str) -> tuple[subprocess.Popen[bytes], Path]:
        out = tmp_path / f"{name}.pt"
        code = SCRIPT.format(tests=str(Path(__file__).parent), folder=str(tmp_path / name), out=str(out))
        return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL), out

    whole, whole_out = start("whole")
    assert whole.wait() == 0
    killed, out = start("killed")
    state = tmp_path / "killed/training_state.pt"
    while not state.exists() and killed.poll() is None:
        time.sleep(0.01)
    time.sleep(np.random.default_rng().uniform(0, 0.5))
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    step = torch.load(state, weights_only=True)["step"]
    assert 0 < step < 400
    again, out = start("killed")
    assert again.wait() == 0
    assert equal(torch.load(out, weights_only=True), torch.load(whole_out, weights_only=True)), step


def test_a_state_of_another_configuration_is_not_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = trainer(tmp_path)
    first.run()
    first._save()
    other = trainer(tmp_path, fingerprint="b")
    other._resume()
    assert other.state.step == 0
    assert "training_state.pt: of another configuration, data or code" in capsys.readouterr().out


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("executed",)


@pytest.mark.parametrize("content", [b"hello", pickle.dumps(Evil()), b""])
def test_a_state_that_cannot_be_read_is_named_and_not_executed(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "training_state.pt").write_bytes(content)
    with pytest.raises(NopairsError, match=r"training_state\.pt: .* cannot be read; delete it"):
        trainer(tmp_path).run()
    assert not (tmp_path / "executed").exists()


def test_training_lowers_the_error(tmp_path: Path) -> None:
    options = TrainingOptions(steps=150, batch=4, crop=16, lr=2e-3, log_every=10)
    trainer(tmp_path, options).run()
    loss = pd.read_csv(tmp_path / "log.csv").loss
    assert loss.iloc[-3:].mean() < 0.8 * loss.iloc[0]


def test_weights_decay_where_asked_and_not_otherwise(tmp_path: Path) -> None:
    norms = {}
    for decay in (0.0, 1.0):
        options = dataclasses.replace(OPTIONS, weight_decay=decay, lr=0.01, ema=0.0, validate_every=0)
        weights = trainer(tmp_path / str(decay), options).run().weights
        norms[decay] = float(weights["model.0.weight"].norm())
    assert norms[1.0] < 0.98 * norms[0.0]


def test_each_step_has_its_rate_its_moments_decays_and_a_clipped_gradient(tmp_path: Path) -> None:
    run = trainer(tmp_path, dataclasses.replace(OPTIONS, lr=0.1, warmup=4, clip=1e-3, betas=(0.1, 0.2)))
    optimiser, rates, norms = run.optimisers[""], [], []
    step = optimiser.step

    def remembered() -> None:
        (group,) = optimiser.param_groups
        assert group["betas"] == (0.1, 0.2)
        rates.append(group["lr"])
        norms.append(float(torch.cat([parameter.grad.flatten() for parameter in group["params"]]).norm()))
        step()

    optimiser.step = remembered  # type: ignore[method-assign, assignment]
    for _ in range(5):
        run._step()
    assert rates == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1])
    assert norms == pytest.approx([1e-3] * 5, rel=0.01)


def test_what_a_step_draws_is_its_own_and_repeats(tmp_path: Path) -> None:
    def drawn(seed: int, first: int) -> list[float]:
        run, seen = trainer(tmp_path), []
        run.seed, run.state.step, original = seed, first, run.losses

        def losses(progress: float, **batch: torch.Tensor) -> dict[str, torch.Tensor]:
            seen.append(float(torch.rand(())))
            return original(progress, **batch)

        run.losses = losses
        for _ in range(first, 3):
            run._step()
        return seen

    whole, later, other = drawn(5, 0), drawn(5, 1), drawn(6, 0)
    assert whole[1:] == later
    assert len({*whole, *other}) == 6


def test_the_average_follows_quickly_at_first(tmp_path: Path) -> None:
    run = trainer(tmp_path, dataclasses.replace(OPTIONS, ema=0.999))
    start = [parameter.detach().clone() for parameter in run.network.parameters()]
    run._step()
    for average, before, now in zip(run.average.parameters(), start, run.network.parameters(), strict=True):
        torch.testing.assert_close(average, 0.1 * before + 0.9 * now)


def test_a_loss_that_is_not_finite_stops_and_names_step_and_batch(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    run.losses = lambda progress, **batch: {"loss": torch.tensor(float("nan"), requires_grad=True)}
    with pytest.raises(NopairsError, match=r"not finite at step 0.*pairs \d"):
        run.run()


def infinite_slope(network: torch.nn.Module) -> torch.Tensor:
    """A summand of a loss: 0, with a gradient that is not finite."""
    weight = next(network.parameters())
    return (weight - weight.detach()).abs().sum().sqrt()


def test_weights_that_are_not_finite_are_neither_kept_nor_returned(tmp_path: Path) -> None:
    """A loss may be finite and its gradient not, and on a GPU most losses are not read."""
    run = trainer(tmp_path, dataclasses.replace(OPTIONS, clip=0.0))
    original = run.losses

    def losses(progress: float, **batch: torch.Tensor) -> dict[str, torch.Tensor]:
        found = original(progress, **batch)
        if run.state.step == OPTIONS.steps - 1:
            found["loss"] = found["loss"] + infinite_slope(run.network)
        return found

    run.losses = losses
    with pytest.raises(NopairsError, match=r"not finite after 12 steps; the last good state is in"):
        run.run()
    state = torch.load(tmp_path / "training_state.pt", weights_only=True)
    assert state["step"] == 11 and all(value.isfinite().all() for value in state["network"].values())


@pytest.mark.parametrize("what", ["loss", "norm of the gradient"])
def test_a_few_batches_may_be_skipped_and_no_more(what: str, tmp_path: Path) -> None:
    options = dataclasses.replace(OPTIONS, skips=2, clip=0.0)

    def trained(folder: str, broken: tuple[int, ...]) -> Result:
        run = trainer(tmp_path / folder, options)
        original = run.losses

        def losses(progress: float, **batch: torch.Tensor) -> dict[str, torch.Tensor]:
            found = original(progress, **batch)
            if run.state.step in broken:
                more = float("nan") if what == "loss" else infinite_slope(run.network)
                found["loss"] = found["loss"] + more
            return found

        run.losses = losses
        return run.run()

    result = trained("two", (3, 7))
    assert result.skipped == 2 and all(value.isfinite().all() for value in result.weights.values())
    assert list(pd.read_csv(tmp_path / "two/log.csv").skipped) == [0, 1, 1, 2, 2, 2]
    refusal = rf"not finite at step 9 after 2 skipped batches \({{'{what}': nan}}\)"
    with pytest.raises(NopairsError, match=refusal):
        trained("three", (3, 7, 9))


def test_where_nothing_is_skipped_skips_change_nothing(tmp_path: Path) -> None:
    plain, skipping = (
        trainer(tmp_path / str(skips), dataclasses.replace(OPTIONS, clip=0.0, skips=skips)).run()
        for skips in (0, 2)
    )
    assert skipping.skipped == 0 and equal(plain.weights, skipping.weights)


class Duel(torch.nn.Module):
    """Two players: the first moves towards the images' mean, the second towards twice the first."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)

    @property
    def players(self) -> dict[str, torch.nn.Module]:
        return {"first": self.first, "second": self.second}

    def turn(self, step: int) -> str:
        return "second" if step % 3 == 2 else "first"

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images

    def losses(self, progress: float, **batch: torch.Tensor) -> dict[str, torch.Tensor]:
        mean = batch["clean"].mean().view(1, 1) + 0.01 * torch.randn(1, 1)
        first, second = self.first(mean), self.second(mean)
        if self.first.weight.requires_grad:
            assert not self.second.weight.requires_grad
            return {"loss": (first - mean).square().mean()}
        return {"loss": (second - 2 * first).square().mean()}


def duel(folder: Path) -> Trainer:
    torch.manual_seed(0)
    clean, degraded = pairs()
    options = dataclasses.replace(OPTIONS, steps=14, lr=0.05, warmup=0)
    data = PairedData(clean, degraded, list(zip(clean[:1], degraded[:1], strict=True)), options)
    device = torch.device("cpu")
    return Trainer(Duel(), data, options, folder, seed=5, device=device, fingerprint="a")


def test_players_move_in_turn_each_with_its_own_moments_and_resume_bit_for_bit(tmp_path: Path) -> None:
    whole = duel(tmp_path / "whole")
    before = {name: value.clone() for name, value in whole.network.state_dict().items()}
    for step, moved in enumerate(("first", "first", "second", "first")):
        whole._step()
        changed = {
            name for name, value in whole.network.state_dict().items() if not torch.equal(value, before[name])
        }
        assert changed == {f"{moved}.weight", f"{moved}.bias"}, step
        before = {name: value.clone() for name, value in whole.network.state_dict().items()}
    result = whole.run()
    parts = duel(tmp_path / "parts")
    for _ in range(7):
        parts._step()
    parts._save()
    resumed = duel(tmp_path / "parts")
    resumed._resume()
    assert resumed.state.step == 7
    assert equal(resumed.run().weights, result.weights)
    parts_log, log = (
        pd.read_csv(tmp_path / name / "log.csv").drop(columns="seconds") for name in ("parts", "whole")
    )
    assert {"loss", "second_loss"} <= set(log)
    # The first row that both have: the whole one began to log four steps earlier.
    pd.testing.assert_frame_equal(parts_log, log.tail(len(parts_log)).reset_index(drop=True))


def test_schedules() -> None:
    halve = TrainingOptions(steps=100, lr=1.0, schedule="halve", milestones=(10, 20))
    assert [learning_rate(halve, step) for step in (0, 9, 10, 19, 20)] == [1, 1, 0.5, 0.5, 0.25]
    cosine = TrainingOptions(steps=100, lr=1.0, schedule="cosine", final_lr=0.1, warmup=10)
    assert learning_rate(cosine, 4) == pytest.approx(0.5)
    assert learning_rate(cosine, 10) == pytest.approx(1.0)
    assert learning_rate(cosine, 55) == pytest.approx(0.55)
    assert learning_rate(cosine, 100) == pytest.approx(0.1)
    linear = TrainingOptions(steps=100, lr=1.0, schedule="linear", final_lr=0.2)
    assert [learning_rate(linear, step) for step in (0, 50, 75, 100)] == pytest.approx([1, 1, 0.6, 0.2])


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"steps": 1, "lr": 0.0},
        {"steps": 1, "ema": 1.0},
        {"steps": 1, "schedule": "cosin"},
        {"steps": 1, "align": 0},
        {"steps": 1, "crop": 60, "align": 8},
    ],
)
def test_impossible_options_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(NopairsError, match=r"training: "):
        TrainingOptions(**wrong)  # type: ignore[arg-type]


def test_average_follows_the_closed_form() -> None:
    average, network = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    start, target = average.weight.detach().clone(), network.weight.detach().clone()
    for _ in range(3):
        update_average(average, network, 0.9)
    torch.testing.assert_close(average.weight, 0.9**3 * start + (1 - 0.9**3) * target)


def test_the_averages_buffers_are_the_networks() -> None:
    average, network = torch.nn.BatchNorm2d(2), torch.nn.BatchNorm2d(2)
    network(torch.rand(2, 2, 4, 4))
    update_average(average, network, 0.9)
    assert equal(dict(average.named_buffers()), dict(network.named_buffers()))


def test_validation_psnr_of_the_identity_is_that_of_the_input() -> None:
    from skimage.metrics import peak_signal_noise_ratio

    clean, degraded = pairs()

    class Same(torch.nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    expected = np.mean([peak_signal_noise_ratio(a, b) for a, b in zip(clean, degraded, strict=True)])
    assert validation_psnr(Same(1, 1), list(zip(clean, degraded, strict=True))) == pytest.approx(expected)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Tiles whose value says their role: clean and degraded unpaired, and pairs of which the degraded side is brighter."""
    for folder, value in (("clean", 10), ("degraded", 20), ("pairs/clean", 30), ("pairs/degraded", 40)):
        for k in range(3):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            write_png(tmp_path / folder / f"{k}.png", np.full((24, 24, 3), value + k, np.uint8))
    return tmp_path


def test_what_learns_from_a_dataset_sees_its_roles_and_no_others(dataset: Path) -> None:
    rng = np.random.default_rng(0)
    unpaired = dataset_data(dataset, ("clean", "degraded"), [], OPTIONS)
    batch = unpaired.batch(rng)
    assert {role: tuple(images.shape) for role, images in batch.items()} == dict.fromkeys(
        ("clean", "degraded"), (1, 3, 16, 16)
    )
    values = {role: int(images[0, 0, 0, 0] * 255 + 0.5) for role, images in batch.items()}
    assert values["clean"] in range(10, 13) and values["degraded"] in range(20, 23)
    assert unpaired.describe() == f"{values['clean'] - 10}.png, {values['degraded'] - 20}.png"
    one_sided = dataset_data(dataset, ("degraded",), [], OPTIONS).batch(rng)
    assert one_sided.keys() == {"degraded"} and len(one_sided["degraded"]) == 2


def test_real_pairs_belong_together_and_share_a_batch(dataset: Path) -> None:
    options = dataclasses.replace(OPTIONS, batch=16)
    batch = dataset_data(dataset, ("pairs",), [], options).batch(np.random.default_rng(0))
    assert len(batch["clean"]) == len(batch["degraded"]) == 8
    torch.testing.assert_close(batch["degraded"] - batch["clean"], torch.full((8, 3, 16, 16), 10 / 255))
    assert batch["clean"].min() > 29 / 255


def test_without_validation_pairs_some_training_pairs_are_held_out() -> None:
    clean, degraded = pairs()
    data = PairedData.with_validation(clean, degraded, [], OPTIONS)
    assert len(data.val) == 1 and len(data.tiles["clean"]) == 5
    assert not any(np.array_equal(data.val[0][0], tile) for tile in data.tiles["clean"])


def test_held_out_tiles_are_in_no_copy_trained_on() -> None:
    clean, _ = pairs()
    copies = clean[:4].repeat(6, 0)
    degraded = np.random.default_rng(1).integers(0, 256, copies.shape).astype(np.uint8)
    held = hold_out(copies, degraded)
    assert len(held) == 6 and all(np.array_equal(tile, clean[0]) for tile, _ in held)
    assert len(hold_out(copies[:6], degraded[:6])) == 1  # a single tile, which is all there is to train on


def test_few_of_the_validation_images_are_read_with_the_same_middles(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 2, 12, 10, 3)).astype(np.uint8)
    for name, pair in zip("abc", images, strict=True):
        for side, image in zip(("clean", "degraded"), pair, strict=True):
            write_png(tmp_path / "val" / side / f"{name}.png", image)
    first, last = read_validation(tmp_path, 2)
    np.testing.assert_array_equal(np.stack([first, last]), images[[0, 2]])


def test_tiles_lie_in_memory_as_far_as_the_job_has_any(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = own_memory()
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "0")
    assert own_memory() == machine > 2**30
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "512")
    assert own_memory() == 2**29
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert own_memory() == 2**27
    assert isinstance(allocate_tiles((2**26 // 3, 1, 1, 3)).base, mmap.mmap)
    assert allocate_tiles((10, 1, 1, 3)).base is None


def test_middles_of_many_validation_images_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 300, 256, 3)).astype(np.uint8)
    for side, image in zip(("clean", "degraded"), images, strict=True):
        write_png(tmp_path / "val" / side / "a.png", image)
    ((clean, degraded),) = read_validation(tmp_path)
    np.testing.assert_array_equal(np.stack([clean, degraded]), images)
    monkeypatch.setattr(validation, "ENOUGH_PIXELS", 270**2)
    ((clean, degraded),) = read_validation(tmp_path)
    np.testing.assert_array_equal(np.stack([clean, degraded]), images[:, 15:285])
    monkeypatch.setattr(validation, "ENOUGH_PIXELS", 10)
    ((clean, degraded),) = read_validation(tmp_path)
    np.testing.assert_array_equal(np.stack([clean, degraded]), images[:, 22:278])
    assert read_validation(tmp_path / "other") == []


def test_clean_images_alone_validate_an_autoencoder_and_no_restorer(tmp_path: Path) -> None:
    image = pairs()[0][0]
    write_png(tmp_path / "val/clean/a.png", image)
    write_png(tmp_path / "clean/b.png", image)
    assert read_validation(tmp_path) == []
    data = autoencoder_data(tmp_path, dataclasses.replace(OPTIONS, crop=8))
    assert [clean.shape for clean, _ in data.val] == [(16, 16, 3)]  # type: ignore[attr-defined]


def test_validation_psnr_is_of_images_rounded_to_8_bits() -> None:
    class Brighter(torch.nn.Module):
        def __init__(self, levels: float) -> None:
            super().__init__()
            self.levels = levels

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images + self.levels / 255

    clean, _ = pairs()
    found = [validation_psnr(Brighter(levels), [(clean[0], clean[0])]) for levels in (0, 0.4, 0.6)]
    assert found[0] == found[1] > 100
    assert found[2] == pytest.approx(20 * np.log10(255))


@pytest.mark.parametrize(("count", "held"), [(1, 0), (2, 1), (19, 1), (100, 10), (640, 64), (2000, 64)])
def test_a_tenth_of_the_pairs_is_held_out_and_64_at_most(count: int, held: int) -> None:
    tiles = (np.arange(count) % 251).astype(np.uint8)[:, None, None, None] * np.ones((1, 1, 1, 3), np.uint8)
    assert len(hold_out(tiles, tiles)) == held
