"""Deep optimal transport: the map as one convolution, fit and application with an autoencoder of TAEF2's size, and seams of tiles."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from restoring import make_photo
from table import Row

from nopairs.data.entries import load
from nopairs.data.store import Store
from nopairs.errors import NopairsError
from nopairs.transport.autoencoders import Taef2, Taef2Options, _taef2_decoder, _taef2_encoder
from nopairs.transport.dot import TILE, Codec, Dot, DotOptions, Enhancer, fit, tile_spans

CHANNELS, SIDE, PATCH = 32, 64, 3  # latents of TAEF2 for a photo of 512 x 512
IMAGES, PHOTO = 20, 512
LARGE = 4  # megapixels
FASTER, FIT_SECONDS, APPLY_SECONDS, MEMORY = 20, 10.0, 2.0, 2000.0


def measure(config: dict[str, Any]) -> list[Row]:
    """Time the convolution beside the patch-wise form, and in a process of its own a fit and an application."""
    threads = len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    slow, product, fast, error = forms()
    used = json.loads(
        subprocess.run(
            [sys.executable, __file__, str(threads)], check=True, capture_output=True, text=True
        ).stdout
    )
    apply = used["encode"] + used["map"] + used["decode"]
    shares = ", ".join(f"{used[part] / apply:.0%} {part}" for part in ("encode", "map", "decode"))
    return [
        Row(
            f"map of {CHANNELS} x {SIDE} x {SIDE} latents, patches of {PATCH}, {threads} threads",
            f"{fast * 1e3:.1f} ms: one convolution",
            f"{slow * 1e3:.0f} ms: a matrix times each patch; {product * 1e3:.1f} ms: one product for all",
            f"{slow / fast:.0f}",
            f"at least {FASTER}, equal to 1e-5 ({error:.0e})",
            slow / fast >= FASTER and error <= 1e-5,
        ),
        Row(
            f"fit on {IMAGES} photos of {PHOTO} x {PHOTO}, encoder included",
            f"{used['fit']:.1f} s",
            f"{FIT_SECONDS:.0f} s",
            f"{used['fit'] / FIT_SECONDS:.2f}",
            f"under {FIT_SECONDS:.0f} s",
            used["fit"] < FIT_SECONDS,
        ),
        Row(
            f"one photo of {PHOTO} x {PHOTO} moved ({shares})",
            f"{apply:.2f} s",
            f"{APPLY_SECONDS:.0f} s",
            f"{apply / APPLY_SECONDS:.2f}",
            f"under {APPLY_SECONDS:.0f} s",
            apply < APPLY_SECONDS,
        ),
        Row(
            "peak memory of both",
            f"{used['peak']:.0f} MB",
            f"{MEMORY:.0f} MB",
            f"{used['peak'] / MEMORY:.2f}",
            f"under {MEMORY:.0f} MB",
            used["peak"] < MEMORY,
        ),
        *seams(config),
    ]


def seams(config: dict[str, Any]) -> list[Row]:
    """What tiles add to the steps between neighbouring pixels, at their borders and elsewhere; no row without TAEF2's weights."""
    store = Store(Path(config["data"]["folder"]), Path(config["data"]["lock"]), config["data"]["mirror"])
    try:
        files = {path.stem.split("_")[1]: str(path) for path in store.fetch("taef2", load("taef2").files)}
    except NopairsError as error:
        print(f"no weights to look for seams with: {error}", file=sys.stderr)
        return []
    codec = Codec(Taef2(Taef2Options(**files)))
    photo = torch.from_numpy(make_photo(LARGE)).permute(2, 0, 1)[None].float() / 255
    smooth = F.avg_pool2d(photo, 5, 1, 2)
    dot = fit(*([codec.latents_of(image[..., :1024, :1024])] for image in (smooth, photo)), DotOptions())[0]
    whole = Enhancer(dot, codec.model, tile=2 * max(photo.shape)).transport(smooth)
    steps = (Enhancer(dot, codec.model).transport(smooth) - whole).diff(dim=3).abs()[0].flatten(0, 1) * 255
    spans = tile_spans(photo.shape[3], TILE, codec.factor)
    borders = [line - 1 for span in spans for line in (span.start, span.stop) if 0 < line < photo.shape[3]]
    at_borders, elsewhere = steps[:, borders], float(steps.mean(0).median())
    worst = float(at_borders.mean(0).max())
    return [
        Row(
            f"tiles of {TILE} pixels in a photo of {LARGE} megapixels: steps added at their borders, of 255",
            f"{worst:.2f} on the mean of a border, {float(at_borders.max()):.1f} at most",
            f"{elsewhere:.2f} on the mean elsewhere, {float(steps.max()):.1f} at most",
            f"{worst / elsewhere:.2f}",
            "no seam: at most 2",
            worst <= 2 * elsewhere,
        )
    ]


def forms() -> tuple[float, float, float, float]:
    """Return seconds of the patch-wise form, of one product over all patches and of ours, and our largest difference."""
    field = torch.randn(1, CHANNELS, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    dot, _ = fit([0.7 * field], [field], DotOptions(patch=PATCH))
    matrix, mean = dot.matrix.float(), dot.target_mean.float()
    offset = mean - matrix @ dot.source_mean.float()
    counted = F.fold(F.unfold(torch.ones_like(field), PATCH), (SIDE, SIDE), PATCH)

    def patchwise() -> torch.Tensor:
        vectors = F.unfold(field, PATCH)[0].T
        moved = torch.stack([matrix @ vector + offset for vector in vectors])
        return F.fold(moved.T[None], (SIDE, SIDE), PATCH) / counted

    def at_once() -> torch.Tensor:
        moved = matrix @ F.unfold(field, PATCH)[0] + offset[:, None]
        return F.fold(moved[None], (SIDE, SIDE), PATCH) / counted

    with torch.inference_mode():
        seconds = [
            fastest(form, runs) for form, runs in ((patchwise, 3), (at_once, 9), (lambda: dot(field), 9))
        ]
        error = float((patchwise() - dot(field)).abs().max())
    return (*seconds, error)  # type: ignore[return-value]


def fastest(function: Callable[[], Any], runs: int) -> float:
    """Return the seconds of the fastest of some runs after a first one."""
    function()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def alone(threads: int) -> dict[str, float]:
    """Fit and apply in this process; return seconds of each part, and the peak memory in MB.

    The weights are not the published ones, which need not be here: the time does not depend on them, and a map of random latents
    costs as much as any.
    """
    import resource

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        files = {part: str(Path(folder) / part) for part in ("encoder", "decoder")}
        for part, module in (("encoder", _taef2_encoder()), ("decoder", _taef2_decoder())):
            torch.save(module.state_dict(), files[part])
        codec = Codec(Taef2(Taef2Options(**files)))
    photo = torch.from_numpy(make_photo(1)[:PHOTO, :PHOTO]).permute(2, 0, 1)[None].float() / 255
    codec.latents_of(photo)
    start = time.perf_counter()
    halves = [(codec.latents_of(photo.roll(k, 3)) for k in range(side, IMAGES, 2)) for side in (0, 1)]
    dot: Dot = fit(*halves, DotOptions(patch=PATCH))[0]
    used = {"fit": time.perf_counter() - start}
    latents = codec.encode(photo)
    used["encode"] = fastest(lambda: codec.encode(photo), 3)
    used["map"] = fastest(lambda: dot(latents), 3)
    used["decode"] = fastest(lambda: codec.decode(latents), 3)
    Enhancer(dot, codec.model).transport(photo)
    return used | {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3 * 1.024}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(alone(int(sys.argv[1]))))
