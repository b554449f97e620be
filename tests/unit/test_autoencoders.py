from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from nopairs.data.images import read_rgb
from nopairs.data.store import MIRROR_VARIABLE
from nopairs.data.tiles import to_tensor
from nopairs.errors import NopairsError
from nopairs.models import load_model, make, save_model
from nopairs.transport.autoencoders import (
    Embedded,
    EmbeddedOptions,
    Taef2,
    Taef2Options,
    _taef2_decoder,
    _taef2_encoder,
)
from nopairs.transport.dot import Codec


def taef2_files(folder: Path) -> Taef2Options:
    torch.manual_seed(0)
    for name, part in (("encoder", _taef2_encoder()), ("decoder", _taef2_decoder())):
        torch.save({key: value.half() for key, value in part.state_dict().items()}, folder / f"{name}.pth")
    return Taef2Options(str(folder / "encoder.pth"), str(folder / "decoder.pth"))


def test_taef2_reads_half_precision_files(tmp_path: Path) -> None:
    options = taef2_files(tmp_path)
    model = Taef2(options)
    images = torch.rand(2, 3, 48, 32)
    with torch.inference_mode():
        latents = model.encode(images)
        assert latents.shape == (2, 32, 6, 4)
        assert model.decode(latents).shape == images.shape
    kept = torch.load(options.encoder, weights_only=True)["0.weight"]
    assert torch.equal(model.encoder.state_dict()["0.weight"], kept.float())


def test_taef2s_published_weights_reproduce_a_photo() -> None:
    folder = Path(os.environ.get(MIRROR_VARIABLE, "/nowhere")) / "taef2"
    if not folder.is_dir():
        pytest.skip(f"no TAEF2 below {MIRROR_VARIABLE}")
    from skimage import data

    image = to_tensor(data.astronaut()[None, 100:356, 100:356])
    model = Taef2(Taef2Options(*(str(folder / f"taef2_{part}.pth") for part in ("encoder", "decoder"))))
    error = (Codec(model, "float32").round_trip(image).clamp(0, 1) - image).square().mean()
    assert float(-10 * error.log10()) > 28


def test_weights_that_are_none(tmp_path: Path) -> None:
    options = taef2_files(tmp_path)
    with pytest.raises(NopairsError, match="not TAEF2's weights"):
        Taef2(Taef2Options(options.decoder, options.decoder))
    torch.save({"model": nn.Linear(1, 1)}, tmp_path / "code.pth")
    with pytest.raises(NopairsError, match="not TAEF2's weights"):
        Taef2(Taef2Options(str(tmp_path / "code.pth"), options.decoder))
    with pytest.raises(NopairsError, match="no such weight file"):
        Taef2(Taef2Options(str(tmp_path / "none.pth"), options.decoder))
    with pytest.raises(NopairsError, match="nopairs data fetch taef2"):
        Taef2(Taef2Options("catalogue:taef2/taef2_encoder.pth", options.decoder))
    with pytest.raises(NopairsError, match=r"did you mean 'taef2_encoder\.pth'"):
        Taef2Options("catalogue:taef2/taef2_enc.pth", options.decoder)


