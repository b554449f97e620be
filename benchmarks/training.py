"""Our training step against the plain one, and the share of it that waits for data."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from skimage import data
from table import Row

from nopairs.data.images import write_png
from nopairs.data.tiles import read_tiles
from nopairs.models import make, make_options, training_roles
from nopairs.training.data import PairedData, dataset_data
from nopairs.training.hardware import has_fast_bfloat16
from nopairs.training.loop import Data, Trainer
from nopairs.training.options import TrainingOptions

CPU = torch.device("cpu")
TILES, TILE = 64, 128
WARM_UP, STEPS = 4, 24
DATA_SHARE = 0.05
PRODUCT = 2048


def measure(config: dict[str, Any]) -> list[Row]:
    """Measure the configuration's restorers and degradation models that are trained, each kind once."""
    torch.set_num_threads(config["threads"])
    rows = [products()]
    with tempfile.TemporaryDirectory() as folder:
        dataset = Path(folder)
        write_tiles(dataset)
        for family, entries in (("restorer", config["restorers"]), ("degradation", config["degradations"])):
            # A restorer that names another's `model` takes its weights, and is not trained.
            own = [entry for name, entry in entries.items() if entry["model"] == name and "training" in entry]
            trained = {entry["kind"]: entry for entry in reversed(own)}
            for kind, entry in trained.items():
                rows += compare(family, kind, entry, dataset)
    return rows


def products() -> Row:
    """Compare products of matrices in bfloat16 and in float32: what the machine gains at most where all time is arithmetic."""
    speeds = {}
    for dtype in (torch.float32, torch.bfloat16):
        factor = torch.rand(PRODUCT, PRODUCT).to(dtype)
        times = [seconds(lambda factor=factor: factor @ factor) for _ in range(WARM_UP + STEPS)]  # type: ignore[misc]
        speeds[dtype] = 2e-9 * PRODUCT**3 / float(np.median(times[WARM_UP:]))
    plain, fast = speeds[torch.float32], speeds[torch.bfloat16]
    return Row(
        f"this machine's products of {PRODUCT}-cubed matrices, bfloat16",
        f"{fast:.0f} GFLOP/s",
        f"{plain:.0f} GFLOP/s: float32",
        f"{fast / plain:.2f}",
    )


def write_tiles(dataset: Path) -> None:
    """Write `clean` and `degraded` training tiles: crops of one photo, with noise and without."""
    photo, rng = data.astronaut(), np.random.default_rng(0)
    for side, sigma in (("clean", 0), ("degraded", 12)):
        (dataset / side).mkdir()
        for k in range(TILES):
            top, left = rng.integers(0, photo.shape[0] - TILE, 2)
            tile = photo[top : top + TILE, left : left + TILE]
            noisy = np.clip(tile + rng.normal(0, sigma, tile.shape), 0, 255)
            write_png(dataset / side / f"{k:03d}.png", noisy.astype(np.uint8))


def compare(family: str, kind: str, entry: dict[str, Any], dataset: Path) -> list[Row]:
    """Time our step and the plain one in turns, so that whatever else the machine does meets both."""
    options = make_options(TrainingOptions, "training", entry["training"])
    if roles := training_roles(family, entry):
        batches = dataset_data(dataset, roles, [], options)
    else:
        tiles = (read_tiles(dataset / side)[0] for side in ("clean", "degraded"))
        batches = PairedData(*tiles, [], options)
    waiting = Stopwatch(batches.batch)
    batches.batch = waiting  # type: ignore[method-assign, assignment]
    ours = our_step(family, kind, entry, batches, options)
    plain = plain_step(family, kind, entry, batches, options)
    times: dict[str, list[float]] = {"ours": [], "plain": [], "data": []}
    for _ in range(WARM_UP + STEPS):
        times["ours"].append(seconds(ours))
        times["data"].append(waiting.latest)
        times["plain"].append(seconds(plain))
    step, baseline, data_time = (
        float(np.median(times[name][WARM_UP:])) for name in ("ours", "plain", "data")
    )
    fast = has_fast_bfloat16(CPU)
    bar, machine = (2.5, "with") if fast else (1.0, "without")
    size = f"batch {options.batch}, crops of {options.crop}"
    return [
        Row(
            f"{kind}: training step ({size})",
            f"{1e3 * step:.0f} ms",
            f"{1e3 * baseline:.0f} ms: float32, NCHW, eager, Adam",
            f"{baseline / step:.2f}",
            f"at least {bar} on a CPU {machine} fast bfloat16",
            baseline / step >= bar,
        ),
        Row(
            f"{kind}: waiting for data",
            f"{1e3 * data_time:.2f} ms",
            f"{1e3 * step:.0f} ms: our step",
            f"{data_time / step:.2%}",
            f"under {DATA_SHARE:.0%}",
            data_time / step < DATA_SHARE,
        ),
    ]


def our_step(
    family: str, kind: str, entry: dict[str, Any], batches: Data, options: TrainingOptions
) -> Callable[[], object]:
    """Return the trainer's own step: data, mixed precision, check of the loss, clipping, Adam, moving average."""
    torch.manual_seed(0)
    network = make(family, kind, entry.get("options", {}))
    options = dataclasses.replace(options, validate_every=0, log_every=10**9)
    folder = Path(tempfile.mkdtemp())
    trainer = Trainer(network, batches, options, folder, seed=0, device=CPU, fingerprint="")
    folder.rmdir()
    return trainer._step


def plain_step(
    family: str, kind: str, entry: dict[str, Any], batches: Data, options: TrainingOptions
) -> Callable[[], object]:
    """Return the step that one writes first: the same losses of the same batches, in float32, NCHW and eager mode."""
    torch.manual_seed(0)
    network = make(family, kind, entry.get("options", {})).train().to(memory_format=torch.contiguous_format)
    optimiser = torch.optim.Adam(network.parameters(), lr=options.lr)
    rng = np.random.default_rng(0)

    def step() -> None:
        batch = {key: value.contiguous() for key, value in batches.batch(rng).items()}
        loss = network.losses(0.5, **batch)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


class Stopwatch:
    """A function that remembers how long its latest call took, in seconds."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function, self.latest = function, 0.0

    def __call__(self, *args: Any) -> Any:
        """Call the function."""
        start = time.perf_counter()
        result = self.function(*args)
        self.latest = time.perf_counter() - start
        return result


def seconds(step: Callable[[], object]) -> float:
    """Time one call."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start
