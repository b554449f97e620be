from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_fixture import run_script
from skimage import data

from nopairs.data.images import read_rgb, write_png
from nopairs.metrics import evaluate, inception, perceptual, quality
from nopairs.metrics.patches import patch_wasserstein
from nopairs.metrics.swd import sliced_wasserstein

PHOTOS = {"astronaut": data.astronaut()[:120, 150:310], "coffee": data.coffee()[100:220, 200:330]}


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset of two test photos and two clean tiles, and a folder of restored photos, which are noisy."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "no weights"))
    rng = np.random.default_rng(0)
    folder = tmp_path / "data"
    images = {f"clean/tile{i}.png": data.chelsea()[50:178, 60 + i : 188 + i] for i in (0, 90)}
    for name, clean in PHOTOS.items():
        images |= {f"test/clean/{name}.png": clean, f"test/degraded/{name}.png": clean}
        noisy = np.clip(clean + rng.normal(0, 10, clean.shape), 0, 255).astype(np.uint8)
        write_image(tmp_path / "restored" / f"{name}.png", noisy)
    rows = []
    for path, pixels in images.items():
        write_image(folder / path, pixels)
        stem = Path(path).stem
        rows.append({"path": path, "role": path.split("/")[0], "photo": stem, "scene": f"scene of {stem}"})
    pd.DataFrame(rows).to_csv(folder / "index.csv", index=False)
    return folder


def write_image(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, np.ascontiguousarray(pixels))


