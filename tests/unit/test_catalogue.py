"""The catalogue: its entries, what they make of files, and their page in the documentation."""

from __future__ import annotations

import hashlib
import io
import os
import re
import zipfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from http_server import serving
from PIL import Image
from skimage import data

from nopairs.data import entries, sources
from nopairs.data.camera import Camera
from nopairs.data.degrading import Degrading
from nopairs.data.entries import Entry
from nopairs.data.images import encode_png, read_rgb
from nopairs.data.listing import markdown_table
from nopairs.data.photos import SourcePhoto
from nopairs.data.preprocess import Recipe, load_source, write_dataset
from nopairs.data.sources import catalogued_photos, collect
from nopairs.data.store import MIRROR_VARIABLE, Store
from nopairs.degradation.sampling import read_sources
from nopairs.errors import NopairsError
from nopairs.training.data import UnpairedData
from nopairs.training.options import TrainingOptions

ROOT = Path(__file__).resolve().parents[2]
# Names of datasets that an existing mirror may keep under another path.
ELSEWHERE = {"bsd68": "bsd/BSD68", "train400": "bsd/Train400"}


SCENES = [f"subject{chr(97 + k)}" for k in range(23)]


def photos(entry: Entry, names: Iterable[str], split: int = 0, **choices: Any) -> list[SourcePhoto]:
    """What the entry makes of files of these names; none is opened."""
    return catalogued_photos(entry, {name: Path(name) for name in names}, split, **choices)


def named(found: Iterable[SourcePhoto], role: str, side: str) -> set[str]:
    return {photo.photo for photo in found if (photo.role, photo.side) == (role, side)}


def scenes(found: Iterable[SourcePhoto], *roles: str) -> set[str]:
    return {photo.scene for photo in found if photo.role in roles}


@pytest.mark.parametrize("name", entries.names())
def test_every_entry_is_whole(name: str) -> None:
    entry = entries.load(name)
    paths = [file.path for file in entry.files]
    assert len(paths) == len(set(paths)) and not any(".." in path for path in paths)
    assert entry.files or entry.own or name == entries.FOLDER
    assert entry.images or entry.weights or name == entries.FOLDER
    assert any("split" in rule.roles for rule in entry.images) == bool(entry.split)
    assert entry.wanted_files(entry.only) or not entry.files
    assert entry.defaults.get("tile", 256) % entry.upscale == 0


@pytest.mark.parametrize(
    "name", ["bsd68", "cc15", "live1", "polyu", "set12", "set14", "set5", "sic_diamonds", "train400"]
)
def test_public_files_have_published_hashes_and_each_is_an_image_of_the_entry(name: str) -> None:
    entry = entries.load(name)
    assert all(file.hash and file.hash.startswith("sha256:") and file.size for file in entry.files)
    files = [file.path for file in entry.files]
    assert {photo.path for photo in photos(entry, files)} <= set(files)
    unknown = [path for path in files if not any(rule.match.fullmatch(path) for rule in entry.images)]
    assert not unknown


POLYU = [file.path for file in entries.load("polyu").files]


@pytest.mark.parametrize("split", range(6))
def test_polyu_trains_chooses_and_measures_on_disjoint_subjects(split: int) -> None:
    found = photos(entries.load("polyu"), POLYU, split)
    groups = [scenes(found, role) for role in ("clean", "degraded", "val", "test")]
    assert [len(group) for group in groups] == [7, 8, 3, 5]
    assert len(set.union(*groups)) == 23  # the sum: no subject is in two
    for role in ("pairs", "val", "test"):
        assert named(found, role, "clean") == named(found, role, "degraded") != set()
    # Of each unpaired half one side is seen; real pairs have both sides of both.
    assert not named(found, "degraded", "clean") and not named(found, "clean", "degraded")
    halves = named(found, "clean", "clean"), named(found, "degraded", "degraded")
    assert named(found, "pairs", "clean") == set.union(*halves)
    for half, names in zip(("clean", "degraded"), halves, strict=True):
        chosen = photos(entries.load("polyu"), POLYU, split, pairs_from=[half])
        assert named(chosen, "pairs", "clean") == named(chosen, "pairs", "degraded") == names


