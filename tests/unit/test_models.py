"""Saving and loading models; DnCNN; pretrained files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from nopairs.data import weights
from nopairs.errors import NopairsError
from nopairs.models import load_model, load_restorer, make, make_options, save_model
from nopairs.registry import DEGRADATIONS, RESTORERS, find
from nopairs.restorers.dncnn import DnCNN, DnCNNOptions

OPTIONS = {"depth": 4, "width": 8, "batch_norm": True}


def dncnn(seed: int = 0) -> DnCNN:
    torch.manual_seed(seed)
    return DnCNN(DnCNNOptions(depth=4, width=8)).eval()


def test_every_registered_kind_can_be_found() -> None:
    for table in (DEGRADATIONS, RESTORERS):
        for kind in table:
            assert find(table, kind).Options


def test_a_model_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    network, image = dncnn(), torch.rand(1, 3, 20, 24)
    save_model(tmp_path, "restorer", "dncnn", OPTIONS, network.state_dict(), {"seed": 3})
    for path in (tmp_path, tmp_path / "model.safetensors"):
        assert torch.equal(load_restorer(path)(image), network(image))


def test_a_model_without_weights_can_be_saved_too(tmp_path: Path) -> None:
    save_model(tmp_path, "restorer", "nlm", {"strength": 0.05}, {}, {})
    assert load_model(tmp_path).options.strength == 0.05


def test_weights_of_another_shape_or_truncated_are_refused(tmp_path: Path) -> None:
    save_model(tmp_path, "restorer", "dncnn", {**OPTIONS, "width": 16}, dncnn().state_dict(), {})
    with pytest.raises(NopairsError, match="not the weights of this dncnn"):
        load_model(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\x10")
    with pytest.raises(NopairsError, match="not the weights"):
        load_model(tmp_path)
    with pytest.raises(NopairsError, match=r"no model\.json"):
        load_model(tmp_path / "elsewhere")


def test_a_degradation_model_is_no_restorer(tmp_path: Path) -> None:
    save_model(tmp_path, "degradation", "awgn", {}, {}, {})
    with pytest.raises(NopairsError, match="is a degradation"):
        load_restorer(tmp_path)


def test_a_published_dncnn_file_is_recognised_and_equals_ours(tmp_path: Path) -> None:
    """On the published weights where NOPAIRS_MIRROR has them, otherwise on a file of the same layout."""
    name, file = weights.find("catalogue:dncnn_ludvae/LUD_VAE_sidd/DnCNN/model_zoo/dncnn.pth")
    published = Path(os.environ.get("NOPAIRS_MIRROR", "")) / name / file.path
    if not published.is_file():
        published = tmp_path / "dncnn.pth"
        torch.manual_seed(0)
        torch.save(DnCNN(DnCNNOptions(depth=17, width=64)).state_dict(), published)
    ours = DnCNN(DnCNNOptions(depth=17, width=64)).eval()
    ours.load_state_dict(torch.load(published, weights_only=True), strict=False)
    expected = torch.load(published, weights_only=True)
    assert all(
        torch.equal(value, expected[key]) for key, value in ours.state_dict().items() if key in expected
    )
    assert set(expected) <= set(ours.state_dict())
    image = torch.rand(1, 3, 40, 56)
    with torch.inference_mode():
        assert torch.equal(load_restorer(published)(image), ours(image))


@pytest.mark.parametrize("kind", ["dncnn", "esrgan"])
def test_a_saved_published_network_needs_its_file_no_more(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"depth": 17, "width": 64} if kind == "dncnn" else {"blocks": 1}
    torch.manual_seed(0)
    published = tmp_path / "published.pth"
    torch.save(make("restorer", kind, options).state_dict(), published)
    read = load_restorer(published)
    save_model(
        tmp_path / "saved", "restorer", "pretrained", {"weights": str(published)}, read.state_dict(), {}
    )
    published.unlink()
    save_model(tmp_path / "own", "restorer", kind, options, make("restorer", kind, options).state_dict(), {})
    assert (
        make("restorer", "pretrained", {"weights": str(tmp_path / "own/model.safetensors")}).scale
        == read.scale
    )
    image = torch.rand(1, 3, 24, 20)
    with torch.inference_mode():
        assert torch.equal(load_restorer(tmp_path / "saved")(image), read(image))
    monkeypatch.chdir(tmp_path)
    assert load_restorer(Path("saved/model.safetensors"))(image).isfinite().all()


@pytest.mark.parametrize("batch_norm", [True, False])
def test_training_begins_with_published_weights_of_the_same_size(tmp_path: Path, batch_norm: bool) -> None:
    published = dncnn()
    for layer in published.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.uniform_(-1, 1)  # type: ignore[union-attr]
            layer.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    start = tmp_path / "published.pth"
    torch.save(published.state_dict(), start)
    options = {**OPTIONS, "batch_norm": batch_norm, "start": str(start)}
    started = make("restorer", "dncnn", options)
    started.add_tutors()
    image = torch.rand(1, 3, 20, 24)
    with torch.inference_mode():
        assert torch.allclose(started.eval()(image), published(image), atol=1e-5)
        assert not torch.allclose(
            make("restorer", "dncnn", options).eval()(image), published(image), atol=1e-2
        )
    save_model(tmp_path, "restorer", "dncnn", options, started.state_dict(), {})
    start.unlink()
    assert torch.equal(load_restorer(tmp_path)(image), started(image)), "a trained model needs them no more"


def test_weights_of_another_size_are_no_start(tmp_path: Path) -> None:
    torch.save(dncnn().state_dict(), tmp_path / "published.pth")
    for other in ({"width": 16}, {"depth": 6}):
        network = make("restorer", "dncnn", {**OPTIONS, **other, "start": str(tmp_path / "published.pth")})
        with pytest.raises(NopairsError, match="give its size as `depth` and `width`"):
            network.add_tutors()
    with pytest.raises(NopairsError, match="the catalogue has no weights"):
        DnCNNOptions(start="catalogue:other/dncnn.pth")
    with pytest.raises(NopairsError, match="pyramid: there are no published weights"):
        make("restorer", "pyramid", {"start": str(tmp_path / "published.pth")})


def test_dncnn_starts_near_the_identity_and_has_the_margin_it_says() -> None:
    network, image = dncnn(), torch.rand(1, 3, 31, 31, requires_grad=True)
    restored = network(image)
    assert (restored - image).abs().mean() < 0.5
    (gradient,) = torch.autograd.grad(restored[0, :, 15, 15].sum(), image)
    reach = (gradient[0].abs().sum(0) > 0).nonzero() - 15
    assert reach.abs().max() == network.margin == 4


def test_a_deep_dncnn_without_normalisation_does_not_start_at_zero() -> None:
    torch.manual_seed(0)
    layers = DnCNN(DnCNNOptions(depth=12, width=32, batch_norm=False)).model
    features, spreads = torch.rand(2, 3, 24, 24), []
    for layer in layers:
        features = layer(features)
        spreads.append(float(features.detach().std()))
    assert 0.3 < spreads[-2] / spreads[1] < 3
    assert 0.03 < spreads[-1] / spreads[-2] < 0.3
    assert not any(layer.bias.any() for layer in layers[::2])


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(NopairsError, match="did you mean 'depth'"):
        make_options(DnCNNOptions, "dncnn", {"dept": 3})
    with pytest.raises(NopairsError, match="dncnn: depth is '3', text; write a whole number"):
        make_options(DnCNNOptions, "dncnn", {"depth": "3"})
    with pytest.raises(NopairsError, match="unknown kind"):
        make("restorer", "dncn", {})
