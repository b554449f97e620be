"""Images that another tool has restored, as rows of a table and under a transport."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import report_fixture
import torch

from nopairs.data.images import read_rgb, write_png
from nopairs.errors import NopairsError
from nopairs.models import load_model, make, save_model
from nopairs.training.pairs import save_pairs
from nopairs.transport.autoencoders import Embedded, EmbeddedOptions

SMALL = {"width": 4, "levels": 1, "latents": 3}


def write(folder: Path, count: int, seed: int) -> list[np.ndarray]:
    images = list(np.random.default_rng(seed).integers(0, 256, (count, 24, 20, 3)).astype(np.uint8))
    for k, image in enumerate(images):
        write_png(folder / f"{k}.png", image)
    return images


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    write(tmp_path / "degraded", 3, 0)
    write(tmp_path / "theirs", 3, 1)
    write(tmp_path / "others", 5, 2)
    options = {"test": str(tmp_path / "theirs"), "statistics": str(tmp_path / "others")}
    save_model(tmp_path / "model", "restorer", "folder", options, {}, {})
    return tmp_path


def test_restored_files_are_taken_by_name(folders: Path) -> None:
    arguments = ["--model", folders / "model", "--images", folders / "degraded", "--threads", "1"]
    assert report_fixture.run_script("restore", *arguments, "--out", folders / "out") == 0
    for name in ("0.png", "1.png", "2.png"):
        np.testing.assert_array_equal(read_rgb(folders / "out" / name), read_rgb(folders / "theirs" / name))
    composed, as_macs_have_it = "caf\u00e9.png", "cafe\u0301.png"
    (folders / "theirs/0.png").rename(folders / "theirs" / as_macs_have_it)
    np.testing.assert_array_equal(
        load_model(folders / "model").restored(composed), read_rgb(folders / "theirs" / as_macs_have_it)
    )
    (folders / "theirs/1.png").unlink()
    assert report_fixture.run_script("restore", *arguments, "--out", folders / "again") == 1
    assert not (folders / "again").exists()


def test_a_transport_is_fitted_on_them(folders: Path) -> None:
    torch.manual_seed(0)
    weights = Embedded(EmbeddedOptions(**SMALL)).state_dict()
    save_model(folders / "autoencoder", "autoencoder", "embedded", SMALL, weights, {})
    tiles = np.stack(write(folders / "data/clean", 4, 3))
    save_pairs(folders / "pairs", tiles, tiles)
    index = "\n".join(["path,photo", *(f"clean/{k}.png,{k}" for k in range(4))])
    (folders / "data/index.csv").write_text(index)
    entry = {"kind": "dot", "autoencoder": "embedded", "options": {"patch": 1, "images": 2}, "alphas": [0, 1]}
    arguments = ["--entry", json.dumps(entry), "--autoencoder", folders / "autoencoder", "--seed", "0"]
    arguments += [
        "--restorer",
        folders / "model",
        "--dataset",
        folders / "data",
        "--pairs",
        folders / "pairs",
    ]
    assert (
        report_fixture.run_script("fit_transport", *arguments, "--threads", "1", "--out", folders / "map")
        == 0
    )
    told = json.loads((folders / "map/model.json").read_text())
    assert told["fit"]["patches"] == [2 * 12 * 10, 2 * 12 * 10]
    assert (folders / "map/alphas.csv").read_text().strip() == ""  # nothing to choose by
    arguments = ["--model", folders / "map", "--autoencoder", folders / "autoencoder", "--threads", "1"]
    arguments += [
        "--restored",
        folders / "theirs",
        "--facts",
        folders / "facts.json",
        "--out",
        folders / "moved",
    ]
    assert report_fixture.run_script("transport", *arguments) == 0
    assert len(list((folders / "moved").glob("*.png"))) == 3
    assert report_fixture.run_script("transport", *arguments, "--alpha", "psnr") == 1


def test_they_can_restore_nothing_else(folders: Path) -> None:
    model = load_model(folders / "model")
    assert len(model.others(2)) == 2
    with pytest.raises(NopairsError, match="cannot restore others"):
        model(torch.zeros(1, 3, 8, 8))
    with pytest.raises(NopairsError, match="no `statistics:`"):
        make("restorer", "folder", {"test": "x"}).others(1)