def test_a_subject_of_polyu_stays_together_across_cameras_settings_and_spellings() -> None:
    found = photos(entries.load("polyu"), POLYU)
    subject = {photo.photo: photo.scene for photo in found}
    assert subject["NikonD800_6-3_125_5000_plant__4"] == subject["Sony_4-5_125_3200_plant_10"] == "plant"
    assert {subject[name] for name in subject if "_toy_" in name} == {"toy"}
    assert {name for name in subject if subject[name] == "toy"} == {
        name for name in subject if "_toy_" in name
    }
    assert subject["NikonD800_10_100_6400_planandsofa_2"] == "planandsofa"


SIDD = [
    f"SIDD_Small_sRGB_Only.zip/SIDD_Small_sRGB_Only/Data/{k:04}_{k % 3:03}_S6_00100_00060_3200_L/{side}_SRGB_010.PNG"
    for k in range(6)
    for side in ("GT", "NOISY")
] + [
    f"Validation{side}BlocksSrgb.mat/Validation{side}BlocksSrgb/{photo}/{block}.png"
    for side in ("Gt", "Noisy")
    for photo in range(40)
    for block in range(32)
]


def test_sidd_trains_on_small_and_measures_on_validation() -> None:
    entry = entries.load("sidd")
    found = photos(entry, SIDD)
    for role in ("clean", "degraded", "pairs"):
        assert scenes(found, role) == {"000", "001", "002"}
    assert len(named(found, "test", "clean")) == 32 * 32 and len(named(found, "val", "degraded")) == 8 * 32
    assert not scenes(found, "val") & scenes(found, "test")
    paper = photos(entry, SIDD, selection="paper")
    assert named(paper, "val", "clean") == named(paper, "test", "clean")
    assert len(named(paper, "test", "degraded")) == 1280


@pytest.mark.parametrize(
    ("name", "members", "roles"),
    [
        (
            "aim19",
            ["train-clean-images.zip/train-clean-images/0001.png", "train-noisy-images.zip/0001.png"]
            + [f"valid-{side}.zip/x/{k}.png" for side in ("gt-clean", "input-noisy") for k in range(10)],
            {"clean": 1, "degraded": 1, "val": 4, "test": 16},
        ),
        (
            "ntire20",
            ["Corrupted-tr-y.zip/0001.png", "Corrupted-tr-x.zip/000001.png"]
            + [f"{file}.zip/{k:04}.png" for file in ("track1-valid-gt", "Corrupted-va-x") for k in range(10)],
            {"clean": 1, "degraded": 1, "val": 4, "test": 16},
        ),
        (
            "flickr2k",
            ["Flickr2K.tar/Flickr2K/Flickr2K_HR/000001.png", "Flickr2K.tar/Flickr2K/Flickr2K_LR_bicubic/X2/000001x2.png"],
            {"clean": 1},
        ),
        (
            "div2k",
            ["DIV2K_train_HR.zip/DIV2K_train_HR/0001.png", "DIV2K_valid_HR.zip/DIV2K_valid_HR/0801.png"],
            {"clean": 1, "test": 1},
        ),
        (
            "kylberg",
            [f"grass1-without-rotations.zip/grass1-{photo}-p{k:03}.png" for photo in "abcd" for k in range(40)],
            {"clean": 80, "val": 40, "test": 40},
        ),
        (
            "polyu_clean",
            [f"Sony_3_160_1600_{scene}_{k}_mean.JPG" for scene in SCENES for k in (1, 2)],
            {"clean": 18, "degraded": 18, "test": 10},
        ),
        (
            "lodopab",
            [f"ground_truth_{part}.zip/ground_truth_{part}_000.hdf5/data/{k}.png" for part in ("train", "test") for k in range(9)],
            {"clean": 9, "test": 9},
        ),
        ("imagenet", ["ILSVRC2012_val_00000001.JPEG", "sub/ILSVRC2012_val_00000002.jpg"], {"test": 2}),
    ],
)  # fmt: skip
def test_members_of_archives_get_their_roles(name: str, members: list[str], roles: dict[str, int]) -> None:
    found = photos(entries.load(name), members)
    assert pd.Series([photo.role for photo in found]).value_counts().to_dict() == roles


