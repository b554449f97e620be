"""A network whose weights are mixed with those that its training began with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skimage import data

from fit_restorer import borrow
from nopairs.data.tiles import to_tensor, to_uint8
from nopairs.errors import NopairsError
from nopairs.models import load_model, make, save_model
from nopairs.restorers.blended import Blended
from nopairs.restorers.dncnn import DnCNN, DnCNNOptions
from nopairs.training.data import validation_psnr

SIZE: dict[str, Any] = {"depth": 17, "width": 64, "batch_norm": False}


@pytest.fixture
def start(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    published = DnCNN(DnCNNOptions(**SIZE))
    torch.save(published.state_dict(), tmp_path / "start.pth")
    return tmp_path / "start.pth"


def made(start: Path, **options: object) -> Blended:
    return make("restorer", "blended", {**SIZE, "start": str(start), **options}).eval()


def test_the_share_is_the_one_whose_images_are_nearest(start: Path) -> None:
    torch.manual_seed(1)
    trained = DnCNN(DnCNNOptions(**SIZE)).eval()
    begun = torch.load(start, weights_only=True)
    middle = DnCNN(DnCNNOptions(**SIZE)).eval()
    middle.load_state_dict({k: 0.75 * begun[k] + 0.25 * v for k, v in trained.state_dict().items()})
    degraded = data.chelsea()[100:140, 100:148]
    with torch.inference_mode():
        truth = to_uint8(middle(to_tensor(degraded[None])))[0]
    blended = made(start)
    blended.load_state_dict(trained.state_dict())
    found = blended.choose([(truth, degraded)])
    assert list(found) == ["share 0.0", "share 0.25", "share 0.5", "share 0.75", "share 1.0"]
    assert max(found, key=lambda name: found[name]) == "share 0.25"
    for name, tensor in blended.state_dict().items():
        torch.testing.assert_close(tensor, middle.state_dict()[name])


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_at_its_ends_it_is_one_of_the_two(start: Path, share: float, tmp_path: Path) -> None:
    torch.manual_seed(2)
    trained = DnCNN(DnCNNOptions(**SIZE)).eval()
    facts = {"parameters": 1, "seed": 0, "steps": 1, "seconds": 1.0, "device": "cpu"}
    save_model(tmp_path / "lender/seed0", "restorer", "dncnn", SIZE, trained.state_dict(), facts)
    (tmp_path / "lender/seed0/log.csv").write_text("step,loss\n1,1\n")
    entry = {"kind": "blended", "options": {**SIZE, "start": str(start), "shares": [share]}}
    photo = data.astronaut()[:32, :32]
    borrow(tmp_path / "lender/seed0", entry, [(photo, np.roll(photo, 1, 0))], tmp_path / "blended")
    expected = trained.state_dict() if share else torch.load(start, weights_only=True)
    blended = load_model(tmp_path / "blended").state_dict()
    assert all(torch.equal(blended[name], expected[name]) for name in expected)
    described = json.loads((tmp_path / "blended/model.json").read_text())
    assert list(described["chosen"]) == [f"share {share}"]


def test_running_statistics_are_mixed_as_weights_are_and_judged_with(tmp_path: Path) -> None:
    size = {**SIZE, "batch_norm": True}
    torch.manual_seed(3)
    begun, trained = (DnCNN(DnCNNOptions(**size)) for _ in range(2))
    for network in (begun, trained):
        network(torch.rand(2, 3, 16, 16))
    torch.save(begun.state_dict(), tmp_path / "start.pth")
    blended = make("restorer", "blended", {**size, "start": str(tmp_path / "start.pth"), "shares": [0.5]})
    blended.load_state_dict(trained.state_dict())
    photo = data.astronaut()[:32, :32]
    found = blended.train().choose([(photo, photo)])
    assert found == {"share 0.5": validation_psnr(blended.eval(), [(photo, photo)])}
    mixed, (one, other) = blended.state_dict(), (network.state_dict() for network in (begun, trained))
    means = [name for name in mixed if name.endswith("running_mean")]
    assert means
    for name in means:
        torch.testing.assert_close(mixed[name], (one[name] + other[name]) / 2)
    assert all(count == 1 for name, count in mixed.items() if name.endswith("num_batches_tracked"))


def test_without_pairs_there_is_nothing_to_choose_by(start: Path) -> None:
    with pytest.raises(NopairsError, match="blended: its share is chosen on validation pairs"):
        made(start).choose([])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"start": ""}, "blended: there is nothing to blend with"),
        ({"shares": []}, "blended: shares .* must be numbers from 0 to 1"),
        ({"shares": [0.5, 1.5]}, "blended: shares .* must be numbers from 0 to 1"),
    ],
)
def test_options_that_are_none(start: Path, wrong: dict[str, object], message: str) -> None:
    with pytest.raises(NopairsError, match=message):
        make("restorer", "blended", {"start": str(start), **wrong})
