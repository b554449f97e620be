"""The embedded dataset's recipe, tiling, crops, sources of a user's own folders."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from PIL.ExifTags import Base
from skimage import data

from nopairs.config.datasets import resolve_dataset
from nopairs.data import checks
from nopairs.data.camera import Camera, demosaic_noise, linear_to_srgb, photograph, srgb_to_linear
from nopairs.data.images import read_rgb, write_png
from nopairs.data.photos import SourcePhoto, read_sources, write_sources
from nopairs.data.preprocess import Recipe, tile_corners, write_dataset
from nopairs.data.sources import collect
from nopairs.data.store import Store
from nopairs.data.tiles import random_crops, read_tiles, to_tensor, to_uint8
from nopairs.errors import NopairsError


def save(path: Path, seed: int, size: tuple[int, int] = (40, 48)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)).save(path)
    return path


def embedded(folder: Path) -> list[SourcePhoto]:
    settings = {"source": "embedded", "only": "", "split": 0, "selection": "held_out"}
    return collect(settings, Store(folder / "data", folder / "data.lock"))


def folders(tmp_path: Path, **more: object) -> list[SourcePhoto]:
    """The photos of a user's folders `clean` and `noisy`."""
    settings = {"source": "folder", "clean": str(tmp_path / "clean"), "degraded": str(tmp_path / "noisy")}
    return collect(settings | more, Store(tmp_path / "data", tmp_path / "data.lock"))


def test_no_embedded_scene_has_two_roles(tmp_path: Path) -> None:
    roles: dict[str, set[str]] = {}
    for photo in embedded(tmp_path):
        roles.setdefault(photo.scene, set()).add(photo.role)
    assert all(len(role) == 1 for role in roles.values())
    assert set.union(*roles.values()) == {"clean", "degraded", "val", "test"}


def test_srgb_curves_are_inverse() -> None:
    values = np.linspace(0, 1, 256)
    np.testing.assert_allclose(linear_to_srgb(srgb_to_linear(values)), values, atol=1e-12)


def test_demosaiced_noise_is_correlated_as_bilinear_interpolation_makes_it() -> None:
    noise = demosaic_noise(np.random.default_rng(0).standard_normal((512, 512, 3)))[8:-8, 8:-8]
    # Half of green is measured (variance 1), half a mean of four (1/4); red: a quarter 1, a half 1/2, a quarter 1/4.
    np.testing.assert_allclose(noise.var((0, 1)), [0.5625, 0.625, 0.5625], rtol=0.03)


def test_noise_grows_with_the_signal_in_linear_light() -> None:
    deviations = []
    for level in (60, 120, 200):
        flat = np.full((128, 128, 3), level, np.uint8)
        noisy = photograph(flat, Camera(gain_spread=1.0, jpeg_quality=100), np.random.default_rng(0))
        deviations.append((srgb_to_linear(noisy / 255) - srgb_to_linear(flat / 255)).std())
    assert deviations[0] < deviations[1] < deviations[2]


def deviation(level: int, **camera: float) -> float:
    """Of the noise on a flat image, in linear light, by a camera that does nothing else."""
    flat = np.full((128, 128, 3), level, np.uint8)
    taken = photograph(flat, Camera(gain_spread=1.0, jpeg_quality=100, **camera), np.random.default_rng(0))
    return float((srgb_to_linear(taken / 255) - srgb_to_linear(flat / 255)).std())


def test_read_noise_is_a_deviation_and_shot_noise_a_variance() -> None:
    read = [deviation(128, shot_noise=0.0, read_noise=noise) for noise in (0.02, 0.04)]
    shot = [deviation(128, shot_noise=noise, read_noise=0.0) for noise in (0.004, 0.016)]
    assert read[1] / read[0] == pytest.approx(2, rel=0.1)
    assert shot[1] / shot[0] == pytest.approx(2, rel=0.1)
    by_level = [deviation(level, shot_noise=0.004, read_noise=0.0) for level in (100, 188)]
    light = [float(srgb_to_linear(np.array(level / 255))) for level in (100, 188)]
    assert by_level[1] / by_level[0] == pytest.approx(np.sqrt(light[1] / light[0]), rel=0.1)


