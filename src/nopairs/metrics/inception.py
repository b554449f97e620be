"""FID, KID and IS by the `torch-fidelity` package, from Inception weights that are on this machine, or not at all."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import Dataset

from nopairs import hub
from nopairs.errors import NopairsError
from nopairs.torch_compat import make_torchvision_importable

# torch-fidelity's name of the converted weights of 2015; it ends in the first digits of their SHA-256.
WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"
CROP = 256  # pixels a side of what is judged, less where images are smaller
MOST_KID = 1000  # samples of a subset of KID's, the package's default; of fewer crops half, since subsets of all would not differ
NAMES = {"fid": "frechet_inception_distance", "kid": "kernel_inception_distance", "is": "inception_score"}


@dataclass(frozen=True)
class Inception:
    """A measure of a whole set, its spread (nan where there is none), and how many crops it is from."""

    value: float
    std: float
    crops: int


def unavailable() -> str | None:
    """Return why these measures can't be had here, or None when they can."""
    reason = hub.missing(WEIGHTS)
    return reason and f"not available: {reason}"


def crops(images: Sequence[np.ndarray], side: int) -> np.ndarray:
    """Cut uint8 images (H, W, 3) into whole squares side by side, from their middle: (n, 3, side, side)."""
    cut = []
    for image in images:
        rows, columns = (length // side for length in image.shape[:2])
        top, left = ((length % side) // 2 for length in image.shape[:2])
        whole = image[top : top + rows * side, left : left + columns * side]
        squares = whole.reshape(rows, side, columns, side, 3).transpose(0, 2, 4, 1, 3)
        cut.append(squares.reshape(-1, 3, side, side))
    return np.concatenate(cut)


def measure(
    reference: Sequence[np.ndarray], images: Sequence[np.ndarray], metrics: Sequence[str]
) -> dict[str, Inception]:
    """Measure crops of uint8 images (H, W, 3) against crops of reference images; IS looks at the former alone.

    Args:
        reference: clean images.
        images: what is judged.
        metrics: which of `NAMES`.

    Raises:
        NopairsError: the weights are not on this machine (see `unavailable`), or hold more than tensors.
    """
    if reason := unavailable():
        raise NopairsError(f"{', '.join(metrics)}: {reason}")
    try:  # the package itself would load an unrestricted pickle
        torch.load(hub.weight_file(WEIGHTS), map_location="cpu", weights_only=True)
    except Exception:
        raise NopairsError(f"{hub.weight_file(WEIGHTS)}: holds more than tensors; replace it") from None
    make_torchvision_importable()
    import torch_fidelity

    side = min(CROP, *(min(image.shape[:2]) for image in (*reference, *images)))
    judged, truth = crops(images, side), crops(reference, side)
    smallest = min(len(judged), len(truth))
    with warnings.catch_warnings():  # the package calls torch in deprecated ways
        warnings.simplefilter("ignore")
        found = torch_fidelity.calculate_metrics(
            input1=_Crops(judged),
            input2=_Crops(truth),
            cuda=torch.cuda.is_available(),
            isc="is" in metrics,
            fid="fid" in metrics,
            kid="kid" in metrics,
            isc_splits=min(10, len(judged)),
            kid_subset_size=min(MOST_KID, max(2, smallest // 2)),
            batch_size=min(32, smallest),
            cache=False,
            verbose=False,
            feature_extractor_weights_path=str(hub.weight_file(WEIGHTS)),
        )
    keys = {"fid": NAMES["fid"], "kid": f"{NAMES['kid']}_mean", "is": f"{NAMES['is']}_mean"}
    return {
        metric: Inception(
            float(found[keys[metric]]), float(found.get(f"{NAMES[metric]}_std", "nan")), len(judged)
        )
        for metric in metrics
    }


class _Crops(Dataset):
    """Crops as the package takes them: uint8 tensors (3, side, side)."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(self.pixels[index]))
