"""What the machine has: device, fast bfloat16."""

from __future__ import annotations

import torch

from nopairs.errors import NopairsError


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
    """Whether `device` computes convolutions in bfloat16 natively (AVX-512-BF16 or AMX on a CPU)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported()


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the autocast context for a `precision` of the training options."""
    enabled = precision == "bfloat16" or (precision == "auto" and has_fast_bfloat16(device))
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)