def test_both_sides_of_a_pair_are_in_one_light_and_what_is_measured_on_in_white(tmp_path: Path) -> None:
    grey = np.full((64, 64, 3), 150, np.uint8)
    write_png(tmp_path / "grey.png", grey)
    photos = [
        SourcePhoto(str(tmp_path / "grey.png"), role, "clean", role[0], role, 1.0, "0" * 64)
        for role in ("clean", "val", "test")
    ]
    camera = Camera(0.0, 0.0, 1.0, 100, exposures=3, light_spread=3.0)
    write_dataset(photos, tmp_path / "out", Recipe(64, 64, camera, 0))

    def images(folder: str) -> list[np.ndarray]:
        return [read_rgb(path).astype(int) for path in sorted((tmp_path / "out" / folder).glob("*.png"))]

    clean, taken = images("pairs/clean"), images("pairs/degraded")
    assert len(clean) == len(taken) == 3 and len(images("val/clean")) == 3 and len(images("test/clean")) == 1
    assert max(np.abs(one - other).max() for one, other in zip(clean, taken, strict=True)) <= 3
    white, *coloured = (image.reshape(-1, 3)[0] for image in clean)
    assert (white == 150).all()
    assert all(np.ptp(colour) > 5 and colour.max() <= 150 for colour in coloured)
    assert all((image == 150).all() for folder in ("val/clean", "test/clean") for image in images(folder))


def test_the_camera_repeats_with_its_seed() -> None:
    photo = data.chelsea()[:64, :64]
    first, again, other = (photograph(photo, Camera(), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


@pytest.mark.parametrize("size", [(32, 32), (33, 64), (100, 45)])
def test_tiles_cover_an_image(size: tuple[int, int]) -> None:
    covered = np.zeros(size, bool)
    for top, left in tile_corners(*size, 32):
        assert top + 32 <= size[0] and left + 32 <= size[1]
        covered[top : top + 32, left : left + 32] = True
    assert covered.all()


def test_an_image_smaller_than_a_tile_is_refused() -> None:
    with pytest.raises(NopairsError, match="smaller than a training tile"):
        tile_corners(31, 100, 32)


def test_the_embedded_dataset_has_what_its_index_says(tmp_path: Path) -> None:
    photos = embedded(tmp_path)
    write_sources(photos, tmp_path / "sources.csv")
    assert read_sources(tmp_path / "sources.csv") == photos
    dataset = tmp_path / "dataset"
    write_dataset(photos, dataset, Recipe(128, 128, Camera(exposures=1), seed=0))
    index = pd.read_csv(dataset / "index.csv")
    assert set(index.role) == {"clean", "degraded", "pairs", "val", "test"}
    assert all((dataset / path).is_file() for path in index.path)
    assert (index.groupby("scene").role.nunique() <= 2).all()  # pairs are the clean photos' own
    for role in ("pairs", "val", "test"):
        clean, degraded = (
            sorted(p.name for p in (dataset / role / side).iterdir()) for side in ("clean", "degraded")
        )
        assert clean == degraded and clean
    assert {p.name for p in (dataset / "test/clean").iterdir()} == {
        "astronaut.png",
        "chelsea.png",
        "coffee.png",
    }
    tiles, names = read_tiles(dataset / "clean")
    assert tiles.shape[1:] == (128, 128, 3) and len(tiles) == len(names) == (index.role == "clean").sum()


def test_crops_are_the_same_part_of_both_sides_in_all_eight_symmetries() -> None:
    tiles = np.arange(3 * 12 * 12 * 3, dtype=np.uint32).reshape(3, 12, 12, 3)
    first, second = (tiles % 251).astype(np.uint8), (255 - tiles % 251).astype(np.uint8)
    (a, b), index = random_crops([first, second], 400, 8, np.random.default_rng(0))
    assert a.shape == (400, 3, 8, 8) and a.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(a + b, torch.ones_like(a))
    symmetries = set()
    for crop, tile in zip(to_uint8(a), index, strict=True):
        found = [
            symmetry
            for symmetry in range(8)
            for top in range(5)
            for left in range(5)
            if np.array_equal(_turn(first[tile, top : top + 8, left : left + 8], symmetry), crop)
        ]
        assert found
        symmetries.add(found[0])
    assert symmetries == set(range(8))


def test_aligned_crops_keep_the_blocks_of_jpeg_in_one_place() -> None:
    places = np.arange(44) // 4
    blocks = (7 * places[:, None] + 11 * places).astype(
        np.uint8
    )  # 4 x 4 pixels of one value; neighbours differ
    tiles = np.repeat(blocks[None, ..., None], 3, 3)

    def block_by_block(align: int) -> np.ndarray:
        (crops,), _ = random_crops([tiles], 50, 16, np.random.default_rng(0), align)
        return to_uint8(crops)[..., 0].reshape(50, 4, 4, 4, 4).transpose(0, 1, 3, 2, 4).reshape(-1, 16)

    aligned, anywhere = block_by_block(4), block_by_block(1)
    assert np.ptp(aligned, 1).max() == 0 and np.ptp(anywhere, 1).max() > 0
    assert len(np.unique(aligned)) > 16  # not one place only


def _turn(image: np.ndarray, symmetry: int) -> np.ndarray:
    turned = np.rot90(image, symmetry % 4)
    return turned[::-1] if symmetry >= 4 else turned


def test_a_crop_larger_than_the_tiles_is_refused() -> None:
    with pytest.raises(NopairsError, match="crop 16 is larger"):
        random_crops([np.zeros((2, 8, 8, 3), np.uint8)], 1, 16, np.random.default_rng(0))


def test_uint8_round_trip() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3)).astype(np.uint8)
    assert np.array_equal(to_uint8(to_tensor(images)), images)
    assert to_uint8(torch.tensor([-0.2, 1.3]).view(1, 1, 1, 2).expand(1, 3, 1, 2)).tolist()[0][0] == [
        [0] * 3,
        [255] * 3,
    ]


