from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from skimage import data
from test_autoencoders import taef2_files
from torch import nn

from nopairs.data.store import MIRROR_VARIABLE
from nopairs.errors import NopairsError
from nopairs.metrics.gaussian import Moments, gelbrich
from nopairs.transport.autoencoders import Taef2, Taef2Options
from nopairs.transport.dot import (
    Codec,
    Dot,
    DotOptions,
    Enhancer,
    blend,
    fit,
    in_tiles,
    patches_of,
    tile_spans,
)


class Shuffle(nn.Module):
    """An autoencoder without loss: the four pixels of a square as channels."""

    channels, factor = 12, 2

    def __init__(self) -> None:
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(1))

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        return F.pixel_unshuffle(images, 2)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return F.pixel_shuffle(latents, 2)


def images(count: int, seed: int, size: tuple[int, int] = (48, 40), blur: int = 1) -> torch.Tensor:
    noise = torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(seed))
    return F.avg_pool2d(noise, blur, stride=1, padding=blur // 2)[:, :, : size[0], : size[1]]


def latents(pictures: torch.Tensor) -> Iterator[torch.Tensor]:
    codec = Codec(Shuffle())
    return (codec.latents_of(picture[None]) for picture in pictures)


def fitted(options: DotOptions | None = None, source_blur: int = 5) -> Dot:
    options = options or DotOptions(patch=2)
    return fit(latents(images(6, 0, blur=source_blur)), latents(images(6, 1, blur=3)), options)[0]


def patch_by_patch(dot: Dot, field: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
    """What `Dot` computes, written out: unfold, a matrix times each vector, fold, divide."""
    patch = dot.options.patch
    flat = patches_of(field, patch)
    moved = torch.stack([dot.target_mean + dot.matrix @ (vector - dot.source_mean) for vector in flat])
    if noise is not None:
        white = patches_of(noise.expand_as(field), patch)
        moved = moved + torch.stack([dot.noise_root @ vector for vector in white])
    columns = moved.reshape(len(field), -1, moved.shape[1]).transpose(1, 2)
    counted = F.fold(F.unfold(torch.ones_like(field, dtype=torch.float64), patch), field.shape[2:], patch)
    return F.fold(columns, field.shape[2:], patch) / counted


@pytest.mark.parametrize("patch", [1, 2, 3, 5])
@pytest.mark.parametrize("size", [(12, 9), (5, 5), (6, 20)])
def test_convolution_and_fold_equal_the_patchwise_form(patch: int, size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(patch)
    natural = torch.randn(2, 4, 24, 24, generator=generator)
    dot, _ = fit([natural @ torch.diag(torch.rand(24) + 0.1)], [natural], DotOptions(patch=patch))
    field = torch.randn(3, 4, *size, generator=generator)
    assert torch.allclose(dot(field).double(), patch_by_patch(dot, field), atol=1e-5)


def test_noise_of_a_singular_source_is_the_patchwise_one() -> None:
    flat = torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(0)).expand(4, 3, 16, 16)
    natural = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    dot, facts = fit([flat], [natural], DotOptions(patch=2))
    assert facts.singular
    assert "noise fills" in " ".join(facts.remarks(12))
    noise = dot.noise_for(16, 16)
    assert noise is not None
    assert torch.allclose(dot(flat, noise).double(), patch_by_patch(dot, flat, noise), atol=1e-5)
    moments = Moments(3)
    moments.add(patches_of(dot(flat, noise), 1))
    # Overlapping patches share their noise, but averaging them still costs some of the variance.
    assert float(moments.covariance.trace()) > 0.5 * 3


def test_moved_patches_have_the_moments_of_natural_ones() -> None:
    source, target = images(8, 2, blur=5), images(8, 3, blur=3)
    dot, _ = fit(latents(source), latents(target), DotOptions(patch=1))
    moved, natural, restored = Moments(12), Moments(12), Moments(12)
    for moments, pictures in ((natural, target), (restored, source)):
        for field in latents(pictures):
            moments.add(patches_of(field, 1))
    for field in latents(source):
        moved.add(patches_of(dot(field), 1))
    assert torch.allclose(moved.mean, natural.mean, atol=1e-5)
    assert torch.allclose(moved.covariance, natural.covariance, atol=1e-6)
    before, after = (
        gelbrich(side.mean, side.covariance, natural.mean, natural.covariance) for side in (restored, moved)
    )
    assert after < 1e-2 * before


@pytest.mark.parametrize("size", [(48, 40), (47, 33), (6, 5), (1, 1)])
def test_images_of_any_size_keep_it(size: tuple[int, int]) -> None:
    enhancer = Enhancer(fitted(), Shuffle(), "float32")
    moved = enhancer(images(2, 4, size))
    assert moved.shape == (2, 3, *size)
    assert torch.isfinite(moved).all()


def test_alpha_interpolates_with_the_restored_image() -> None:
    enhancer, restored = Enhancer(fitted(), Shuffle(), "float32"), images(1, 5)
    zero, half = enhancer(restored, 0), enhancer(restored, 0.5)
    assert torch.equal(enhancer(restored, 1), restored)
    assert torch.allclose(half, (restored + zero) / 2, atol=1e-6)
    assert torch.allclose(enhancer(restored, -0.5), 1.5 * zero - 0.5 * restored, atol=1e-6)
    assert torch.equal(blend(restored, zero, 1.5), 1.5 * restored - 0.5 * zero)


def test_tiles_and_batches_change_nothing() -> None:
    dot = fitted()
    picture = images(2, 6, (230, 190), blur=5)
    whole = Enhancer(dot, Shuffle(), "float32").transport(picture)
    tiled = Enhancer(dot, Shuffle(), "float32", tile=100).transport(picture)
    # Places at a tile's edge are averaged over fewer patches; the tile has faded there.
    assert torch.allclose(whole, tiled, atol=1e-2)
    assert float((whole - tiled).abs().mean()) < 1e-4
    alone = torch.cat([Enhancer(dot, Shuffle(), "float32").transport(one[None]) for one in picture])
    assert torch.allclose(whole, alone, atol=1e-6)


@pytest.mark.parametrize(
    ("size", "tile", "multiple"),
    [(2000, 1024, 8), (1025, 1024, 1), (333, 100, 4), (90, 100, 8), (7000, 96, 8)],
)
def test_tiles_are_nearly_equal_and_overlap_in_pairs(size: int, tile: int, multiple: int) -> None:
    spans = tile_spans(size, tile, multiple)
    assert spans[0].start == 0 and spans[-1].stop == size
    assert all(span.start % multiple == 0 and span.stop - span.start <= tile for span in spans)
    assert all(span.stop > after.start for span, after in pairwise(spans))
    assert all(span.stop <= after.start for span, after in zip(spans, spans[2:], strict=False))


def test_tiles_add_up_to_the_image_and_leave_no_seam() -> None:
    picture = images(1, 7, (150, 333))
    assert torch.allclose(in_tiles(lambda part, *_: part, picture, 100, 2), picture, atol=1e-6)

    def with_own_brightness(part: torch.Tensor, *_: int) -> torch.Tensor:
        return part - part.mean() + torch.rand((), generator=torch.Generator().manual_seed(part.shape[3]))

    flat = torch.zeros(1, 3, 150, 333)
    shaded = in_tiles(with_own_brightness, flat, 100)
    steps = torch.cat([shaded.diff(dim=axis).abs().flatten() for axis in (2, 3)])
    assert 0 < steps.max() <= 1 / 7 + 1e-6, "a fifth of the overlap of 33 pixels is where tiles fade"


@pytest.mark.parametrize("weights", ["random", "published"])
def test_an_autoencoder_that_sees_whole_tiles_leaves_no_seam(weights: str, tmp_path: Path) -> None:
    """TAEF2 normalises over all it sees, so that tiles differ from the whole; but no more at their borders than elsewhere."""
    folder = Path(os.environ.get(MIRROR_VARIABLE, "/nowhere")) / "taef2"
    if weights == "published" and not folder.is_dir():
        pytest.skip(f"no TAEF2 below {MIRROR_VARIABLE}")
    names = [str(folder / f"taef2_{part}.pth") for part in ("encoder", "decoder")]
    model = Taef2(taef2_files(tmp_path) if weights == "random" else Taef2Options(*names))
    photo = torch.from_numpy(data.astronaut()[:224, :160] / 255).float().permute(2, 0, 1)[None]
    codec = Codec(model, "float32")
    natural, restored = (codec.latents_of(F.avg_pool2d(photo, k, 1, k // 2)) for k in (1, 5))
    dot, _ = fit([restored], [natural], DotOptions(patch=1))
    smooth = F.avg_pool2d(photo, 5, 1, 2)
    whole, tiled = (Enhancer(dot, model, "float32", tile).transport(smooth) for tile in (256, 128))
    for axis in (2, 3):
        added = (tiled - whole).diff(dim=axis).abs().mean(dim=[d for d in range(4) if d != axis])
        spans = tile_spans(photo.shape[axis], 128, model.factor)
        borders = [*(span.start for span in spans[1:]), *(span.stop for span in spans[:-1])]
        at_borders = max(float(added[border - 1]) for border in borders)
        assert 0 < at_borders < 2 * float(added.median())


def test_noise_is_the_same_in_every_run_and_batch() -> None:
    grey = images(3, 8)[:, :1].expand(3, 3, 48, 40)
    dot, _ = fit(latents(grey), latents(images(6, 9)), DotOptions(patch=1))
    assert dot.noise_root.any()
    enhancer = Enhancer(dot, Shuffle(), "float32")
    once, again = enhancer.transport(grey), enhancer.transport(grey)
    assert torch.equal(once, again)
    assert torch.allclose(once[1:2], enhancer.transport(grey[1:2]), atol=1e-6)
    other = Dot(DotOptions(**{**vars(dot.options), "seed": 1}))
    other.load_state_dict(dot.state_dict())
    assert not torch.allclose(once, Enhancer(other, Shuffle(), "float32").transport(grey), atol=1e-2)


def test_each_tile_has_its_own_part_of_the_noise() -> None:
    dot = Dot(DotOptions(patch=1, channels=12))
    dot.matrix.zero_()
    dot.noise_root.fill_diagonal_(1)
    noise = dot.noise_for(75, 85)
    assert noise is not None
    moved = Enhancer(dot, Shuffle(), "float32", tile=100).transport(images(1, 16, (150, 170)))
    torch.testing.assert_close(moved, F.pixel_shuffle(noise, 2))


def test_applying_twice_is_a_second_pass() -> None:
    dot = fitted()
    twice = Dot(DotOptions(**{**vars(dot.options), "times": 2}))
    twice.load_state_dict(dot.state_dict())
    once = Enhancer(dot, Shuffle(), "float32")
    picture = images(1, 10)
    expected = once.transport(once.transport(picture))
    assert torch.allclose(Enhancer(twice, Shuffle(), "float32").transport(picture), expected)


def test_equal_sets_are_left_alone() -> None:
    pictures = images(4, 11, blur=3)
    dot, facts = fit(latents(pictures), latents(pictures), DotOptions(patch=2, stability=0))
    assert facts.distance == pytest.approx(0, abs=1e-6)
    assert torch.allclose(Enhancer(dot, Shuffle(), "float32").transport(pictures), pictures, atol=1e-4)


def test_stability_is_a_share_of_the_restored_variance() -> None:
    field = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    dot, _ = fit([field], [field], DotOptions(patch=1, stability=3))
    assert float(dot.matrix) == pytest.approx(0.5)  # of four times the variance


def test_too_few_patches_are_shrunk_and_said() -> None:
    pictures = images(1, 12, (10, 10))
    dot, facts = fit(latents(pictures), latents(pictures), DotOptions(patch=3))
    assert facts.patches == (9, 9)
    assert 0 < facts.shrinkage[0] <= 1
    assert "9 patches of restored latents for 108 dimensions" in facts.remarks(108)[0]
    assert torch.isfinite(Enhancer(dot, Shuffle(), "float32").transport(pictures)).all()


def test_channels_that_depend_on_others_are_singular_whatever_rounding_says() -> None:
    """The sign of the smallest eigenvalue is chance there."""
    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        flat = torch.randn(4, 3, 16, 16, generator=generator)
        flat = torch.cat([flat, 0.3 * flat[:, :1] - 1.7 * flat[:, 1:2]], 1)
        natural = torch.randn(4, 4, 16, 16, generator=generator)
        dot, facts = fit([flat], [natural], DotOptions(patch=1))
        assert facts.singular
        noise = dot.noise_for(16, 16)
        assert noise is not None
        assert 0.85 < float(dot(flat, noise)[:, 3].std()) < 1.15


def test_a_constant_image() -> None:
    constant = torch.full((2, 3, 32, 32), 0.5)
    dot, facts = fit(latents(constant), latents(images(4, 13)), DotOptions(patch=1))
    assert facts.singular and facts.variance == 0
    assert "look whether those images are blank" in facts.remarks(12)[-1]
    assert torch.isfinite(Enhancer(dot, Shuffle(), "float32").transport(constant)).all()
    moved = Enhancer(fitted(), Shuffle(), "float32").transport(constant)
    assert torch.isfinite(moved).all()


def test_images_of_different_sizes_fit_together() -> None:
    sizes = [(32, 48), (40, 24), (64, 64)]
    pictures = [images(1, seed, size) for seed, size in enumerate(sizes)]
    codec = Codec(Shuffle(), "float32")
    dot, facts = fit(map(codec.latents_of, pictures), map(codec.latents_of, pictures), DotOptions(patch=2))
    assert facts.patches[0] == sum((h // 2 - 1) * (w // 2 - 1) for h, w in sizes)
    assert dot.options.channels == 12


def test_statistics_at_another_resolution() -> None:
    field = Codec(Shuffle(), "float32").latents_of(images(1, 14, (64, 40)), scale=0.5)
    assert field.shape == (1, 12, 16, 10)


def test_bad_inputs() -> None:
    four, three = torch.rand(1, 4, 8, 8), torch.rand(1, 3, 8, 8)
    with pytest.raises(NopairsError, match="restored and natural latents of 4 and 3 channels"):
        fit([four], [three], DotOptions())
    with pytest.raises(NopairsError, match="not finite"):
        fit([four * float("nan")], [four], DotOptions())
    with pytest.raises(NopairsError, match="no image"):
        fit([], [four], DotOptions())
    with pytest.raises(NopairsError, match="smaller than a patch"):
        fit([four[:, :, :2]], [four], DotOptions())
    dot = fitted()
    with pytest.raises(NopairsError, match="latents of 4 channels, but the fit had 12"):
        dot(four)
    with pytest.raises(NopairsError, match="smaller than a patch"):
        dot(torch.rand(1, 12, 1, 8))
    wrong = Shuffle()
    wrong.channels = 4
    with pytest.raises(NopairsError, match="this autoencoder's have 4"):
        Enhancer(dot, wrong)
    with pytest.raises(NopairsError, match="fit first"):
        Dot(DotOptions())
    with pytest.raises(NopairsError, match="not finite"):
        Enhancer(dot, Shuffle())(images(1, 15) * float("nan"))


@pytest.mark.parametrize("option", [{"patch": 0}, {"images": 0}, {"scale": 2.0}, {"stability": -1.0}])
def test_impossible_options(option: dict[str, float]) -> None:
    with pytest.raises(NopairsError, match="dot:"):
        DotOptions(**option)  # type: ignore[arg-type]


def test_the_distance_of_shifted_sets_is_the_shift() -> None:
    field = torch.randn(1, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    for patch in (1, 2):
        _, facts = fit([field], [field + 0.3], DotOptions(patch=patch, stability=0))
        assert facts.distance == pytest.approx(0.3, rel=1e-5)
