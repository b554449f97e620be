"""Images that another tool has restored, as a restorer: files by their names, nothing is computed."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from nopairs.data.images import evenly, list_images, read_rgb
from nopairs.errors import NopairsError


@dataclass(frozen=True)
class FolderOptions:
    """Where the images lie.

    test: restored versions of the test images, PNGs with the names that those have in the dataset.
    statistics: restored images of other photos, of any names, that a transport is fitted on; needed for one.
    """

    test: str
    statistics: str = ""
    image_folders: ClassVar[tuple[str, ...]] = ("test", "statistics")


class Folder(nn.Module):
    """Hands out what lies in two folders; it can restore nothing else, so that no alpha can be chosen on `val`."""

    Options = FolderOptions
    learned = False
    multiple = 1
    margin = 0

    def __init__(self, options: FolderOptions) -> None:
        super().__init__()
        self.options = options

    def restored(self, name: str) -> np.ndarray:
        """Return the restored version of a test image, uint8 (H, W, 3); raises NopairsError where it is missing."""
        path = Path(self.options.test) / name
        if not path.is_file():  # test images have composed letters, whatever their photos had
            same = [
                other for other in path.parent.glob("*") if unicodedata.normalize("NFC", other.name) == name
            ]
            path = same[0] if same else path
        if not path.is_file():
            raise NopairsError(f"{path}: no such restored image; every test image needs one of its name")
        return read_rgb(path)

    def others(self, count: int) -> list[np.ndarray]:
        """Return up to `count` images for a transport's statistics, evenly spread; raises NopairsError where there are none."""
        if not self.options.statistics:
            raise NopairsError(
                "folder: no `statistics:`; name a folder of restored images to fit a transport on"
            )
        paths = list_images(self.options.statistics)
        return [read_rgb(paths[place]) for place in evenly(len(paths), count)]

    def forward(self, degraded: torch.Tensor) -> torch.Tensor:
        """Raise NopairsError: there are only the files."""
        raise NopairsError("folder: holds restored images, and cannot restore others")
