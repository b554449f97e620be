"""The DnCNN that corrects what classical restorers make of an image."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from nopairs.errors import NopairsError
from nopairs.models import make, make_options
from nopairs.restorers.classical import NLM, NLMOptions
from nopairs.restorers.guided import Guided, GuidedOptions
from nopairs.training.data import PairedData
from nopairs.training.options import TrainingOptions

OPTIONS = {"depth": 3, "width": 8, "guides": [["nlm", 0.05], ["nlm", 0.1]], "tiles": 3}


def images(count: int, side: int = 24, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def test_one_that_predicts_nothing_returns_the_first_guide() -> None:
    guided = make("restorer", "guided", OPTIONS)
    torch.nn.init.zeros_(guided.model[-1].weight)
    degraded = torch.rand(2, 3, 24, 20, generator=torch.Generator().manual_seed(0))
    assert torch.equal(guided(degraded), NLM(NLMOptions(0.05))(degraded))


def test_training_tiles_have_each_guides_images_of_the_same_tiles() -> None:
    guided = make("restorer", "guided", OPTIONS)
    tiles = guided.training_tiles({"clean": images(7), "degraded": images(7, seed=1)}, threads=2)
    assert list(tiles) == ["clean", "degraded", "guide0", "guide1"]
    assert all(part.shape == (3, 24, 24, 3) and part.dtype == np.uint8 for part in tiles.values())
    assert np.array_equal(tiles["clean"], images(7)[[0, 3, 6]])
    expected = NLM(NLMOptions(0.1)).restore((tiles["degraded"][1] / 255).astype(np.float32)) * 255
    assert np.abs(tiles["guide1"][1] - expected).max() <= 0.5 + 1e-3


def test_a_batch_has_the_same_crops_of_all_and_its_loss_is_the_error_of_the_corrected_guide() -> None:
    guided = make("restorer", "guided", OPTIONS)
    data = PairedData(images(4), images(4), [], TrainingOptions(steps=1, batch=2, crop=8))
    data.tiles = {**data.tiles, "guide0": images(4), "guide1": images(4)}
    batch = data.batch(np.random.default_rng(0))
    assert all(torch.equal(batch["clean"], part) for part in batch.values())
    torch.nn.init.zeros_(guided.model[-1].weight)
    assert guided.losses(0.0, **batch)["loss"].item() == 0
    batch["guide0"] = batch["guide0"] + 0.1
    assert guided.losses(0.0, **batch)["loss"].item() == pytest.approx(0.01, rel=1e-4)


def test_guides_are_computed_once_for_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    guided = make("restorer", "guided", OPTIONS)
    calls = []
    restore = NLM.restore
    monkeypatch.setattr(NLM, "restore", lambda self, image: calls.append(1) or restore(self, image))
    first, second = torch.rand(2, 1, 3, 16, 16)
    restored = [guided(image) for image in (first, second, first)]
    assert len(calls) == 4
    assert torch.equal(restored[0], restored[2]) and not torch.equal(restored[0], restored[1])


def test_no_more_than_some_pixels_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[Guided.__module__], "KEPT", 300)
    guided = Guided(make_options(GuidedOptions, "guided", OPTIONS))
    for image in torch.rand(3, 1, 3, 16, 16):
        guided(image)
    assert sum(images[0][:, 0].numel() for images in guided._kept.values()) == 256


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"guides": [["wiener", 0.1]]}, "unknown guide 'wiener'; guides are bm3d, nlm"),
        ({"guides": [["nlm", 25]]}, "strength 25 is not between 0 and 1"),
        ({"guides": []}, "give one of `guides`"),
        ({"start": "weights.pth"}, "no published weights"),
    ],
)
def test_what_cannot_be_is_told(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(NopairsError, match=message.replace("(", r"\(")):
        make("restorer", "guided", {**OPTIONS, **wrong})
