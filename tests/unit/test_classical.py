from __future__ import annotations

import bm3d
import numpy as np
import pytest
import torch
from skimage import data
from skimage.restoration import denoise_nl_means

from nopairs.errors import NopairsError
from nopairs.restorers.classical import BM3D, NLM, BM3DOptions, NLMOptions

SIGMA = 0.1


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    clean = (data.astronaut()[80:144, 180:260] / 255).astype(np.float32)
    noise = np.random.default_rng(0).normal(0, SIGMA, clean.shape)
    return clean, np.clip(clean + noise, 0, 1).astype(np.float32)


def error(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.mean((a - b) ** 2))


@pytest.mark.parametrize(
    "restorer, gain",
    [(NLM(NLMOptions(SIGMA)), 2.0), (BM3D(BM3DOptions(SIGMA)), 3.0), (BM3D(BM3DOptions(SIGMA, True)), 3.0)],
)
def test_removes_white_noise_repeatably(
    restorer: NLM | BM3D, gain: float, pair: tuple[np.ndarray, np.ndarray]
) -> None:
    clean, noisy = pair
    restored = restorer.restore(noisy)
    assert restored.shape == noisy.shape and restored.dtype == np.float32
    assert restored.min() >= 0 and restored.max() <= 1
    assert error(noisy, clean) > gain * error(restored, clean)
    np.testing.assert_array_equal(restored, restorer.restore(noisy))


def test_nlm_filters_by_four_fifths_of_its_strength(pair: tuple[np.ndarray, np.ndarray]) -> None:
    expected = denoise_nl_means(
        pair[1], patch_size=5, patch_distance=6, h=0.08, sigma=0.1, fast_mode=True, channel_axis=-1
    )
    np.testing.assert_allclose(NLM(NLMOptions(0.1)).restore(pair[1]), expected.clip(0, 1), atol=1e-6)


def test_stands_in_for_a_trained_module(pair: tuple[np.ndarray, np.ndarray]) -> None:
    restorer = NLM(NLMOptions(SIGMA))
    batch = torch.from_numpy(np.stack([pair[1], pair[0]])).permute(0, 3, 1, 2)
    restored = restorer.eval()(batch)
    assert restored.shape == batch.shape and restored.dtype == batch.dtype and not restorer.state_dict()
    for image, result in zip(pair[::-1], restored, strict=True):
        np.testing.assert_array_equal(result.permute(1, 2, 0).numpy(), restorer.restore(image))


@pytest.mark.parametrize("size", [(8, 8), (9, 40), (3, 5)])
def test_bm3d_takes_small_images(size: tuple[int, int], pair: tuple[np.ndarray, np.ndarray]) -> None:
    image = pair[1][: size[0], : size[1]]
    restored = BM3D(BM3DOptions(SIGMA)).restore(image)
    assert restored.shape == image.shape and np.isfinite(restored).all()


def test_bm3d_keeps_grey_images_grey(pair: tuple[np.ndarray, np.ndarray]) -> None:
    grey = np.repeat(pair[1][..., :1], 3, 2)
    restored = BM3D(BM3DOptions(SIGMA)).restore(grey)
    assert np.isfinite(restored).all() and np.ptp(restored, axis=2).max() == 0
    assert restored.std() < grey.std()


@pytest.mark.parametrize("strength", [0, -0.1, 25, float("nan")])
@pytest.mark.parametrize("options", [NLMOptions, BM3DOptions])
def test_refuses_impossible_strengths(options: type, strength: float) -> None:
    with pytest.raises(NopairsError, match="strength"):
        options(strength)


@pytest.mark.parametrize("exact", [False, True])
def test_bm3d_counts_overlaps_in_the_variance_only_where_that_is_asked_for(
    exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[float, int]] = []

    def filtered(pixels: np.ndarray, strength: float, profile: bm3d.BM3DProfile) -> np.ndarray:
        seen.append((strength, profile.nf))
        return pixels

    monkeypatch.setattr(bm3d, "bm3d_rgb", filtered)
    image = np.random.default_rng(0).random((16, 16, 3)).astype(np.float32)
    BM3D(BM3DOptions(SIGMA, exact)).restore(image)
    assert seen == [(SIGMA, bm3d.BM3DProfile().nf if exact else 0)]
    assert bm3d.BM3DProfile().nf > 0


@pytest.mark.parametrize(
    ("weights", "apart"),
    [
        ((1, 1, 1), True),
        ((1, 0, 1), True),  # red equals blue
        ((0.2, 0.5, 0.8), True),  # green is the mean of red and blue
        ((0.2, 0.9, 0.6), False),
        ((0, 1, 0.5), False),
    ],
)
def test_bm3d_takes_channels_apart_only_where_a_colour_axis_is_constant(
    weights: tuple[float, float, float], apart: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def filtered(pixels: np.ndarray, *_: object) -> np.ndarray:
        seen.append(pixels.ndim)
        return pixels

    monkeypatch.setattr(bm3d, "bm3d", filtered)
    monkeypatch.setattr(bm3d, "bm3d_rgb", filtered)
    image = np.random.default_rng(0).random((16, 16, 1)) * weights
    restored = BM3D(BM3DOptions(SIGMA)).restore(image)
    assert seen == ([2, 2, 2] if apart else [3])
    np.testing.assert_allclose(restored, image, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1)])
def test_nlm_takes_images_of_a_side_of_one_pixel(
    size: tuple[int, int], pair: tuple[np.ndarray, np.ndarray]
) -> None:
    image = pair[1][: size[0], : size[1]]
    restored = NLM(NLMOptions(SIGMA)).restore(image)
    assert restored.shape == image.shape and np.isfinite(restored).all()
