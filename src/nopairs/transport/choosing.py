"""Which alpha is best on validation images: for PSNR, and for perception."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nopairs.data.tiles import to_tensor, to_uint8
from nopairs.errors import NopairsError
from nopairs.metrics import niqe, quality
from nopairs.metrics.patches import patch_wasserstein
from nopairs.metrics.swd import sliced_wasserstein
from nopairs.transport.dot import Enhancer, blend

# What `perception` means: the sliced Wasserstein distance needs no weights and judges the whole set.
CHOOSES = {"psnr": ("psnr", max), "perception": ("swd", min)}


def score_alphas(
    enhancer: Enhancer,
    restored: Sequence[np.ndarray],
    clean: Sequence[np.ndarray],
    alphas: Sequence[float],
    niqe_model: niqe.NiqeModel | None = None,
) -> list[dict[str, float]]:
    """Return a row an alpha: the mean PSNR and SSIM of the images, SWD and patch distance of their set, and their mean NIQE.

    Args:
        enhancer: the fitted map and its autoencoder.
        restored: uint8 (H, W, 3).
        clean: their truths.
        alphas: what to try.
        niqe_model: without one there is no NIQE.
    """
    pairs = [(image, enhancer.transport(to_tensor(image[None]))) for image in restored]
    rows = []
    for alpha in alphas:
        images = [to_uint8(blend(to_tensor(image[None]), moved, alpha))[0] for image, moved in pairs]
        rows.append({"alpha": alpha, **score(images, clean, niqe_model)})
    return rows


def score(
    images: Sequence[np.ndarray], clean: Sequence[np.ndarray], niqe_model: niqe.NiqeModel | None
) -> dict[str, float]:
    """Return the measures of images uint8 (H, W, 3) against their truths; without their spreads, which cost the most."""
    couples = list(zip(clean, images, strict=True))
    row = {
        "psnr": float(np.mean([quality.psnr(*couple) for couple in couples])),
        "ssim": float(np.mean([quality.ssim(*couple) for couple in couples])),
        "swd": sliced_wasserstein(clean, images, paired=True, draws=2).value,
        "pwd": patch_wasserstein(clean, images, draws=0).value,
    }
    if niqe_model is not None:
        fitting = [image for image in images if min(image.shape[:2]) >= niqe_model.patch]
        scores = [niqe.score(image, niqe_model) for image in fitting]
        row["niqe"] = float(np.nanmean(scores)) if np.isfinite(scores).any() else float("nan")
    return row


def choose(rows: Sequence[dict[str, float]], wanted: str) -> float:
    """Return the alpha that `wanted` says: a number, or one of `CHOOSES`, by the rows that `score_alphas` gave.

    Raises:
        NopairsError: there are no rows to choose by.
    """
    if wanted not in CHOOSES:
        return float(wanted)
    if not rows:
        raise NopairsError(
            f"alpha {wanted}: there were no validation images to choose by, or no alphas to choose from; name a number"
        )
    metric, best = CHOOSES[wanted]
    return best(rows, key=lambda row: row[metric])["alpha"]
