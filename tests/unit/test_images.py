"""Image files: what goes in comes out, at the same depth, and what cannot be read is refused in words."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps, JpegImagePlugin
from PIL.ExifTags import IFD, Base

from nopairs.data.formats import read_header
from nopairs.data.images import (
    Photo,
    evenly,
    left_out,
    list_images,
    load_photo,
    read_rgb,
    save_photo,
    write_png,
)
from nopairs.errors import NopairsError

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def random_samples(channels: int, dtype: type = np.uint8, height: int = 23, width: int = 17) -> np.ndarray:
    rng = np.random.default_rng(channels)
    shape = (height, width) if channels == 1 else (height, width, channels)
    if dtype is np.float32:
        return rng.random(shape, dtype=np.float32)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def write(path: Path, samples: np.ndarray, **options: Any) -> None:
    """Write a file without the code under test."""
    if path.suffix == ".tif":
        rgb = samples.ndim == 3 and samples.shape[2] >= 3
        options.setdefault("photometric", "rgb" if rgb else "minisblack")
        if samples.ndim == 3 and samples.shape[2] in (2, 4):
            options.setdefault("extrasamples", ["unassalpha"])
        if samples.ndim == 3:
            options.setdefault("planarconfig", "contig")
        tifffile.imwrite(path, samples, metadata=None, **options)
    elif samples.dtype == np.uint16:
        path.write_bytes(imagecodecs.png_encode(samples))
    else:
        Image.fromarray(samples).save(path, **options)


def read(path: Path) -> np.ndarray:
    """Read a file without the code under test."""
    if path.suffix == ".tif":
        return tifffile.imread(path)
    if path.suffix == ".png" and path.read_bytes()[24] == 16:
        return imagecodecs.png_decode(path.read_bytes())
    return np.asarray(Image.open(path))


def copy(source: Path, target: Path) -> None:
    photo = load_photo(source)
    save_photo(photo, photo.as_stored(rgb(photo)), target)


def rgb(photo: Photo) -> np.ndarray:
    height, width = photo.samples.shape[:2]
    return photo.rgb(np.arange(height), np.arange(width))


def png_with_chunk(data: bytes, name: bytes, content: bytes) -> bytes:
    """Put a chunk behind the header chunk of a PNG file."""
    chunk = struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    return data[:33] + chunk + data[33:]


LOSSLESS = [
    *[(".png", dtype, channels) for dtype in (np.uint8, np.uint16) for channels in (1, 2, 3, 4)],
    *[(".tif", dtype, channels) for dtype in (np.uint8, np.uint16, np.float32) for channels in (1, 2, 3, 4)],
    (".bmp", np.uint8, 1),
    (".bmp", np.uint8, 3),
    (".webp", np.uint8, 3),
    (".webp", np.uint8, 4),
]


@pytest.mark.parametrize(("suffix", "dtype", "channels"), LOSSLESS)
def test_lossless_formats_return_the_very_pixels(
    tmp_path: Path, suffix: str, dtype: type, channels: int
) -> None:
    samples = random_samples(channels, dtype)
    options = {"lossless": True, "exact": True} if suffix == ".webp" else {}
    write(tmp_path / f"in{suffix}", samples, **options)
    photo = load_photo(tmp_path / f"in{suffix}")
    values = rgb(photo)
    assert values.shape == (23, 17, 3) and values.dtype == np.float32
    assert values.min() >= 0 and values.max() <= 1
    assert photo.grey == (channels < 3)
    save_photo(photo, photo.as_stored(values), tmp_path / f"out{suffix}")
    back = read(tmp_path / f"out{suffix}")
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, samples)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (9, 1), (3, 3), (4, 4)])
@pytest.mark.parametrize(("suffix", "dtype", "channels"), LOSSLESS)
def test_tiny_images(
    tmp_path: Path, suffix: str, dtype: type, channels: int, height: int, width: int
) -> None:
    samples = random_samples(channels, dtype, height, width)
    options = {"lossless": True, "exact": True} if suffix == ".webp" else {}
    write(tmp_path / f"in{suffix}", samples, **options)
    photo = load_photo(tmp_path / f"in{suffix}")
    assert rgb(photo).shape == (height, width, 3)
    save_photo(photo, photo.as_stored(rgb(photo)), tmp_path / f"out{suffix}")
    np.testing.assert_array_equal(read(tmp_path / f"out{suffix}").reshape(samples.shape), samples)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_every_16_bit_level_survives(tmp_path: Path, suffix: str) -> None:
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    write(tmp_path / f"in{suffix}", np.stack([levels, levels[::-1], levels.T], axis=2))
    copy(tmp_path / f"in{suffix}", tmp_path / f"out{suffix}")
    np.testing.assert_array_equal(read(tmp_path / f"out{suffix}")[..., 0], levels)


def test_another_library_reads_our_16_bit_png(tmp_path: Path) -> None:
    samples = random_samples(3, np.uint16)
    write(tmp_path / "in.png", samples)
    copy(tmp_path / "in.png", tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as image:  # Pillow keeps the high bytes
        np.testing.assert_array_equal(np.asarray(image), samples >> 8)


def test_restored_values_are_clipped_and_rounded(tmp_path: Path) -> None:
    write(tmp_path / "in.png", random_samples(3, height=1, width=4))
    photo = load_photo(tmp_path / "in.png")
    restored = np.repeat(
        np.array([-0.3, 100.4 / 255, 100.6 / 255, 1.7], np.float32)[None, :, None], 3, axis=2
    )
    save_photo(photo, photo.as_stored(restored), tmp_path / "out.png")
    assert read(tmp_path / "out.png")[0, :, 1].tolist() == [0, 100, 101, 255]


@pytest.mark.parametrize(
    ("compression", "options"),
    [("lzw", {"byteorder": ">"}), ("zlib", {"predictor": True, "tile": (16, 16)}), (None, {"bigtiff": True})],
)
def test_tiff_variants(tmp_path: Path, compression: str | None, options: dict[str, Any]) -> None:
    samples = random_samples(3, np.uint16)
    write(tmp_path / "in.tif", samples, compression=compression, **options)
    copy(tmp_path / "in.tif", tmp_path / "out.tif")
    np.testing.assert_array_equal(read(tmp_path / "out.tif"), samples)


def test_planar_tiff_and_thumbnail_page(tmp_path: Path) -> None:
    samples = random_samples(3, np.uint16)
    with tifffile.TiffWriter(tmp_path / "in.tif") as tiff:
        tiff.write(np.moveaxis(samples, 2, 0), photometric="rgb", planarconfig="separate", metadata=None)
        tiff.write(samples[::4, ::4], photometric="rgb", subfiletype=1, metadata=None)
    copy(tmp_path / "in.tif", tmp_path / "out.tif")
    np.testing.assert_array_equal(read(tmp_path / "out.tif"), samples)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_tiff_where_white_is_zero(tmp_path: Path, dtype: type) -> None:
    samples = random_samples(1, dtype)
    write(tmp_path / "in.tif", samples, photometric="miniswhite")
    copy(tmp_path / "in.tif", tmp_path / "out.tif")
    white = 1 if dtype is np.float32 else np.iinfo(dtype).max
    np.testing.assert_array_equal(read(tmp_path / "out.tif"), white - samples)


@pytest.mark.parametrize("mode", ["1", "P"])
@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_few_colours_become_8_bit(tmp_path: Path, mode: str, suffix: str) -> None:
    image = Image.fromarray(random_samples(3)).convert(mode, palette=Image.Palette.ADAPTIVE)
    image.save(tmp_path / f"in{suffix}")
    copy(tmp_path / f"in{suffix}", tmp_path / f"out{suffix}")
    expected = np.asarray(image.convert("L" if mode == "1" else "RGB"))
    np.testing.assert_array_equal(read(tmp_path / f"out{suffix}"), expected)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_transparent_colour_becomes_alpha(tmp_path: Path, depth: int, channels: int) -> None:
    samples = random_samples(channels, np.uint8 if depth == 8 else np.uint16)
    first = np.atleast_1d(samples[0, 0])
    content = struct.pack(f">{channels}H", *map(int, first))
    (tmp_path / "in.png").write_bytes(png_with_chunk(imagecodecs.png_encode(samples), b"tRNS", content))
    copy(tmp_path / "in.png", tmp_path / "out.png")
    back = read(tmp_path / "out.png")
    colour = samples.reshape(23, 17, channels)
    np.testing.assert_array_equal(back[..., :-1], colour)
    np.testing.assert_array_equal(back[..., -1] == 0, (colour == first).all(axis=2))


def test_transparent_palette_becomes_rgba(tmp_path: Path) -> None:
    image = Image.fromarray(random_samples(3)).quantize(8)
    image.save(tmp_path / "in.png", transparency=3)
    copy(tmp_path / "in.png", tmp_path / "out.png")
    back = read(tmp_path / "out.png")
    np.testing.assert_array_equal(back[..., 3] == 0, np.asarray(image) == 3)
    np.testing.assert_array_equal(back[..., :3], np.asarray(image.convert("RGB")))


def smooth_samples() -> np.ndarray:
    rows, columns = np.mgrid[0:48, 0:64]
    return np.stack([rows * 4, columns * 3, 255 - rows * 2], axis=2).astype(np.uint8)


def test_jpeg_is_written_with_full_colour_resolution(tmp_path: Path) -> None:
    Image.fromarray(smooth_samples()).save(tmp_path / "in.jpg", quality=98)
    copy(tmp_path / "in.jpg", tmp_path / "out.JPG")
    with Image.open(tmp_path / "out.JPG") as image:
        assert (image.format, image.mode) == ("JPEG", "RGB")
        assert JpegImagePlugin.get_sampling(image) == 0  # 4:4:4
        assert np.abs(np.asarray(image).astype(int) - smooth_samples()).max() <= 6


def test_grey_jpeg_stays_grey_and_cmyk_becomes_rgb(tmp_path: Path) -> None:
    for mode, expected in (("L", "L"), ("CMYK", "RGB")):
        Image.fromarray(smooth_samples()).convert(mode).save(tmp_path / "in.jpg", quality=98)
        copy(tmp_path / "in.jpg", tmp_path / "out.jpg")
        with Image.open(tmp_path / "out.jpg") as image:
            assert image.mode == expected
            wanted = np.asarray(Image.fromarray(smooth_samples()).convert(expected)).astype(int)
            assert np.abs(np.asarray(image) - wanted).max() <= 10


def test_phone_jpeg_with_a_second_picture_gives_the_first(tmp_path: Path) -> None:
    first = Image.fromarray(smooth_samples())
    preview = Image.new("RGB", (16, 12))
    first.save(tmp_path / "in.jpg", format="MPO", save_all=True, append_images=[preview], quality=98)
    copy(tmp_path / "in.jpg", tmp_path / "out.jpg")
    with Image.open(tmp_path / "out.jpg") as image:
        assert image.format == "JPEG"
        assert np.abs(np.asarray(image).astype(int) - smooth_samples()).max() <= 6


def camera_exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[Base.Make] = b"Kamera"
    exif[Base.DateTime] = "2021:02:03 04:05:06"
    exif[Base.Orientation] = orientation
    exif[IFD.Exif] = {Base.DateTimeOriginal: "2021:02:03 04:05:06", Base.FNumber: 2.8}
    exif[IFD.GPSInfo] = {1: "N", 2: (47.0, 30.0, 15.5)}
    return exif


def put_exif(path: Path, samples: np.ndarray, exif: Image.Exif) -> None:
    """Write an image with EXIF and a colour profile, by the shortest way that the format has."""
    if path.suffix == ".png" and samples.dtype == np.uint16:
        data = png_with_chunk(imagecodecs.png_encode(samples), b"eXIf", exif.tobytes()[6:])
        path.write_bytes(png_with_chunk(data, b"iCCP", b"x\0\0" + zlib.compress(ICC)))
    elif path.suffix == ".tif" and samples.dtype == np.uint16:
        tags = [(274, "H", 1, exif[Base.Orientation], True), (271, "s", 0, exif[Base.Make], True)]
        tifffile.imwrite(path, samples, photometric="rgb", metadata=None, extratags=tags, iccprofile=ICC)
    else:
        options = {"lossless": True} if path.suffix == ".webp" else {}
        Image.fromarray(samples).save(path, exif=exif.tobytes(), icc_profile=ICC, **options)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [(".png", np.uint8), (".png", np.uint16), (".tif", np.uint8), (".tif", np.uint16), (".webp", np.uint8)],
)
def test_orientation(tmp_path: Path, suffix: str, dtype: type, orientation: int) -> None:
    samples = random_samples(3, dtype)
    put_exif(tmp_path / f"in{suffix}", samples, camera_exif(orientation))
    copy(tmp_path / f"in{suffix}", tmp_path / f"out{suffix}")
    # Pillow turns the pixels' numbers, so that it can be asked about 16 bits too.
    numbers = Image.fromarray(np.arange(23 * 17, dtype=np.int32).reshape(23, 17))
    numbers.getexif()[Base.Orientation] = orientation
    expected = samples.reshape(-1, 3)[np.asarray(ImageOps.exif_transpose(numbers))]
    np.testing.assert_array_equal(read(tmp_path / f"out{suffix}"), expected)
    # A second reading must not turn it again.
    copy(tmp_path / f"out{suffix}", tmp_path / f"again{suffix}")
    np.testing.assert_array_equal(read(tmp_path / f"again{suffix}"), expected)
    assert read_rgb(tmp_path / f"in{suffix}").shape == expected.shape
    assert read_header(tmp_path / f"in{suffix}")[:2] == expected.shape[:2]


@pytest.mark.parametrize("late", [False, True])
def test_the_header_of_a_png_is_read_without_its_pixels_unless_exif_stands_behind_them(
    tmp_path: Path, late: bool
) -> None:
    path = tmp_path / "in.png"
    write(path, random_samples(3, np.uint16, height=400, width=300))
    content = path.read_bytes()
    exif = camera_exif(6).tobytes()[6:]
    if late:
        path.write_bytes(content[:-12] + png_with_chunk(bytes(33), b"eXIf", exif)[33:] + content[-12:])
    else:
        path.write_bytes(png_with_chunk(content, b"eXIf", exif)[: len(content) // 2])
    assert read_header(path)[:2] == (300, 400)
    path.write_bytes(content[: len(content) // 2])
    assert read_header(path)[:2] == (400, 300)


def test_a_file_that_may_not_be_read_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "in.png"
    write(path, random_samples(3))

    def refuse(self: Path, *_: Any) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    for reader in (read_header, read_rgb):
        with pytest.raises(NopairsError, match=r"in\.png: may not be read; change its permissions"):
            reader(path)


def test_orientation_of_jpeg(tmp_path: Path) -> None:
    put_exif(tmp_path / "in.jpg", smooth_samples(), camera_exif(6))
    assert read_header(tmp_path / "in.jpg")[:2] == (64, 48)
    copy(tmp_path / "in.jpg", tmp_path / "out.jpg")
    back = np.asarray(Image.open(tmp_path / "out.jpg")).astype(int)
    assert np.abs(back - np.rot90(smooth_samples(), -1)).max() <= 20


@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [(".jpg", np.uint8), (".png", np.uint8), (".png", np.uint16), (".webp", np.uint8), (".tif", np.uint8)],
)
def test_exif_and_profile_are_kept(tmp_path: Path, suffix: str, dtype: type) -> None:
    put_exif(tmp_path / f"in{suffix}", random_samples(3, dtype), camera_exif(6))
    copy(tmp_path / f"in{suffix}", tmp_path / f"out{suffix}")
    with Image.open(tmp_path / f"out{suffix}") as image:
        exif = image.getexif()
        assert exif[Base.Make] == "Kamera"
        assert exif.get_ifd(IFD.Exif)[Base.DateTimeOriginal] == "2021:02:03 04:05:06"
        assert float(exif.get_ifd(IFD.Exif)[Base.FNumber]) == pytest.approx(2.8)
        assert exif.get_ifd(IFD.GPSInfo)[2] == (47.0, 30.0, 15.5)
        assert image.info["icc_profile"] == ICC


@pytest.mark.parametrize(("suffix", "dtype"), [(".jpg", np.uint8), (".png", np.uint16), (".tif", np.uint16)])
def test_exif_text_beyond_ascii_is_kept(tmp_path: Path, suffix: str, dtype: type) -> None:
    exif = camera_exif(1)
    exif[Base.Make] = "Kamera & Söhne".encode()
    put_exif(tmp_path / f"in{suffix}", random_samples(3, dtype), exif)
    copy(tmp_path / f"in{suffix}", tmp_path / f"out{suffix}")
    assert "Kamera & Söhne".encode() in (tmp_path / f"out{suffix}").read_bytes()


def test_16_bit_tiff_keeps_exif_directories(tmp_path: Path) -> None:
    samples = random_samples(1, np.uint16)
    image = Image.fromarray(samples)
    image.save(tmp_path / "in.tif", exif=camera_exif(1).tobytes(), icc_profile=ICC, dpi=(300, 200))
    copy(tmp_path / "in.tif", tmp_path / "out.tif")
    with tifffile.TiffFile(tmp_path / "out.tif") as tiff:
        page = tiff.pages[0]
        assert page.tags["ExifTag"].value["DateTimeOriginal"] == "2021:02:03 04:05:06"
        assert page.tags["GPSTag"].value["GPSLatitude"] == (47, 1, 30, 1, 31, 2)
        assert page.tags["Make"].value == "Kamera"
        assert (page.get_resolution(), page.iccprofile) == ((300, 200), ICC)
        np.testing.assert_array_equal(page.asarray(), samples)


def test_read_rgb_and_write_png(tmp_path: Path) -> None:
    samples = random_samples(3)
    write_png(tmp_path / "new" / "rgb.png", samples)
    np.testing.assert_array_equal(read_rgb(tmp_path / "new" / "rgb.png"), samples)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["rgb.png"]
    for shape in ((4,), (4, 4, 4), (1, 3, 4, 4)):
        with pytest.raises(ValueError, match="expected uint8"):
            write_png(tmp_path / "bad.png", np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match="float32"):
        write_png(tmp_path / "bad.png", np.zeros((4, 4, 3), np.float32))
    assert not (tmp_path / "bad.png").exists()


def test_read_rgb_reduces_channels_and_depth(tmp_path: Path) -> None:
    for channels in (1, 2, 3, 4):
        deep = random_samples(channels, np.uint16)
        write(tmp_path / "deep.png", deep)
        colour = deep.reshape(23, 17, channels)[..., : 1 if channels < 3 else 3]
        expected = np.broadcast_to(np.rint(colour / 257).astype(np.uint8), (23, 17, 3))
        result = read_rgb(tmp_path / "deep.png")
        assert result.dtype == np.uint8 and result.flags["C_CONTIGUOUS"]
        np.testing.assert_array_equal(result, expected)
    write(tmp_path / "float.tif", random_samples(3, np.float32))
    expected = np.rint(random_samples(3, np.float32) * 255).astype(np.uint8)
    np.testing.assert_array_equal(read_rgb(tmp_path / "float.tif"), expected)


def broken_files(folder: Path) -> dict[str, tuple[bytes, str]]:
    """Return file name: (content, what the message must say)."""
    photo = Image.fromarray(random_samples(3, height=64, width=64))
    files = {"empty.png": (b"", "empty"), "text.png": (b"this is a text file\n" * 20, "not an image")}
    for suffix, kind in (
        (".png", "PNG"),
        (".jpg", "JPEG"),
        (".tif", "TIFF"),
        (".bmp", "BMP"),
        (".webp", "WEBP"),
    ):
        stream = io.BytesIO()
        photo.save(stream, format=kind)
        files[f"half{suffix}"] = (stream.getvalue()[: stream.tell() // 2], "truncated|damaged")
        files[f"stub{suffix}"] = (stream.getvalue()[:20], "truncated|damaged")
    for name, writer in (("deep.png", imagecodecs.png_encode), ("deep.tif", None)):
        samples = random_samples(3, np.uint16, 64, 64)
        if writer is None:
            write(folder / "whole.tif", samples)
        data = writer(samples) if writer else (folder / "whole.tif").read_bytes()
        files[name] = (data[: len(data) // 2], "truncated")
    return files


def test_broken_files_are_refused_in_words(tmp_path: Path) -> None:
    for name, (content, message) in broken_files(tmp_path).items():
        (tmp_path / name).write_bytes(content)
        for reader in (read_rgb, load_photo):
            with pytest.raises(NopairsError, match=message) as caught:
                reader(tmp_path / name)
            assert str(tmp_path / name) in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(NopairsError, match="no such file"):
        load_photo(tmp_path / "absent.png")
    with pytest.raises(NopairsError, match="no such file"):
        load_photo(tmp_path)


def png_header(width: int, height: int, depth: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (1, 1)).save(stream, format="PNG")
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    return stream.getvalue()[:12] + header + struct.pack(">I", zlib.crc32(header)) + stream.getvalue()[33:]


@pytest.mark.parametrize("side", [15_000, 30_000, 100_000])
@pytest.mark.parametrize("depth", [8, 16])
def test_decompression_bomb(tmp_path: Path, side: int, depth: int) -> None:
    (tmp_path / "bomb.png").write_bytes(png_header(side, side, depth))
    with warnings.catch_warnings(), pytest.raises(NopairsError, match="200 megapixels"):
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        load_photo(tmp_path / "bomb.png")


def test_large_photos_give_no_warning(tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(png_header(12_000, 16_000, 8))
    with warnings.catch_warnings(), pytest.raises(NopairsError, match="truncated"):
        warnings.simplefilter("error")
        read_rgb(tmp_path / "large.png")


def test_tiff_bomb(tmp_path: Path) -> None:
    write(tmp_path / "bomb.tif", random_samples(3, np.uint16))
    with tifffile.TiffFile(tmp_path / "bomb.tif", mode="r+") as tiff:
        tiff.pages[0].tags["ImageWidth"].overwrite(1_000_000)
        tiff.pages[0].tags["ImageLength"].overwrite(1_000_000)
    with pytest.raises(NopairsError, match="200 megapixels"):
        load_photo(tmp_path / "bomb.tif")


def test_several_pages_are_refused(tmp_path: Path) -> None:
    pages = [Image.fromarray(random_samples(3)), Image.new("RGB", (17, 23))]
    for suffix, message in ((".tif", "2 pages"), (".png", "animation"), (".webp", "animation")):
        pages[0].save(tmp_path / f"two{suffix}", save_all=True, append_images=pages[1:])
        with pytest.raises(NopairsError, match=message):
            load_photo(tmp_path / f"two{suffix}")
    tifffile.imwrite(tmp_path / "stack.tif", random_samples(3, np.uint16)[:5], photometric="minisblack")
    with pytest.raises(NopairsError, match="pages"):
        load_photo(tmp_path / "stack.tif")


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.5, 1.5])
def test_float_tiff_outside_the_range_is_refused(tmp_path: Path, value: float) -> None:
    samples = random_samples(3, np.float32)
    samples[3, 4, 1] = value
    write(tmp_path / "in.tif", samples)
    with pytest.raises(NopairsError, match="NaN or outside"):
        load_photo(tmp_path / "in.tif")


@pytest.mark.parametrize("dtype", [np.int16, np.uint32, np.float64, np.float16])
def test_other_tiff_depths_are_refused(tmp_path: Path, dtype: type) -> None:
    write(tmp_path / "in.tif", np.zeros((5, 6, 3), dtype))
    with pytest.raises(NopairsError, match="is not supported"):
        load_photo(tmp_path / "in.tif")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("kinds", [["assocalpha"], ["unspecified"], ["unassalpha", "unspecified"]])
def test_unknown_extra_channels_are_refused(tmp_path: Path, dtype: type, kinds: list[str]) -> None:
    write(tmp_path / "in.tif", random_samples(3 + len(kinds), dtype), photometric="rgb", extrasamples=kinds)
    with pytest.raises(NopairsError, match="extra channels of kind"):
        load_photo(tmp_path / "in.tif")


def test_bmp_with_alpha_is_refused(tmp_path: Path) -> None:
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII", 108, 2, 2, 1, 32, 3, 16, 0, 0, 0, 0) + masks + b"BGRs" + bytes(48)
    content = struct.pack("<2sIHHI", b"BM", 14 + 108 + 16, 0, 0, 14 + 108) + header + bytes(range(16))
    (tmp_path / "in.bmp").write_bytes(content)
    with pytest.raises(NopairsError, match="BMP with an alpha channel"):
        load_photo(tmp_path / "in.bmp")


def test_a_name_that_contradicts_the_content_is_refused(tmp_path: Path) -> None:
    Image.fromarray(random_samples(3)).save(tmp_path / "photo.png", format="JPEG")
    with pytest.raises(NopairsError, match=r"format JPEG; name the file photo\.jpeg or \.jpg"):
        load_photo(tmp_path / "photo.png")
    Image.fromarray(random_samples(3)).save(tmp_path / "photo.gif")
    with pytest.raises(NopairsError, match="GIF images are not supported"):
        load_photo(tmp_path / "photo.gif")
    write(tmp_path / "good.png", random_samples(3))
    photo = load_photo(tmp_path / "good.png")
    with pytest.raises(NopairsError, match="format PNG"):
        save_photo(photo, photo.samples, tmp_path / "out.jpg")
    with pytest.raises(ValueError, match="shape"):
        save_photo(photo, photo.samples[1:], tmp_path / "out.png")
    assert not list(tmp_path.glob("out*"))


def test_list_images(tmp_path: Path) -> None:
    names = ["b.png", "a/z.JPG", "a/ünï cödé.tiff", "a/.hidden.png", ".git/x.png", "notes.txt", "c.webp"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    found = [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path)]
    assert found == ["a/z.JPG", "a/ünï cödé.tiff", "b.png", "c.webp"]
    assert list_images(tmp_path / "b.png") == [tmp_path / "b.png"]
    for path, message in (
        ("notes.txt", "not an image"),
        ("absent", "no such"),
        ("folder.png", "holds no image"),
    ):
        with pytest.raises(NopairsError, match=message):
            list_images(tmp_path / path)
    assert left_out(tmp_path) == {".txt": 1} and left_out(tmp_path / "b.png") == {}
    (tmp_path / "phone").mkdir()
    for name in ("IMG_1.HEIC", "IMG_2.HEIC", "list", ".hidden.mov"):
        (tmp_path / "phone" / name).touch()
    assert left_out(tmp_path / "phone") == {"without suffix": 1, ".heic": 2}
    with pytest.raises(NopairsError, match=r"holds no image, .*but 2 \.heic; known suffixes are"):
        list_images(tmp_path / "phone")
    (tmp_path / "phone" / os.fsdecode(b"a.\xe9")).touch()
    assert left_out(tmp_path / "phone") == {"without suffix": 1, ".\\xe9": 1, ".heic": 2}


def test_links_to_photos_and_folders_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    for name in ("photos/b.png", "elsewhere/z/c.png", "elsewhere/a.jpg", "elsewhere/d.heic"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    photos = tmp_path / "photos"
    for name, target in (("more", "elsewhere"), ("twice", "elsewhere/z"), ("a.png", "elsewhere/a.jpg")):
        (photos / name).symlink_to(tmp_path / target)
    for name, target in (
        ("photos/round", "photos"),
        ("elsewhere/z/up", "elsewhere"),
        ("photos/.no", "elsewhere"),
    ):
        (tmp_path / name).symlink_to(tmp_path / target)
    (tmp_path / "elsewhere/z/back").symlink_to(photos)
    found = [path.relative_to(photos).as_posix() for path in list_images(photos)]
    once = ["a.png", "b.png", "more/a.jpg", "more/z/c.png", "twice/c.png", "twice/up/a.jpg"]
    assert found == sorted(once, key=lambda name: name.split("/"))
    assert left_out(photos) == {".heic": 2}


def test_a_photo_that_is_a_broken_link_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.png", random_samples(3))
    (tmp_path / "notes.txt").symlink_to("gone.txt")
    assert list_images(tmp_path) == [tmp_path / "a.png"] and left_out(tmp_path) == {".txt": 1}
    (tmp_path / "b.png").symlink_to("gone.png")
    with pytest.raises(NopairsError, match=r"b\.png: a link to gone\.png, where nothing is; mend"):
        list_images(tmp_path)


def test_a_folder_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "inner").mkdir()
    list_folder = Path.iterdir

    def refuse(self: Path) -> Any:
        if self.name == "inner":
            raise PermissionError(13, "Permission denied", str(self))
        return list_folder(self)

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(NopairsError, match="inner: the folder may not be read; change its permissions"):
        list_images(tmp_path)


def test_some_of_many_are_evenly_spread() -> None:
    assert list(evenly(101, 5)) == [0, 25, 50, 75, 100]
    assert list(evenly(3, 5)) == [0, 1, 2] and list(evenly(0, 5)) == []
