"""Image files to arrays and back, at their own bit depth: decoders and encoders for `nopairs.data.images`.

Pillow reads and writes 8-bit images. It has no 16-bit colour, so 16-bit PNG goes through imagecodecs (libpng)
and TIFF with more than 8 bits through tifffile, which needs imagecodecs anyway for LZW compression.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError
from PIL.ExifTags import IFD, Base
from PIL.PngImagePlugin import putchunk
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from nopairs.data.paging import allocate, release
from nopairs.errors import NopairsError

MAX_PIXELS = 200_000_000
"""Larger images are refused before decoding: a small file can hold terabytes (a decompression bomb)."""

# Pillow's own limit is lower, and it would warn about photos that ours allows.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
# Its images lie in blocks of this size at most; from 32 MB on the C library gives freed blocks back to the system at once.
Image.core.set_block_size(2**26)

SUFFIXES = {
    ".bmp": "BMP",
    ".jpeg": "JPEG",
    ".jpg": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
"""File suffixes (lower case) that are read and written, and the format of each."""

_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_TIFF_DEPTHS = (("uint16", 16), ("float32", 32))  # beyond those that Pillow reads
_PNG_BIT_DEPTH_BYTE = 24
_PNG_HEADER_BYTES = 33  # signature and IHDR chunk
_PNG_EXIF_KEYS = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")
_PNG_END_BYTES = 2**17  # searched for EXIF behind the pixels, of which 64 kB is much

_BAND_ROWS = 256  # copied at a time between Pillow's images and arrays
_TIFF_HEADER_BYTES = 8
_NO_RESOLUTION_UNIT = 1

# What describes the photo in a TIFF directory; its other tags describe how that one file stores its pixels.
_TIFF_TEXT_TAGS = (
    Base.ImageDescription,
    Base.Make,
    Base.Model,
    Base.Software,
    Base.DateTime,
    Base.Artist,
    Base.HostComputer,
    Base.Copyright,
)

_TIFF_DIRECTORIES = {IFD.Exif: "ExifTag", IFD.GPSInfo: "GPSTag"}
_TIFF_TAGS = {
    *_TIFF_TEXT_TAGS,
    Base.XResolution,
    Base.YResolution,
    Base.ResolutionUnit,
    *_TIFF_DIRECTORIES,
}

_PILLOW_OPTIONS: dict[str, dict[str, Any]] = {
    "BMP": {},
    "JPEG": {"quality": 95, "subsampling": "4:4:4"},
    "PNG": {},
    "WEBP": {"lossless": True, "exact": True},
}

# Orientation tag: (transpose, row step, column step), applied in this order, shows the image upright.
_UPRIGHT = {
    1: (False, 1, 1),
    2: (False, 1, -1),
    3: (False, -1, -1),
    4: (False, -1, 1),
    5: (True, 1, 1),
    6: (True, 1, -1),
    7: (True, -1, -1),
    8: (True, -1, 1),
}


@dataclass(frozen=True)
class Decoded:
    """An image file's content, upright.

    Attributes:
        samples: (H, W, C), uint8, uint16 or float32 in [0, 1];
            C is 1 for grey, 2 for grey with alpha, 3 for RGB, 4 for RGB with alpha.
        format: Pillow's name, one of the values of `SUFFIXES`.
        icc: colour profile of the samples, or None.
        exif: the file's EXIF, its orientation set to 1, without thumbnail.
    """

    samples: NDArray[Any]
    format: str
    icc: bytes | None
    exif: Image.Exif


class Header(NamedTuple):
    """What an image file says of itself before its pixels are decoded: sides once it is upright, whether it is grey."""

    height: int
    width: int
    grey: bool


def read_header(path: Path) -> Header:
    """Read what can be known without decoding: most files that are no images, or too large, are found by it.

    Raises:
        NopairsError: as `decode`, for what the header tells.
    """
    with _readable(path):
        if _first_bytes(path)[:4] in _TIFF_MAGIC:
            with tifffile.TiffFile(path) as tiff:
                page = tiff.pages.first
                _check_size(path, page.imagewidth, page.imagelength)
                orientation = page.tags.valueof(Base.Orientation, 1)
                sides = _upright_sides(page.imagelength, page.imagewidth, orientation)
                palette = page.photometric == tifffile.PHOTOMETRIC.PALETTE
                return Header(*sides, grey=page.samplesperpixel < 3 and not palette)
        with Image.open(path) as image:
            _checked_kind(path, image)
            sides = _upright_sides(image.height, image.width, _orientation(path, image))
            return Header(*sides, grey=image.mode in ("1", "L", "LA", "I;16"))


def decode(path: Path) -> Decoded:
    """Read an image file of any format in `SUFFIXES`, known by its content, not its name.

    Bit depth is kept, palettes and CMYK become RGB, a transparent colour becomes alpha, the image is upright.

    Raises:
        NopairsError: the file is missing, empty, damaged, no such image, too large, has several pages or
            a sample format that cannot be written back.
    """
    with _readable(path):
        header = _first_bytes(path)
        if header[:4] in _TIFF_MAGIC:
            return _decode_tiff(path)
        return _decode_pillow(path, deep=header[_PNG_BIT_DEPTH_BYTE : _PNG_BIT_DEPTH_BYTE + 1] == b"\x10")


def _first_bytes(path: Path) -> bytes:
    if not path.is_file():
        raise NopairsError(f"{path}: no such file; check the path")
    with path.open("rb") as file:
        header = file.read(_PNG_HEADER_BYTES)
    if not header:
        raise NopairsError(f"{path}: the file is empty; remove it or copy it again")
    return header


def encode(path: Path, image: Decoded) -> None:
    """Write `image` to `path` in its format: lossless, except JPEG (quality 95, 4:4:4).

    WebP is written lossless: a file does not say at which quality it was made, and a second loss would add to
    the first. JPEG keeps full colour resolution: colour that was restored should not be blurred again.
    """
    exif = image.exif.tobytes() if len(image.exif) else b""
    if image.format == "TIFF":
        _encode_tiff(path, image)
    elif image.format == "PNG" and image.samples.dtype == np.uint16:
        _encode_png16(path, image.samples, image.icc, exif)
    else:
        options = _PILLOW_OPTIONS[image.format]
        pixels = _to_pillow(image.samples)
        pixels.save(path, format=image.format, icc_profile=image.icc, exif=exif, **options)


def upright(samples: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return (H, W, C) samples, not copied, turned and mirrored as the EXIF orientation tag (1 to 8, else taken as 1) says."""
    transpose, rows, columns = _UPRIGHT.get(orientation, _UPRIGHT[1])
    if transpose:
        samples = samples.transpose(1, 0, 2)
    return samples[::rows, ::columns]


