"""All measures of one method on one dataset's test images, as three tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from nopairs.data.images import evenly, read_rgb
from nopairs.data.index import read_index
from nopairs.errors import NopairsError
from nopairs.metrics import inception, niqe, perceptual, quality
from nopairs.metrics.names import NEED_TRUTH
from nopairs.metrics.patches import patch_wasserstein
from nopairs.metrics.swd import sliced_wasserstein

MOST_REFERENCE_TILES = 512  # clean tiles for SWD where the test images have no truth

PairMeasure = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Restoration:
    """A test image: name without suffix, scene, restored version, and truth (None without one)."""

    name: str
    scene: str
    restored: Path
    clean: Path | None


def measure(
    dataset: Path,
    restored: Path,
    metrics: Sequence[str],
    niqe_model: Path | None,
    seed: int,
    withheld: str = "the test images have no clean versions",
    border: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Measure restored test images.

    Args:
        dataset: the dataset's folder.
        restored: folder with a PNG of the same name for every image of test/degraded, or of test/clean where an operator
            observes the test images.
        metrics: which of `names.METRICS`.
        niqe_model: what `niqe.NiqeModel.save` wrote; needed for niqe.
        seed: of SWD's patches and resampling.
        withheld: why test images have no truth, where they have none.
        border: pixels at each edge of the images that are left out of every measure.

    Returns:
        A row an image (image, scene, and a column for each measure that could be had), a row for each
        set-wide measure or each measure that could not be had (metric, value, std, n, note), and a row for each resampling of the
        scenes (draw, and a column for each set-wide measure that has such).

    Raises:
        NopairsError: an image is missing or has another size than its truth, or the model is missing.
    """
    if "niqe" in metrics and niqe_model is None:
        raise NopairsError("niqe: no model given; add --niqe-model, or leave niqe out of --metrics")
    table = read_index(dataset)
    tests = _test_images(table, dataset, restored)
    has_truth = all(test.clean for test in tests)
    pair_measures, notes = _pair_measures(metrics, "" if has_truth else f"not available: {withheld}")
    model = niqe.NiqeModel.load(niqe_model) if "niqe" in metrics and niqe_model else None
    images = pd.DataFrame([_measure_image(test, pair_measures, model, border) for test in tests])
    rows: list[dict[str, object]] = [{"metric": metric, "note": note} for metric, note in notes.items()]
    if model is not None:
        rows += _niqe_notes(images, model)
    draws: dict[str, list[float]] = {}
    if set(metrics) & {"swd", "pwd", *inception.NAMES}:
        of_sets, draws = _measure_sets(metrics, tests, table, dataset, seed, border)
        rows += of_sets
    whole_set = pd.DataFrame(rows, columns=["metric", "value", "std", "n", "note"])
    return images, whole_set.astype({"n": "Int64"}), pd.DataFrame(draws).rename_axis("draw").reset_index()


def _test_images(table: pd.DataFrame, dataset: Path, restored: Path) -> list[Restoration]:
    names = table[table.role == "test"]
    degraded = names[names.path.str.startswith("test/degraded/")]
    degraded = names if degraded.empty else degraded
    if degraded.empty:
        raise NopairsError(f"{dataset}: the index has no test image; nothing to measure")
    truths = set(names.path[names.path.str.startswith("test/clean/")])
    tests = []
    for path, scene in zip(degraded.path, degraded.scene, strict=True):
        name = Path(path).name
        if not (restored / name).is_file():
            raise NopairsError(
                f"{restored / name}: the restored image is missing; restore the whole test set first"
            )
        truth = f"test/clean/{name}"
        tests.append(
            Restoration(Path(name).stem, scene, restored / name, dataset / truth if truth in truths else None)
        )
    return tests


def _pair_measures(metrics: Sequence[str], no_truth: str) -> tuple[dict[str, PairMeasure], dict[str, str]]:
    """Return the measures that compare with the truth, and for those that can't be had, why; `no_truth` says so for all."""
    wanted = [metric for metric in metrics if metric in NEED_TRUTH]
    if no_truth:
        return {}, dict.fromkeys(wanted, no_truth)
    measures: dict[str, PairMeasure] = {}
    notes = {}
    for metric in wanted:
        if metric in ("psnr", "ssim"):
            measures[metric] = {"psnr": quality.psnr, "ssim": quality.ssim}[metric]
        elif reason := perceptual.unavailable(net := "vgg" if metric == "lpips_vgg" else "alex"):
            notes[metric] = reason
        else:
            measures[metric] = perceptual.Lpips(net)
    return measures, notes


