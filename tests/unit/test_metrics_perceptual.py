from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data

from nopairs import hub
from nopairs.errors import NopairsError
from nopairs.metrics import perceptual
from nopairs.torch_compat import make_torchvision_importable

make_torchvision_importable()

import lpips  # noqa: E402
from torchvision import models  # noqa: E402


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the wrapper tried to download")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))


def write_fabricated_weights() -> str:
    """Write a seeded AlexNet where the published weights belong; return the digest in that file's name."""
    file = hub.weight_file(perceptual.WEIGHTS["alex"])
    file.parent.mkdir(parents=True)
    torch.manual_seed(0)
    torch.save(models.alexnet(weights=None).state_dict(), file)
    return file.stem.rsplit("-", 1)[1]


def test_says_what_is_missing() -> None:
    reason = perceptual.unavailable()
    assert reason is not None and perceptual.WEIGHTS["alex"] in reason
    with pytest.raises(NopairsError, match="not available"):
        perceptual.Lpips()


def test_the_files_are_those_of_torchvision() -> None:
    weights = {"alex": models.AlexNet_Weights.IMAGENET1K_V1, "vgg": models.VGG16_Weights.IMAGENET1K_V1}
    for net, entry in weights.items():
        assert perceptual.WEIGHTS[net] == Path(entry.url).name


def test_refuses_other_weights() -> None:
    write_fabricated_weights()
    assert "SHA-256" in str(perceptual.unavailable())


@pytest.mark.filterwarnings("ignore::UserWarning")  # the package's own call of torchvision
def test_equals_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    digest = write_fabricated_weights()
    monkeypatch.setattr(hub, "sha256", lambda _: digest)
    package = lpips.LPIPS(net="alex", verbose=False)
    clean, other = data.astronaut()[:80, :64], data.astronaut()[100:180, 60:124]
    tensors = [torch.tensor(image).permute(2, 0, 1)[None] / 127.5 - 1 for image in (clean, other)]
    ours = perceptual.Lpips()
    assert ours(clean, other) == pytest.approx(float(package(*tensors).detach()), rel=1e-6)
    assert ours(clean, other) > ours(clean, clean) == 0
    with pytest.raises(NopairsError, match="31 pixels"):
        ours(np.zeros((30, 64, 3), np.uint8), np.zeros((30, 64, 3), np.uint8))
