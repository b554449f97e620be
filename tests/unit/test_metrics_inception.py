"""FID, KID and IS: without the weights a reason, with a file of their layout numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from nopairs import hub as weights_folder
from nopairs.errors import NopairsError
from nopairs.metrics import inception


def images(count: int, seed: int) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, 40, 33, 3)).astype(np.uint8))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


def test_without_weights_there_is_a_reason(hub: Path) -> None:
    assert "no weights-inception-2015-12-05-6726825d.pth" in str(inception.unavailable())
    with pytest.raises(NopairsError, match="fid: not available"):
        inception.measure(images(2, 0), images(2, 1), ["fid"])
    (hub / inception.WEIGHTS).write_bytes(b"other")
    assert "SHA-256 differs" in str(inception.unavailable())


def test_crops_are_whole_squares_from_the_middle() -> None:
    image = np.arange(5 * 9 * 3, dtype=np.uint8).reshape(5, 9, 3)
    cut = inception.crops([image, image], 4)
    assert cut.shape == (4, 3, 4, 4)
    np.testing.assert_array_equal(cut[1], image[:4, 4:8].transpose(2, 0, 1))


def test_weights_of_the_layout_give_numbers(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    # The layout without the published values: the constructor would fetch them.
    kept = {}
    monkeypatch.setattr(
        FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: kept.setdefault("self", self)
    )
    torch.save({}, hub / "empty.pth")
    torch.manual_seed(0)
    FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=str(hub / "empty.pth"))
    monkeypatch.undo()
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(hub.parent))
    monkeypatch.setattr(weights_folder, "sha256", lambda file: "6726825d")
    torch.save(kept["self"].state_dict(), hub / inception.WEIGHTS)
    clean, noisy = images(4, 0), [255 - image // 4 for image in images(4, 1)]
    found = inception.measure(clean, noisy, ["fid", "kid", "is"])
    assert set(found) == {"fid", "kid", "is"}
    assert found["fid"].value > -1e-6 and found["is"].value >= 1 - 1e-9 and found["fid"].crops == 4
    assert np.isnan(found["fid"].std) and np.isfinite(found["kid"].std)
    assert inception.measure(clean, clean, ["fid"])["fid"].value == pytest.approx(0, abs=1e-3)


def test_what_is_judged_comes_first_and_the_reference_second(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch_fidelity

    inputs: list[int] = []

    def calculated(input1: Sequence[torch.Tensor], input2: Sequence[torch.Tensor], **_: object) -> dict:
        inputs.extend(int(side[0].float().mean()) for side in (input1, input2))
        return {inception.NAMES["fid"]: 3.0}

    monkeypatch.setattr(weights_folder, "sha256", lambda file: "6726825d")
    monkeypatch.setattr(torch_fidelity, "calculate_metrics", calculated)
    torch.save({}, hub / inception.WEIGHTS)
    reference, judged = [np.full((8, 8, 3), 10, np.uint8)], [np.full((8, 16, 3), 20, np.uint8)]
    found = inception.measure(reference, judged, ["fid"])
    assert inputs == [20, 10] and found["fid"].crops == 2
