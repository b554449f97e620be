"""Synthetic pairs."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from nopairs.data.images import write_png
from nopairs.degradation.awgn import Awgn, AwgnOptions
from nopairs.degradation.real_pairs import RealPairs, RealPairsOptions
from nopairs.degradation.sampling import SamplingOptions, sample_pairs
from nopairs.errors import NopairsError
from nopairs.training.pairs import load_pairs, save_pairs


def tiles(count: int = 5) -> np.ndarray:
    return np.random.default_rng(0).integers(100, 150, (count, 32, 32, 3)).astype(np.uint8)


def test_awgn_has_the_strength_asked_for_and_a_tiles_copies_lie_together() -> None:
    options = SamplingOptions(copies=3)
    clean, degraded = sample_pairs(
        Awgn(AwgnOptions()), {"clean": tiles()}, options, (0.05, 0.05), seed=1, batch=2
    )
    assert clean.shape == degraded.shape == (15, 32, 32, 3)
    assert np.array_equal(clean, np.repeat(tiles(), 3, axis=0))
    noise = degraded.astype(float) - clean
    assert noise.std() == pytest.approx(0.05 * 255, rel=0.02)
    assert not np.array_equal(degraded[0], degraded[1])


def test_each_image_has_its_own_strength_within_the_range() -> None:
    options = SamplingOptions(copies=1)
    clean, degraded = sample_pairs(Awgn(AwgnOptions()), {"clean": tiles(40)}, options, (0.02, 0.1), seed=1)
    strengths = (degraded.astype(float) - clean).std((1, 2, 3)) / 255
    assert 0.018 < strengths.min() < 0.035 and 0.085 < strengths.max() < 0.11


def test_pairs_repeat_with_the_seed_whatever_the_batch() -> None:
    first = sample_pairs(
        RealPairs(RealPairsOptions()), {"clean": tiles(), "degraded": tiles()}, SamplingOptions(), (1, 1), 0
    )
    assert np.array_equal(first[0], first[1]) and len(first[0]) == 40


def test_pairs_on_disk_are_the_pairs_written(tmp_path: Path) -> None:
    save_pairs(tmp_path, tiles(), 255 - tiles())
    clean, degraded = load_pairs(tmp_path)
    assert isinstance(clean, np.memmap)
    assert np.array_equal(clean, tiles()) and np.array_equal(degraded, 255 - tiles())


def test_impossible_options_are_refused() -> None:
    with pytest.raises(NopairsError, match="range"):
        SamplingOptions(strength=(0.2, 0.1))
    with pytest.raises(NopairsError, match="copies"):
        SamplingOptions(copies=0)


def test_the_device_of_a_model_without_weights_is_the_cpu() -> None:
    clean, _ = sample_pairs(
        Awgn(AwgnOptions()), {"clean": tiles(1)}, SamplingOptions(copies=1), (0.1, 0.1), 0
    )
    assert torch.from_numpy(clean).device.type == "cpu"


def test_held_out_pairs_leave_out_the_tiles_that_they_are_of(tmp_path: Path) -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))
    from sample_pairs import hold_out_tiles

    for part, count in (("clean", 50), ("pairs/clean", 20)):
        (tmp_path / part).mkdir(parents=True)
        for k in range(count):
            write_png(tmp_path / part / f"{k}.png", tiles(1)[0])
    save_pairs(tmp_path / "synthetic", tiles(100), tiles(100))  # two copies of each clean tile
    save_pairs(tmp_path / "real", tiles(20), tiles(20))
    held, left_out = hold_out_tiles(tmp_path / "synthetic", tmp_path, "clean")
    assert left_out == -(-len(held) // 2) > 0
    held, left_out = hold_out_tiles(tmp_path / "real", tmp_path, "pairs/clean")
    assert len(held) > 0 and left_out == 0