def _measure_image(
    test: Restoration, measures: dict[str, PairMeasure], model: niqe.NiqeModel | None, border: int
) -> dict[str, object]:
    row: dict[str, object] = {"image": test.name, "scene": test.scene}
    restored = _read(test.restored, border)
    if test.clean is not None and measures:
        clean = _read(test.clean, border)
        if clean.shape != restored.shape:
            raise NopairsError(
                f"{test.restored}: {restored.shape}, but its truth is {clean.shape}; restore it again"
            )
        row |= {metric: function(clean, restored) for metric, function in measures.items()}
    if model is not None:
        fits = min(restored.shape[:2]) >= model.patch
        row["niqe"] = niqe.score(restored, model) if fits else float("nan")
    return row


def _read(path: Path, border: int) -> np.ndarray:
    """Read an image without its border."""
    image = read_rgb(path)
    if min(image.shape[:2]) <= 2 * border:
        raise NopairsError(
            f"{path}: {image.shape[1]}x{image.shape[0]} pixels, nothing within a border of {border}; make `border:` smaller"
        )
    return image[border : image.shape[0] - border, border : image.shape[1] - border]


def _niqe_notes(images: pd.DataFrame, model: niqe.NiqeModel) -> list[dict[str, object]]:
    if images.niqe.isna().all():
        note = f"not available: no test image has a structured patch of {model.patch} pixels"
    elif model.patches < niqe.ENOUGH_PATCHES:
        note = f"rough: the clean images gave the model only {model.patches} patches of {model.patch} pixels"
    else:
        return []
    return [{"metric": "niqe", "note": note}]


def _measure_sets(
    metrics: Sequence[str],
    tests: Sequence[Restoration],
    table: pd.DataFrame,
    dataset: Path,
    seed: int,
    border: int,
) -> tuple[list[dict[str, object]], dict[str, list[float]]]:
    """Compare the restored images as a set with the clean test images, or for want of them with clean training tiles.

    Returns rows of set.csv, and the distances of the resampled sets.
    """
    wanted = [metric for metric in ("swd", "pwd", *inception.NAMES) if metric in metrics]
    has_truth = all(test.clean for test in tests)
    if has_truth:
        references = [test.clean for test in tests if test.clean]
    else:
        paths = [dataset / path for path in table.path[table.role == "clean"]]
        if not paths:
            note = "not available: the dataset has no clean images"
            return [{"metric": metric, "note": note} for metric in wanted], {}
        references = [paths[i] for i in evenly(len(paths), MOST_REFERENCE_TILES)]
    clean = [_read(path, border if has_truth else 0) for path in references]
    restored = [_read(test.restored, border) for test in tests]
    note = (
        ""
        if has_truth
        else f"against {len(references)} clean training tiles of other scenes, for want of clean test images"
    )
    rows: list[dict[str, object]] = []
    draws: dict[str, list[float]] = {}
    scenes = [test.scene for test in tests]
    for metric in ("swd", "pwd"):
        if metric in wanted:
            distance = (
                sliced_wasserstein(clean, restored, paired=has_truth, seed=seed, scenes=scenes)
                if metric == "swd"
                else patch_wasserstein(clean, restored, seed, scenes=scenes)
            )
            one = {"metric": metric, "value": distance.value, "std": distance.std}
            rows.append({**one, "n": len(restored), "note": note})
            draws |= {metric: distance.draws} if distance.draws else {}
    judged = [metric for metric in wanted if metric in inception.NAMES]
    return rows + (_measure_inception(judged, clean, restored, note) if judged else []), draws


def _measure_inception(
    metrics: Sequence[str], clean: Sequence[np.ndarray], restored: Sequence[np.ndarray], note: str
) -> list[dict[str, object]]:
    if reason := inception.unavailable():
        return [{"metric": metric, "note": reason} for metric in metrics]
    found = inception.measure(clean, restored, metrics)
    return [
        {
            "metric": metric,
            "value": one.value,
            "std": one.std,
            "n": len(restored),
            "note": "; ".join(filter(None, [note, f"from {one.crops} crops"])),
        }
        for metric, one in found.items()
    ]
