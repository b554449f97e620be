"""`nopairs enhance`: two folders of photos are enough."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from nopairs.cli import main
from nopairs.data.images import read_rgb
from nopairs.errors import NopairsError
from nopairs.models import load_model, save_model
from nopairs.transport.autoencoders import Embedded, EmbeddedOptions
from nopairs.transport.loading import find_autoencoder, load_autoencoder, load_transport

SMALL = {"width": 4, "levels": 1, "latents": 3}


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Natural photos, blurred ones of other content, and an autoencoder that was never trained: only files are tested."""
    rng = np.random.default_rng(0)
    for name, sigma, count in (("natural", 0.5, 4), ("restored", 2, 3)):
        (tmp_path / name).mkdir()
        for k in range(count):
            noise = gaussian_filter(rng.normal(size=(40 + k, 52, 3)), (sigma, sigma, 0))
            image = np.uint8(np.clip(128 + 60 * noise / noise.std(), 0, 255))
            Image.fromarray(image).save(tmp_path / name / f"{k}.png")
    torch.manual_seed(0)
    save_model(
        tmp_path / "model",
        "autoencoder",
        "embedded",
        SMALL,
        Embedded(EmbeddedOptions(**SMALL)).state_dict(),
        {},
    )
    return tmp_path


def enhance(folder: Path, *arguments: str | Path) -> int:
    common = ["enhance", folder / "restored", "--autoencoder", folder / "model", "-o", folder / "out"]
    return main([*map(str, common), *map(str, arguments)])


