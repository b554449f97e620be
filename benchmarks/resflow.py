"""ResFlow: a restoration in four steps beside the same one in float32, NCHW and eager mode. Its training step is in `training`."""

from __future__ import annotations

import copy
import dataclasses
import os
from typing import Any

import torch
from restoring import make_photo
from table import Row
from training import seconds

from nopairs.models import make
from nopairs.restorers.resflow import ResFlow
from nopairs.training.hardware import has_fast_bfloat16

STEPS, SIDE, RUNS = 4, 512, 5


def measure(config: dict[str, Any]) -> list[Row]:
    """Time both in turns, so that whatever else the machine does meets both."""
    entry = next(entry for entry in config["restorers"].values() if entry["kind"] == "resflow")
    threads = len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    ours = make("restorer", "resflow", {**entry["options"], "steps": STEPS}).eval()
    plain = plain_version(ours)
    photo = torch.from_numpy(make_photo(1)[:SIDE, :SIDE]).permute(2, 0, 1)[None].float() / 255
    times: dict[str, list[float]] = {"ours": [], "plain": []}
    with torch.inference_mode():
        for model in (ours, plain):
            model(photo)
        for _ in range(RUNS):
            times["ours"].append(seconds(lambda: ours(photo)))
            times["plain"].append(seconds(lambda: plain(photo)))
    fast, slow = min(times["ours"]), min(times["plain"])
    bfloat16 = has_fast_bfloat16(torch.device("cpu"))
    bar, machine = (2.5, "with") if bfloat16 else (1.0, "without")
    return [
        Row(
            f"resflow: restoring {SIDE} x {SIDE} in {STEPS} steps, {threads} threads",
            f"{fast:.2f} s",
            f"{slow:.2f} s: float32, NCHW, eager",
            f"{slow / fast:.2f}",
            f"at least {bar} on a CPU {machine} fast bfloat16",
            slow / fast >= bar,
        )
    ]


def plain_version(model: ResFlow) -> torch.nn.Module:
    """Return the same network, without mixed precision and channels_last memory."""
    plain = copy.deepcopy(model).to(memory_format=torch.contiguous_format)
    plain.options = dataclasses.replace(model.options, precision="float32")
    plain.memory = torch.contiguous_format
    return plain