def test_own_folders_hold_out_every_nth_degraded_photo(tmp_path: Path) -> None:
    for k in range(5):
        save(tmp_path / f"clean/c{k}.png", k)
        save(tmp_path / f"noisy/sub/n{k}.jpg", 10 + k)
    photos = folders(tmp_path, test_every=3)
    assert [photo.role for photo in photos].count("test") == 2
    assert [photo.role for photo in photos].count("degraded") == 3
    dataset = tmp_path / "dataset"
    write_dataset(photos, dataset, Recipe(32, 32, None, seed=0))
    assert (dataset / "test/degraded/sub__n0.png").is_file() and not (dataset / "test/clean").exists()


def test_so_many_photos_of_each_half_and_all_of_the_rest(tmp_path: Path) -> None:
    for k in range(7):
        save(tmp_path / f"clean/c{k}.png", k)
        save(tmp_path / f"noisy/n{k}.png", 10 + k)

    def named(most: int, seed: int, role: str) -> set[str]:
        found = folders(tmp_path, test_every=3, train_photos=most, seed=seed)
        return {photo.photo for photo in found if photo.role == role}

    for most in (1, 3):
        assert len(named(most, 0, "clean")) == len(named(most, 0, "degraded")) == most
        assert named(most, 0, "test") == {"n0", "n3", "n6"}
    assert named(1, 0, "clean") < named(3, 0, "clean")
    assert len({frozenset(named(3, seed, "clean")) for seed in range(5)}) > 1
    with pytest.raises(NopairsError, match="train_photos: 5, but there are 4 degraded ones"):
        folders(tmp_path, test_every=3, train_photos=5, seed=0)


def test_a_photo_in_training_and_test_is_found_by_its_content(tmp_path: Path) -> None:
    for k in range(3):
        save(tmp_path / f"clean/{k}.png", k)
        save(tmp_path / f"noisy/{k}.png", 10 + k)
        save(tmp_path / f"test/clean/{k}.png", 20 + k)
        save(tmp_path / f"test/noisy/{k}.png", 10 + k)
    test = {"clean": str(tmp_path / "test/clean"), "degraded": str(tmp_path / "test/noisy")}
    with pytest.raises(NopairsError, match="the same photo as"):
        folders(tmp_path, test_every=3, test=test)


