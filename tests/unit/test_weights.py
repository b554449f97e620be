"""Published weights of the catalogue: named in the configuration, fetched and verified like datasets."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from http_server import serving

import fetch_weights
from nopairs import command
from nopairs.data import entries, store, weights
from nopairs.data.download import Patience
from nopairs.data.store import MIRROR_VARIABLE
from nopairs.errors import NopairsError
from nopairs.files import read_json
from nopairs.models import load_restorer
from nopairs.restorers.dncnn import DnCNN, DnCNNOptions
from nopairs.restorers.pretrained import Pretrained, PretrainedOptions

ENTRY = """\
title: Ours
about: A network.
licence: unknown
citation: none
base: ADDRESS
weights: true
files: [{path: in/net.pth, bytes: BYTES, sha256: SHA256}]
images: []
"""
REFERENCE = "catalogue:ours/in/net.pth"


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A weight file, and a catalogue that has it under an address where nobody answers."""
    torch.manual_seed(0)
    path = tmp_path / "made/ours/in/net.pth"
    path.parent.mkdir(parents=True)
    torch.save(DnCNN(DnCNNOptions(depth=17, width=64)).state_dict(), path)
    (tmp_path / "catalogue").mkdir()
    describe(tmp_path, path.read_bytes(), "http://127.0.0.1:9/")
    monkeypatch.setattr(entries, "CATALOGUE", tmp_path / "catalogue")
    monkeypatch.setattr(
        store.Store.__init__, "__defaults__", ("", 4, Patience(attempts=2, wait=0.01, stall=0.3))
    )
    monkeypatch.delenv(MIRROR_VARIABLE, raising=False)
    entries.load.cache_clear()
    return path


def describe(folder: Path, content: bytes, address: str) -> None:
    digest = hashlib.sha256(content).hexdigest()
    text = ENTRY.replace("ADDRESS", address).replace("BYTES", str(len(content))).replace("SHA256", digest)
    (folder / "catalogue/ours.yaml").write_text(text)
    entries.load.cache_clear()


def fetch(folder: Path) -> int:
    arguments = ["--weights", REFERENCE, "--data", str(folder / "data"), "--lock", str(folder / "data.lock")]
    parser = fetch_weights.make_parser()
    return command.run(fetch_weights.main, parser, [*arguments, "--out", str(folder / "weights.json")])


def test_a_reference_is_fetched_verified_and_loaded(published: Path, tmp_path: Path) -> None:
    with serving() as server:
        server.files["/in/net.pth"] = published.read_bytes()
        describe(tmp_path, published.read_bytes(), f"{server.address}/")
        assert fetch(tmp_path) == 0 and fetch(tmp_path) == 0
        assert len(server.requests) == 1
    options = weights.localised({"weights": REFERENCE, "other": 3}, tmp_path / "data")
    assert options == {"weights": str(tmp_path / "data/ours/in/net.pth"), "other": 3}
    fetched = read_json(tmp_path / "weights.json")[REFERENCE]
    assert fetched == {
        "path": options["weights"],
        "sha256": hashlib.sha256(published.read_bytes()).hexdigest(),
    }
    image = torch.rand(1, 3, 24, 24)
    with torch.inference_mode():
        assert torch.equal(load_restorer(Path(options["weights"]))(image), load_restorer(published)(image))


def test_a_mirror_is_laid_out_by_entry_and_path(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MIRROR_VARIABLE, str(tmp_path / "made"))
    assert fetch(tmp_path) == 0
    assert (tmp_path / "data/ours/in/net.pth").read_bytes() == published.read_bytes()


def test_without_a_network_or_with_another_file_it_is_one_sentence(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch(tmp_path) == 1
    told = capsys.readouterr().err.strip()
    assert ": error: ours/in/net.pth: cannot be had" in told and "\n" not in told
    assert "nopairs data fetch ours --to FOLDER" in told and MIRROR_VARIABLE in told
    monkeypatch.setenv(MIRROR_VARIABLE, str(tmp_path / "made"))
    published.write_bytes(b"something else")
    assert fetch(tmp_path) == 1
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert "its sha256 is" in told and "nothing of it was kept" in told
    assert not (tmp_path / "data/ours/in/net.pth").exists() and not (tmp_path / "weights.json").exists()


def test_what_was_not_fetched_says_how(published: Path) -> None:
    with pytest.raises(NopairsError, match=r"run `nopairs data fetch ours`, and name data/ours/in/net\.pth"):
        Pretrained(PretrainedOptions(REFERENCE))
    for wrong, message in (
        ("catalogue:ours", "ours has no file ''"),
        ("catalogue:ours/net.pth", "did you mean 'in/net.pth'"),
        ("catalogue:their/net.pth", "no weights 'their'"),
    ):
        with pytest.raises(NopairsError, match=message):
            weights.find(wrong)


def test_what_was_fetched_and_is_gone_is_fetched_again(published: Path, tmp_path: Path) -> None:
    gone = tmp_path / "data/ours/in/net.pth"
    with pytest.raises(
        NopairsError, match=f"fetch it again by `nopairs data fetch ours --to {tmp_path}/data`"
    ):
        PretrainedOptions(str(gone))
    with pytest.raises(NopairsError, match="give a trained model's folder or a weight file"):
        PretrainedOptions(str(tmp_path / "data/others/in/net.pth"))


def test_the_published_weights_have_known_hashes_or_are_trusted_on_first_use() -> None:
    named = {name: entries.load(name) for name in entries.names() if entries.load(name).weights}
    assert named.keys() == {"dncnn_ludvae", "taef2", "published_restorers"}
    for name, entry in named.items():
        known = [bool(file.hash and file.hash.startswith("sha256:") and file.size) for file in entry.files]
        assert known and all(known) == any(known) == (name != "published_restorers")
        assert not entry.images
