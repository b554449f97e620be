"""The script that fits restorers: a classical one's strength is chosen on the validation pairs."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data

from nopairs.models import load_model
from nopairs.restorers.dncnn import DnCNN, DnCNNOptions

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))
from fit_restorer import choose_options, evenly, main


@pytest.mark.parametrize("sigma", [0.03, 0.1])
def test_the_strength_with_the_best_validation_psnr_is_chosen(sigma: float) -> None:
    clean = data.chelsea()[100:196, 100:196]
    noisy = clean / 255 + np.random.default_rng(0).normal(0, sigma, clean.shape)
    val = [(clean, np.round(255 * noisy.clip(0, 1)).astype(np.uint8))]
    options, log = choose_options({"kind": "nlm", "candidates": [0.03, 0.1, 0.3]}, val)
    assert options == {"strength": sigma}
    assert [row["strength"] for row in log] == [0.03, 0.1, 0.3]
    assert max(log, key=lambda row: row["val_psnr"])["strength"] == sigma


def test_of_many_validation_images_some_judge_evenly_spread() -> None:
    images = [(np.full((1, 1, 3), k), np.zeros((1, 1, 3))) for k in range(101)]
    assert [int(clean[0, 0, 0]) for clean, _ in evenly(images, 5)] == [0, 25, 50, 75, 100]
    assert evenly(images, 200) == images and evenly([], 5) == []


def test_what_needs_no_choice_keeps_its_options() -> None:
    options, log = choose_options({"kind": "identity"}, [])
    assert options == {} and log == []


def test_a_published_network_is_kept_with_its_weights(tmp_path: Path) -> None:
    published = DnCNN(DnCNNOptions(depth=17, width=64)).eval()
    torch.save(published.state_dict(), tmp_path / "published.pth")
    entry = {"kind": "pretrained", "options": {"weights": str(tmp_path / "published.pth")}}
    arguments = {"entry": json.dumps(entry), "dataset": tmp_path, "stand_in": None, "threads": 1, "seed": 0}
    main(argparse.Namespace(**arguments, out=tmp_path / "model"))
    image = torch.rand(1, 3, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(load_model(tmp_path / "model")(image), published(image))