def test_pairs_need_equal_names(tmp_path: Path) -> None:
    for k in range(2):
        save(tmp_path / f"clean/{k}.png", k)
        save(tmp_path / f"noisy/{k}.png", 10 + k)
    save(tmp_path / "val/clean/a.png", 30)
    save(tmp_path / "val/noisy/b.png", 31)
    val = {"clean": str(tmp_path / "val/clean"), "degraded": str(tmp_path / "val/noisy")}
    with pytest.raises(NopairsError, match="val: a stands in only one of"):
        folders(tmp_path, test_every=2, val=val)


@pytest.mark.parametrize("role", ["clean", "val"])
def test_two_photos_of_one_name_are_refused(role: str, tmp_path: Path) -> None:
    for k in range(3):
        save(tmp_path / f"clean/{k}.png", k)
        save(tmp_path / f"noisy/{k}.png", 10 + k)
        save(tmp_path / f"val/clean/{k}.png", 20 + k)
        save(tmp_path / f"val/noisy/{k}.png", 30 + k)
    folder = tmp_path / "clean" if role == "clean" else tmp_path / "val/clean"
    save(folder / "1.jpg", 40)
    val = {"clean": str(tmp_path / "val/clean"), "degraded": str(tmp_path / "val/noisy")}
    with pytest.raises(NopairsError, match=rf"{role}.*1\.(jpg|png) .* are both called '1'; rename one"):
        folders(tmp_path, test_every=2, val=val)


@pytest.mark.parametrize(("first", "second"), [("d0.png", "d0.JPG"), ("a/b.png", "a__b.png")])
def test_two_photos_of_one_name_are_refused_also_if_one_would_be_held_out(
    first: str, second: str, tmp_path: Path
) -> None:
    for k, name in enumerate((first, second, "z.png")):
        save(tmp_path / "clean" / f"{k}.png", k)
        save(tmp_path / "noisy" / name, 10 + k)
    with pytest.raises(NopairsError, match=r"are both called '(d0|a__b)'; rename one"):
        folders(tmp_path, test_every=3)


def turn(path: Path, orientation: int) -> None:
    """Let the EXIF of an image say how it is to be turned."""
    exif = Image.Exif()
    exif[Base.Orientation] = orientation
    with Image.open(path) as image:
        image.save(path, exif=exif)


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("role", ["pairs", "val", "test"])
def test_a_pair_is_compared_as_exif_turns_its_images(role: str, scale: int, tmp_path: Path) -> None:
    dataset: dict = {"source": "folder", "tile": 16, "scale": scale}
    for folders, place in ((dataset, tmp_path), (dataset.setdefault(role, {}), tmp_path / role)):
        folders |= {side: str(place / side) for side in checks.SIDES}
        save(place / "clean/a.png", 1, (scale * 40, scale * 48))
        save(place / "degraded/a.png", 2, (40, 48))
    checks.check_folders(dataset)
    turn(tmp_path / role / "degraded/a.png", 6)
    sizes = f"40x48 pixels.* another size, {scale * 48}x{scale * 40} "
    with pytest.raises(NopairsError, match=rf"{role}/degraded/a.png: {sizes}"):
        checks.check_folders(dataset)
    turn(tmp_path / role / "clean/a.png", 8)
    checks.check_folders(dataset)
    turn(tmp_path / role / "degraded/a.png", 3)
    with pytest.raises(NopairsError, match="another size"):
        checks.check_folders(dataset)


def test_a_copy_of_a_dataset_is_looked_at_as_own_folders_are(tmp_path: Path) -> None:
    resolved = resolve_dataset("haze", {"source": "dense_haze", "folder": str(tmp_path / "copy"), "tile": 16})
    with pytest.raises(NopairsError, match="copy: no such file or folder"):
        checks.check_folders(resolved)
    for k, place in enumerate(("train/clean", "train/degraded", "test/clean", "test/degraded")):
        save(tmp_path / "copy" / place / "a.png", k)
    checks.check_folders(resolved)
    with pytest.raises(NopairsError, match="48x40 pixels, smaller than a training tile of 64"):
        checks.check_folders(resolved | {"tile": 64})
    turn(tmp_path / "copy/train/degraded/a.png", 6)
    with pytest.raises(NopairsError, match=r"train/degraded/a\.png: 40x48 pixels, but its clean version has"):
        checks.check_folders(resolved)
    (tmp_path / "copy/train/degraded/a.png").write_bytes(b"")
    with pytest.raises(NopairsError, match=r"train/degraded/a\.png: the file is empty"):
        checks.check_folders(resolved)
    (tmp_path / "copy/train/degraded/a.png").unlink()
    with pytest.raises(NopairsError, match="'a' has only one of clean and degraded"):
        checks.check_folders(resolved)