def _upright_sides(height: int, width: int, orientation: int) -> tuple[int, int]:
    transpose, _, _ = _UPRIGHT.get(orientation, _UPRIGHT[1])
    return (width, height) if transpose else (height, width)


def _orientation(path: Path, image: Image.Image) -> int:
    """Return the EXIF orientation of an image that Pillow opened.

    A PNG's EXIF may stand behind the pixels, which Pillow decodes wherever it finds none before: here only if the file's end has some.
    """
    early = image.format == "PNG" and not _ends_with_exif(path)
    exif = Image.Image.getexif(image) if early else image.getexif()
    return exif.get(Base.Orientation, 1)


def _ends_with_exif(path: Path) -> bool:
    """Whether a PNG's last bytes have a chunk from which Pillow takes EXIF."""
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(max(0, size - _PNG_END_BYTES))
        end = file.read()
    return any(key in end for key in _PNG_EXIF_KEYS)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn whatever a decoder raises at a damaged file (no type is promised) into a `NopairsError`."""
    try:
        yield
    except NopairsError:
        raise
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        kinds = ", ".join(sorted(set(SUFFIXES.values())))
        message = f"{path}: not an image that can be read, or damaged; it must be one of {kinds}"
        if isinstance(error, Image.DecompressionBombError):
            message = f"{path}: more than {MAX_PIXELS // 10**6} megapixels; cut it into parts"
        raise NopairsError(message) from error
    except PermissionError as error:
        raise NopairsError(
            f"{path}: may not be read; change its permissions, or those of its folder"
        ) from error
    except Exception as error:
        detail = " ".join(str(error).split())
        raise NopairsError(f"{path}: damaged or truncated image ({detail}); copy it again") from error


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise NopairsError(
            f"{path}: {width}x{height} pixels, more than {MAX_PIXELS // 10**6} megapixels; cut it into parts"
        )


def _decode_pillow(path: Path, deep: bool) -> Decoded:
    """Read anything but TIFF; `deep` is true when a PNG's header would say 16 bits."""
    with Image.open(path) as image:
        kind = _checked_kind(path, image)
        if kind == "PNG" and deep:
            samples = imagecodecs.png_decode(path.read_bytes())
            samples = samples[..., None] if samples.ndim == 2 else samples
        else:
            samples = _pillow_samples(path, image)
        exif = image.getexif()
        icc = None if image.mode == "CMYK" else image.info.get("icc_profile")
        return Decoded(upright(samples, exif.get(Base.Orientation, 1)), kind, icc, _clean_exif(exif))


