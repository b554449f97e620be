from __future__ import annotations

import numpy as np
import pytest
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from nopairs.errors import NopairsError
from nopairs.metrics.quality import psnr, ssim


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    clean = data.chelsea()[:96, :128]
    noise = np.random.default_rng(0).normal(0, 20, clean.shape)
    return clean, np.clip(np.round(clean + noise), 0, 255).astype(np.uint8)


def test_equals_skimage_on_the_unit_range(pair: tuple[np.ndarray, np.ndarray]) -> None:
    clean, noisy = (image / 255 for image in pair)
    assert psnr(*pair) == pytest.approx(peak_signal_noise_ratio(clean, noisy, data_range=1.0))
    assert ssim(*pair) == pytest.approx(structural_similarity(clean, noisy, data_range=1.0, channel_axis=2))


def test_psnr_of_a_known_error() -> None:
    clean = np.full((8, 8, 3), 100, np.uint8)
    assert psnr(clean, clean + np.uint8(5)) == pytest.approx(20 * np.log10(255 / 5))


def test_equal_images_are_perfect(pair: tuple[np.ndarray, np.ndarray]) -> None:
    assert psnr(pair[0], pair[0]) == np.inf
    assert ssim(pair[0], pair[0]) == pytest.approx(1)


@pytest.mark.parametrize("measure", [psnr, ssim])
@pytest.mark.parametrize(
    "clean, restored",
    [
        (np.zeros((9, 9, 3), np.uint8), np.zeros((9, 8, 3), np.uint8)),
        (np.zeros((9, 9, 3), np.float32), np.zeros((9, 9, 3), np.float32)),
        (np.zeros((9, 9), np.uint8), np.zeros((9, 9), np.uint8)),
    ],
)
def test_refuses_other_images(measure, clean: np.ndarray, restored: np.ndarray) -> None:
    with pytest.raises(NopairsError):
        measure(clean, restored)


def test_ssim_refuses_images_below_its_window() -> None:
    with pytest.raises(NopairsError, match="7x7"):
        ssim(np.zeros((6, 20, 3), np.uint8), np.zeros((6, 20, 3), np.uint8))
