from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.optimize import brentq
from scipy.special import gamma
from skimage import data

from nopairs.errors import NopairsError
from nopairs.metrics import niqe


@pytest.fixture(scope="module")
def model() -> niqe.NiqeModel:
    return niqe.fit([[data.astronaut()], [data.coffee()], [data.rocket()]], 48)


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return data.chelsea()


def test_rises_with_noise(model: niqe.NiqeModel, photo: np.ndarray) -> None:
    noise = np.random.default_rng(0).normal(0, 1, photo.shape)
    noisy = [np.clip(photo + sigma * noise, 0, 255).astype(np.uint8) for sigma in (0, 8, 20, 45)]
    scores = [niqe.score(image, model) for image in noisy]
    assert scores == sorted(scores) and scores[-1] > 2 * scores[0]


def test_rises_with_blur(model: niqe.NiqeModel, photo: np.ndarray) -> None:
    scores = [niqe.score(gaussian_filter(photo, (sigma, sigma, 0)), model) for sigma in (0, 0.7, 1.4, 2.8)]
    assert scores == sorted(scores) and scores[-1] > 2 * scores[0]


def test_model_survives_its_file(model: niqe.NiqeModel, photo: np.ndarray, tmp_path: Path) -> None:
    model.save(tmp_path / "niqe.json")
    assert niqe.NiqeModel.load(tmp_path / "niqe.json") == model


@pytest.mark.parametrize(
    "text", ["{}", "[]", '{"patch": 48, "patches": 2, "mean": [1], "covariance": [[1]]}', "no json"]
)
def test_refuses_another_file(text: str, tmp_path: Path) -> None:
    (tmp_path / "niqe.json").write_text(text)
    with pytest.raises(NopairsError, match=r"not a (NIQE model|JSON file)"):
        niqe.NiqeModel.load(tmp_path / "niqe.json")


@pytest.mark.parametrize("left, right", [(1.0, 1.0), (0.5, 2.0)])
def test_aggd_recovers_its_parameters(left: float, right: float) -> None:
    """A two-piece Gaussian has shape 2 and scales sqrt(2) times its deviations, by which its pieces weigh."""
    rng = np.random.default_rng(0)
    sign = np.where(rng.random(400_000) < left / (left + right), -left, right)
    shape, mean, fitted_left, fitted_right = niqe.fit_aggd((sign * np.abs(rng.normal(size=sign.size)))[None])
    assert shape[0] == pytest.approx(2, rel=0.03)
    assert fitted_left[0] == pytest.approx(left * np.sqrt(2), rel=0.03)
    assert fitted_right[0] == pytest.approx(right * np.sqrt(2), rel=0.03)
    assert mean[0] == pytest.approx((right - left) * np.sqrt(2 / np.pi), abs=0.03)


def test_aggd_recovers_a_laplacian() -> None:
    shape, *_ = niqe.fit_aggd(np.random.default_rng(0).laplace(size=(1, 400_000)))
    assert shape[0] == pytest.approx(1, rel=0.03)


def test_only_sharp_patches_of_a_photo_are_used() -> None:
    sharp = data.astronaut()[100:228, 100:228]
    dull = gaussian_filter(sharp, (4, 4, 0))
    together = niqe.fit([[sharp, dull]], 32)
    assert together == niqe.fit([[sharp]], 32)
    assert niqe.fit([[sharp], [dull]], 32).patches > together.patches


def test_flat_patches_are_left_out(model: niqe.NiqeModel, photo: np.ndarray) -> None:
    black = np.zeros((96, 96, 3), np.uint8)
    assert np.isnan(niqe.score(black, model))
    half = np.concatenate([photo[:288, :384], np.zeros_like(photo[:288, :384])])
    assert niqe.score(half, model) == pytest.approx(niqe.score(photo[:288, :384], model), rel=0.2)