@pytest.mark.parametrize("levels", [2, 3])
def test_embedded_autoencoder(levels: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    options = {"width": 8, "levels": levels, "latents": 5}
    model = make("autoencoder", "embedded", options)
    images = torch.rand(2, 3, 32, 48)
    assert model.encode(images).shape == (2, 5, 32 // 2**levels, 48 // 2**levels)
    assert model.decode(model.encode(images)).shape == images.shape
    save_model(tmp_path, "autoencoder", "embedded", options, model.state_dict(), {})
    assert torch.equal(load_model(tmp_path).encode(images), model.encode(images))


def test_embedded_learns_to_reconstruct() -> None:
    torch.manual_seed(0)
    model = Embedded(EmbeddedOptions(width=8, levels=1, latents=8, kl=1e-6))
    batch = torch.nn.functional.interpolate(torch.rand(8, 3, 4, 4), size=(16, 16), mode="bilinear")
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    first = float(model.losses(0.0, clean=batch)["mse"].detach())
    for _ in range(80):
        losses = model.losses(0.0, clean=batch)
        optimiser.zero_grad()
        losses["loss"].backward()
        optimiser.step()
    assert float(losses["mse"].detach()) < 0.1 * first
    assert float(losses["kl"].detach()) > 0


def test_embedded_weighs_its_divergence_against_its_error() -> None:
    torch.manual_seed(0)
    losses = Embedded(EmbeddedOptions(width=8, levels=1, kl=0.3)).losses(0.0, clean=torch.rand(2, 3, 8, 8))
    assert losses["kl"] > 1e-4
    torch.testing.assert_close(losses["loss"], losses["mse"] + 0.3 * losses["kl"])


def test_embedded_counts_its_divergence_by_value_of_the_image() -> None:
    model = Embedded(EmbeddedOptions(width=8, levels=1, latents=4))
    nn.init.zeros_(model.to_latents.weight)
    model.to_latents.bias.data = torch.tensor([2.0] * 4 + [0.0] * 4)  # means, and logarithms of variances
    kl = model.losses(0.0, clean=torch.rand(2, 3, 8, 8))["kl"]
    assert kl.item() == pytest.approx(0.5 * 2**2 * (4 * 4 * 4) / (3 * 8 * 8))


@pytest.mark.parametrize("option", [{"width": 1}, {"levels": 5}, {"latents": 0}, {"kl": -1.0}])
def test_impossible_options(option: dict[str, float]) -> None:
    with pytest.raises(NopairsError, match="embedded: width"):
        EmbeddedOptions(**option)  # type: ignore[arg-type]


def tiny_diffusers(kind: str, folder: Path, **settings: int) -> Path:
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    if kind == "AutoencoderKL":
        blocks = {"down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2}
        size = {"block_out_channels": [8, 8], "norm_num_groups": 4, "latent_channels": 4}
        model = diffusers.AutoencoderKL(**blocks, **size, **settings)
    else:
        layers = {"encoder_block_out_channels": [8, 8], "decoder_block_out_channels": [8, 8]}
        blocks = {"num_encoder_blocks": [1, 1], "num_decoder_blocks": [1, 1]}
        model = diffusers.AutoencoderTiny(**layers, **blocks, latent_channels=4, **settings)
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("kind", "name"), [("AutoencoderKL", "kl"), ("AutoencoderTiny", "tiny")])
def test_diffusers_folders(kind: str, name: str, tmp_path: Path) -> None:
    folder = tiny_diffusers(kind, tmp_path / "model")
    model = make("autoencoder", name, {"folder": str(folder)})
    assert (model.channels, model.factor) == (4, 2)
    codec = Codec(model, "float32")
    images = torch.rand(1, 3, 33, 20)
    assert codec.round_trip(images).shape == images.shape
    with torch.inference_mode():
        expected = model.model.encode(2 * images[:, :, :32] - 1)
    expected = expected.latent_dist.mode() if name == "kl" else expected.latents
    assert torch.allclose(codec.latents_of(images), expected, atol=1e-5)


def test_diffusers_folders_without_weights(tmp_path: Path) -> None:
    folder = tiny_diffusers("AutoencoderKL", tmp_path / "model")
    weights = folder / "diffusion_pytorch_model.safetensors"
    tensors = dict(_tensors(weights))
    del tensors["encoder.conv_in.weight"]
    save_file(tensors, weights)
    with pytest.raises(NopairsError, match=r"encoder\.conv_in\.weight"):
        make("autoencoder", "kl", {"folder": str(folder)})
    weights.unlink()
    with pytest.raises(NopairsError, match="no AutoencoderKL could be read there"):
        make("autoencoder", "kl", {"folder": str(folder)})
    with pytest.raises(NopairsError, match="no AutoencoderKL could be read there"):
        make("autoencoder", "kl", {"folder": str(tmp_path / "nowhere")})


def test_grey_diffusers_autoencoders_are_refused(tmp_path: Path) -> None:
    folder = tiny_diffusers("AutoencoderKL", tmp_path / "model", in_channels=1, out_channels=1)
    with pytest.raises(NopairsError, match="takes images of 1 channels"):
        make("autoencoder", "kl", {"folder": str(folder)})
    assert json.loads((folder / "config.json").read_text())["in_channels"] == 1


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(path)


def test_reading_an_image_gives_whole_latents(tmp_path: Path) -> None:
    from nopairs.data.images import write_png

    write_png(tmp_path / "a.png", np.zeros((37, 29, 3), np.uint8))
    model = make("autoencoder", "embedded", {"width": 8})
    assert Codec(model).latents_of(to_tensor(read_rgb(tmp_path / "a.png")[None])).shape == (1, 4, 9, 7)
    with pytest.raises(NopairsError, match="has no latents"):
        Codec(model).latents_of(torch.zeros(1, 3, 3, 9))
