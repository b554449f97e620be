"""MCWNNM: its parts against brute force, and what it does to noise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage import data

from nopairs.data.tiles import to_tensor
from nopairs.errors import NopairsError
from nopairs.restorers import mcwnnm
from nopairs.restorers.mcwnnm import MCWNNM, MCWNNMOptions
from nopairs.restorers.tiling import restore_tiled
from nopairs.restorers.wide import KeepWide

OPTIONS = MCWNNMOptions(1.0)
LEVELS = torch.tensor([40.0, 20.0, 30.0]) / 255  # as in the paper


@pytest.fixture(scope="module")
def clean() -> torch.Tensor:
    return torch.from_numpy(data.astronaut()[80:128, 180:228] / 255).permute(2, 0, 1).float()


@pytest.fixture(scope="module")
def noisy(clean: torch.Tensor) -> torch.Tensor:
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    return clean + LEVELS[:, None, None] * noise


def psnr(image: torch.Tensor, clean: torch.Tensor) -> float:
    return float(-10 * (image - clean).square().mean().log10())


def test_shrinking_is_the_fixed_point_of_reweighting() -> None:
    matrices = torch.randn(4, 6, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    constant = torch.tensor([0.0, 0.5, 2.0, 100.0], dtype=torch.float64)
    found = torch.linalg.svdvals(mcwnnm.shrink(matrices, constant))
    expected = start = torch.linalg.svdvals(matrices)
    for _ in range(2000):
        weights = constant[:, None] / expected.clamp(min=1e-12)
        expected = (start - weights).clamp(min=0)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
    assert not found[3].any()  # all is shrunk away


def test_shrinking_by_non_descending_weights_is_the_minimum() -> None:
    """Against a search over all matrices near the result, and over all vectors of singular values."""
    generator = torch.Generator().manual_seed(1)
    matrix = torch.randn(1, 4, 5, dtype=torch.float64, generator=generator)
    constant = torch.tensor([0.6], dtype=torch.float64)
    found = mcwnnm.shrink(matrix, constant)
    values = torch.linalg.svdvals(found)[0]
    assert (values > 0).sum() >= 2
    weights = torch.where(values > 1e-9, constant / values, 1e3)

    def cost(candidates: torch.Tensor) -> torch.Tensor:
        distance = (candidates - matrix).square().sum((-2, -1)) / 2
        return distance + (torch.linalg.svdvals(candidates) * weights).sum(-1)

    best = cost(found)
    for scale in (1e-3, 1e-2, 0.1, 1.0):
        steps = scale * torch.randn(4000, 4, 5, dtype=torch.float64, generator=generator)
        assert (cost(found + steps) >= best - 1e-12).all()
    u, start, vt = torch.linalg.svd(matrix[0], full_matrices=False)
    others = torch.rand(4000, 4, dtype=torch.float64, generator=generator) * start[0] * 1.2
    assert (cost((u * others.sort(descending=True).values[:, None]) @ vt) >= best - 1e-12).all()


def test_matched_blocks_are_those_of_an_exhaustive_search(noisy: torch.Tensor) -> None:
    image = noisy[:, :17, :22]
    options = MCWNNMOptions(1.0, patch_size=4, patches=7, window=5, step=3)
    groups = mcwnnm.match(image, options)
    patches = {(y, x): image[:, y : y + 4, x : x + 4] for y in range(17 - 4 + 1) for x in range(22 - 4 + 1)}
    references = [(y, x) for y in [0, 3, 6, 9, 12, 13] for x in [0, 3, 6, 9, 12, 15, 18]]
    assert groups.shape == (len(references), 7)
    for (y, x), group in zip(references, groups, strict=True):
        distances = {
            place: float((patch - patches[y, x]).square().sum())
            for place, patch in patches.items()
            if max(abs(place[0] - y), abs(place[1] - x)) <= 5
        }
        nearest = sorted(distances, key=lambda place: distances[place])[:7]
        assert sorted(group.tolist()) == sorted(top * (22 - 4 + 1) + left for top, left in nearest)


def test_with_equal_levels_admm_ends_at_the_closed_form() -> None:
    """With W = 1 the minimum of |Y - X|^2 + |X|_w,* is shrinking Y itself; with a large penalty ADMM gets there."""
    groups = (
        torch.randn(3, 10, 12, generator=torch.Generator().manual_seed(2))
        * torch.tensor([1.0, 3.0, 30.0])[:, None, None]
    )
    levels = torch.full((3, 3), 0.2)
    options = MCWNNMOptions(1.0, iterations=300, rho=2.0)
    expected = mcwnnm.shrink(groups, 2 * 2**0.5 * 10**0.5 * levels[:, 0].square())
    found = mcwnnm.minimise(groups, levels, options)
    assert torch.linalg.matrix_rank(found[2]) > 2
    torch.testing.assert_close(found[1:], expected[1:], rtol=1e-3, atol=1e-3)


def test_groups_that_are_left_out_are_those_that_stay_zero(
    noisy: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    patches = torch.nn.functional.unfold(noisy[None], 6)[0].T
    groups = patches[mcwnnm.match(noisy, OPTIONS)]
    centred = groups - groups.mean(1, keepdim=True)
    levels = LEVELS.expand(len(groups), 3) * 1.5
    found = mcwnnm.minimise(centred, levels, OPTIONS)
    zero = ~found.flatten(1).any(1)
    assert 0 < zero.sum() < len(zero)
    largest = torch.linalg.eigvalsh
    monkeypatch.setattr(torch.linalg, "eigvalsh", lambda gram: largest(gram) + torch.inf)  # leave none out
    torch.testing.assert_close(mcwnnm.minimise(centred, levels, OPTIONS), found)


@pytest.mark.parametrize("level", [0.05, 0.1])
def test_the_level_of_white_noise_is_estimated(level: float) -> None:
    photo = torch.from_numpy(data.astronaut()[..., 1] / 255)
    noise = torch.randn(photo.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    noisy = (photo + level * noise).expand(3, -1, -1)
    assert mcwnnm.noise_levels([noisy], 6).tolist() == pytest.approx([level] * 3, rel=0.1)


def test_levels_of_tiles_side_by_side_are_those_of_the_image() -> None:
    """Of all their patches together; those that lie across two tiles belong to neither."""
    image = torch.rand(3, 48, 36, generator=torch.Generator().manual_seed(0))
    image[:, :, 18:] += 1  # no tile tells what lies between them
    image[0] *= 2
    tiles = [image[:, :30, :18], image[:, :30, 18:], image[:, 30:, :18], image[:, 30:, 18:]]
    patches = [F.unfold(tile[:, None].double(), 6, stride=mcwnnm.ESTIMATION_STEP) for tile in tiles]
    together = torch.cat(patches, 2)
    expected = [mcwnnm.noise_level(torch.cov(channel, correction=0)) for channel in together]
    assert mcwnnm.noise_levels(tiles, 6).tolist() == pytest.approx(expected, rel=1e-5)
    assert mcwnnm.noise_levels(tiles[:1], 6).tolist() != pytest.approx(expected, rel=1e-2)


def restore_in_tiles(restorer: torch.nn.Module, image: np.ndarray, tile: int) -> np.ndarray:
    return restore_tiled(restorer, to_tensor(image[None]), tile)[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("wrap", [lambda mcwnnm: mcwnnm, lambda mcwnnm: KeepWide(mcwnnm, 4.0)])
def test_a_tile_is_restored_with_the_images_levels(
    wrap: Callable[[torch.nn.Module], torch.nn.Module],
) -> None:
    """One half is less noisy: a tile that measured itself would restore it less."""
    rng = np.random.default_rng(0)
    image = 120 + np.repeat([4, 20], 60)[:, None] * rng.normal(0, 1, (40, 120, 3))
    image = image.clip(0, 255).round().astype(np.uint8)
    restorer = MCWNNM(MCWNNMOptions(1.0, patches=30, window=8, passes=1))
    whole, tiled = (restore_in_tiles(wrap(restorer), image, tile) for tile in (128, 60))
    alone = restore_in_tiles(wrap(restorer), np.ascontiguousarray(image[:, :60]), 128)
    far_left = slice(0, 40)
    assert np.abs(tiled - whole)[:, far_left].max() < 0.2 / 255
    assert np.abs(alone - whole[:, :60])[:, far_left].max() > 2 / 255
    assert restorer.levels is None  # of the next image it knows nothing


def test_a_constant_image_is_unchanged() -> None:
    image = np.full((24, 31, 3), [0.2, 0.5, 0.9], np.float32)
    np.testing.assert_allclose(MCWNNM(OPTIONS).restore(image), image, atol=1e-6)


def test_a_channel_clipped_everywhere_keeps_the_others_restored(
    clean: torch.Tensor, noisy: torch.Tensor
) -> None:
    both = [torch.stack([torch.ones_like(image[0]), *image[1:]]) for image in (clean, noisy)]
    levels = torch.tensor([0.0, *LEVELS[1:]])
    restored = mcwnnm.denoise(both[1], levels, OPTIONS)
    assert psnr(restored[1:], both[0][1:]) > psnr(both[1][1:], both[0][1:]) + 2
    torch.testing.assert_close(restored[0], both[0][0], atol=1e-4, rtol=0)


def test_levels_of_their_own_restore_unequal_channels_better(
    clean: torch.Tensor, noisy: torch.Tensor
) -> None:
    """Each with its best strength, in one pass: a second one finds the levels out, whatever the first was told."""
    equal = LEVELS.square().mean().sqrt().expand(3)
    best = {
        name: max(
            psnr(mcwnnm.denoise(noisy, levels, MCWNNMOptions(strength, passes=1)), clean)
            for strength in (0.8, 1.0, 1.3)
        )
        for name, levels in (("own", LEVELS), ("equal", equal))
    }
    assert best["own"] > psnr(noisy, clean) + 8 and best["own"] > best["equal"] + 0.1


def test_restores_repeatably_whatever_the_threads(noisy: torch.Tensor) -> None:
    image = noisy[:, :32, :32].permute(1, 2, 0).clamp(0, 1).numpy()
    restored = MCWNNM(MCWNNMOptions(1.2)).restore(image)
    assert restored.shape == image.shape and restored.dtype == np.float32
    assert restored.min() >= 0 and restored.max() <= 1
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3 if threads == 1 else 1)
        np.testing.assert_array_equal(MCWNNM(MCWNNMOptions(1.2)).restore(image), restored)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("step", [5, 6])
def test_pixels_of_areas_without_noise_are_kept(step: int) -> None:
    """There all patches are equal, and many more than a group holds."""
    image = np.full((70, 80, 3), 1, np.float32)
    image[:, 40:] = 0.25
    restored = MCWNNM(MCWNNMOptions(4.0, step=step)).restore(image)
    np.testing.assert_allclose(restored, image, atol=0.02)


@pytest.mark.parametrize("size", [(1, 1), (5, 30), (16, 17)])
def test_takes_small_images(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).random((*size, 3)).astype(np.float32)
    restored = MCWNNM(OPTIONS).restore(image)
    assert restored.shape == image.shape and np.isfinite(restored).all()


@pytest.mark.parametrize(
    "wrong", [{"strength": 0}, {"rho": -1.0}, {"passes": 0}, {"strength": float("nan")}, {"step": 7}]
)
def test_impossible_options_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(NopairsError, match=next(iter(wrong))):
        MCWNNMOptions(**{"strength": 1.0, **wrong})


def test_strength_multiplies_the_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    minimise, seen = mcwnnm.minimise, []

    def watched(groups: torch.Tensor, levels: torch.Tensor, options: MCWNNMOptions) -> torch.Tensor:
        seen.append(levels.clone())
        return minimise(groups, levels, options)

    monkeypatch.setattr(mcwnnm, "minimise", watched)
    groups = torch.randn(2, 20, 27, generator=torch.Generator().manual_seed(0))
    mcwnnm.denoise_groups(groups, LEVELS, MCWNNMOptions(2.0, patch_size=3, step=3, passes=1))
    torch.testing.assert_close(seen[0], 2 * LEVELS.expand(2, 3))
