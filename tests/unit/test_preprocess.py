"""Tiling many photos: in parallel, again where it stopped, and nothing twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from nopairs.data import preprocess
from nopairs.data.channels import Channels
from nopairs.data.images import encode_png, read_rgb
from nopairs.data.photos import SourcePhoto
from nopairs.data.preprocess import PARTS, Recipe, write_dataset
from nopairs.errors import NopairsError
from nopairs.files import sha256

RECIPE = Recipe(tile=32, degraded_tile=32, camera=None, seed=0)


def photo(
    folder: Path, name: str, role: str, side: str, size: tuple[int, int] = (70, 90), seed: int = 0
) -> SourcePhoto:
    path = folder / "photos" / f"{role}_{side}_{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return SourcePhoto(str(path), role, side, name, name, 1.0, sha256(path))


@pytest.fixture
def sources(tmp_path: Path) -> list[SourcePhoto]:
    return [
        photo(tmp_path, "a", "clean", "clean", seed=1),
        photo(tmp_path, "b", "clean", "clean", seed=2),
        photo(tmp_path, "c", "degraded", "degraded", seed=3),
        photo(tmp_path, "d", "test", "clean", seed=4),
        photo(tmp_path, "d", "test", "degraded", seed=5),
    ]


def images(folder: Path) -> dict[str, int]:
    """Every image, and when it was written."""
    paths = (path for path in folder.rglob("*.png") if PARTS not in path.parts)
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in paths}


def index(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "index.csv", keep_default_na=False)


def test_tiles_are_the_photos_pixels(tmp_path: Path, sources: list[SourcePhoto]) -> None:
    write_dataset(sources, tmp_path / "out", RECIPE)
    for row in index(tmp_path / "out").to_dict("records"):
        side = row["path"].split("/")[-2]
        name = f"{row['role']}_{side}_{row['photo']}.png"
        top, left = map(int, row["path"][:-4].split("_")[1:]) if "_" in row["path"] else (0, 0)
        whole = read_rgb(tmp_path / "photos" / name)
        expected = whole[top : top + row["height"], left : left + row["width"]]
        np.testing.assert_array_equal(read_rgb(tmp_path / "out" / row["path"]), expected)
        assert sha256(tmp_path / "out" / row["path"]) == row["sha256"]
    assert set(index(tmp_path / "out").path) == set(images(tmp_path / "out"))


def test_processes_change_nothing(tmp_path: Path, sources: list[SourcePhoto]) -> None:
    write_dataset(sources, tmp_path / "one", RECIPE, jobs=1)
    write_dataset(sources, tmp_path / "two", RECIPE, jobs=2)
    assert (tmp_path / "one/index.csv").read_bytes() == (tmp_path / "two/index.csv").read_bytes()
    assert images(tmp_path / "one").keys() == images(tmp_path / "two").keys()


def test_what_is_unchanged_is_left_alone(tmp_path: Path, sources: list[SourcePhoto]) -> None:
    out = tmp_path / "out"
    write_dataset(sources, out, RECIPE)
    before, rows = images(out), index(out)
    write_dataset(sources, out, RECIPE)
    assert images(out) == before and index(out).equals(rows)
    changed = [photo(tmp_path, "a", "clean", "clean", seed=9), *sources[1:]]
    write_dataset(changed, out, RECIPE)
    written = {path for path, time in images(out).items() if time != before[path]}
    assert written == {path for path in before if path.startswith("clean/a_")}


def test_images_of_photos_or_recipes_that_are_gone_are_deleted(
    tmp_path: Path, sources: list[SourcePhoto]
) -> None:
    out = tmp_path / "out"
    write_dataset(sources, out, RECIPE)
    write_dataset(sources[1:], out, replace(RECIPE, tile=48))
    assert set(images(out)) == set(index(out).path)
    assert not any(path.startswith("clean/a_") for path in images(out))
    assert len(list((out / PARTS).iterdir())) == 4


def test_a_role_that_is_gone_leaves_no_folder(tmp_path: Path, sources: list[SourcePhoto]) -> None:
    """Readers take a folder's presence for the role's."""
    out = tmp_path / "out"
    more = photo(tmp_path, "e", "more_clean", "clean", seed=6)
    write_dataset([*sources, more], out, RECIPE)
    assert (out / "more_clean").is_dir()
    write_dataset(sources[:3], out, RECIPE)
    assert {path.name for path in out.iterdir() if path.is_dir()} == {"clean", "degraded", PARTS}


def test_a_lost_tile_is_made_again(tmp_path: Path, sources: list[SourcePhoto]) -> None:
    out = tmp_path / "out"
    write_dataset(sources, out, RECIPE)
    (out / "clean/b_00000_00032.png").unlink()
    write_dataset(sources, out, RECIPE)
    assert (out / "clean/b_00000_00032.png").is_file()


def test_it_goes_on_where_it_was_killed(
    tmp_path: Path, sources: list[SourcePhoto], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, left = tmp_path / "out", [15]  # photo a has 9 tiles, so that b stops in its middle

    def encode(pixels: np.ndarray) -> bytes:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return encode_png(pixels)

    monkeypatch.setattr(preprocess, "encode_png", encode)
    with pytest.raises(KeyboardInterrupt):
        write_dataset(sources, out, RECIPE)
    assert not (out / "index.csv").exists()
    before = images(out)
    assert len(before) == 15
    left[0] = 10_000
    # The photo in whose middle it stopped is another one by now, and smaller.
    smaller = [sources[0], photo(tmp_path, "b", "clean", "clean", size=(40, 40), seed=7), *sources[2:]]
    write_dataset(smaller, out, RECIPE)
    assert set(images(out)) == set(index(out).path)
    assert {path: time for path, time in images(out).items() if "/a_" in path} == {
        path: time for path, time in before.items() if "/a_" in path
    }


def test_a_change_of_code_makes_every_tile_again(
    tmp_path: Path, sources: list[SourcePhoto], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dataset(sources, tmp_path / "out", RECIPE)
    before = images(tmp_path / "out")
    monkeypatch.setattr(preprocess, "code_digest", lambda *files: "another")
    write_dataset(sources, tmp_path / "out", RECIPE)
    after = images(tmp_path / "out")
    assert after.keys() == before.keys() and not set(after.items()) & set(before.items())


def test_the_low_resolution_side_has_smaller_tiles(tmp_path: Path) -> None:
    sources = [
        photo(tmp_path, "degraded", "clean", "clean", (64, 64)),
        photo(tmp_path, "x", "degraded", "degraded", (16, 24)),
    ]
    write_dataset(sources, tmp_path / "out", replace(RECIPE, degraded_tile=8))
    sizes = index(tmp_path / "out").groupby("role").height.agg(["unique", "size"])
    assert sizes.loc["clean", "unique"].tolist() == [32] and sizes.loc["degraded", "unique"].tolist() == [8]
    assert sizes["size"].to_dict() == {"clean": 4, "degraded": 6, "reduced": 4}


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_bad_photo_is_named(tmp_path: Path, sources: list[SourcePhoto], jobs: int) -> None:
    Path(sources[1].path).write_bytes(b"no photo")
    with pytest.raises(NopairsError, match=r"clean_clean_b\.png"):
        write_dataset(sources, tmp_path / "out", RECIPE, jobs)
    assert not (tmp_path / "out/index.csv").exists()


def test_statistics_of_channels_go_when_they_are_not_asked_for(
    tmp_path: Path, sources: list[SourcePhoto]
) -> None:
    write_dataset(sources, tmp_path / "out", replace(RECIPE, normalise_channels=True))
    assert Channels.read(tmp_path / "out")
    write_dataset(sources, tmp_path / "out", RECIPE)
    assert Channels.read(tmp_path / "out") is None