def test_mistakes_in_an_entry_name_the_file_and_the_key(tmp_path: Path) -> None:
    good = (entries.CATALOGUE / "set12.yaml").read_text().replace("set12.csv", "[{path: 01.png}]")
    for mistake, message in (
        (good.replace("licence:", "license:"), "license"),
        (good.replace("role: test", "role: tset"), "tset"),
        (good.replace("base:", "home:").replace("home:", "about:", 1), "no address"),
        (good.replace("{path: 01.png}", "{path: ../01.png}"), r"\.\./01\.png"),
        (good.replace("{path: 01.png}", "{path: 01.png, sha256: abc}"), "abc"),
    ):
        (tmp_path / "mine.yaml").write_text(mistake)
        with pytest.raises(NopairsError, match=rf"mine\.yaml: .*{message}"):
            entries.read(tmp_path / "mine.yaml")


def test_images_that_do_not_fit_an_entry_are_refused() -> None:
    polyu = entries.load("polyu")
    with pytest.raises(NopairsError, match="none of its 1 images"):
        photos(polyu, ["other.png"])
    with pytest.raises(NopairsError, match="has only one of clean and degraded"):
        photos(polyu, [name for name in POLYU if not name.endswith("_toy_12_real.JPG")])
    with pytest.raises(NopairsError, match="are both called"):
        photos(entries.load("div2k"), ["DIV2K_train_HR.zip/a/0001.png", "DIV2K_train_HR.zip/b/0001.png"])


MINE = """\
title: Mine
about: Two photos.
licence: unknown
citation: none
base: ADDRESS
files: [{path: pairs.zip}]
images:
  - {match: 'pairs\\.zip/(?P<photo>.+)_clean\\.png', role: test, side: clean}
  - {match: 'pairs\\.zip/(?P<photo>.+)_noisy\\.png', role: test, side: degraded}
"""


def test_a_new_dataset_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "CATALOGUE", tmp_path)
    monkeypatch.delenv(MIRROR_VARIABLE, raising=False)
    settings = {"source": "mine", "only": "", "split": 0, "selection": "held_out"}
    store = Store(tmp_path / "data", tmp_path / "data.lock")
    with serving() as server:
        (tmp_path / "mine.yaml").write_text(MINE.replace("ADDRESS", f"{server.address}/"))
        server.files["/pairs.zip"] = archive("a_clean", "a_noisy", "in/b_clean", "in/b_noisy", "other")
        found = collect(settings, store)
        times = {photo.path: Path(photo.path).stat().st_mtime_ns for photo in found}
        assert collect(settings, store) == found
        assert {path: Path(path).stat().st_mtime_ns for path in times} == times  # not unpacked again
        assert len(server.requests) == 1
        learned = collect({**settings, "role": "clean"}, store)
        assert {(photo.role, photo.side) for photo in learned} == {("clean", "clean")}
        (tmp_path / "data.lock").unlink()
        (tmp_path / "data/mine/pairs.zip").write_bytes(archive("c_clean", "c_noisy"))
        assert named(collect(settings, store), "test", "clean") == {"c"}
    assert named(found, "test", "clean") == named(found, "test", "degraded") == {"a", "in__b"}
    assert all(photo.sha256 == sha256_of(photo.photo, photo.side) for photo in found)


