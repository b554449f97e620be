"""Transport of a user's photos: fitted on two folders, applied to files of any kind and size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nopairs.data.images import Photo, evenly, list_images, load_photo
from nopairs.models import save_model, weights_digest
from nopairs.transport.dot import Codec, DotOptions, Enhancer, fit
from nopairs.transport.loading import DIGEST

# Pixels a side of what statistics are taken from, the middle of larger photos: it has patches enough, and memory is flat.
LARGEST = 1024
Restore = Callable[[torch.Tensor], torch.Tensor]


def fit_on_photos(
    autoencoder: torch.nn.Module,
    restored: Sequence[Path],
    natural: Path,
    restore: Restore,
    patch: int,
    images: int,
    tile: int,
) -> tuple[Enhancer, list[str]]:
    """Fit a map of restored to natural photos.

    Args:
        autoencoder: in whose latents.
        restored: files or folders.
        natural: a file or a folder.
        restore: applied to the restored ones first: they may be degraded yet. Images are (1, 3, H, W) in [0, 1].
        patch: side of a patch of latents.
        images: photos of each side, at most, evenly spread.
        tile: of the enhancer.

    Returns:
        The enhancer, and what a user should know of the fit.

    Raises:
        NopairsError: a folder has no image, or one cannot be read.
    """
    codec = Codec(autoencoder)

    def latents(paths: Sequence[Path], before: Restore) -> Iterator[torch.Tensor]:
        found = [path for one in paths for path in list_images(one)]
        for place in evenly(len(found), images):
            yield codec.latents_of(before(_middle(load_photo(found[place]))))

    options = DotOptions(patch=patch, images=images)
    dot, facts = fit(latents(restored, restore), latents([natural], lambda image: image), options)
    return Enhancer(dot, autoencoder, tile=tile), facts.remarks(len(dot.source_mean))


def enhance_photo(enhancer: Enhancer, photo: Photo, alpha: float, restore: Restore) -> NDArray[Any]:
    """Return the moved photo as samples of its file's type, (H, W, C); its alpha channel is kept."""
    moved = enhancer(restore(_pixels(photo, *map(np.arange, photo.samples.shape[:2]))), alpha)
    return photo.as_stored(moved[0].permute(1, 2, 0).numpy())


def save_fit(folder: Path, enhancer: Enhancer, autoencoder: str) -> None:
    """Keep a fitted map for further photos, with the name of its autoencoder."""
    dot = enhancer.dot
    facts = {"autoencoder": autoencoder, DIGEST: weights_digest(enhancer.codec.model)}
    save_model(folder, "transport", "dot", vars(dot.options), dot.state_dict(), facts)


def _middle(photo: Photo) -> torch.Tensor:
    places = [
        np.arange(start := (side - min(side, LARGEST)) // 2, start + min(side, LARGEST))
        for side in photo.samples.shape[:2]
    ]
    return _pixels(photo, *places)


def _pixels(photo: Photo, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> torch.Tensor:
    return torch.from_numpy(photo.rgb(rows, columns)).permute(2, 0, 1)[None]
