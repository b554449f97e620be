"""A training script's state, resumed only where it belongs, and the model that it saves."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from nopairs.models import make
from nopairs.training import run
from nopairs.training.data import PairedData
from nopairs.training.options import TrainingOptions
from nopairs.training.pairs import load_pairs, save_pairs

ENTRY = (
    '{"kind": "dncnn", "options": {"depth": 2, "width": 4}, "training": {"steps": 2, "batch": 1, "crop": 8}}'
)


class Asked(Exception):
    """Instead of a training, with its fingerprint."""


@pytest.mark.parametrize(
    ("changed", "another"),
    [
        ({}, False),
        ({"training": ENTRY.replace('"crop": 8', '"crop": 8, "save_every": 600')}, False),
        ({"training": ENTRY.replace('"crop": 8', '"crop": 8, "lr": 0.1')}, True),
        ({"training": ENTRY.replace('"depth": 2', '"depth": 3')}, True),
        ({"seed": 1}, True),
        ({"pairs": 9}, True),
        ({"index": "path,other\n"}, True),
        ({"code": "changed"}, True),
    ],
)
def test_what_makes_another_fingerprint(
    changed: dict[str, object], another: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(*_: object, fingerprint: str, **__: object) -> None:
        raise Asked(fingerprint)

    def fingerprint(
        training: str = ENTRY, seed: int = 0, pairs: int = 5, index: str = "", code: str = ""
    ) -> str:
        monkeypatch.setattr(run, "code_digest", lambda *files: code)
        (tmp_path / "index.csv").write_text(index)
        clean = np.zeros((2, 8, 8, 3), np.uint8)
        save_pairs(tmp_path, clean, clean + np.uint8(pairs))
        args = argparse.Namespace(entry=training, seed=seed, threads=1, device="cpu", out=tmp_path / "out")
        args.dataset = args.pairs = tmp_path
        with pytest.raises(Asked) as asked:
            run.train_and_save(
                "restorer", args, lambda options: PairedData(*load_pairs(tmp_path), [], options)
            )
        return str(asked.value)

    monkeypatch.setattr(run, "Trainer", ask)
    assert (fingerprint(**changed) != fingerprint()) is another  # type: ignore[arg-type]


def test_what_a_training_reads_beside_its_dataset_is_in_the_fingerprint(tmp_path: Path) -> None:
    """By content: an operator that was estimated anew, other observations and other weights to begin with have the same names."""
    files = {name: tmp_path / name for name in ("operator.json", "observed/a.npy", "weights.pth")}
    args = argparse.Namespace(operator=str(files["operator.json"]), observations=tmp_path / "observed")
    entry = {"options": {"start": str(files["weights.pth"]), "width": 4}}
    (tmp_path / "observed").mkdir()
    for file in files.values():
        file.write_text("first")
    digests = {run.inputs_digest(args, entry)}
    assert digests == {run.inputs_digest(args, entry)}
    for file in files.values():
        file.write_text("second")
        digests.add(run.inputs_digest(args, entry))
    digests.add(run.inputs_digest(argparse.Namespace(operator='{"kind": "identity"}'), entry))
    assert len(digests) == 5


def test_another_code_of_the_data_makes_another_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digested: list[str] = []

    def remember(*files: str) -> str:
        digested.extend(files)
        return ""

    monkeypatch.setattr(run, "code_digest", remember)
    (tmp_path / "index.csv").write_text("path\n")
    clean = np.zeros((2, 8, 8, 3), np.uint8)
    save_pairs(tmp_path, clean, clean)
    args = argparse.Namespace(
        entry=ENTRY, seed=0, threads=1, device="cpu", out=tmp_path / "out", dataset=tmp_path
    )
    run.train_and_save("restorer", args, lambda options: PairedData(*load_pairs(tmp_path), [], options))
    assert {"nopairs/restorers/dncnn.py", "nopairs/training/data.py", "nopairs/training/run.py"} <= set(
        digested
    )


def test_a_model_is_saved_without_what_it_was_trained_against(tmp_path: Path) -> None:
    options = {"width": 4, "blocks": 1, "scale": 4, "perceptual": "gradients", "critic_width": 4}
    entry = {"kind": "esrgan", "options": options, "training": {"steps": 2, "batch": 2, "crop": 8}}
    (tmp_path / "index.csv").touch()
    args = argparse.Namespace(entry=json.dumps(entry), seed=0, threads=1, device="cpu")
    args.dataset, args.out = tmp_path, tmp_path / "model"
    clean = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    run.train_and_save(
        "restorer", args, lambda training: PairedData(clean, clean[:, ::4, ::4].copy(), [], training)
    )
    alone = make("restorer", "esrgan", options)
    assert load_file(args.out / "model.safetensors").keys() == alone.state_dict().keys()
    facts = json.loads((args.out / "model.json").read_text())
    assert facts["parameters"] == sum(value.numel() for value in alone.parameters())
    assert facts["steps"] == 2


def test_what_is_trained_in_passing_has_its_tutors_and_its_best_weights() -> None:
    options = {"width": 8, "blocks": 1, "scale": 4, "perceptual": "gradients", "critic_width": 4}
    esrgan = make("restorer", "esrgan", options)
    clean = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.uint8)
    degraded = np.ascontiguousarray(clean[:, ::4, ::4])
    training = TrainingOptions(steps=4, batch=2, crop=8, validate_every=2)
    data = PairedData(clean, degraded, [(clean[0], degraded[0])], training)
    result = run.train_in_passing(esrgan, data, training, 0, torch.device("cpu"))
    assert result.best == pytest.approx(data.validate(esrgan.eval())["psnr"])
