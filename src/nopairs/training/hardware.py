"""What the machine has, and what of it a script takes: device, threads, fast bfloat16."""

from __future__ import annotations

import argparse

import torch

from nopairs.errors import NopairsError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that `start` reads."""
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))


def start(args: argparse.Namespace) -> torch.device:
    """Take as many threads as the arguments say, and return their device."""
    torch.set_num_threads(args.threads)
    return pick_device(args.device)


def pick_device(name: str) -> torch.device:
    """Return the device for `auto`, `cpu` or `cuda`.

    Raises:
        NopairsError: a GPU is demanded and there is none.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise NopairsError(
            "device cuda: torch sees no GPU here; set `device: auto` or `cpu`, or run on a GPU node"
        )
    return torch.device("cuda" if available and name != "cpu" else "cpu")


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether `device` computes convolutions faster in bfloat16 than in float32: of CPUs those with AMX, and AMD's with AVX-512-BF16.

    Intel's have AVX-512-BF16 without AMX where a virtual machine hides it, and are slower with it (docs/performance.md).
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if torch.cpu._is_amx_tile_supported():
        return True
    return torch.cpu._is_avx512_bf16_supported() and "AMD" in torch.cpu.get_capabilities()["cpu_name"]


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the autocast context for a `precision` of the training options."""
    enabled = precision == "bfloat16" or (precision == "auto" and has_fast_bfloat16(device))
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)