@pytest.fixture
def own(tmp_path: Path) -> dict[str, Any]:
    """A user's folders of photos that can be cut into tiles of 16 pixels."""
    for k, place in enumerate(("clean/c0", "clean/c1", "noisy/n0", "noisy/n1")):
        save(tmp_path / f"{place}.png", k)
    named = {"clean": str(tmp_path / "clean"), "degraded": str(tmp_path / "noisy")}
    return {"source": "folder", "tile": 16, "scale": 1, "test_every": 2, **named}


def paired(own: dict[str, Any], role: str, place: Path, names: Sequence[str] = ("a", "a")) -> dict[str, Any]:
    """The same with one pair."""
    for side, name in zip(checks.SIDES, names, strict=True):
        save(place / side / f"{name}.png", len(place.name) + len(side))
    return own | {role: {side: str(place / side) for side in checks.SIDES}}


def test_a_name_that_is_not_utf8_is_refused(own: dict[str, Any], tmp_path: Path) -> None:
    save(tmp_path / "noisy" / os.fsdecode(b"caf\xe9.png"), 9)
    with pytest.raises(NopairsError, match=r"noisy/caf\\xe9\.png: its name is not UTF-8; rename it"):
        checks.check_folders(own)


def test_deep_folders_give_names_that_a_file_can_have(own: dict[str, Any], tmp_path: Path) -> None:
    deep = tmp_path / "noisy" / "/".join(["é" * 80] * 3)
    for k in range(3):
        save(deep / f"{k}.png", 10 + k)
    photos = collect(own, Store(tmp_path / "data", tmp_path / "data.lock"))
    write_dataset(photos, tmp_path / "out", Recipe(16, 16, None, seed=0))
    assert len({photo.photo for photo in photos}) == len(photos) == 7
    assert photos == collect(own, Store(tmp_path / "data", tmp_path / "data.lock"))


def test_a_folder_within_one_of_another_role_is_refused(own: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(NopairsError, match=f"{tmp_path} holds {tmp_path}/noisy; name folders apart"):
        checks.check_folders(own | {"clean": str(tmp_path)})
    pairs = paired(own, "pairs", tmp_path / "clean/paired")["pairs"]
    with pytest.raises(NopairsError, match="clean/paired/degraded; name folders apart"):
        checks.check_folders(own | {"pairs": pairs})
    (tmp_path / "clean/paired/degraded").rename(tmp_path / "noisy/paired")
    checks.check_folders(own | {"pairs": pairs | {"degraded": str(tmp_path / "noisy/paired")}})
    with pytest.raises(NopairsError, match=r"clean holds .*clean/of_val/clean; name folders apart"):
        checks.check_folders(paired(own, "val", tmp_path / "clean/of_val"))


def test_one_photo_found_twice_is_not_to_be_removed(own: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(NopairsError, match=r"c0\.png: the same photo as .*c0\.png, .*; name folders apart"):
        folders(tmp_path, test_every=2, degraded=str(tmp_path / "clean"))


def test_names_of_pairs_are_equal_however_their_letters_are_composed(
    own: dict[str, Any], tmp_path: Path
) -> None:
    names = [unicodedata.normalize(form, "café") for form in ("NFC", "NFD")]
    checks.check_folders(paired(own, "val", tmp_path / "val", names))


def test_photos_of_pairs_are_cut_too(own: dict[str, Any], tmp_path: Path) -> None:
    dataset = paired(own, "pairs", tmp_path / "pairs")
    checks.check_folders(dataset)
    for side in checks.SIDES:
        save(tmp_path / "pairs" / side / "a.png", 7, (12, 48))
    with pytest.raises(
        NopairsError, match=r"pairs/clean/a\.png: 48x12 pixels, smaller than a training tile of 16"
    ):
        checks.check_folders(dataset)
