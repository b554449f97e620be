"""Two processes train as one does: the same batch, the same random numbers, the same result up to rounding."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.distributed as dist
from torch import nn

from nopairs.degradation.ludvae import LudVae, LudVaeOptions
from nopairs.errors import NopairsError
from nopairs.priors.operators import BlurDownsample, BlurDownsampleOptions
from nopairs.priors.wppflow import WPPFlow, WPPFlowOptions
from nopairs.restorers.dncnn import DnCNN, DnCNNOptions
from nopairs.training import parallel
from nopairs.training.data import PairedData
from nopairs.training.loop import Batch, Trainer
from nopairs.training.minimax import slope_penalty
from nopairs.training.options import TrainingOptions

SMALL = {"width": 8, "blocks": 1, "stride": 2, "code_width": 4, "noise_width": 4}


class Critic(nn.Module):
    """Minimises its slope at clean images, whose gradient goes twice through what the batch has in common."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), parallel.BatchNorm2d(4), nn.SiLU(), nn.Conv2d(4, 1, 3)
        )

    def losses(
        self, progress: float, *, clean: torch.Tensor, degraded: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        return {"loss": slope_penalty(self.body, clean) + self.body(degraded).mean()}


def wppflow() -> WPPFlow:
    flow = WPPFlow(
        WPPFlowOptions(
            fold=2, width=8, depth=1, edge=4, patch_size=4, references=50, strength=50.0, hidden=6, blocks=2
        )
    )
    flow.operator = BlurDownsample(BlurDownsampleOptions(size=4, sigma=1.0, factor=2, noise=0.02))
    flow.fit(torch.rand(1, 48, 48, generator=torch.Generator().manual_seed(0)), 0)
    return flow


NETWORKS = {
    "critic": Critic,
    "wppflow": wppflow,
    "dncnn": lambda: DnCNN(DnCNNOptions(depth=3, width=8, batch_norm=True)),
    "paper": lambda: LudVae(LudVaeOptions(**SMALL, codes=16, blur_size=5, blur_sigma=1.0)),
    "default": lambda: LudVae(
        LudVaeOptions(
            **SMALL,
            h="additive_noise",
            noise_clean=0.1,
            noise_degraded=0.09,
            noise_blur=0.8,
            image_latent="continuous",
            likelihood="gaussian",
            excess_variance=True,
            posterior="normalised",
            noise_encoder_sees="residual",
            shared_gradient=False,
        )
    ),
}
OPTIONS = TrainingOptions(
    steps=8, batch=4, crop=16, lr=1e-3, ema=0.9, clip=1.0, log_every=2, precision="float32"
)


# A normalisation takes these away again: their gradient is zero but for rounding, which Adam then makes a step of.
CANCELLED = {
    "critic": ("body.0.bias", "body.1.running_mean"),
    "wppflow": (),
    "dncnn": ("model.2.bias", "model.3.running_mean"),
    "default": ("noise_encoder.to_coarse.bias", "noise_encoder.to_fine.bias"),
    "paper": (),
}
CPU = torch.device("cpu")


class Unpaired:
    """Stands in for `UnpairedData`: crops that differ in their mean, so that an unequal share would show."""

    def batch(self, rng: np.random.Generator) -> Batch:
        level = torch.linspace(0, 0.5, 4).view(4, 1, 1, 1)
        return {
            side: level + torch.from_numpy(rng.random((4, 3, 16, 16), dtype=np.float32)) / 2
            for side in ("clean", "degraded")
        }


class Observed:
    """Observations that differ in their mean."""

    def batch(self, rng: np.random.Generator) -> Batch:
        level = torch.linspace(0, 0.5, 4).view(4, 1, 1, 1)
        return {"observed": level + torch.from_numpy(rng.random((4, 1, 16, 16), dtype=np.float32)) / 2}


def train(name: str, folder: Path, stop_at: int | None = None) -> None:
    """Train network `name` in this process, or as one of torchrun's; leave each process's weights in `folder`."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    options, data = OPTIONS, Observed() if name == "wppflow" else Unpaired()
    if name == "dncnn":
        options = dataclasses.replace(options, validate_every=4)
        rng = np.random.default_rng(0)
        clean = rng.integers(60, 200, (6, 24, 24, 3)).astype(np.uint8)
        degraded = np.clip(clean + rng.normal(0, 20, clean.shape), 0, 255).astype(np.uint8)
        data = PairedData(clean, degraded, [(clean[0], degraded[0])], options)
    trainer = Trainer(NETWORKS[name](), data, options, folder, seed=5, device=CPU, fingerprint="")
    step = trainer._step

    def step_and_be_stopped() -> None:
        if trainer.state.step == stop_at and parallel.rank() == parallel.size() - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        step()

    trainer._step = step_and_be_stopped  # type: ignore[method-assign]
    trainer.run()
    torch.save(trainer.network.state_dict(), folder / f"{parallel.rank()}.pt")


def train_by_two(folder: Path, names: list[str], stop_at: int | None = None) -> tuple[int, str]:
    """Train networks by two processes, each in a folder of its name; return torchrun's exit status and output."""
    script = folder / "train.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pathlib import Path\n"
        "import test_parallel\n"
        "from nopairs.training import parallel\n"
        "with parallel.joined():\n"
        f"    for name in {names}:\n"
        f"        test_parallel.train(name, Path({str(folder)!r}) / name, {stop_at})\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", script]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


