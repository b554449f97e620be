"""Alphas that validation images choose, and the distance of patches that is measured with them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch import nn

from nopairs.errors import NopairsError
from nopairs.metrics.niqe import fit_largest
from nopairs.metrics.patches import patch_wasserstein
from nopairs.transport.choosing import choose, score_alphas


class Sharpened(nn.Module):
    """In place of an enhancer: the mirror image of blurring."""

    def transport(self, images: torch.Tensor) -> torch.Tensor:
        return 2 * images - F.avg_pool2d(images, 5, stride=1, padding=2)


def textures(count: int, seed: int, size: int = 64) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    noise = gaussian_filter(rng.normal(size=(count, size, size, 3)), (0, 1, 1, 0))
    return list((255 * np.clip(0.5 + noise, 0, 1)).astype(np.uint8))


def blurred(images: list[np.ndarray]) -> list[np.ndarray]:
    return [gaussian_filter(image, (1, 1, 0)) for image in images]


def test_alphas_are_scored_and_chosen() -> None:
    clean = textures(4, 0)
    model = fit_largest([[image] for image in clean])
    rows = score_alphas(Sharpened(), blurred(clean), clean, [0.0, 0.5, 1.0], model)  # type: ignore[arg-type]
    assert [row["alpha"] for row in rows] == [0, 0.5, 1]
    assert set(rows[0]) == {"alpha", "psnr", "ssim", "swd", "pwd", "niqe"}
    assert rows[0]["swd"] < rows[2]["swd"] and rows[0]["pwd"] < rows[2]["pwd"]
    assert choose(rows, "perception") == min(rows, key=lambda row: row["swd"])["alpha"] < 1
    assert choose(rows, "psnr") == max(rows, key=lambda row: row["psnr"])["alpha"]
    assert choose([], "0.75") == 0.75
    with pytest.raises(NopairsError, match="no validation images"):
        choose([], "psnr")


def test_distance_of_patches() -> None:
    clean, others = textures(6, 1), textures(6, 2)
    assert patch_wasserstein(clean, clean).value == pytest.approx(0, abs=1e-3)
    near, far = patch_wasserstein(clean, others), patch_wasserstein(clean, blurred(others))
    assert near.value < 0.5 * far.value
    assert 0 < far.std < far.value
    # Shifting every pixel by ten levels moves every patch by as much.
    shifted = [np.clip(image.astype(int), 20, 235) for image in clean]
    up, same = ([(image + step).astype(np.uint8) for image in shifted] for step in (10, 0))
    assert patch_wasserstein(same, up).value == pytest.approx(10, rel=1e-6)
    assert np.isnan(patch_wasserstein(clean[:1], others[:1]).std)


def test_sets_that_have_no_distance() -> None:
    with pytest.raises(NopairsError, match="a set has no image"):
        patch_wasserstein([], textures(1, 0))
    with pytest.raises(NopairsError, match="4x4 pixels"):
        patch_wasserstein(textures(1, 0), textures(1, 0, 4))