def test_an_archive_is_unpacked_again_when_other_images_are_wanted(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(MINE.replace("ADDRESS", "https://a.test/"))
    (tmp_path / "pairs.zip").write_bytes(archive("a_clean", "a_noisy"))
    entry = entries.read(tmp_path / "mine.yaml")
    for rules in (entry.images[:1], entry.images, entry.images[1:]):
        images = sources._unpacked(replace(entry, images=rules), "pairs.zip", tmp_path / "pairs.zip")
        assert len(images) == len(rules)


def test_each_split_has_its_own_test_scenes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "CATALOGUE", tmp_path)
    monkeypatch.delenv(MIRROR_VARIABLE, raising=False)
    settings = {"source": "dealt", "only": "", "selection": "held_out"}
    store = Store(tmp_path / "data", tmp_path / "data.lock")
    dealt = MINE.replace("role: test", "role: split") + "split: {clean: 2, degraded: 2, val: 1, test: 1}\n"
    with serving() as server:
        (tmp_path / "dealt.yaml").write_text(dealt.replace("ADDRESS", f"{server.address}/"))
        server.files["/pairs.zip"] = archive(
            *(f"{scene}_{side}" for scene in "abcdef" for side in ("clean", "noisy"))
        )
        splits = [collect({**settings, "split": k}, store) for k in range(3)]
    tests = [scenes(found, "test") for found in splits]
    assert all(tests) and len(set.union(*tests)) == sum(map(len, tests))
    for found in splits:
        roles = [scenes(found, role) for role in ("clean", "degraded", "val", "test")]
        assert len(set.union(*roles)) == sum(map(len, roles)) == 6


def pixels(name: str) -> np.ndarray:
    return np.random.default_rng(list(name.encode())).integers(0, 256, (8, 8, 3)).astype(np.uint8)


