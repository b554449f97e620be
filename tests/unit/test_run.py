"""A training script's state: resumed only where it belongs."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch

from nopairs.models import make
from nopairs.training import run
from nopairs.training.data import PairedData
from nopairs.training.loop import Trainer
from nopairs.training.options import TrainingOptions
from nopairs.training.pairs import load_pairs, save_pairs

ENTRY = (
    '{"kind": "dncnn", "options": {"depth": 2, "width": 4}, "training": {"steps": 2, "batch": 1, "crop": 8}}'
)


def test_other_pairs_make_another_fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fingerprints = []
    original = Trainer.__init__

    def remember(self: Trainer, *args: object, fingerprint: str, **others: object) -> None:
        fingerprints.append(fingerprint)
        original(self, *args, fingerprint=fingerprint, **others)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "__init__", remember)
    (tmp_path / "index.csv").write_text("path\n")
    clean = np.zeros((2, 8, 8, 3), np.uint8)
    rarely = ENTRY.replace('"crop": 8', '"crop": 8, "save_every": 600')
    for k, (noise, entry) in enumerate(((5, ENTRY), (5, rarely), (9, ENTRY))):
        save_pairs(tmp_path, clean, clean + np.uint8(noise))
        args = argparse.Namespace(entry=entry, seed=0, threads=1, device="cpu", out=tmp_path / f"{k}")
        args.dataset = args.pairs = tmp_path
        run.train_and_save("restorer", args, lambda options: PairedData(*load_pairs(tmp_path), [], options))
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]


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


def test_what_is_trained_in_passing_has_its_tutors_and_its_best_weights() -> None:
    options = {"width": 8, "blocks": 1, "scale": 4, "perceptual": "gradients", "critic_width": 4}
    esrgan = make("restorer", "esrgan", options)
    clean = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.uint8)
    degraded = np.ascontiguousarray(clean[:, ::4, ::4])
    training = TrainingOptions(steps=4, batch=2, crop=8, validate_every=2)
    data = PairedData(clean, degraded, [(clean[0], degraded[0])], training)
    result = run.train_in_passing(esrgan, data, training, 0, torch.device("cpu"))
    assert result.best == pytest.approx(data.validate(esrgan.eval())["psnr"])
