"""Recipes that degrade clean images: what they do, and that test images and training pairs get the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data

from nopairs.data.degrading import Degrading, degrade
from nopairs.data.images import read_rgb
from nopairs.data.photos import SourcePhoto
from nopairs.data.preprocess import Recipe, write_dataset
from nopairs.data.resizing import whole
from nopairs.degradation.sampling import SamplingOptions, sample_pairs
from nopairs.errors import NopairsError
from nopairs.files import sha256
from nopairs.models import make
from nopairs.restorers.pretrained import Pretrained, PretrainedOptions


def photo(height: int = 96, width: int = 80) -> np.ndarray:
    return data.astronaut()[100 : 100 + height, 150 : 150 + width].copy()


def test_noise_has_its_deviation_and_is_clipped() -> None:
    grey = np.full((200, 200, 3), 128, np.uint8)
    noisy = degrade(grey, Degrading(noise=20), np.random.default_rng(0))
    assert noisy.std() == pytest.approx(20, rel=0.02)
    assert np.corrcoef(noisy[..., 0].ravel(), noisy[..., 1].ravel())[0, 1] == pytest.approx(0, abs=0.02)
    assert degrade(0 * grey, Degrading(noise=20), np.random.default_rng(0)).min() == 0


def spectrum(recipe: Degrading) -> np.ndarray:
    """Power of a grey image's noise by its distance from frequency 0: its sums over three bands, of 1."""
    grey = np.full((128, 128, 3), 128, np.uint8)
    noise = degrade(grey, recipe, np.random.default_rng(0))[..., 0].astype(float) - 128
    power = np.abs(np.fft.fft2(noise)) ** 2
    distance = np.hypot(*np.meshgrid(np.fft.fftfreq(128), np.fft.fftfreq(128)))
    bands = [
        power[(distance >= low) & (distance < high)].sum() for low, high in ((0, 0.2), (0.2, 0.45), (0.45, 1))
    ]
    return np.array(bands) / power.sum()


def test_correlated_noise_is_low_in_frequency_and_alternating_noise_high() -> None:
    low = degrade(
        np.full((200, 200, 3), 128, np.uint8), Degrading(noise=12, correlation=1.5), np.random.default_rng(0)
    )
    assert low.std() == pytest.approx(12, rel=0.1)
    assert spectrum(Degrading(noise=12, correlation=1.5))[0] > 0.95
    assert spectrum(Degrading(noise=12, correlation=1.5, alternating=True))[2] > 0.95
    stripes = degrade(
        np.full((90, 80, 3), 128, np.uint8), Degrading(stripes=10), np.random.default_rng(0)
    ).astype(float)
    residual = (
        stripes - stripes.mean(0, keepdims=True) - stripes.mean(1, keepdims=True) + stripes.mean((0, 1))
    )
    assert stripes.std() == pytest.approx(14.1, rel=0.15) and np.abs(residual).max() <= 1.5


def test_a_smaller_image_is_enlarged_by_repeating_pixels() -> None:
    clean = whole(photo(98, 83), 4)
    assert clean.shape == (96, 80, 3)
    small = degrade(clean, Degrading(scale=4), np.random.default_rng(0))
    assert small.shape == clean.shape
    np.testing.assert_array_equal(small, small[::4, ::4].repeat(4, 0).repeat(4, 1))
    noisy = degrade(clean, Degrading(scale=4, noise=10), np.random.default_rng(0))
    assert (noisy[::4, ::4].astype(float) - small[::4, ::4]).std() == pytest.approx(10, rel=0.1)


def test_compression_loses_more_at_lower_quality() -> None:
    errors = [
        np.square(
            degrade(photo(), Degrading(jpeg=quality), np.random.default_rng(0)) - photo().astype(float)
        ).mean()
        for quality in (10, 50, 95)
    ]
    assert errors[0] > 2 * errors[1] > 4 * errors[2] > 0


