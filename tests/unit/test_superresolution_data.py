"""Datasets whose clean images are larger than degraded ones: their folders, crops, pairs and restoration."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data
from torch import nn

from nopairs.data.channels import Channels
from nopairs.data.degrading import Degrading, degrade
from nopairs.data.images import read_rgb, write_png
from nopairs.data.photos import SourcePhoto
from nopairs.data.preprocess import Recipe, write_dataset
from nopairs.data.resizing import enlarge, reduce_pixels
from nopairs.data.tiles import random_crops, read_tiles
from nopairs.degradation.awgn import Awgn, AwgnOptions
from nopairs.degradation.sampling import SamplingOptions, read_sources, ready_to_sample, sample_pairs
from nopairs.errors import NopairsError
from nopairs.files import sha256
from nopairs.models import make, save_model
from nopairs.restorers.identity import Identity, IdentityOptions
from nopairs.restorers.tiling import restore_tiled
from nopairs.training.data import dataset_data
from nopairs.training.options import TrainingOptions
from nopairs.training.pairs import middles

RECIPE = Degrading(noise=8, correlation=1.5)


def source(folder: Path, role: str, top: int, side: str = "clean") -> SourcePhoto:
    path = folder / f"{role}.png"
    write_png(path, data.astronaut()[top : top + 131, 100:262].copy())
    return SourcePhoto(str(path), role, side, role, role, 1.0, sha256(path))


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    photos = [source(tmp_path, role, top) for role, top in (("clean", 0), ("degraded", 150), ("test", 300))]
    write_dataset(photos, tmp_path / "out", Recipe(64, 16, None, 0, RECIPE, normalise_channels=True))
    return tmp_path / "out"


def test_clean_tiles_come_reduced_too_and_degraded_ones_small(dataset: Path) -> None:
    large, small, degraded = (read_tiles(dataset / role) for role in ("clean", "reduced", "degraded"))
    assert large[1] == small[1]  # equal names
    assert large[0].shape[1:] == (64, 64, 3) and small[0].shape[1:] == degraded[0].shape[1:] == (16, 16, 3)
    # Of the whole photo, not tile by tile: equal but at the tiles' own edges, which another padding would show.
    for tile, reduced in zip(large[0], small[0], strict=True):
        np.testing.assert_array_equal(reduce_pixels(tile, 4)[3:-3, 3:-3], reduced[3:-3, 3:-3])
    clean, lower = (read_rgb(dataset / "test" / side / "test.png") for side in ("clean", "degraded"))
    assert clean.shape == (128, 160, 3) and lower.shape == (32, 40, 3)
    digest = read_digest(dataset)
    expected = degrade(reduce_pixels(clean, 4), RECIPE, np.random.default_rng([0, digest]))
    np.testing.assert_array_equal(lower, expected)


def read_digest(dataset: Path) -> int:
    return int(sha256(dataset.parent / "test.png")[:8], 16)


def test_crops_of_pairs_show_the_same_place() -> None:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (3, 20, 20, 3)).astype(np.uint8)
    large = small.repeat(4, 1).repeat(4, 2)
    (first, second), _ = random_crops([large, small], 6, 8, np.random.default_rng(1))
    assert first.shape == (6, 3, 32, 32)
    torch.testing.assert_close(first, second.repeat_interleave(4, 2).repeat_interleave(4, 3))
    (alone,), _ = random_crops([small], 6, 8, np.random.default_rng(1))
    assert torch.equal(alone, second)


def test_degradations_learn_from_equal_sizes_with_equal_channels_and_restorers_from_both_sizes(
    dataset: Path,
) -> None:
    options = TrainingOptions(steps=1, batch=4, crop=8)
    learned = dataset_data(dataset, ("clean", "degraded"), [], options, equal_sizes=True)
    batch = learned.batch(np.random.default_rng(0))
    assert batch["clean"].shape == batch["degraded"].shape == (2, 3, 8, 8)
    direct = dataset_data(dataset, ("clean", "degraded"), [], options).batch(np.random.default_rng(0))
    assert direct["clean"].shape == (2, 3, 32, 32)
    channels = Channels.read(dataset)
    assert channels is not None
    torch.testing.assert_close(channels.normalise(direct["degraded"]), batch["degraded"])
    torch.testing.assert_close(channels.undo(batch["degraded"]), direct["degraded"])
    small, degraded = (
        torch.from_numpy(read_tiles(dataset / role)[0] / 255.0) for role in ("reduced", "degraded")
    )
    moved = channels.normalise(degraded.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    for statistic in (torch.mean, torch.std):
        torch.testing.assert_close(
            statistic(moved, (0, 1, 2)), statistic(small, (0, 1, 2)), atol=1e-4, rtol=1e-3
        )


def test_pairs_are_a_degraded_small_tile_and_the_large_one(dataset: Path) -> None:
    sources = read_sources(dataset, "awgn", "")
    model = Awgn(AwgnOptions())
    clean, degraded = sample_pairs(model, sources, SamplingOptions(copies=2), (0.02, 0.02), 0)
    np.testing.assert_array_equal(clean, sources["large"].repeat(2, 0))
    noise = degraded.astype(float) - sources["clean"].repeat(2, 0)
    assert noise.std() == pytest.approx(0.02 * 255, rel=0.1)
    channels = Channels.read(dataset)
    assert channels is not None
    _, undone = sample_pairs(model, sources, SamplingOptions(copies=2), (0.0, 0.0), 0, channels=channels)
    expected = channels.undo(
        torch.from_numpy(sources["clean"].repeat(2, 0) / 255.0).permute(0, 3, 1, 2).float()
    )
    np.testing.assert_allclose(undone, expected.clamp(0, 1).permute(0, 2, 3, 1).numpy() * 255, atol=0.51)


def test_an_enlarged_image_in_tiles_is_the_whole_one_enlarged() -> None:
    image = torch.rand(1, 3, 37, 23)
    restorer = Identity(IdentityOptions(scale=4))
    torch.testing.assert_close(restore_tiled(restorer, image, tile=8), enlarge(image, 4), atol=1e-5, rtol=0)

    class Wrong(nn.Module):
        multiple, margin, scale = 1, 0, 4

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image

    with pytest.raises(NopairsError, match="keeps the image's size"):
        restore_tiled(Wrong(), image)


def test_middles_of_a_pair_show_the_same_place() -> None:
    small = np.random.default_rng(0).integers(0, 256, (40, 30, 3)).astype(np.uint8)
    clean, degraded = middles(small.repeat(4, 0).repeat(4, 1), small, 64)
    assert degraded.shape == (16, 16, 3)
    np.testing.assert_array_equal(clean, degraded.repeat(4, 0).repeat(4, 1))


def test_what_is_made_of_degraded_tiles_is_normalised_before_and_undone_behind(dataset: Path) -> None:
    seen = []

    class Method2(nn.Module):
        def make_pairs(
            self, clean: None, degraded: torch.Tensor, *_: object
        ) -> tuple[torch.Tensor, torch.Tensor]:
            seen.append(degraded)
            return degraded.clamp(0, 1), degraded

    channels = Channels.read(dataset)
    assert channels is not None
    sources = read_sources(dataset, "ludvae", "method2")
    _, degraded = sample_pairs(Method2(), sources, SamplingOptions(copies=1), (1, 1), 0, channels=channels)
    expected = channels.normalise(torch.from_numpy(sources["degraded"] / 255).permute(0, 3, 1, 2).float())
    torch.testing.assert_close(torch.cat(seen), expected)
    np.testing.assert_allclose(degraded, sources["degraded"], atol=1)


def test_channels_are_undone_behind_what_learned_from_unpaired_images_alone(
    dataset: Path, tmp_path: Path
) -> None:
    size = {"width": 4, "code_width": 4, "noise_width": 4, "blocks": 1, "h": "identity"}
    found = []
    for learn_from in ("unpaired", "pairs"):
        options = {**size, "learn_from": learn_from}
        network = make("degradation", "ludvae", options)
        save_model(tmp_path / learn_from, "degradation", "ludvae", options, network.state_dict(), {})
        entry = {"kind": "ludvae", "options": options}
        found.append(ready_to_sample(entry, tmp_path / learn_from, dataset, 0)[1])
    assert isinstance(found[0], Channels) and found[1] is None
    assert ready_to_sample({"kind": "awgn"}, None, dataset, 0)[1] is None
