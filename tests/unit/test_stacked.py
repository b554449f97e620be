"""The weighted mean of a network's image and classical restorers' ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from fit_restorer import borrow
from nopairs.data.tiles import to_tensor
from nopairs.errors import NopairsError
from nopairs.models import load_model, make, save_model
from nopairs.restorers.classical import BM3D, NLM, BM3DOptions, ClassicalRestorer, NLMOptions
from nopairs.restorers.mcwnnm import MCWNNM, MCWNNMOptions
from nopairs.restorers.stacked import Moments, Stacked, bands, least_log_error

SIZE = {"depth": 3, "width": 8, "batch_norm": False}
OPTIONS = {**SIZE, "guides": [["nlm", 0.05], ["nlm", 0.2]]}
Pair = tuple[np.ndarray, np.ndarray]


def pair(seed: int, side: int = 24, spread: float = 15) -> Pair:
    rng = np.random.default_rng(seed)
    clean = np.repeat(np.repeat(rng.integers(60, 190, (4, 4, 3)), side // 4, 0), side // 4, 1)
    noisy = np.clip(clean + rng.normal(0, spread, clean.shape), 0, 255).round()
    return clean.astype(np.uint8), noisy.astype(np.uint8)


@pytest.fixture
def stacked() -> Stacked:
    torch.manual_seed(0)
    return make("restorer", "stacked", OPTIONS).eval()


def log_error(stacked: Stacked, val: list[Pair]) -> float:
    with torch.inference_mode():
        errors = [
            (stacked(to_tensor(noisy[None])) - to_tensor(clean[None])).square().mean() for clean, noisy in val
        ]
        return float(torch.stack(errors).double().log().mean())


def test_with_no_shares_chosen_it_is_the_network(stacked: Stacked) -> None:
    network = make("restorer", "dncnn", SIZE).eval()
    network.load_state_dict({k: v for k, v in stacked.state_dict().items() if k != "shares"})
    image = torch.rand(1, 3, 20, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(stacked(image), network(image))


def test_shares_are_those_of_highest_mean_psnr_and_sum_to_one_in_each_band(stacked: Stacked) -> None:
    val = [pair(0), pair(1, spread=30)]
    shares = stacked.choose(val)
    assert list(shares) == ["network", "nlm 0.05", "nlm 0.2", "degraded"]
    assert np.sum(list(shares.values()), 0) == pytest.approx([1] * 5, abs=1e-5)
    assert np.array(list(shares.values())) == pytest.approx(stacked.shares.numpy())
    best, chosen = log_error(stacked, val), stacked.shares.clone()
    for band in range(5):  # no other weights of sum one are better
        for member in range(1, 4):
            for step in (-0.1, 0.1):
                stacked.shares[0, band] -= step
                stacked.shares[member, band] += step
                assert log_error(stacked, val) > best
                stacked.shares.copy_(chosen)
    for alone in torch.eye(4):
        stacked.shares.copy_(alone[:, None].expand(4, 5))
        assert log_error(stacked, val) > best


def test_a_member_that_is_the_truth_has_all_of_it(stacked: Stacked) -> None:
    _, noisy = pair(0)
    truth = NLM(NLMOptions(0.2))(to_tensor(noisy[None]))[0]
    val = [((truth.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8), noisy)]
    assert stacked.choose(val)["nlm 0.2"] == pytest.approx([1] * 5, abs=0.05)


@pytest.mark.parametrize(
    ("kind", "strength", "alone"),
    [
        ("bm3d", 0.06, BM3D(BM3DOptions(0.06))),
        ("nlm", 0.06, NLM(NLMOptions(0.06))),
        ("mcwnnm", 3, MCWNNM(MCWNNMOptions(3, passes=1, step=6))),
    ],
)
def test_guides_are_the_classical_restorers(kind: str, strength: float, alone: ClassicalRestorer) -> None:
    stacked = make("restorer", "stacked", {**SIZE, "guides": [[kind, strength]]}).eval()
    clean, noisy = pair(0, 40)
    truth, degraded = to_tensor(clean[None]), to_tensor(noisy[None])
    guide = stacked.members(degraded)[1]
    torch.testing.assert_close(guide, alone(degraded))
    assert (guide - truth).square().mean() < (degraded - truth).square().mean() / 2
    shares = stacked.choose([(clean, noisy)])
    assert sum(shares[f"{kind} {strength}"]) > sum(shares["network"])


def test_equal_members_share() -> None:
    twice = make("restorer", "stacked", {**SIZE, "guides": [["nlm", 0.1], ["nlm", 0.1]]}).eval()
    twice.choose([pair(0)])
    assert twice.shares.isfinite().all()
    torch.testing.assert_close(twice.shares[1], twice.shares[2])


def test_each_image_counts_by_the_logarithm_of_its_error() -> None:
    generator = torch.Generator().manual_seed(0)
    images = []
    for scale in (1.0, 0.01):
        away = torch.randn(2, 50, generator=generator, dtype=torch.float64)
        missing = scale * torch.randn(50, generator=generator, dtype=torch.float64)
        images.append(Moments(away @ away.T / 50, away @ missing / 50, float(missing.square().mean())))

    def log_errors(shares: np.ndarray) -> float:
        return float(np.mean([np.log(one.error(torch.from_numpy(shares))) for one in images]))

    found = minimize(log_errors, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12})
    assert least_log_error(images, steps=50).numpy() == pytest.approx(found.x, abs=1e-5)
    plain = torch.linalg.solve(images[0].gram, images[0].right)
    torch.testing.assert_close(least_log_error(images[:1]), plain)


def test_bands_sum_to_the_image_and_part_it_by_width() -> None:
    images = torch.rand(2, 3, 40, 30, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(bands(images).sum(0), images)
    constant = bands(torch.full((1, 3, 9, 9), 0.5))  # smaller than the widest filter
    torch.testing.assert_close(constant[-1], torch.full((1, 3, 9, 9), 0.5))
    wave = torch.cos(torch.arange(512) * 2 * torch.pi / 512 * 20).expand(1, 3, 8, 512)  # 26 pixels long
    powers = bands(wave).square().mean((1, 2, 3, 4))
    assert powers.argmax() == 3 and powers[0] < 1e-3


def test_tiles_fit_together(stacked: Stacked) -> None:
    stacked.choose([pair(0)])
    image = to_tensor(pair(2, side=240)[1][None])
    with torch.inference_mode():
        whole = stacked(image)
        part = stacked(image[:, :, :, : 120 + stacked.margin])
    torch.testing.assert_close(part[..., :120], whole[..., :120], atol=1e-4, rtol=0)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_it_takes_a_trained_networks_weights_and_chooses_its_own_shares(
    tmp_path: Path, batch_norm: bool
) -> None:
    torch.manual_seed(1)
    size = {**SIZE, "batch_norm": batch_norm}
    network = make("restorer", "dncnn", size)
    facts = {"parameters": 1, "seed": 0, "steps": 5, "seconds": 1.0, "device": "cpu"}
    lender = tmp_path / "ludvae+dncnn/seed0"
    save_model(lender, "restorer", "dncnn", size, network.state_dict(), facts)
    (lender / "log.csv").write_text("step,loss\n")
    entry = {"kind": "stacked", "options": {**OPTIONS, **size}}
    borrow(lender, entry, [pair(0)], tmp_path / "out")
    loaded = load_model(tmp_path / "out")
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
    chosen = json.loads((tmp_path / "out/model.json").read_text())["chosen"]
    assert list(chosen.values()) == loaded.shares.tolist() and (loaded.shares[0] != 1).all()
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


def test_the_error_without_shares_is_the_networks(stacked: Stacked) -> None:
    clean, noisy = pair(0)
    with torch.inference_mode():
        network = stacked(to_tensor(noisy[None]))
        moments = stacked._moments(clean, noisy)
    expected = float((network - to_tensor(clean[None])).square().mean())
    assert moments.error(torch.zeros_like(moments.right)) == pytest.approx(expected, rel=1e-4)