def assert_equal_results(one: Path, other: Path, name: str) -> None:
    expected = torch.load(one / "0.pt", weights_only=True)
    for file in other.glob("?.pt"):
        actual = torch.load(file, weights_only=True)
        for key in expected.keys() - CANCELLED[name]:
            torch.testing.assert_close(actual[key], expected[key], rtol=1e-4, atol=1e-5, msg=key)
    logs = [pd.read_csv(folder / "log.csv").drop(columns="seconds") for folder in (one, other)]
    pd.testing.assert_frame_equal(*logs, rtol=1e-3)


@pytest.fixture(scope="module")
def by_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    status, output = train_by_two(folder, list(NETWORKS))
    assert status == 0, output
    return folder


@pytest.mark.parametrize("name", NETWORKS)
def test_two_processes_train_what_one_does(name: str, by_two: Path, tmp_path: Path) -> None:
    train(name, tmp_path)
    assert len(list((by_two / name).glob("?.pt"))) == 2
    assert_equal_results(tmp_path, by_two / name, name)


def test_a_signal_to_one_process_stops_both_and_one_can_go_on(by_two: Path, tmp_path: Path) -> None:
    status, output = train_by_two(tmp_path, ["dncnn"], stop_at=5)
    assert status != 0, output
    state = torch.load(tmp_path / "dncnn/training_state.pt", weights_only=True)
    assert state["step"] == 6
    train("dncnn", tmp_path / "dncnn")
    assert_equal_results(tmp_path / "dncnn", by_two / "dncnn", "dncnn")


@pytest.mark.parametrize(
    ("error", "told"),
    [(ValueError("odd"), "nopairs: error: process 1: ValueError: odd\n"), (NopairsError("known"), "")],
)
def test_of_other_processes_errors_only_unexpected_ones_are_told(
    error: Exception, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dist, "is_torchelastic_launched", lambda: True)
    monkeypatch.setattr(dist, "init_process_group", lambda *_, **__: None)
    for rank, raised in enumerate((type(error), SystemExit)):
        monkeypatch.setattr(parallel, "rank", lambda rank=rank: rank)
        with pytest.raises(raised) as caught, parallel.joined():
            raise error
        assert capsys.readouterr().err == (told if rank else "")
    assert caught.value.code == 1


def test_a_batch_that_cannot_be_shared_equally_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "size", lambda: 3)
    with pytest.raises(NopairsError, match="4 clean crops a step cannot be shared by 3 processes"):
        parallel.share({"clean": torch.zeros(4, 3, 8, 8)})


def test_shares_of_a_batch_and_of_its_random_numbers_make_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.rand(4, 3, 6, 5).to(memory_format=torch.channels_last)

    def drawn(part: torch.Tensor) -> list[torch.Tensor]:
        torch.manual_seed(3)
        return [part, parallel.randn(part.shape), parallel.randn_like(part)]

    whole = drawn(images)
    monkeypatch.setattr(parallel, "size", lambda: 2)
    shares = []
    for rank in range(2):
        monkeypatch.setattr(parallel, "rank", lambda rank=rank: rank)
        shares.append(drawn(parallel.share({"clean": images})["clean"]))
    for k, values in enumerate(whole):
        assert torch.equal(torch.cat([share[k] for share in shares]), values)


def test_one_process_uses_torch_itself() -> None:
    images, norm, reference = torch.rand(4, 3, 6, 5), parallel.BatchNorm2d(3), torch.nn.BatchNorm2d(3)
    assert torch.equal(norm(images), reference(images))
    assert torch.equal(norm.running_var, reference.running_var)
    torch.manual_seed(1)
    rows = parallel.random_rows(images.flatten(1), 3)
    torch.manual_seed(1)
    assert torch.equal(rows, images.flatten(1)[torch.randint(4, (3,))])
