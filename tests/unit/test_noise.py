from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from report_fixture import run_script
from scipy.ndimage import convolve
from skimage import data

import measure_distance
from nopairs.data.images import read_rgb, write_png
from nopairs.errors import NopairsError
from nopairs.metrics.noise import noise_statistics, pick_patches
from nopairs.training.pairs import save_pairs

SIGMA = 0.08
KERNEL = np.array([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16


def grey(count: int = 3, height: int = 200, width: int = 170) -> list[np.ndarray]:
    return [np.full((height, width, 3), 0.5)] * count


def add(clean: list[np.ndarray], noise) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [image + noise(rng, image) for image in clean]


def white(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    return rng.normal(0, SIGMA, image.shape)


def filtered(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    return convolve(white(rng, image), KERNEL[..., None], mode="wrap")


def test_white_noise() -> None:
    found = noise_statistics(grey(), add(grey(), white))
    np.testing.assert_allclose(found["std"], SIGMA, rtol=0.02)
    power = np.array(found["power_spectrum"]["power"])
    np.testing.assert_allclose(power[:, 2:], SIGMA**2, rtol=0.1)
    np.testing.assert_allclose(power, SIGMA**2, rtol=0.4)  # the lowest ones average few waves
    expected = np.zeros((11, 11))
    expected[5, 5] = 1
    np.testing.assert_allclose(found["autocorrelation"], expected, atol=0.015)
    np.testing.assert_allclose(found["channel_correlation"], np.eye(3), atol=0.015)


def test_filtered_noise_has_the_kernels_autocorrelation_and_spectrum() -> None:
    found = noise_statistics(grey(), add(grey(), filtered))
    taps = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 36  # of the kernel with itself, centre 1
    expected = np.zeros((11, 11))
    expected[3:8, 3:8] = taps
    np.testing.assert_allclose(found["autocorrelation"], expected, atol=0.03)
    frequency = np.fft.fftfreq(64)
    response = np.cos(np.pi * frequency) ** 2  # of [1, 2, 1] / 4
    plane = SIGMA**2 * np.outer(response, response) ** 2
    radius = np.hypot(frequency[:, None], frequency)
    for bin_index in (2, 5, 10):
        low, high = bin_index / 32, (bin_index + 1) / 32
        ring = plane[(radius >= low) & (radius < high)].mean()
        power = np.array(found["power_spectrum"]["power"])[:, bin_index]
        np.testing.assert_allclose(power, ring, rtol=0.2)


def test_noise_that_depends_on_intensity() -> None:
    ramp = [np.broadcast_to(np.linspace(0.03, 0.6, 300)[None, :, None], (200, 300, 3))] * 2
    degraded = add(ramp, lambda rng, image: rng.normal(size=image.shape) * np.sqrt(0.01 * image + 1e-4))
    found = noise_statistics(ramp, degraded)["intensity"]
    for level, *stds in zip(found["level"], *found["std"], strict=True):
        if 0.1 < level < 0.55:
            np.testing.assert_allclose(stds, np.sqrt(0.01 * level + 1e-4), rtol=0.05)
        if level > 0.65:
            assert stds == [None, None, None]


def test_channels_that_share_their_noise() -> None:
    degraded = add(grey(), lambda rng, image: np.repeat(white(rng, image)[..., :1], 3, 2))
    np.testing.assert_allclose(noise_statistics(grey(), degraded)["channel_correlation"], 1, rtol=1e-6)


def test_a_colour_shift_is_power_at_low_frequency_and_no_correlation() -> None:
    found = noise_statistics(grey(), [image + 0.2 for image in add(grey(), white)])
    plain = noise_statistics(grey(), add(grey(), white))
    np.testing.assert_allclose(found["autocorrelation"], plain["autocorrelation"], atol=1e-9)
    power, before = (np.array(d["power_spectrum"]["power"]) for d in (found, plain))
    assert (power[:, 0] > 50 * before[:, 0]).all()
    np.testing.assert_allclose(power[:, 3:], before[:, 3:], rtol=1e-2)


def test_images_may_differ_in_size_and_be_small() -> None:
    clean = [np.full((h, w, 3), 0.5) for h, w in [(12, 30), (70, 15), (100, 130)] * 20]
    found = noise_statistics(clean, add(clean, white))
    np.testing.assert_allclose(np.array(found["power_spectrum"]["power"])[:, 2:], SIGMA**2, rtol=0.2)
    json.dumps(found, allow_nan=False)


def test_refuses_sets_that_do_not_fit() -> None:
    with pytest.raises(NopairsError, match="equally many"):
        noise_statistics(grey(2), grey(1))
    with pytest.raises(NopairsError, match="shapes"):
        noise_statistics(grey(1), grey(1, 100))
    with pytest.raises(NopairsError, match="nothing to describe"):
        noise_statistics(grey(1), grey(1))


def test_patches_show_the_same_places_for_every_noise() -> None:
    clean = [data.astronaut(), data.coffee(), data.rocket()]
    first, inverted = pick_patches(clean, [255 - image for image in clean], seed=1)
    assert first.shape == (96, 6 * 96, 3)
    np.testing.assert_array_equal(first, 255 - inverted)
    np.testing.assert_array_equal(first, pick_patches(clean, clean, seed=1)[1])
    assert abs(first.mean() - 127.5) < 30
    assert not np.array_equal(first, pick_patches(clean, clean, seed=2)[0])


def test_script_writes_the_noise_folder(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        clean = data.chelsea()[:100, :120]
        noisy = np.clip(clean + rng.normal(0, 20, clean.shape), 0, 255).astype(np.uint8)
        for folder, image in (("clean", clean), ("degraded", noisy)):
            (tmp_path / folder).mkdir(exist_ok=True)
            write_png(tmp_path / folder / f"{name}.png", image)
    folders = [f"--{key}={tmp_path / key}" for key in ("clean", "degraded", "out")]
    assert run_script("measure_noise", *folders) == 0
    found = json.loads((tmp_path / "out" / "noise.json").read_text())
    np.testing.assert_allclose(found["std"], 20 / 255, rtol=0.1)
    assert read_rgb(tmp_path / "out" / "clean.png").shape == read_rgb(tmp_path / "out" / "degraded.png").shape
    (tmp_path / "degraded" / "c.png").unlink()
    assert run_script("measure_noise", *folders) == 1


def test_the_noise_of_a_model_that_collects_is_the_degraded_tiles(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for k in range(3):
        write_png(tmp_path / f"test/{k}.png", data.chelsea()[:100, :120])
        flat = np.clip(128 + rng.normal(0, 20, (32, 32, 3)), 0, 255).astype(np.uint8)
        write_png(tmp_path / f"dataset/degraded/{k}.png", flat)
    (tmp_path / "strength.json").write_text('{"strength": [1, 1]}')
    entry = json.dumps({"kind": "noise_patches", "options": {"patch": 16, "share": 1.0}})
    paths = [f"--clean={tmp_path / 'test'}", f"--dataset={tmp_path / 'dataset'}", f"--out={tmp_path / 'out'}"]
    assert (
        run_script("measure_noise", "--entry", entry, "--strength", tmp_path / "strength.json", *paths) == 0
    )
    found = json.loads((tmp_path / "out/noise.json").read_text())
    np.testing.assert_allclose(found["std"], 20 / 255, rtol=0.1)


def test_made_tiles_are_as_near_as_what_was_learned_is_right(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tiles = {
        side: [photo()[y : y + 64, x : x + 64] for y in range(0, 192, 64) for x in range(0, 256, 64)]
        for side, photo in (("clean", data.coffee), ("degraded", data.chelsea))
    }
    noise = {side: [rng.normal(0, 20, (64, 64, 3)) for _ in range(12)] for side in tiles}
    noisy = {
        side: [
            np.clip(tile + more, 0, 255).astype(np.uint8)
            for tile, more in zip(some, noise[side], strict=True)
        ]
        for side, some in tiles.items()
    }
    tiles["degraded"] = noisy["degraded"]
    rows = ["path,role,photo"]
    for side, some in tiles.items():
        for k, tile in enumerate(some):
            write_png(tmp_path / f"dataset/{side}/{k}.png", tile)
            rows.append(f"{side}/{k}.png,{side},{'one' if k % 4 < 2 else 'other'}")
    (tmp_path / "dataset/index.csv").write_text("\n".join(rows))
    found = {}
    for name, made in (("right", noisy["clean"]), ("none", tiles["clean"])):
        save_pairs(tmp_path / name, np.stack(tiles["clean"]), np.stack(made))
        paths = [
            f"--dataset={tmp_path / 'dataset'}",
            f"--pairs={tmp_path / name}",
            f"--out={tmp_path / name}.json",
        ]
        assert run_script("measure_distance", *paths) == 0
        found[name] = json.loads((tmp_path / f"{name}.json").read_text())
    assert found["none"]["made"] == found["none"]["clean"] == found["right"]["clean"]
    assert len(found["right"]["made"]["levels"]) == 3
    # The finest level is the noise's.
    assert found["right"]["made"]["levels"][0] < 0.3 * found["none"]["made"]["levels"][0]
    assert found["right"]["degraded_halves"]["levels"][0] < 0.3 * found["none"]["made"]["levels"][0]
    assert run_script("measure_distance", *paths, "--tiles", "1") == 1


def test_images_of_8_bits_are_described_as_their_values_between_0_and_1() -> None:
    rng = np.random.default_rng(0)
    clean = [rng.integers(40, 200, (70 + 9 * k, 80, 3)).astype(np.uint8) for k in range(3)]
    degraded = [(image + rng.integers(-30, 40, image.shape)).astype(np.uint8) for image in clean]
    found = noise_statistics(clean, degraded)
    scaled = noise_statistics([image / 255 for image in clean], [image / 255 for image in degraded])
    assert found == scaled
    pixels = np.concatenate(
        [(d / 255 - c / 255).reshape(-1, 3) for c, d in zip(clean, degraded, strict=True)]
    )
    np.testing.assert_allclose(found["std"], pixels.std(0))
    np.testing.assert_allclose(found["channel_correlation"], np.corrcoef(pixels, rowvar=False), atol=1e-12)


def test_halves_are_of_different_photos(tmp_path: Path) -> None:
    rows = ["path,role,photo"]
    for k in range(10):
        write_png(tmp_path / f"degraded/{k}.png", np.full((8, 8, 3), k, np.uint8))
        rows.append(f"degraded/{k}.png,degraded,photo{k // 2}")
    (tmp_path / "index.csv").write_text("\n".join(rows))
    halves = [
        {int(tile[0, 0, 0]) // 2 for tile in measure_distance.tiles_of(tmp_path, "degraded", 99, half)}
        for half in (0, 1)
    ]
    assert not halves[0] & halves[1] and halves[0] | halves[1] == set(range(5))
    assert min(map(len, halves)) == 2