def test_clean_test_images_get_degraded_versions(tmp_path: Path) -> None:
    from nopairs.data.images import write_png

    write_png(tmp_path / "a.png", photo(50, 42))
    one = {"path": str(tmp_path / "a.png"), "photo": "a", "scene": "a", "scale": 1.0}
    digest = sha256(tmp_path / "a.png")
    sources = [SourcePhoto(**one, role=role, side="clean", sha256=digest) for role in ("test", "clean")]
    recipe = Recipe(32, 32, None, 0, Degrading(scale=4, jpeg=30))
    write_dataset(sources, tmp_path / "data", recipe)
    clean, degraded = (read_rgb(tmp_path / "data/test" / side / "a.png") for side in ("clean", "degraded"))
    np.testing.assert_array_equal(clean, photo(50, 42)[:48, :40])
    np.testing.assert_array_equal(
        degraded, degrade(clean, Degrading(scale=4, jpeg=30), np.random.default_rng(0))
    )
    tile = read_rgb(sorted((tmp_path / "data/clean").glob("*.png"))[0])
    np.testing.assert_array_equal(tile, photo(50, 42)[:32, :32])


def test_training_pairs_are_degraded_alike() -> None:
    model = make("degradation", "recipe", {"noise": 50.0})
    clean = np.full((3, 32, 32, 3), 128, np.uint8)
    made = [
        sample_pairs(model, {"clean": clean}, SamplingOptions(copies=2), (1, 1), seed) for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(made[0][0], clean.repeat(2, 0))
    np.testing.assert_array_equal(made[0][1], made[1][1])
    assert (made[0][1] != made[2][1]).any() and (made[0][1][0] != made[0][1][1]).any()
    assert made[0][1].std() == pytest.approx(50, rel=0.05)
    with pytest.raises(NopairsError, match="for scale 3"):
        sample_pairs(
            make("degradation", "recipe", {"scale": 3}), {"clean": clean}, SamplingOptions(), (1, 1), 0
        )


@pytest.mark.parametrize(
    "recipe", [{}, {"scale": 0}, {"noise": -1.0}, {"jpeg": 101}, {"stripes": -1.0}, {"correlation": -1.0}]
)
def test_impossible_recipes(recipe: dict[str, float]) -> None:
    with pytest.raises(NopairsError, match="recipe:"):
        Degrading(**recipe)  # type: ignore[arg-type]


def spandrel_file(folder: Path, name: str) -> Path:
    """A randomly initialised state dict that spandrel recognises, small."""
    torch.manual_seed(0)
    if name == "swinir":
        from spandrel.architectures.SwinIR import SwinIR

        size = {
            "img_size": 16,
            "window_size": 8,
            "depths": [1],
            "embed_dim": 12,
            "num_heads": [2],
            "mlp_ratio": 2,
        }
        network = SwinIR(**size, upscale=1, upsampler="", resi_connection="1conv")
    elif name == "swin2sr":
        from spandrel.architectures.Swin2SR import Swin2SR

        size = {
            "img_size": 16,
            "window_size": 8,
            "depths": [1],
            "embed_dim": 12,
            "num_heads": [2],
            "mlp_ratio": 2,
        }
        network = Swin2SR(**size, upscale=4, upsampler="pixelshuffledirect", resi_connection="1conv")
    else:
        from spandrel.architectures.ESRGAN import ESRGAN

        network = ESRGAN(num_filters=8, num_blocks=1, scale=4)
    torch.save(network.state_dict(), folder / f"{name}.pth")
    return folder / f"{name}.pth"


@pytest.mark.parametrize(("name", "enlarged"), [("swinir", False), ("swin2sr", True), ("esrgan", True)])
def test_the_papers_restorers_are_read_and_keep_the_size(name: str, enlarged: bool, tmp_path: Path) -> None:
    from nopairs.restorers.tiling import restore_tiled

    path = str(spandrel_file(tmp_path, name))
    restorer = Pretrained(PretrainedOptions(path, enlarged)).eval()
    image = torch.rand(1, 3, 44, 52)
    assert restore_tiled(restorer, image).shape == image.shape
    if not enlarged:
        with pytest.raises(NopairsError, match="does not map an image"):
            Pretrained(PretrainedOptions(path, enlarged=True))
        return
    alone = Pretrained(PretrainedOptions(path)).eval()  # given small images, it enlarges them
    assert restore_tiled(alone, image).shape == (1, 3, 176, 208)
    repeated = image.repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert torch.equal(alone(image), restorer(repeated))