def archive(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in names:
            file.writestr(f"{name}.png", encode_png(pixels(name)))
    return buffer.getvalue()


def sha256_of(photo: str, side: str) -> str:
    name = f"{photo.replace('__', '/')}_{'clean' if side == 'clean' else 'noisy'}"
    return hashlib.sha256(encode_png(pixels(name))).hexdigest()


def test_clean_photos_from_elsewhere_are_learned_from_and_no_pairs_are_made_of_them(tmp_path: Path) -> None:
    store = Store(tmp_path / "data", tmp_path / "data.lock")
    own = {"source": "embedded", "only": "", "split": 0, "selection": "held_out", "tile": 256}
    settings = {**own, "more_clean": ["textures"]}
    alone, found = collect(own, store), collect(settings, store)
    assert found[: len(alone)] == alone
    joined = found[len(alone) :]
    assert {(photo.role, photo.side) for photo in joined} == {("more_clean", "clean")}
    assert all(photo.photo.startswith("textures__") for photo in joined)
    mine = next(photo for photo in alone if photo.role == "clean")
    write_dataset([mine, joined[0]], tmp_path / "out", Recipe(256, 256, Camera(), 0))
    tiles = {path.name for path in (tmp_path / "out/more_clean").iterdir()}
    assert tiles == {
        f"textures__clean__brick_{top:05}_00000.png" for top in (0, 256)
    }  # the camera leaves them alone
    options = TrainingOptions(steps=1, batch=2, crop=32)
    learned = UnpairedData(tmp_path / "out", ["clean"], [], options, equal_sizes=True)
    assert tiles < set(learned.tiles["clean"][1])
    assert len(read_sources(tmp_path / "out", "ludvae", "")["clean"]) == len(learned.tiles["clean"][1]) - len(
        tiles
    )


def test_clean_photos_that_are_smaller_than_a_tile_are_enlarged_to_one(tmp_path: Path) -> None:
    settings = {
        "source": "embedded",
        "only": "",
        "split": 0,
        "selection": "held_out",
        "tile": 640,
        "more_clean": ["textures"],
    }
    small = collect(settings, Store(tmp_path / "data", tmp_path / "data.lock"))[-1]
    assert load_source(small).shape == (640, 640, 3) and small.photo.startswith("textures__test")


def test_imagenet_is_read_where_the_user_has_it(tmp_path: Path) -> None:
    for k in range(3):
        Image.fromarray(pixels(str(k))).save(tmp_path / f"ILSVRC2012_val_{k:08}.JPEG")
    settings = {"source": "imagenet", "folder": str(tmp_path), "split": 0, "selection": "held_out"}
    found = collect(settings, Store(tmp_path / "data", tmp_path / "data.lock"))
    assert named(found, "test", "clean") == {f"ILSVRC2012_val_{k:08}" for k in range(3)}
    assert not (tmp_path / "data").exists()


def test_the_page_of_the_catalogue_is_up_to_date() -> None:
    page = (ROOT / "docs/datasets.md").read_text()
    assert markdown_table() in page, "put what `nopairs data list --markdown` prints into docs/datasets.md"


def test_parts_of_one_photo_have_roles_of_their_own(tmp_path: Path) -> None:
    settings = {"source": "textures", "only": "brick", "split": 0, "selection": "held_out"}
    found = collect(settings, Store(tmp_path / "data", tmp_path / "data.lock"))
    assert len({photo.sha256 for photo in found}) == 1
    write_dataset(found, tmp_path / "out", Recipe(256, 256, None, 0))
    noisy = Recipe(256, 256, None, 0, degrading=Degrading(noise=10))
    write_dataset(found, tmp_path / "noisy", noisy)
    noise = [
        read_rgb(tmp_path / "noisy" / role / "degraded/brick.png").astype(float)
        - read_rgb(tmp_path / "noisy" / role / "clean/brick.png")
        for role in ("val", "test")
    ]
    assert abs(np.corrcoef(*(part.ravel() for part in noise))[0, 1]) < 0.05
    brick = data.brick()
    for path, part in (
        ("clean/brick_00256_00000.png", brick[256:, :256]),
        ("val/clean/brick.png", brick[:256, 256:]),
        ("test/clean/brick.png", brick[256:, 256:]),
    ):
        assert (read_rgb(tmp_path / "out" / path)[..., 0] == part).all()


def test_parts_that_overlap_may_not() -> None:
    brick = SourcePhoto("brick", "clean", "clean", "brick", "brick", 1.0, "hash", "0 0 0.5 1")
    beside = replace(brick, role="test", part="0.5 0 1 1")
    sources._refuse_shared([brick, beside], [])
    with pytest.raises(NopairsError, match="the same photo as brick, in roles test and clean"):
        sources._refuse_shared([brick, replace(beside, part="0.4 0.5 1 1")], [])


def available() -> list[str]:
    """Datasets that the mirror has in full; the embedded one where there is no mirror."""
    mirror = Path(os.environ.get(MIRROR_VARIABLE, "/nowhere"))
    found = []
    for name in entries.names():
        entry = entries.load(name)
        files = entry.wanted_files(entry.only)
        folder = mirror / ELSEWHERE.get(name, name)
        if files and not entry.weights and all((folder / file.path).is_file() for file in files):
            found.append(name)
    return found or ["embedded"]


@pytest.mark.parametrize("name", available())
def test_a_dataset_goes_from_its_mirror_to_tiles(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = Path(os.environ.get(MIRROR_VARIABLE, "/nowhere")).absolute()
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / name).symlink_to(mirror / ELSEWHERE.get(name, name))
    monkeypatch.delenv(MIRROR_VARIABLE, raising=False)
    entry = entries.load(name)
    settings = {"source": name, "only": entry.only, "split": 1, "selection": "held_out"}
    store = Store(tmp_path / "data", tmp_path / "data.lock", mirror=str(tmp_path / "mirror"))
    found = collect(settings, store)
    assert not (tmp_path / "data.lock").exists()  # all of these have published hashes
    tile = entry.defaults.get("tile", 256)
    write_dataset(found[::7], tmp_path / "out", Recipe(tile, tile // entry.upscale, None, 0), jobs=1)
    index = pd.read_csv(tmp_path / "out/index.csv", dtype=str, keep_default_na=False)
    assert set(index.photo) == {photo.photo for photo in found[::7]}
    for row in index.iloc[::97].itertuples():
        assert read_rgb(tmp_path / "out" / str(row.path)).shape == (
            int(str(row.height)),
            int(str(row.width)),
            3,
        )
    assert collect(settings, store) == found  # the second time nothing is fetched or unpacked
    assert not re.search("nowhere|mirror", " ".join(photo.path for photo in found))
