"""What is wider than a network sees stays as it was, whatever the network makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from scipy.ndimage import gaussian_filter

from nopairs.errors import NopairsError
from nopairs.models import load_restorer, make
from nopairs.restorers.dncnn import DnCNN, DnCNNOptions
from nopairs.restorers.pretrained import Pretrained, PretrainedOptions
from nopairs.restorers.tiling import restore_tiled
from nopairs.restorers.wide import KeepWide, keep_wide


@pytest.fixture
def images() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.rand(2, 3, 40, 52)


def test_a_tint_is_taken_back_and_fine_detail_is_not(images: torch.Tensor) -> None:
    tint = torch.tensor([0.1, -0.05, 0.02]).view(3, 1, 1)
    fine = 0.1 * (-1.0) ** (torch.arange(40)[:, None] + torch.arange(52))
    torch.testing.assert_close(keep_wide(images + tint, images, 4), images)
    kept = keep_wide(images + fine, images, 4)
    torch.testing.assert_close(kept[..., 13:-13, 13:-13], (images + fine)[..., 13:-13, 13:-13])
    assert keep_wide(images + tint, images, 0) is not images
    torch.testing.assert_close(keep_wide(images + tint, images, 0), images + tint)


def test_it_is_the_degraded_image_that_scipys_filter_leaves(images: torch.Tensor) -> None:
    restored = images.flip(0)
    expected = gaussian_filter((images - restored).double(), (0, 0, 3, 3), mode="nearest", truncate=3)
    torch.testing.assert_close(keep_wide(restored, images, 3) - restored, torch.from_numpy(expected).float())


def test_dncnn_keeps_brightness_and_colour_whatever_its_bias(images: torch.Tensor) -> None:
    models = []
    for bias in (0.0, 0.3):
        torch.manual_seed(1)
        model = DnCNN(DnCNNOptions(depth=3, width=4, batch_norm=False, keep_wide=2.5)).eval()
        model.model[-1].bias.data.fill_(bias)
        models.append(model)
    with torch.inference_mode():
        torch.testing.assert_close(models[0](images), models[1](images))
        assert (models[0](images) - images).abs().max() > 1e-3
        # Tiles are restored as the whole image is: the margin says how far it looks.
        torch.testing.assert_close(restore_tiled(models[0], images, tile=16), models[0](images))


def test_published_weights_take_it_as_well(images: torch.Tensor, tmp_path: Path) -> None:
    torch.manual_seed(2)
    network = DnCNN(DnCNNOptions(depth=17, width=64)).eval()
    torch.save(network.state_dict(), tmp_path / "published.pth")
    models = [
        Pretrained(PretrainedOptions(str(tmp_path / "published.pth"), keep_wide=sigma)).eval()
        for sigma in (0, 5)
    ]
    assert models[1].margin == models[0].margin + 15
    with torch.inference_mode():
        plain, kept = (model(images) for model in models)
    torch.testing.assert_close(plain, network(images).detach())
    torch.testing.assert_close(kept, keep_wide(plain, images, 5))
    assert (kept - plain).abs().max() > 1e-3


def test_any_restorer_takes_it_in_tiles(images: torch.Tensor) -> None:
    torch.manual_seed(3)
    model = DnCNN(DnCNNOptions(depth=3, width=4, batch_norm=False, self_ensemble=True)).eval()
    kept = KeepWide(model, 2.5)
    expected = keep_wide(restore_tiled(model, images), images, 2.5)
    torch.testing.assert_close(restore_tiled(kept, images, tile=16), expected)
    flow = make(
        "restorer",
        "resflow",
        {"width": 8, "multipliers": (1, 2), "blocks": 1, "attention": (), "norm": "none"},
    )
    flow.eval()
    expected = keep_wide(restore_tiled(flow, images), images, 2.5)
    torch.testing.assert_close(restore_tiled(KeepWide(flow, 2.5), images, tile=64), expected)


def test_what_enlarges_has_no_degraded_image_of_its_size(tmp_path: Path) -> None:
    torch.save(make("restorer", "rrdb", {"width": 8, "blocks": 1}).state_dict(), tmp_path / "rrdb.pth")
    with pytest.raises(NopairsError, match="keep_wide: what enlarges 4 times has no degraded image"):
        Pretrained(PretrainedOptions(str(tmp_path / "rrdb.pth"), keep_wide=12))
    with pytest.raises(NopairsError, match="keep_wide: what enlarges 4 times has no degraded image"):
        KeepWide(load_restorer(tmp_path / "rrdb.pth"), 12)


@pytest.mark.parametrize("width", [-1.0, 65.0, float("nan")])
def test_widths_that_are_none_are_refused(width: float) -> None:
    with pytest.raises(NopairsError, match=rf"keep_wide {width} must be a width of up to 64 pixels"):
        KeepWide(make("restorer", "identity", {}), width)
    with pytest.raises(NopairsError, match="keep_wide"):
        make("restorer", "dncnn", {"keep_wide": width})


def test_a_pyramid_is_there_for_what_is_wide() -> None:
    with pytest.raises(NopairsError, match="pyramid: its levels are there for what is wide"):
        make("restorer", "pyramid", {"keep_wide": 12.0})
