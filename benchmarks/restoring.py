"""Peak memory of `nopairs restore` against the size of the photo, and its speed."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from skimage import data
from table import Row

from nopairs.models import make, save_model
from nopairs.restorers.tiling import restore_tiled

MEGAPIXELS = (1, 10, 25, 50)
FLAT = 1.25  # the largest photo may take so many times the memory of the smallest
COMMAND = "import sys; from nopairs.cli import main; sys.exit(main(sys.argv[1:]))"


def measure(config: dict[str, Any]) -> list[Row]:
    """Restore photos of several sizes, each in a process of its own, with the configuration's trained restorer, untrained."""
    entry = next(entry for entry in config["restorers"].values() if "training" in entry)
    network = make("restorer", entry["kind"], entry.get("options", {})).eval()
    threads = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_model(
            folder / "model", "restorer", entry["kind"], entry.get("options", {}), network.state_dict(), {}
        )
        used = {size: restore(folder, size, threads) for size in MEGAPIXELS}
    small, large = MEGAPIXELS[0], MEGAPIXELS[-1]
    growth = used[large][0] / used[small][0]
    peaks = ", ".join(f"{peak:.0f}" for peak, _ in used.values())
    sizes = ", ".join(map(str, MEGAPIXELS))
    speed = (large - small) / (used[large][1] - used[small][1])
    tiled, whole = network_speed(network, threads)
    return [
        Row(
            f"peak memory of `nopairs restore`, PNG of {sizes} megapixels",
            f"{peaks} MB",
            f"{used[small][0]:.0f} MB: {small} megapixel",
            f"{growth:.2f}",
            f"flat: at most {FLAT}",
            growth <= FLAT,
        ),
        Row(
            f"{entry['kind']}: restoring, in tiles, {threads} threads",
            f"{tiled:.2f} megapixels/s",
            f"{whole:.2f} megapixels/s: whole image, float32, NCHW",
            f"{tiled / whole:.2f}",
        ),
        Row(
            f"`nopairs restore` beyond its start, from {small} to {large} megapixels",
            f"{speed:.2f} megapixels/s",
            f"{tiled:.2f} megapixels/s: without reading and writing PNG",
            f"{speed / tiled:.2f}",
        ),
    ]


def restore(folder: Path, megapixels: int, threads: int) -> tuple[float, float]:
    """Restore a photo; return the process's peak memory in MB and its seconds."""
    photo = folder / f"{megapixels}.png"
    Image.fromarray(make_photo(megapixels)).save(photo, compress_level=1)
    command = [sys.executable, "-c", COMMAND, "restore", "--model", str(folder / "model"), str(photo)]
    command += ["--output", str(folder / "restored"), "--device", "cpu", "--threads", str(threads)]
    start = time.perf_counter()
    _, status, usage = os.wait4(os.spawnv(os.P_NOWAIT, sys.executable, command), 0)
    elapsed = time.perf_counter() - start
    if status:
        raise SystemExit(f"nopairs restore failed on {megapixels} megapixels")
    photo.unlink()
    return usage.ru_maxrss / 1e3 * 1.024, elapsed


def make_photo(megapixels: int) -> np.ndarray:
    """Return a noisy photo, uint8 (side, side, 3), laid out from copies of one of scikit-image's."""
    side, tile = round((megapixels * 1e6) ** 0.5), data.astronaut()
    photo = np.tile(tile, (side // len(tile) + 1, side // len(tile) + 1, 1))[:side, :side]
    noise = np.random.default_rng(0).integers(-12, 13, photo.shape, np.int16)
    return np.clip(photo + noise, 0, 255).astype(np.uint8)


def network_speed(network: torch.nn.Module, threads: int) -> tuple[float, float]:
    """Return megapixels a second of tiled restoration and of the plain network on the whole image, measured in turns."""
    torch.set_num_threads(threads)
    image = torch.from_numpy(make_photo(2)).permute(2, 0, 1)[None].float() / 255
    megapixels = image.shape[2] * image.shape[3] / 1e6
    times: dict[str, list[float]] = {"tiled": [], "whole": []}
    for _ in range(3):
        start = time.perf_counter()
        restore_tiled(network, image)
        middle = time.perf_counter()
        with torch.no_grad():
            network(image.contiguous())
        times["tiled"].append(middle - start)
        times["whole"].append(time.perf_counter() - middle)
    return megapixels / min(times["tiled"]), megapixels / min(times["whole"])
