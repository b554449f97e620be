"""Synthetic pairs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

import sample_pairs as script
from nopairs.data.images import write_png
from nopairs.degradation.awgn import Awgn, AwgnOptions
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


def test_pairs_repeat_with_the_seed() -> None:
    first, again, other = (
        sample_pairs(Awgn(AwgnOptions()), {"clean": tiles()}, SamplingOptions(), (0.02, 0.1), seed)
        for seed in (0, 0, 1)
    )
    assert np.array_equal(first[1], again[1]) and not np.array_equal(first[1], other[1])


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


def test_held_out_pairs_leave_out_the_tiles_that_they_are_of(tmp_path: Path) -> None:
    for part, count in (("clean", 50), ("pairs/clean", 20)):
        (tmp_path / part).mkdir(parents=True)
        for k in range(count):
            write_png(tmp_path / part / f"{k}.png", tiles(1)[0])
    save_pairs(tmp_path / "synthetic", tiles(100), tiles(100))  # two copies of each clean tile
    save_pairs(tmp_path / "real", tiles(20), tiles(20))
    held, left_out = script.hold_out_tiles(tmp_path / "synthetic", tmp_path, "clean")
    assert left_out == -(-len(held) // 2) > 0
    held, left_out = script.hold_out_tiles(tmp_path / "real", tmp_path, "pairs/clean")
    assert len(held) > 0 and left_out == 0


def test_the_best_candidate_is_sampled_and_held_out_tiles_are_not_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for k, tile in enumerate(tiles(10)):
        write_png(tmp_path / f"dataset/clean/{k}.png", tile)
    save_pairs(tmp_path / "stand_in", tiles(10).repeat(2, 0), tiles(10).repeat(2, 0))
    trained_on, values = [], iter((20.0, 30.0, 25.0))

    def score(pairs: tuple[np.ndarray, np.ndarray], *_: object) -> float:
        trained_on.append(pairs[0])
        return next(values)

    monkeypatch.setattr(script, "score", score)
    sampling = {"copies": 1, "candidates": [[0.01, 0.01], [0.05, 0.05], [0.1, 0.1]]}
    arguments = argparse.Namespace(
        entry=json.dumps({"kind": "awgn", "sampling": sampling}),
        selection="{copies: 1}",
        model=None,
        dataset=tmp_path / "dataset",
        stand_in=tmp_path / "stand_in",
        stand_in_part="clean",
        seed=0,
        threads=1,
        device="cpu",
        out=tmp_path / "out",
    )
    script.main(arguments)
    assert json.loads((tmp_path / "out/strength.json").read_text())["strength"] == [0.05, 0.05]
    clean, degraded = load_pairs(tmp_path / "out")
    assert (degraded.astype(float) - clean).std() == pytest.approx(0.05 * 255, rel=0.05)
    # Two held-out pairs, of two copies of the first tile.
    assert len(trained_on) == 3
    assert all(np.array_equal(seen, tiles(10)[1:]) for seen in trained_on)
