from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_fixture import run_script
from skimage import data

from nopairs.data.images import read_rgb, write_png
from nopairs.metrics import perceptual, quality

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