def test_small_images_are_refused_or_get_smaller_patches(model: niqe.NiqeModel) -> None:
    with pytest.raises(NopairsError, match="smaller than the model's patch"):
        niqe.score(np.zeros((47, 100, 3), np.uint8), model)
    with pytest.raises(NopairsError, match="sharp 96-pixel patches"):
        niqe.fit([[data.coffee()[:80, :80]]], 96)
    assert niqe.fit_largest([[data.coffee()[100:180, 100:180]]]).patch == 32


def test_score_is_equation_10() -> None:
    image = np.random.default_rng(0).integers(40, 216, (320, 320, 3)).astype(np.uint8)
    features, _ = niqe.patch_features(image, 32, 32)
    own, off = np.cov(features, rowvar=False), np.linspace(0.1, 1, features.shape[1])
    model = niqe.NiqeModel(32, 99, (features.mean(0) + off).tolist(), (3 * own).tolist())
    # (own + 3 own) / 2
    assert niqe.score(image, model) == pytest.approx(np.sqrt(off @ np.linalg.pinv(2 * own) @ off), rel=1e-6)


def local_moments(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation within 7x7 pixels around each, weighted by a Gaussian of deviation 7/6; edges are repeated."""
    around = np.arange(-3, 4)
    weights = np.exp(-(around[:, None] ** 2 + around**2) / (2 * (7 / 6) ** 2))
    weights /= weights.sum()
    padded = np.pad(grey, 3, mode="edge")
    mean, deviation = np.empty_like(grey), np.empty_like(grey)
    for row, column in np.ndindex(*grey.shape):
        window = padded[row : row + 7, column : column + 7]
        mean[row, column] = (weights * window).sum()
        deviation[row, column] = np.sqrt((weights * (window - mean[row, column]) ** 2).sum())
    return mean, deviation


def generalised_gaussian(values: np.ndarray) -> list[float]:
    """Shape, mean, left and right scale by moments."""
    left, right = (np.sqrt(np.mean(side**2)) for side in (values[values < 0], values[values > 0]))
    ratio = left / right
    moment = np.mean(np.abs(values)) ** 2 / np.mean(values**2)
    moment *= (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    shape = brentq(lambda s: gamma(2 / s) ** 2 / (gamma(1 / s) * gamma(3 / s)) - moment, 0.2, 10, xtol=1e-12)
    scale = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
    mean = (right - left) * scale * gamma(2 / shape) / gamma(1 / shape)
    return [shape, mean, left * scale, right * scale]


def halved(rows: np.ndarray) -> np.ndarray:
    """Every second row by the cubic kernel of a = -1/2, twice as wide, of what is within the image."""
    result = np.empty((len(rows) // 2, rows.shape[1]))
    for k in range(len(result)):
        away = np.abs((np.arange(len(rows)) - 2 * k - 0.5) / 2)
        near = 1.5 * away**3 - 2.5 * away**2 + 1
        far = -0.5 * away**3 + 2.5 * away**2 - 4 * away + 2
        weights = np.where(away < 1, near, np.where(away < 2, far, 0))
        result[k] = weights @ rows / weights.sum()
    return result


def test_features_are_those_of_the_paper_written_out() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    grey = 0.299 * image[..., 0] + 0.587 * image[..., 1] + 0.114 * image[..., 2]
    expected: list[float] = []
    sharpness = local_moments(grey)[1].mean()
    for _ in range(2):
        mean, deviation = local_moments(grey)
        coefficients = (grey - mean) / (deviation + 1)
        shape, _, left, right = generalised_gaussian(coefficients)
        expected += [shape, (left + right) / 2]
        for down, across in ((0, 1), (1, 0), (1, 1), (1, -1)):
            products = np.empty_like(coefficients)
            for row, column in np.ndindex(*products.shape):
                neighbour = coefficients[(row - down) % len(grey), (column - across) % len(grey)]
                products[row, column] = coefficients[row, column] * neighbour
            expected += generalised_gaussian(products)
        grey = halved(halved(grey).T).T
    features, sharp = niqe.patch_features(image, 64, 64)
    assert features.shape == (1, 36)
    np.testing.assert_allclose(features[0], expected, rtol=1e-5, atol=1e-5)
    assert sharp == pytest.approx([sharpness])
