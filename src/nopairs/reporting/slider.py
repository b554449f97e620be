"""The test images of the report's before/after slider, compressed and inlined."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from nopairs.data.showing import Pixels, choose_images
from nopairs.errors import NopairsError
from nopairs.metrics.quality import psnr
from nopairs.reporting.reading import read_versions

# A page of a few megabytes: so many images a dataset, none larger than so many pixels a side.
_MAX_IMAGES = 6
_MAX_SIDE = 512
_QUALITY = 95


def slider_images(dataset: Path, restored: Mapping[str, Path]) -> list[dict[str, Any]]:
    """Return some test images of a dataset folder with every method's version, ready for the page's script.

    Each has ``name``, ``width``, ``height``, ``cut`` (whether it is the centre of a larger image) and
    ``versions``: ``label``, ``src`` (a data address) and ``psnr`` (dB, whole image, 8-bit RGB; None without
    truth), in the order input (where there is one), methods, clean. Images of different scenes are preferred.
    Raises NopairsError where a method lacks an image or has it in another size.
    """
    return [_image(dataset, name, restored) for name in choose_images(dataset, _MAX_IMAGES)]


def _image(dataset: Path, name: str, restored: Mapping[str, Path]) -> dict[str, Any]:
    degraded, images, clean = read_versions(dataset, name, restored)
    images = ({"input": degraded} if degraded is not None else {}) | images
    first, shown = next(iter(images.items()))
    for method, image in images.items():
        if image.shape != shown.shape:
            raise NopairsError(f"{method}, {name}: its size differs from that of {first}; restore it again")
    height, width = shown.shape[:2]
    versions = [
        {"label": label, "src": jpeg_address(_centre(image)), "psnr": _decibels(clean, image)}
        for label, image in images.items()
    ]
    if clean is not None:
        versions.append({"label": "clean", "src": jpeg_address(_centre(clean)), "psnr": None})
    return {
        "name": Path(name).stem,
        "width": min(width, _MAX_SIDE),
        "height": min(height, _MAX_SIDE),
        "cut": max(width, height) > _MAX_SIDE,
        "versions": versions,
    }


def _decibels(clean: Pixels | None, image: Pixels) -> float | None:
    """Return the PSNR for the page; None without truth, and for equal images, since JSON has no infinity."""
    value = math.inf if clean is None else psnr(clean, image)
    return round(value, 2) if math.isfinite(value) else None


def _centre(image: Pixels) -> Pixels:
    top, left = (max(0, (side - _MAX_SIDE) // 2) for side in image.shape[:2])
    return image[top : top + _MAX_SIDE, left : left + _MAX_SIDE]


def jpeg_address(image: Pixels) -> str:
    """Return 8-bit RGB pixels as a JPEG data address, colour at full resolution, since noise is colourful."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=_QUALITY, subsampling=0, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
