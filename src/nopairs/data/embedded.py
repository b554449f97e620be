"""The embedded dataset: colour photographs that come inside scikit-image and matplotlib, split by scene."""

from __future__ import annotations

import importlib.resources
from dataclasses import dataclass
from pathlib import Path

from nopairs.errors import NopairsError


@dataclass(frozen=True)
class EmbeddedPhoto:
    """One photograph: its scene, its role, the package and path that hold it, and the scale at which it is used."""

    scene: str
    role: str
    package: str
    path: str
    scale: float = 1.0

    @property
    def name(self) -> str:
        """File name without suffix, unique within the dataset."""
        return Path(self.path).stem

    def locate(self) -> Path:
        """Return the installed file; raises NopairsError when the package no longer ships it."""
        file = Path(str(importlib.resources.files(self.package))) / self.path
        if not file.is_file():
            raise NopairsError(
                f"{self.package}/{self.path}: not in the installed package; use the locked version"
            )
        return file


# No scene has two roles; the stereo pair is one scene. JPEG sources are halved, so that their own compression and grain
# do not count as content. Test photos are lossless and at their own size. The grey photos widen the clean half, which is
# short of scenes. The Hubble deep field is left out: nine tenths of it are dark grain, which would teach networks to keep grain.
PHOTOS = (
    EmbeddedPhoto("motorcycle", "clean", "skimage", "data/motorcycle_left.png"),
    EmbeddedPhoto("motorcycle", "clean", "skimage", "data/motorcycle_right.png"),
    EmbeddedPhoto("cameraman", "clean", "skimage", "data/camera.png"),
    EmbeddedPhoto("brick", "clean", "skimage", "data/brick.png"),
    EmbeddedPhoto("grass", "clean", "skimage", "data/grass.png"),
    EmbeddedPhoto("gravel", "clean", "skimage", "data/gravel.png"),
    EmbeddedPhoto("tissue", "degraded", "skimage", "data/ihc.png"),
    EmbeddedPhoto("retina", "degraded", "skimage", "data/retina.jpg", 0.5),
    EmbeddedPhoto("rocket", "degraded", "skimage", "data/rocket.jpg", 0.5),
    EmbeddedPhoto("hopper", "val", "matplotlib", "mpl-data/sample_data/grace_hopper.jpg", 0.5),
    EmbeddedPhoto("astronaut", "test", "skimage", "data/astronaut.png"),
    EmbeddedPhoto("cat", "test", "skimage", "data/chelsea.png"),
    EmbeddedPhoto("coffee", "test", "skimage", "data/coffee.png"),
)
