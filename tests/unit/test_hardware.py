"""Which processors compute faster in bfloat16."""

from __future__ import annotations

import pytest
import torch

from nopairs.training.hardware import autocast, has_fast_bfloat16

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("amx", "avx512", "name", "fast"),
    [
        (True, True, "Intel Xeon", True),
        (False, True, "AMD EPYC", True),
        (False, True, "Intel Xeon", False),  # a virtual machine that hides AMX: bfloat16 takes longer there
        (False, False, "AMD EPYC", False),
    ],
)
def test_bfloat16_is_taken_where_it_is_faster(
    amx: bool, avx512: bool, name: str, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"cpu_name": name})
    assert has_fast_bfloat16(CPU) == fast
    products = []
    for precision in ("auto", "bfloat16", "float32"):
        with autocast(CPU, precision):
            products.append((torch.ones(2, 2) @ torch.ones(2, 2)).dtype)
    assert products == [torch.bfloat16 if fast else torch.float32, torch.bfloat16, torch.float32]