def test_two_folders_are_enough(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    natural = ("--natural", folders / "natural", "--patch", "2")
    assert enhance(folders, *natural, "--save", folders / "map") == 0
    assert "3 of 3 photos enhanced" in capsys.readouterr().out
    first = [read_rgb(path) for path in sorted((folders / "out").glob("*.png"))]
    originals = [read_rgb(path) for path in sorted((folders / "restored").glob("*.png"))]
    assert [image.shape for image in first] == [image.shape for image in originals]
    assert any((one != other).any() for one, other in zip(first, originals, strict=True))
    # The same map, read again, gives the same photos; alpha = 1 gives the restored ones.
    assert enhance(folders, "--transport", folders / "map") == 0
    for one, path in zip(first, sorted((folders / "out").glob("*.png")), strict=True):
        np.testing.assert_array_equal(one, read_rgb(path))
    assert enhance(folders, "--transport", folders / "map", "--alpha", "1") == 0
    for one, path in zip(originals, sorted((folders / "out").glob("*.png")), strict=True):
        np.testing.assert_array_equal(one, read_rgb(path))


def test_degraded_photos_are_restored_first(folders: Path) -> None:
    save_model(folders / "nothing", "restorer", "identity", {}, {}, {})
    natural = ("--natural", folders / "natural", "--patch", "1", "--alpha", "-0.5")
    assert (
        enhance(folders, *natural, "--restorer", folders / "nothing", "--fit-on", folders / "restored") == 0
    )
    with_restorer = read_rgb(folders / "out/0.png")
    assert enhance(folders, *natural) == 0
    np.testing.assert_array_equal(with_restorer, read_rgb(folders / "out/0.png"))


def test_the_map_is_fitted_on_other_photos_where_they_are_named(folders: Path) -> None:
    common, means = ("--natural", folders / "natural", "--patch", "1", "--save", folders / "map"), []
    for named in ((), ("--fit-on", folders / "restored"), ("--fit-on", folders / "natural")):
        assert enhance(folders, *common, *named) == 0
        means.append(load_model(folders / "map").source_mean)
    assert torch.equal(means[0], means[1]) and not torch.equal(means[0], means[2])
    assert torch.equal(means[2], load_model(folders / "map").target_mean)


def test_a_photo_that_cannot_be_read_does_not_stop_the_others(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert enhance(folders, "--natural", folders / "natural", "--save", folders / "map") == 0
    (folders / "restored/9.png").write_bytes(b"no image")
    assert enhance(folders, "--transport", folders / "map") == 1
    told = capsys.readouterr()
    assert "3 of 4 photos enhanced" in told.out
    assert "9.png" in told.err


def test_few_patches_are_told(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = folders / "small"
    small.mkdir()
    Image.fromarray(read_rgb(folders / "natural/0.png")[:12, :12]).save(small / "0.png")
    assert enhance(folders, "--natural", small) == 0
    assert "16 patches of natural latents for 27 dimensions: too few" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--natural", "nowhere"), "nowhere: no such file or folder"),
        (("--transport", "model"), "is no transport"),
        (("--save", "map"), "--save is for a map that is fitted now, not for --transport; leave it out"),
    ],
)
def test_mistakes_are_one_line(
    folders: Path, arguments: tuple[str, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flag, name = arguments
    other = ("--transport", folders / "model") if flag == "--save" else ()
    assert enhance(folders, flag, folders / name, *other) == 1
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1


def test_an_autoencoder_without_weights_is_one_line(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folders / "vae").mkdir()
    (folders / "vae/config.json").write_text('{"_class_name": "AutoencoderKL"}')
    assert enhance(folders, "--natural", folders / "natural", "--autoencoder", folders / "vae") == 1
    told = capsys.readouterr().err
    assert "no AutoencoderKL could be read there" in told and told.count("\n") == 1


def test_constant_photos_are_moved(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They have next to no variance in their latents, and that is said."""
    for path in (folders / "restored").glob("*.png"):
        Image.fromarray(np.full_like(read_rgb(path), 100)).save(path)
    assert enhance(folders, "--natural", folders / "natural", "--patch", "1") == 0
    told = capsys.readouterr().err
    assert "of the variance of the natural ones" in told and told.count("\n") == 1
    assert len(list((folders / "out").glob("*.png"))) == 3


def test_latents_that_are_not_finite_are_one_line(
    folders: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Embedded, "encode", lambda self, images: torch.full((1, 3, 8, 8), torch.nan))
    assert enhance(folders, "--natural", folders / "natural") == 1
    told = capsys.readouterr().err
    assert "values that are not finite" in told and told.count("\n") == 1


def test_alpha_out_of_range(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        enhance(folders, "--natural", folders / "natural", "--alpha", "2")
    assert "2.0 is not from -0.5 to 1.5" in capsys.readouterr().err


def test_a_map_of_another_autoencoder_is_refused(folders: Path) -> None:
    assert enhance(folders, "--natural", folders / "natural", "--save", folders / "map") == 0
    other = Embedded(EmbeddedOptions(**SMALL))
    with pytest.raises(
        NopairsError, match=r"was fitted in the latents of another autoencoder, .*model; name that"
    ):
        load_transport(folders / "map", other)
    other.load_state_dict(load_model(folders / "model").state_dict())
    load_transport(folders / "map", other)
    with pytest.raises(NopairsError, match="is no autoencoder"):
        load_autoencoder(str(folders / "map"))
    assert load_model(folders / "map").options.patch == 3


def test_names_of_autoencoders(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_autoencoder(str(folders / "model")).channels == 3
    for name in (str(folders), "taef2"):
        with pytest.raises(NopairsError, match="no autoencoder there"):
            find_autoencoder(name)
    (folders / "config.json").write_text('{"_class_name": "UNet2DModel"}')
    with pytest.raises(NopairsError, match="is a UNet2DModel"):
        find_autoencoder(str(folders))
    # A hub name is handed to diffusers, which here has no network.
    asked = []
    monkeypatch.setattr("nopairs.transport.loading.make", lambda *arguments: asked.append(arguments))
    find_autoencoder("owner/name")
    find_autoencoder("tiny:owner/name")
    assert asked == [
        ("autoencoder", "kl", {"folder": "owner/name"}),
        ("autoencoder", "tiny", {"folder": "owner/name"}),
    ]


@pytest.mark.parametrize("named", ["data/taef2", "data/taef2/", "elsewhere/data/taef3", "../taef3", "taef3"])
def test_a_folder_that_is_not_there_is_no_name_on_the_hub(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("nopairs.transport.loading.make", lambda *asked: pytest.fail(f"asked for {asked}"))
    with pytest.raises(NopairsError, match=r"no autoencoder there; .*`nopairs data fetch taef2`"):
        find_autoencoder(named)