def _checked_kind(path: Path, image: Image.Image) -> str:
    """Return the format of an image that Pillow opened, unless it is one that cannot be kept."""
    # MPO is what many phones and cameras write as .jpg: the photo, then a preview or a gain map.
    kind = "JPEG" if image.format == "MPO" else str(image.format)
    if kind not in SUFFIXES.values():
        raise NopairsError(
            f"{path}: {kind} images are not supported; convert it to PNG, TIFF, JPEG, BMP or WebP"
        )
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise NopairsError(f"{path}: an animation; only still images can be restored")
    _check_size(path, *image.size)
    return kind


def _pillow_samples(path: Path, image: Image.Image) -> NDArray[np.uint8]:
    """Return the 8-bit samples (H, W, C) of an image that Pillow opened, in a channel layout of `Decoded`."""
    image.load()
    if image.mode == "CMYK":
        image = _cmyk_to_rgb(image)
    elif image.mode == "P":
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    elif image.mode in ("1", "L", "RGB") and "transparency" in image.info:
        image = image.convert("RGBA" if image.mode == "RGB" else "LA")
    elif image.mode in ("1", "YCbCr"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    if image.mode not in ("L", "LA", "RGB", "RGBA"):
        raise NopairsError(
            f"{path}: pixels of kind {image.mode} are not supported; convert it to 8- or 16-bit RGB"
        )
    if image.mode == "RGBA" and image.format == "BMP":
        raise NopairsError(f"{path}: BMP with an alpha channel is not supported; convert it to PNG")
    return _from_pillow(image)


def _from_pillow(image: Image.Image) -> NDArray[np.uint8]:
    """Copy the pixels into (H, W, C) band by band: in one piece, the conversion would hold them twice more."""
    width, height = image.size
    samples = allocate((height, width, len(image.getbands())), np.uint8)
    for top in range(0, height, _BAND_ROWS):
        band = samples[top : top + _BAND_ROWS]
        band[...] = np.asarray(image.crop((0, top, width, top + len(band)))).reshape(band.shape)
        release(samples)
    return samples


def _to_pillow(samples: NDArray[np.uint8]) -> Image.Image:
    """Copy (H, W, C) into an image of mode L, LA, RGB or RGBA, band by band."""
    height, width, channels = samples.shape
    image = Image.new(("L", "LA", "RGB", "RGBA")[channels - 1], (width, height))
    for top in range(0, height, _BAND_ROWS):
        band = samples[top : top + _BAND_ROWS]
        image.paste(Image.fromarray(band[..., 0] if channels == 1 else band), (0, top))
        release(samples)
    return image


def _cmyk_to_rgb(image: Image.Image) -> Image.Image:
    """Convert through the embedded colour profile to sRGB; without one, as if the inks were ideal."""
    icc = image.info.get("icc_profile")
    if icc is None:
        return image.convert("RGB")
    profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert converted is not None  # None is returned only when converting in place
    return converted


def _decode_tiff(path: Path) -> Decoded:
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        # Reduced pages are thumbnails of the first.
        pages = [page, *(other for other in tiff.pages[1:] if not other.aspage().is_reduced)]
        if len(pages) > 1:
            raise NopairsError(f"{path}: holds {len(pages)} pages; save each as a file of its own")
        _check_size(path, page.imagewidth, page.imagelength)
        _check_tiff_channels(path, page)
        icc = page.iccprofile if page.photometric != tifffile.PHOTOMETRIC.SEPARATED else None
        with path.open("rb") as file:
            exif = Image.Exif()
            exif.bigtiff, exif.endian = tiff.is_bigtiff, tiff.byteorder
            exif.load_from_fp(file, page.offset)
            orientation = exif.get(Base.Orientation, 1)
            exif = _clean_exif(exif, _TIFF_TAGS)
        if page.bitspersample in (1, 8):
            with Image.open(path) as image:
                samples: NDArray[Any] = _pillow_samples(path, image)  # Pillow turns a TIFF upright itself
        else:
            samples = upright(_tiff_samples(path, page), orientation)
    return Decoded(samples, "TIFF", icc, exif)


def _check_tiff_channels(path: Path, page: tifffile.TiffPage) -> None:
    """Refuse extra channels other than one of plain alpha: what another one means is not in the file."""
    if page.extrasamples and page.extrasamples != (tifffile.EXTRASAMPLE.UNASSALPHA,):
        kinds = ", ".join(tifffile.EXTRASAMPLE(kind).name for kind in page.extrasamples)
        raise NopairsError(
            f"{path}: extra channels of kind {kinds}; only one channel of unassociated alpha can be kept"
        )


def _tiff_samples(path: Path, page: tifffile.TiffPage) -> NDArray[Any]:
    """Return the uint16 or float32 samples (H, W, C) of a grey or RGB page as stored, not yet upright."""
    photometric = tifffile.PHOTOMETRIC
    layouts = (photometric.MINISBLACK, photometric.MINISWHITE, photometric.RGB)
    if (str(page.dtype), page.bitspersample) not in _TIFF_DEPTHS or page.photometric not in layouts:
        layout = photometric(page.photometric).name
        raise NopairsError(
            f"{path}: TIFF of {page.bitspersample} bits ({page.dtype}, {layout}) is not supported; "
            "convert it to 8- or 16-bit integers or 32-bit floats, grey or RGB"
        )
    samples = page.asarray()
    axes = page.axes
    if axes == "SYX":
        samples, axes = np.moveaxis(samples, 0, -1), "YXS"
    if axes not in ("YX", "YXS"):
        raise NopairsError(f"{path}: a stack of images ({page.axes}); save each as a file of its own")
    samples = samples.reshape(*samples.shape[:2], -1)
    samples = samples.astype(samples.dtype.newbyteorder("="), copy=False)
    if samples.dtype == np.float32 and not (samples.min() >= 0 and samples.max() <= 1):  # so it is for NaN
        raise NopairsError(f"{path}: float values that are NaN or outside [0, 1]; scale them to [0, 1] first")
    if page.photometric == photometric.MINISWHITE:
        samples[..., 0] = (1 if samples.dtype == np.float32 else 65535) - samples[..., 0]
    return samples


def _clean_exif(exif: Image.Exif, tags: Collection[int] | None = None) -> Image.Exif:
    """Copy EXIF and what it refers to, orientation set to 1; if given, only `tags` of its main directory."""
    clean = Image.Exif()
    for tag, value in exif.items():
        if tags is None or tag in tags:
            clean[tag] = _exif_value(value)
    for directory in _TIFF_DIRECTORIES:
        if directory in clean:
            clean[directory] = {tag: _exif_value(value) for tag, value in exif.get_ifd(directory).items()}
    if IFD.Interop in clean.get(IFD.Exif, {}):
        clean[IFD.Exif][IFD.Interop] = exif.get_ifd(IFD.Interop)
    if Base.Orientation in clean:
        clean[Base.Orientation] = 1
    return clean


def _exif_value(value: Any) -> Any:
    """Return text that is not ASCII as the file's bytes: Pillow reads them as Latin-1, but writes `?`."""
    return value.encode("latin-1") if isinstance(value, str) and not value.isascii() else value


def _encode_png16(path: Path, samples: NDArray[np.uint16], icc: bytes | None, exif: bytes) -> None:
    """Write 16-bit PNG, with its metadata chunks put in between the header and the pixels."""
    data = imagecodecs.png_encode(samples[..., 0] if samples.shape[2] == 1 else samples)
    with path.open("wb") as file:
        file.write(data[:_PNG_HEADER_BYTES])
        if icc:
            putchunk(file, b"iCCP", b"ICC Profile\0\0", zlib.compress(icc))
        if exif:
            putchunk(file, b"eXIf", exif.removeprefix(b"Exif\0\0"))
        file.write(data[_PNG_HEADER_BYTES:])


def _encode_tiff(path: Path, image: Decoded) -> None:
    channels = image.samples.shape[2]
    tifffile.imwrite(
        path,
        image.samples[..., 0] if channels == 1 else image.samples,
        byteorder="<",
        photometric="rgb" if channels >= 3 else "minisblack",
        planarconfig=None if channels == 1 else "contig",
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        compression="zlib",
        iccprofile=image.icc,
        metadata=None,
        software=False,
        extratags=_tiff_extratags(image.exif),
        resolution=(image.exif.get(Base.XResolution, 1), image.exif.get(Base.YResolution, 1)),
        resolutionunit=image.exif.get(Base.ResolutionUnit, _NO_RESOLUTION_UNIT),
    )
    # tifffile writes no directories of tags: their places were reserved, and now they are appended.
    for tag in _TIFF_DIRECTORIES:
        if tag in image.exif:
            _append_tiff_directory(path, tag, image.exif[tag])


def _tiff_extratags(exif: Image.Exif) -> list[tuple[int | str, str, int, Any, bool]]:
    """Return EXIF's main directory as tifffile takes it, with a place kept for each directory below it."""
    tags: list[tuple[int | str, str, int, Any, bool]] = []
    for tag, value in exif.items():
        if tag in _TIFF_TEXT_TAGS:
            text = value.encode() if isinstance(value, str) else bytes(value)
            tags.append((tag, "s", 0, text.rstrip(b"\0") + b"\0", True))
        elif tag in _TIFF_DIRECTORIES:
            # By name, since by number tifffile would not write it. Until the directory is there, it points to
            # the file's first one, so that the file is valid.
            tags.append((_TIFF_DIRECTORIES[IFD(tag)], "I", 1, _TIFF_HEADER_BYTES, True))
    return tags


def _append_tiff_directory(path: Path, tag: int, values: dict[int, Any]) -> None:
    """Append a directory of tags to a TIFF file, and let the reserved `tag` of its page point there."""
    with tifffile.TiffFile(path, mode="r+") as tiff:
        file = tiff.filehandle
        offset = file.seek(0, io.SEEK_END)
        offset += file.write(b"\0" * (offset % 2))  # directories begin at even addresses
        directory = ImageFileDirectory_v2(b"II*\0\0\0\0\0", group=tag)
        for key, value in values.items():
            directory[key] = value
        file.write(directory.tobytes(offset))
        tiff.pages.first.tags[tag].overwrite(offset)
