"""The script that fits restorers: a classical one's strength is chosen on the validation pairs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from report_fixture import run_script
from skimage import data

from fit_restorer import choose_options, main, tell_if_no_better
from nopairs.data.images import write_png
from nopairs.data.tiles import to_tensor, to_uint8
from nopairs.errors import NopairsError
from nopairs.models import load_model, make, save_model
from nopairs.restorers.dncnn import DnCNN, DnCNNOptions
from nopairs.training.pairs import load_pairs, save_pairs


@pytest.mark.parametrize("sigma", [0.03, 0.1])
def test_the_strength_with_the_best_validation_psnr_is_chosen(sigma: float) -> None:
    clean = data.chelsea()[100:196, 100:196]
    noisy = clean / 255 + np.random.default_rng(0).normal(0, sigma, clean.shape)
    val = [(clean, np.round(255 * noisy.clip(0, 1)).astype(np.uint8))]
    options, log = choose_options({"kind": "nlm", "candidates": [0.03, 0.1, 0.3]}, val)
    assert options == {"strength": sigma}
    assert [row["strength"] for row in log] == [0.03, 0.1, 0.3]
    assert max(log, key=lambda row: row["val_psnr"])["strength"] == sigma


def test_what_needs_no_choice_keeps_its_options() -> None:
    options, log = choose_options({"kind": "identity"}, [])
    assert options == {} and log == []


def test_a_published_network_is_kept_with_its_weights(tmp_path: Path) -> None:
    published = DnCNN(DnCNNOptions(depth=17, width=64)).eval()
    torch.save(published.state_dict(), tmp_path / "published.pth")
    entry = {"kind": "pretrained", "options": {"weights": str(tmp_path / "published.pth")}}
    arguments = {
        "entry": json.dumps(entry),
        "dataset": tmp_path,
        "stand_in": None,
        "threads": 1,
        "seed": 0,
        "weights_of": None,
    }
    main(argparse.Namespace(**arguments, out=tmp_path / "model"))
    image = torch.rand(1, 3, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(load_model(tmp_path / "model")(image), published(image))


def test_weights_of_another_training_are_applied_with_options_of_their_own(tmp_path: Path) -> None:
    options = {"width": 8, "multipliers": [1, 2], "attention": [], "norm": "none", "adapter_width": 4}
    trained = make("restorer", "resflow", options)
    torch.nn.init.normal_(trained.network.unet.out.weight)
    facts = {"parameters": 1, "seed": 0, "steps": 5, "seconds": 2.5, "device": "cpu"}
    save_model(tmp_path / "awgn+resflow", "restorer", "resflow", options, trained.state_dict(), facts)
    (tmp_path / "awgn+resflow/log.csv").write_text("step,loss\n5,0.1\n")

    def fit(**changed: object) -> None:
        entry = json.dumps({"kind": "resflow", "options": options | changed})
        where = {"weights_of": tmp_path / "awgn+resflow", "out": tmp_path / "eight", "dataset": tmp_path}
        main(argparse.Namespace(entry=entry, threads=1, seed=0, stand_in=None, **where))

    fit(steps=8)
    eight = load_model(tmp_path / "eight")
    assert eight.options.steps == 8
    for mine, theirs in zip(eight.parameters(), trained.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert (tmp_path / "eight/log.csv").read_text() == "step,loss\n5,0.1\n"
    with pytest.raises(NopairsError, match="not the weights of this resflow") as error:
        fit(width=16)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("has_val", [False, True])
def test_a_stacks_shares_are_chosen_on_val_or_on_pairs_that_stand_in_for_it(
    has_val: bool, tmp_path: Path
) -> None:
    size = {"depth": 2, "width": 4, "batch_norm": False}
    facts = {name: 0 for name in ("parameters", "seed", "steps", "seconds", "device")}
    weights = make("restorer", "dncnn", size).state_dict()
    save_model(tmp_path / "lender/seed0", "restorer", "dncnn", size, weights, facts)
    (tmp_path / "lender/seed0/log.csv").write_text("step\n")
    clean = data.chelsea()[100:148, 100:148]
    noise = np.random.default_rng(0).normal(0, 1, clean.shape)
    strong, weak = (np.round(clean + sigma * noise).clip(0, 255).astype(np.uint8) for sigma in (25, 5))
    save_pairs(tmp_path / "others", np.stack([clean] * 2), np.stack([strong] * 2))
    if has_val:
        for side, image in (("clean", clean), ("degraded", weak)):
            write_png(tmp_path / "dataset/val" / side / "a.png", image)
    entry = {"kind": "stacked", "options": {**size, "guides": [["nlm", 0.1]]}}
    arguments = {"dataset": tmp_path / "dataset", "stand_in": tmp_path / "others", "threads": 1, "seed": 0}
    where = {"weights_of": tmp_path / "lender/seed0", "out": tmp_path / "stack"}
    main(argparse.Namespace(entry=json.dumps(entry), **arguments, **where))
    stack = load_model(tmp_path / "stack")
    chosen = stack.shares.clone()
    stack.choose([(clean, weak if has_val else strong)])
    torch.testing.assert_close(chosen, stack.shares)


def test_what_a_flow_draws_differs_between_seeds_unless_its_entry_fixes_it(tmp_path: Path) -> None:
    options = {"width": 8, "multipliers": [1, 2], "attention": [], "norm": "none", "adapter_width": 4}
    facts = {name: 0 for name in ("parameters", "seed", "steps", "seconds", "device")}
    weights = make("restorer", "resflow", options).state_dict()
    save_model(tmp_path / "lender/seed0", "restorer", "resflow", options, weights, facts)
    (tmp_path / "lender/seed0/log.csv").write_text("step\n")
    (tmp_path / "dataset").mkdir()
    found = []
    for number, fixed in enumerate(({}, {}, {"seed": 7})):
        entry = {"kind": "resflow", "options": options | fixed}
        arguments = {"dataset": tmp_path / "dataset", "stand_in": None, "threads": 1}
        arguments |= {"weights_of": tmp_path / "lender/seed0", "seed": number}
        main(argparse.Namespace(**arguments, entry=json.dumps(entry), out=tmp_path / str(number)))
        found.append(load_model(tmp_path / str(number)).options.seed)
    assert found == [0, 1, 7]


@pytest.mark.parametrize("best", [25.0, 35.0])
def test_a_restorer_that_is_no_better_than_its_input_says_so(
    best: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clean = np.full((2, 16, 16, 3), 100, np.uint8)
    for side, tiles in (("clean", clean), ("degraded", clean + 8)):  # 30.07 dB
        np.save(tmp_path / f"{side}.npy", tiles)
    tell_if_no_better(argparse.Namespace(dataset=tmp_path, pairs=tmp_path, out=tmp_path / "model"), best)
    told = capsys.readouterr().err
    assert ("model: 25.00 dB on validation images that have 30.07 dB unrestored" in told) == (best < 30)
    assert bool(told) == (best < 30)


def test_a_students_pairs_are_degraded_tiles_and_what_its_teacher_makes_of_them(tmp_path: Path) -> None:
    photo = data.chelsea()
    tiles = [photo[64 * row : 64 * row + 64, 64:128] for row in range(4)]
    for number, tile in enumerate(tiles):
        write_png(tmp_path / f"dataset/degraded/{number}.png", tile)
    teacher = make("restorer", "nlm", {"strength": 0.1})
    save_model(tmp_path / "model", "restorer", "nlm", {"strength": 0.1}, teacher.state_dict(), {})
    given = ["--model", tmp_path / "model", "--dataset", tmp_path / "dataset", "--threads", 1, "--most", 3]
    assert run_script("teach", *given, "--seed", 0, "--out", tmp_path / "pairs") == 0
    restored, degraded = load_pairs(tmp_path / "pairs")
    assert len(degraded) == 3  # of four, none twice
    assert len({tile.tobytes() for tile in degraded} & {tile.tobytes() for tile in tiles}) == 3
    for made, tile in zip(restored, degraded, strict=True):
        np.testing.assert_array_equal(made, to_uint8(teacher(to_tensor(tile[None].copy())))[0])
    drawn = [degraded.tobytes()]
    for seed in range(1, 4):
        assert run_script("teach", *given, "--seed", seed, "--out", tmp_path / "others") == 0
        drawn.append(load_pairs(tmp_path / "others")[1].tobytes())
    assert len(set(drawn)) > 1


def test_a_training_can_begin_with_another_ones_weights(tmp_path: Path) -> None:
    options = {"depth": 3, "width": 4, "batch_norm": False}
    torch.manual_seed(1)
    begun = make("restorer", "dncnn", options)
    save_model(tmp_path / "begun", "restorer", "dncnn", options, begun.state_dict(), {})
    tiles = data.chelsea()[:256, :256].reshape(2, 128, 256, 3)[:, :, :128]
    save_pairs(tmp_path / "pairs", tiles, tiles)
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset/index.csv").touch()
    training = {"steps": 1, "batch": 1, "crop": 16, "lr": 0.0001}
    entry = json.dumps({"kind": "dncnn", "options": options, "training": training})
    given = ["--entry", entry, "--dataset", tmp_path / "dataset", "--pairs", tmp_path / "pairs", "--seed", 0]
    for start, same in (([], False), (["--start-from", tmp_path / "begun"], True)):
        assert run_script("fit_restorer", *given, *start, "--threads", 1, "--out", tmp_path / "model") == 0
        trained = load_model(tmp_path / "model").state_dict()
        near = [torch.allclose(trained[name], value, atol=1e-3) for name, value in begun.state_dict().items()]
        assert all(near) == same
