"""Freed memory is used again."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys, torch
from nopairs.memory import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
x = torch.ones(16_000_000)
for _ in range(20):  # until there are holes of every place that it comes to
    x + 1
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    x + 1
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_the_same_request_again_takes_no_new_pages() -> None:
    faults = {
        way: int(
            subprocess.run(
                [sys.executable, "-c", FAULTS, way], capture_output=True, text=True, check=True
            ).stdout
        )
        for way in ("kept", "returned")
    }
    pages = 5 * 64_000_000 // resource.getpagesize()
    assert faults["kept"] < 0.1 * pages
    assert faults["returned"] > faults["kept"]
