"""Which images give a transport's statistics."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch

import fit_transport
from nopairs.errors import NopairsError
from nopairs.training.pairs import save_pairs
from nopairs.transport.dot import DotOptions
from nopairs.transport.statistics import deal, photos_of, spread

WHOLE = [f"photo{k // 3}" for k in range(36)]  # three tiles each


def test_whole_photos_where_there_are_enough() -> None:
    judges, (natural, restored) = deal(WHOLE, 4, 2, judges=4)
    assert len(natural) == len(restored) == 12 and len(judges) == 4
    seen = [{WHOLE[k] for k in tiles} for tiles in (judges, natural, restored)]
    assert [len(photos) for photos in seen] == [4, 4, 4]
    assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])
    _, (both,) = deal(WHOLE, 12, 1)
    assert sorted(both) == list(range(36))


def test_tiles_where_photos_are_too_few() -> None:
    judges, (natural, restored) = deal(WHOLE, 10, 2, judges=12)
    assert len(natural) == len(restored) == 10
    assert len({*judges, *natural, *restored}) == 32  # no tile has two parts
    _, (few, others) = deal(["one"] * 5, 10, 2)
    assert sorted(few + others) == list(range(5))


def test_others_are_taken_further_on() -> None:
    taken = [deal(WHOLE, 3, 2, judges=3, first=first) for first in (0, 1, 2)]
    assert taken[0][0] == taken[1][0]  # those who judge stay
    assert len({tuple(natural) for _, (natural, _) in taken}) == 3
    assert spread(10, 4) == [0, 3, 6, 9] and spread(10, 4, 1) == [1, 4, 7, 0]
    assert spread(3, 10) == [0, 1, 2] and spread(0, 4) == []


def test_photos_are_named_in_the_order_of_their_tiles(tmp_path: Path) -> None:
    rows = ["path,photo", "clean/b_0.png,b", "clean/a_1.png,a", "clean/a_0.png,a", "pairs/clean/c_0.png,c"]
    (tmp_path / "index.csv").write_text("\n".join(rows))
    assert photos_of(tmp_path, "clean") == ["a", "a", "b"]
    assert photos_of(tmp_path, "pairs/clean") == ["c"]
    with pytest.raises(NopairsError, match="degraded: no tiles to take statistics from"):
        photos_of(tmp_path, "degraded")


def test_statistics_are_of_different_tiles_however_many_copies(tmp_path: Path) -> None:
    tiles = np.arange(12, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)
    save_pairs(tmp_path / "pairs", tiles.repeat(3, 0), (100 + tiles).repeat(3, 0))
    rows = "".join(f"clean/{k:02}.png,{k}\n" for k in range(12))
    (tmp_path / "index.csv").write_text("path,photo\n" + rows)
    arguments = argparse.Namespace(
        dataset=tmp_path, pairs=tmp_path / "pairs", content=None, part="clean", natural=None
    )
    natural, restored, judges = fit_transport.choose_images(arguments, DotOptions(images=3))
    of_tiles = [
        {int(image[0, 0, 0]) % 100 for image in images}
        for images in (natural, restored, [clean for clean, _ in judges])
    ]
    assert len(natural) == len(restored) == 3 and len(judges) > 0
    assert len(set.union(*of_tiles)) == sum(map(len, of_tiles))
    assert all(int(degraded[0, 0, 0]) == 100 + int(clean[0, 0, 0]) for clean, degraded in judges)


@pytest.mark.parametrize("seed", [3, 4])
def test_the_seed_given_is_the_maps(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Chosen(Exception):
        """Ends the script where images would be read."""

    def stop(_: argparse.Namespace, options: DotOptions) -> None:
        raise Chosen(options)

    for name in ("load_autoencoder", "load_restorer"):
        monkeypatch.setattr(fit_transport, name, lambda _: torch.nn.Identity())
    monkeypatch.setattr(fit_transport, "Codec", lambda _: None)
    monkeypatch.setattr(fit_transport, "choose_images", stop)
    arguments = argparse.Namespace(
        entry='{"kind": "dot", "options": {"patch": 2, "seed": 9}}',
        autoencoder="",
        restorer=Path(),
        seed=seed,
        threads=1,
        device="cpu",
    )
    with pytest.raises(Chosen) as told:
        fit_transport.main(arguments)
    assert told.value.args[0] == DotOptions(patch=2, seed=seed)
