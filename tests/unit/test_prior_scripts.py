"""The scripts of the priors' rules: observe, fit, choose, reconstruct; then measured within a border."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

import choose_strength
import estimate_operator
import fit_prior
import observe
import plot_uncertainty
import reconstruct
from nopairs.data.images import read_rgb, write_png
from nopairs.data.preprocess import Recipe, write_dataset
from nopairs.data.sources import collect
from nopairs.data.store import Store
from nopairs.data.tiles import to_uint8
from nopairs.errors import NopairsError
from nopairs.files import sha256
from nopairs.metrics.evaluate import measure
from nopairs.models import save_model
from nopairs.priors.base import NoOptions, Prior
from nopairs.priors.operators import Identity, IdentityOptions
from nopairs.priors.tv import TV, TVDescent
from nopairs.training.pairs import save_pairs

OPERATOR = json.dumps({"kind": "blur_downsample", "factor": 2, "size": 8, "sigma": 1.0, "noise": 0.01})
ENTRIES: dict[str, dict[str, Any]] = {
    "bicubic": {"kind": "interpolation"},
    "l2_tv": {"kind": "tv", "reconstruction": {"steps": 20}, "candidates": [1000.0, 10.0]},
    "epll": {
        "kind": "epll",
        "options": {"components": 4, "patches": 4000, "iterations": 3, "patch_size": 4},
        "reconstruction": {"deviations": [0.05, 0.02]},
    },
    "patchnr": {
        "kind": "patchnr",
        "options": {"patch_size": 4, "blocks": 1, "width": 8, "whitening": True},
        "training": {"steps": 4, "batch": 32, "validate_every": 2, "precision": "float32"},
        "reconstruction": {"steps": 20, "precision": "float32", "strength": 0.3},
    },
    "patchnr_anchored": {
        "kind": "patchnr_anchored",
        "options": {"patch_size": 4, "blocks": 1, "width": 8, "whitening": True, "batch": 32}
        | {"fold": 2, "channels": 8, "depth": 2, "edge": 4},
        "training": {"steps": 40, "batch": 4, "crop": 32, "lr": 3.0e-3, "validate_every": 20},
        "reconstruction": {
            "steps": 20,
            "precondition": True,
            "lr": 0.1,
            "precision": "float32",
            "strength": 0.2,
        },
    },
    "patchnr_zeroshot": {
        "kind": "patchnr_zeroshot",
        "options": {"patch_size": 4, "blocks": 1, "width": 8, "whitening": True},
        "reconstruction": {
            "steps": 15,
            "training_steps": 4,
            "batch": 32,
            "precision": "float32",
            "strength": 0.3,
        },
    },
    "dip": {
        "kind": "dip",
        "reconstruction": {"steps": 20, "width": 8, "scales": 2, "precision": "float32"},
    },
    "pnp": {
        "kind": "pnp",
        "options": {"width": 8, "depth": 2},
        "training": {"steps": 30, "batch": 4, "crop": 32, "lr": 3.0e-3, "validate_every": 15},
        "reconstruction": {"steps": 4},
    },
    "zssr": {
        "kind": "zssr",
        "options": {"fold": 2, "width": 8, "depth": 2, "edge": 4},
        "reconstruction": {"training_steps": 10, "batch": 2, "crop": 32},
    },
    "supervised": {
        "kind": "supervised",
        "options": {"fold": 2, "width": 8, "depth": 2, "edge": 4},
        "training": {"steps": 30, "batch": 4, "crop": 48, "lr": 3.0e-3, "validate_every": 15},
    },
    "wppnet": {
        "kind": "wppnet",
        "options": {
            "fold": 2,
            "width": 8,
            "depth": 2,
            "edge": 8,
            "patch_size": 4,
            "references": 200,
            "strength": 20.0,
        },
        "training": {"steps": 20, "batch": 4, "crop": 48, "lr": 3.0e-3},
    },
    "wppflow": {
        "kind": "wppflow",
        "options": {
            "fold": 2,
            "width": 8,
            "depth": 2,
            "edge": 8,
            "patch_size": 4,
            "references": 200,
            "strength": 20.0,
            "hidden": 8,
        },
        "training": {"steps": 20, "batch": 4, "crop": 48, "lr": 3.0e-3},
        "reconstruction": {"samples": 8},
    },
    "wpp": {
        "kind": "wpp",
        "options": {"patch_size": 4},
        "reconstruction": {"steps": 5, "references": 200, "dual_steps": 1, "strength": 50.0},
    },
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("textures")
    settings = {"source": "textures", "only": "gravel|brick_learn", "split": 0, "selection": "held_out"}
    photos = collect(settings, Store(folder / "data", folder / "data.lock"))
    write_dataset(photos, folder / "dataset", Recipe(128, 128, None, 0))
    arguments = argparse.Namespace(
        dataset=folder / "dataset", operator=OPERATOR, seed=0, out=folder / "observed"
    )
    observe.main(arguments)
    return folder


def common(folder: Path, name: str) -> dict[str, Any]:
    return {
        "dataset": folder / "dataset",
        "entry": json.dumps(ENTRIES[name]),
        "seed": 0,
        "threads": 1,
        "device": "cpu",
        "operator": OPERATOR,
        "observations": folder / "observed",
    }


@pytest.mark.parametrize("name", ENTRIES)
def test_a_prior_goes_from_clean_images_to_measures(name: str, dataset: Path, tmp_path: Path) -> None:
    shared = common(dataset, name)
    model, strength, out = tmp_path / "model", tmp_path / "strength.json", tmp_path / "restored"
    fit_prior.main(argparse.Namespace(**shared, out=model))
    assert json.loads((model / "model.json").read_text())["family"] == "prior"
    choose_strength.main(argparse.Namespace(**shared, model=model, border=12, out=strength))
    chosen = json.loads(strength.read_text())
    if "candidates" in ENTRIES[name]:
        assert chosen["strength"] == 10.0 and chosen["val_psnr"][1] > chosen["val_psnr"][0]
    else:
        assert chosen["strength"] == ENTRIES[name].get("reconstruction", {}).get("strength")
    where = {"model": model, "strength": strength, "out": out}
    reconstruct.main(argparse.Namespace(**shared, **where))
    images, *_ = measure(dataset / "dataset", out, ["psnr", "swd"], None, 0, border=12)
    assert images.image.tolist() == ["gravel"]
    start = 22.2  # dB: bicubic
    low = {"bicubic": start - 0.2, "wpp": start - 1, "wppflow": start - 1}.get(name, start)
    low += 0.2 * (name in ("l2_tv", "epll", "supervised", "pnp"))
    assert images.psnr[0] > low
    if name == "wppflow":
        show = {"model": model, "border": 12, "images": 1, "samples": 19, "out": tmp_path / "uncertainty"}
        paths = {"dataset": dataset / "dataset", "observations": dataset / "observed"}
        plot_uncertainty.main(
            argparse.Namespace(operator=OPERATOR, seed=0, threads=1, device="cpu", **show, **paths)
        )
        assert (tmp_path / "uncertainty/gravel.png").is_file()
        covered = pd.read_csv(tmp_path / "uncertainty/coverage.csv")
        assert covered.level.is_monotonic_increasing and covered["mean"].is_monotonic_increasing


def test_observations_have_noise_of_their_own_and_their_size(dataset: Path, tmp_path: Path) -> None:
    observed = np.load(dataset / "observed/gravel.npy")
    assert observed.shape == (1, 128, 128) and observed.dtype == np.float32
    arguments = {"dataset": dataset / "dataset", "operator": OPERATOR}
    observe.main(argparse.Namespace(**arguments, seed=0, out=tmp_path / "again"))
    assert (np.load(tmp_path / "again/gravel.npy") == observed).all()
    observe.main(argparse.Namespace(**arguments, seed=1, out=tmp_path / "other"))
    assert abs((np.load(tmp_path / "other/gravel.npy") - observed).std() - 0.01 * 2**0.5) < 0.001
    misfit = json.dumps({"kind": "blur_downsample", "factor": 3, "size": 9, "sigma": 1.0, "noise": 0.01})
    with pytest.raises(NopairsError, match=r"gravel\.png: an image of 256x256 pixels: both sides must be"):
        observe.main(
            argparse.Namespace(dataset=dataset / "dataset", operator=misfit, seed=0, out=tmp_path / "x")
        )


def test_every_image_has_noise_of_its_own_whichever_others_are_there(tmp_path: Path) -> None:
    noise = {}
    for names in ("ab", "b"):
        folder = tmp_path / names
        index = ["path,sha256"]
        for name in names:
            file = folder / f"test/clean/{name}.png"
            write_png(file, np.full((64, 64, 3), 100 + ord(name), np.uint8))
            index.append(f"test/clean/{name}.png,{sha256(file)}")
        (folder / "index.csv").write_text("\n".join(index))
        identity = json.dumps({"kind": "identity", "noise": 0.1})
        observe.main(argparse.Namespace(dataset=folder, operator=identity, seed=0, out=folder / "observed"))
        for name in names:
            noise[names, name] = np.load(folder / f"observed/{name}.npy") - (100 + ord(name)) / 255
    assert abs(np.corrcoef(noise["ab", "a"].ravel(), noise["ab", "b"].ravel())[0, 1]) < 0.1
    assert (noise["ab", "b"] == noise["b", "b"]).all()


def test_a_border_is_left_out_of_every_measure(dataset: Path, tmp_path: Path) -> None:
    truth = read_rgb(dataset / "dataset/test/clean/gravel.png")
    for name, rows in (("edge", slice(0, 10)), ("inside", slice(10, 20))):
        spoilt = truth.copy()
        spoilt[rows] = 0
        (tmp_path / name).mkdir()
        write_png(tmp_path / name / "gravel.png", spoilt)
    folder = dataset / "dataset"

    def measured(name: str, border: int, *metrics: str) -> pd.Series:
        images, whole, _ = measure(folder, tmp_path / name, metrics, None, 0, border=border)
        return pd.concat([images.iloc[0], whole.set_index("metric").value])

    edge = measured("edge", 10, "psnr", "ssim", "swd")
    assert (edge.psnr, edge.ssim, edge.swd) == (np.inf, 1, 0)
    assert measured("inside", 10, "psnr").psnr < 30 and measured("edge", 9, "psnr").psnr < 40
    with pytest.raises(NopairsError, match="nothing within a border of 128"):
        measured("edge", 128, "psnr")


def test_observations_of_one_shape_are_reconstructed_together(tmp_path: Path) -> None:
    shapes = [(1, 4, 4), (1, 4, 4), (1, 4, 4), (3, 4, 4), (1, 4, 4)]
    files = []
    for k, shape in enumerate(shapes):
        files.append(tmp_path / f"{k}.npy")
        np.save(files[-1], np.zeros(shape, np.float32))
    groups = reconstruct.batches(files, 2)
    assert [[int(file.stem) for file in group] for group in groups] == [[0, 1], [2, 4], [3]]


def test_a_prior_is_applied_with_the_chosen_strength(tmp_path: Path) -> None:
    """Where none was chosen, with that of its entry."""
    observed = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    (tmp_path / "observed").mkdir()
    np.save(tmp_path / "observed/a.npy", observed[0].numpy())
    save_model(tmp_path / "model", "prior", "tv", {}, {}, {})
    shared: dict[str, Any] = {
        "model": tmp_path / "model",
        "entry": json.dumps({"kind": "tv", "reconstruction": {"steps": 20, "strength": 3.0}}),
        "operator": json.dumps({"kind": "identity", "noise": 0.1}),
        "observations": tmp_path / "observed",
    }
    images = []
    for chosen, strength in ((1.0, 1.0), (30.0, 30.0), (None, 3.0)):
        file, out = tmp_path / f"{chosen}.json", tmp_path / f"{chosen}"
        file.write_text(json.dumps({"strength": chosen}))
        reconstruct.main(
            argparse.Namespace(**shared, seed=0, threads=1, device="cpu", strength=file, out=out)
        )
        how = TVDescent(strength=strength, steps=20)
        expected = TV(NoOptions()).reconstruct(observed, Identity(IdentityOptions(0.1)), how)
        images.append(read_rgb(out / "a.png")[..., :1])
        assert (images[-1] == to_uint8(expected)[0]).all()
    assert (images[0] != images[1]).any() and (images[1] != images[2]).any()


def test_without_validation_images_no_strength_is_chosen(dataset: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shared = common(dataset, "l2_tv")
    fit_prior.main(argparse.Namespace(**shared, out=model))
    with pytest.raises(NopairsError, match="no validation images"):
        choose_strength.main(
            argparse.Namespace(
                **{**shared, "dataset": tmp_path}, model=model, border=0, out=tmp_path / "s.json"
            )
        )


def test_a_single_candidate_needs_no_choosing(dataset: Path, tmp_path: Path) -> None:
    shared = common(dataset, "l2_tv")
    entry = json.dumps({**yaml.safe_load(shared["entry"]), "candidates": [7.0]})
    args = argparse.Namespace(**{**shared, "entry": entry}, model=tmp_path, border=0, out=tmp_path / "s.json")
    choose_strength.main(args)
    assert json.loads(args.out.read_text())["strength"] == 7.0


def test_an_operator_is_estimated_and_used(dataset: Path, tmp_path: Path) -> None:
    """From pairs with white noise alone; degraded test images are then the observations."""
    rng = np.random.default_rng(0)
    tiles = [read_rgb(path) for path in sorted((dataset / "dataset/clean").glob("*.png"))]
    clean = np.stack(tiles)
    noisy = np.clip(clean + 10 * rng.standard_normal(clean.shape), 0, 255).astype(np.uint8)
    save_pairs(tmp_path / "pairs", clean, noisy)
    estimate_operator.main(
        argparse.Namespace(pairs=tmp_path / "pairs", size=3, out=tmp_path / "operator.json")
    )
    found = json.loads((tmp_path / "operator.json").read_text())
    kernel = np.array(found["kernel"])
    assert abs(found["noise"] - 10 / 255) < 0.004
    assert abs(kernel[1, 1] - 1) < 0.05 and abs(kernel).sum() - abs(kernel[1, 1]) < 0.1

    write_png(tmp_path / "photos/test/degraded/a.png", noisy[0])
    settings = json.dumps({"kind": "estimated", "degradation": "awgn", "size": 3})
    shared = {**common(dataset, "l2_tv"), "operator": str(tmp_path / "operator.json")}
    observe.main(
        argparse.Namespace(dataset=tmp_path / "photos", operator=settings, seed=0, out=tmp_path / "observed")
    )
    fit_prior.main(argparse.Namespace(**shared, out=tmp_path / "model"))
    (tmp_path / "strength.json").write_text('{"strength": 4.0}')
    shared["observations"] = tmp_path / "observed"
    where = {
        "model": tmp_path / "model",
        "strength": tmp_path / "strength.json",
        "out": tmp_path / "restored",
    }
    reconstruct.main(argparse.Namespace(**shared, **where))
    restored = read_rgb(tmp_path / "restored/a.png")
    errors = [np.square(image - clean[0].astype(float)).mean() for image in (noisy[0], restored)]
    assert errors[1] < 0.7 * errors[0]


@pytest.mark.parametrize(("border", "left_out"), [(3, 3), (100, 4)])
def test_a_score_is_within_the_border_and_a_small_image_keeps_its_middle_half(
    border: int, left_out: int
) -> None:
    clean = np.full((16, 16, 3), 100, np.uint8)
    found = torch.full((1, 1, 16, 16), 150 / 255)

    class Known(Prior):
        def reconstruct(self, *_: object) -> torch.Tensor:
            return found

    def score() -> float:
        operator = Identity(IdentityOptions(0.01))
        return choose_strength.score(Known(), operator, None, clean, border, 0, torch.device("cpu"))

    inner = slice(left_out, 16 - left_out)
    found[..., inner, inner] = 101 / 255
    assert score() == pytest.approx(20 * np.log10(255))
    found[..., left_out, left_out] = 150 / 255
    assert score() < 47
