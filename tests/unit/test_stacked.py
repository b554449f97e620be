"""The weighted mean of a network's image and classical restorers' ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from fit_restorer import borrow
from nopairs.data.tiles import to_tensor
from nopairs.errors import NopairsError
from nopairs.models import load_model, make, save_model
from nopairs.restorers.classical import NLM, NLMOptions
from nopairs.restorers.stacked import Stacked

SIZE = {"depth": 3, "width": 8, "batch_norm": False}
OPTIONS = {**SIZE, "guides": [["nlm", 0.05], ["nlm", 0.2]]}
Pair = tuple[np.ndarray, np.ndarray]


def pair(seed: int, side: int = 24) -> Pair:
    rng = np.random.default_rng(seed)
    clean = np.repeat(np.repeat(rng.integers(60, 190, (4, 4, 3)), side // 4, 0), side // 4, 1)
    noisy = np.clip(clean + rng.normal(0, 15, clean.shape), 0, 255).round()
    return clean.astype(np.uint8), noisy.astype(np.uint8)


@pytest.fixture
def stacked() -> Stacked:
    torch.manual_seed(0)
    return make("restorer", "stacked", OPTIONS).eval()


def error(stacked: Stacked, val: list[Pair]) -> float:
    with torch.inference_mode():
        return sum(
            float((stacked(to_tensor(noisy[None])) - to_tensor(clean[None])).square().sum())
            for clean, noisy in val
        )


def test_with_no_shares_chosen_it_is_the_network(stacked: Stacked) -> None:
    network = make("restorer", "dncnn", SIZE).eval()
    network.load_state_dict({k: v for k, v in stacked.state_dict().items() if k != "shares"})
    image = torch.rand(1, 3, 20, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(stacked(image), network(image))


def test_shares_are_those_of_least_error_and_sum_to_one(stacked: Stacked) -> None:
    val = [pair(0), pair(1)]
    shares = stacked.choose(val)
    assert list(shares) == ["network", "nlm 0.05", "nlm 0.2"]
    assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
    assert list(shares.values()) == pytest.approx(stacked.shares.tolist())
    best = error(stacked, val)
    for way in ([1.0, -1.0, 0.0], [0.0, 1.0, -1.0]):  # no other weights of sum one are better
        for step in (-0.02, 0.02):
            stacked.shares += step * torch.tensor(way)
            assert error(stacked, val) > best
            stacked.shares -= step * torch.tensor(way)
    for alone in torch.eye(3):
        stacked.shares.copy_(alone)
        assert error(stacked, val) > best


def test_a_member_that_is_the_truth_has_all_of_it(stacked: Stacked) -> None:
    _, noisy = pair(0)
    truth = NLM(NLMOptions(0.2))(to_tensor(noisy[None]))[0]
    val = [((truth.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8), noisy)]
    assert stacked.choose(val)["nlm 0.2"] == pytest.approx(1, abs=0.01)


def test_equal_members_share(stacked: Stacked) -> None:
    twice = make("restorer", "stacked", {**SIZE, "guides": [["nlm", 0.1], ["nlm", 0.1]]}).eval()
    shares = twice.choose([pair(0)])
    assert np.isfinite(list(shares.values())).all()
    assert shares["nlm 0.1"] == pytest.approx(twice.shares[1].item())


def test_it_takes_a_trained_networks_weights_and_chooses_its_own_shares(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = make("restorer", "dncnn", SIZE)
    facts = {"parameters": 1, "seed": 0, "steps": 5, "seconds": 1.0, "device": "cpu"}
    lender = tmp_path / "ludvae+dncnn/seed0"
    save_model(lender, "restorer", "dncnn", SIZE, network.state_dict(), facts)
    (lender / "log.csv").write_text("step,loss\n")
    entry = {"kind": "stacked", "options": OPTIONS}
    borrow(lender, entry, [pair(0)], tmp_path / "out")
    loaded = load_model(tmp_path / "out")
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
    chosen = json.loads((tmp_path / "out/model.json").read_text())["chosen"]
    assert list(chosen.values()) == pytest.approx(loaded.shares.tolist()) and loaded.shares[0] != 1
    with pytest.raises(NopairsError, match="validation pairs"):
        borrow(lender, entry, [], tmp_path / "none")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"guides": [["wiener", 0.1]]}, "stacked: unknown guide 'wiener'"),
        ({"guides": []}, "give one of `guides`"),
        ({"self_ensemble": True}, "eight views"),
    ],
)
def test_impossible_options_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(NopairsError, match=message):
        make("restorer", "stacked", {**OPTIONS, **wrong})