def measure(dataset: Path, *options: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    out = dataset.parent / "out"
    arguments = ["--restored", dataset.parent / "restored", "--dataset-dir", dataset]
    arguments += ["--out-images", out / "images.csv", "--out-set", out / "set.csv"]
    arguments += ["--out-draws", out / "draws.csv"]
    assert run_script("measure", *arguments, *options) == 0
    return pd.read_csv(out / "images.csv", index_col="image"), pd.read_csv(
        out / "set.csv", index_col="metric"
    )


def fit(dataset: Path) -> str:
    model = dataset.parent / "niqe.json"
    assert run_script("fit_niqe", "--dataset-dir", dataset, "--out", model) == 0
    return f"--niqe-model={model}"


def test_with_truth(dataset: Path) -> None:
    images, whole_set = measure(dataset, fit(dataset))
    assert images.columns.tolist() == ["scene", "psnr", "ssim", "niqe"]
    assert images.scene["coffee"] == "scene of coffee"
    assert images.psnr.to_numpy() == pytest.approx(
        28, abs=0.7
    )  # noise of deviation 10: 28.1 dB, less clipping
    assert images.ssim.between(0.3, 0.95).all() and images.niqe.notna().all()
    assert whole_set.value["swd"] > 0 and whole_set["n"]["swd"] == 2 and np.isnan(whole_set.value["lpips"])
    assert perceptual.WEIGHTS["alex"] in whole_set.note["lpips"]
    assert "patches of 32 pixels" in whole_set.note["niqe"]


def test_resampled_sets_of_two_methods_are_paired(dataset: Path) -> None:
    """Both are resampled alike, so that a method's distances differ by nothing from its own, and together with another's."""
    options = ("--metrics", "swd", "pwd")
    _, whole_set = measure(dataset, *options)
    draws = pd.read_csv(dataset.parent / "out/draws.csv", index_col="draw")
    assert draws.columns.tolist() == ["swd", "pwd"] and len(draws) == 200
    assert draws.std(ddof=0).to_numpy() == pytest.approx(whole_set["std"].to_numpy(), rel=0.01)
    for path in sorted((dataset.parent / "restored").glob("*.png")):
        write_image(path, np.clip(read_rgb(path).astype(int) + 3, 0, 255).astype(np.uint8))
    measure(dataset, *options)
    other = pd.read_csv(dataset.parent / "out/draws.csv", index_col="draw")
    assert np.corrcoef(draws.swd, other.swd)[0, 1] > 0.99


def test_without_truth(dataset: Path) -> None:
    index = pd.read_csv(dataset / "index.csv")
    index[~index.path.str.startswith("test/clean/")].to_csv(dataset / "index.csv", index=False)
    images, whole_set = measure(dataset, fit(dataset))
    assert images.columns.tolist() == ["scene", "niqe"]
    for metric in ("psnr", "ssim", "lpips"):
        assert "no clean versions" in whole_set.note[metric]
    assert "2 clean training tiles" in whole_set.note["swd"] and whole_set.value["swd"] > 0


def test_only_what_is_asked_for(dataset: Path) -> None:
    images, whole_set = measure(dataset, "--metrics", "psnr")
    assert images.columns.tolist() == ["scene", "psnr"] and whole_set.empty
    restored = dataset.parent / "restored" / "coffee.png"
    assert images.psnr["coffee"] == quality.psnr(PHOTOS["coffee"], read_rgb(restored))


def test_what_returns_its_input_scores_the_inputs_psnr_exactly(dataset: Path) -> None:
    """Through fitting, saving, restoring in tiles and measuring."""
    inputs = dataset.parent / "restored"  # the noisy photos
    model, restored = dataset.parent / "model", dataset.parent / "restored again"
    arguments = ["--entry", "{kind: identity}", "--dataset", dataset, "--seed", 0, "--out", model]
    assert run_script("fit_restorer", *arguments) == 0
    assert run_script("restore", "--model", model, "--images", inputs, "--out", restored) == 0
    restored.rename(inputs.rename(dataset.parent / "inputs").with_name("restored"))
    images, _ = measure(dataset, "--metrics", "psnr")
    for name, clean in PHOTOS.items():
        assert images.psnr[name] == quality.psnr(clean, read_rgb(dataset.parent / "inputs" / f"{name}.png"))


def test_images_below_the_models_patch_have_no_niqe(dataset: Path) -> None:
    model = fit(dataset)
    for folder in (dataset / "test" / "clean", dataset.parent / "restored"):
        write_image(folder / "coffee.png", PHOTOS["coffee"][:31])
    images, _ = measure(dataset, model, "--metrics", "niqe")
    assert np.isnan(images.niqe["coffee"]) and images.niqe["astronaut"] > 0


@pytest.mark.parametrize("fault", ["no model", "missing image", "other size"])
def test_faults_are_told(fault: str, dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--metrics", "niqe"] if fault == "no model" else ["--metrics", "psnr"]
    restored = dataset.parent / "restored" / "coffee.png"
    if fault == "missing image":
        restored.unlink()
    if fault == "other size":
        write_image(restored, PHOTOS["coffee"][:50])
    with pytest.raises(AssertionError):
        measure(dataset, *options)
    message = {"no model": "--niqe-model", "missing image": "is missing", "other size": "but its truth is"}[
        fault
    ]
    assert message in capsys.readouterr().err
    assert not (dataset.parent / "out" / "images.csv").exists()


def test_sets_are_resampled_by_their_scenes_with_the_seed(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for distance in (sliced_wasserstein, patch_wasserstein):
        monkeypatch.setattr(evaluate, distance.__name__, partial(distance, draws=10))
    folders = dataset / "test/clean", dataset.parent / "restored"
    sides = [[read_rgb(folder / f"{name}.png")[:40, :40] for name in PHOTOS] for folder in folders]
    for folder, side in zip(folders, sides, strict=True):
        for name, image in zip(PHOTOS, side, strict=True):
            write_image(folder / f"{name}.png", image)
    _, whole_set, draws = evaluate.measure(dataset, folders[1], ["swd", "pwd"], None, 7)
    scenes = [f"scene of {name}" for name in PHOTOS]
    expected = {
        "swd": sliced_wasserstein(*sides, paired=True, draws=10, seed=7, scenes=scenes),
        "pwd": patch_wasserstein(*sides, 7, draws=10, scenes=scenes),
    }
    for metric, distance in expected.items():
        assert draws[metric].tolist() == pytest.approx(distance.draws)
    assert whole_set["value"].tolist() == pytest.approx([one.value for one in expected.values()])


def test_clean_tiles_that_are_compared_with_are_evenly_spread(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = pd.read_csv(dataset / "index.csv")
    tiles = [{"path": f"clean/{k}.png", "role": "clean", "photo": str(k), "scene": str(k)} for k in range(9)]
    for k, tile in enumerate(tiles):
        write_image(dataset / str(tile["path"]), np.full((32, 32, 3), k, np.uint8))
    rows = pd.concat([index[index.path.str.startswith("test/degraded/")], pd.DataFrame(tiles)])
    rows.to_csv(dataset / "index.csv", index=False)
    seen: list[int] = []

    def distance(clean: list[np.ndarray], restored: list[np.ndarray], *_: object, **__: object) -> object:
        seen.extend(int(tile[0, 0, 0]) for tile in clean)
        return patch_wasserstein(clean, restored)

    monkeypatch.setattr(evaluate, "MOST_REFERENCE_TILES", 3)
    monkeypatch.setattr(evaluate, "patch_wasserstein", distance)
    evaluate.measure(dataset, dataset.parent / "restored", ["pwd"], None, 0)
    assert len(seen) == 3 and np.ptp(np.diff(seen)) == 0 and seen[-1] > 5


def test_inception_judges_the_restored_images_against_the_clean_ones(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[np.ndarray]] = []

    def judged(
        reference: list[np.ndarray], images: list[np.ndarray], metrics: list[str]
    ) -> dict[str, inception.Inception]:
        seen.extend((reference, images))
        return {metric: inception.Inception(1.0, 0.0, 2) for metric in metrics}

    monkeypatch.setattr(inception, "unavailable", lambda: None)
    monkeypatch.setattr(inception, "measure", judged)
    restored = dataset.parent / "restored"
    evaluate.measure(dataset, restored, ["fid"], None, 0)
    for images, folder in zip(seen, (dataset / "test/clean", restored), strict=True):
        np.testing.assert_array_equal(images[0], read_rgb(folder / "astronaut.png"))
