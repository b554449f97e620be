"""A small results tree in the workflow's own layout, for the tests of figures and report.

Everything in it is made up from scikit-image's photos and seeded random numbers: it says nothing of a method.
Run as a script to look at a report of it: ``python tests/report_fixture.py FOLDER``.
"""

from __future__ import annotations

import hashlib
import json
import runpy
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from nopairs.files import write_csv, write_json

DATASET = "photos"
METHODS = {
    "nlm": (0.55, 0.6),
    "bm3d": (0.42, 0.5),
    "awgn+dncnn": (0.5, 0.35),
    "awgn_tuned+dncnn": (0.3, 0.4),
    "ludvae+dncnn": (0.22, 0.3),
    "supervised+dncnn": (0.15, 0.25),
}
SOURCES = {"real": (0.6, 1.0), "ludvae": (0.55, 0.95), "awgn_tuned": (0.0, 1.0), "awgn": (0.0, 2.4)}
LPIPS_NOTE = (
    "lpips: no AlexNet weights at /home/someone/.cache/lpips/alex.pth; put them there and measure again"
)
RULEGRAPH = """digraph snakemake_dag {
    graph[bgcolor=white, margin=0];
    node[shape=box, style=rounded, fontname=sans, fontsize=10, penwidth=2];
    edge[penwidth=2, color=grey];
    0[label = "all", color = "0.00 0.6 0.85", style="rounded"];
    1[label = "report", color = "0.10 0.6 0.85", style="rounded"];
    2[label = "table", color = "0.15 0.6 0.85", style="rounded"];
    3[label = "measure", color = "0.20 0.6 0.85", style="rounded"];
    4[label = "restore", color = "0.25 0.6 0.85", style="rounded"];
    5[label = "train_restorer", color = "0.30 0.6 0.85", style="rounded"];
    6[label = "sample_pairs", color = "0.35 0.6 0.85", style="rounded"];
    7[label = "train_degradation", color = "0.40 0.6 0.85", style="rounded"];
    8[label = "preprocess", color = "0.45 0.6 0.85", style="rounded"];
    9[label = "download", color = "0.50 0.6 0.85", style="rounded"];
    10[label = "sample_noise", color = "0.55 0.6 0.85", style="rounded"];
    11[label = "plot_noise", color = "0.60 0.6 0.85", style="rounded"];
    12[label = "plot_comparison", color = "0.65 0.6 0.85", style="rounded"];
    13[label = "plot_losses", color = "0.70 0.6 0.85", style="rounded"];
    14[label = "plot_table", color = "0.75 0.6 0.85", style="rounded"];
    15[label = "restore_classical", color = "0.75 0.6 0.85", style="rounded"];
    1 -> 0\n    2 -> 0\n    2 -> 1\n    11 -> 1\n    12 -> 1\n    13 -> 1
    14 -> 1\n    3 -> 2\n    4 -> 3\n    8 -> 3\n    15 -> 3\n    5 -> 4
    8 -> 4\n    6 -> 5\n    8 -> 5\n    7 -> 6\n    8 -> 6\n    8 -> 7
    9 -> 8\n    7 -> 10\n    8 -> 10\n    10 -> 11\n    4 -> 12\n    15 -> 12
    8 -> 12\n    5 -> 13\n    7 -> 13\n    2 -> 14\n    8 -> 15
}
"""


MOVED = "ludvae+dncnn+dot"


@dataclass(frozen=True)
class Tree:
    """Where the parts of the made-up results lie."""

    root: Path

    @property
    def dataset(self) -> Path:
        return self.root / "data" / DATASET

    @property
    def table(self) -> Path:
        return self.root / "tables" / "denoising.csv"

    def restored(self, method: str) -> Path:
        return self.root / "restored" / DATASET / method / "seed0"

    def noise(self, source: str) -> Path:
        return self.root / "noise" / DATASET / source / "seed0"

    def log(self, model: str, seed: int = 0) -> Path:
        return self.root / "models" / DATASET / model / f"seed{seed}" / "log.csv"

    def transport(self, method: str) -> Path:
        return self.root / "transport" / DATASET / method / "seed0"

    def figure(self, name: str) -> Path:
        return self.root / "figures" / DATASET / f"{name}.png"


def photos(size: int = 192) -> dict[str, np.ndarray]:
    """Four colour photos of scikit-image's wheel, cut to `size`; 8-bit."""
    corners = {"astronaut": (20, 130), "chelsea": (40, 110), "coffee": (60, 200), "rocket": (120, 240)}
    return {
        name: getattr(data, name)()[y : y + size, x : x + size, :3].copy() for name, (y, x) in corners.items()
    }


def camera_noise(clean: np.ndarray, sigma: float, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Signal-dependent noise, smoothed by `sigma` pixels and partly shared by the channels; 8-bit."""
    white = rng.normal(size=clean.shape) + 0.5 * rng.normal(size=(*clean.shape[:2], 1))
    smooth = gaussian_filter(white, (sigma, sigma, 0)) if sigma else white
    level = np.sqrt(0.0004 + 0.006 * clean / 255) if sigma else np.full_like(clean, 0.05, dtype=float)
    return _bytes(clean / 255 + strength * level * smooth / smooth.std())


def _bytes(image: np.ndarray) -> np.ndarray:
    return np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)


def write(root: Path, *, paired: bool = True) -> Tree:
    """Write the tree below `root`; without `paired` there is no truth and nothing that needs one."""
    tree, rng = Tree(root), np.random.default_rng(0)
    clean = photos()
    degraded = {name: camera_noise(image, 0.6, 1.0, rng) for name, image in clean.items()}
    chosen = [name for name in METHODS if paired or name != "supervised+dncnn"]
    restored = {
        name: {photo: _restore(clean[photo], degraded[photo], *METHODS[name]) for photo in clean}
        for name in chosen
    }
    _save_images(tree.dataset / "test" / "degraded", degraded)
    if paired:
        _save_images(tree.dataset / "test" / "clean", clean)
    for name, images in restored.items():
        _save_images(tree.restored(name), images)
    _write_index(tree.dataset)
    _write_noise(tree, clean, rng)
    _write_logs(tree, rng, paired=paired)
    _write_table(tree, clean, {"input": degraded, **restored}, rng, paired=paired)
    if paired:
        _write_transport(tree, clean, restored["ludvae+dncnn"])
    _write_run(tree, rng)
    return tree


def _write_transport(tree: Tree, clean: dict[str, np.ndarray], restored: dict[str, np.ndarray]) -> None:
    """A transport that sharpens: its curve over alpha, and crops of two images."""
    folder, alphas = tree.transport(MOVED), [-0.5, 0.0, 0.5, 1.0, 1.5]
    rows: list[dict[str, object]] = [
        {"point": "alpha", "alpha": a, "psnr": 30 - (a - 0.9) ** 2, "swd": 5 + 4 * a, "niqe": 4 + a}
        for a in alphas
    ]
    write_csv(folder / "curve.csv", [*rows, {"point": "clean", "psnr": np.inf, "swd": 0, "niqe": 3.5}])
    for name in ("astronaut", "coffee"):
        crops = folder / "crops" / name
        sharp = 2.0 * restored[name] - gaussian_filter(restored[name].astype(float), (1, 1, 0))
        moved = {
            f"{k:02d}": _bytes((a * restored[name] + (1 - a) * sharp) / 255) for k, a in enumerate(alphas)
        }
        _save_images(crops, {key: image[:64, :64] for key, image in {**moved, "clean": clean[name]}.items()})
        write_json(crops / "crops.json", {"alphas": alphas, "x": 0, "y": 0, "size": 64})


def _restore(clean: np.ndarray, degraded: np.ndarray, residue: float, blur: float) -> np.ndarray:
    noise = degraded.astype(float) - clean
    return _bytes((gaussian_filter(clean.astype(float), (blur, blur, 0)) + residue * noise) / 255)


def _save_images(folder: Path, images: dict[str, np.ndarray]) -> None:
    folder.mkdir(parents=True)
    for name, image in images.items():
        Image.fromarray(image).save(folder / f"{name}.png")


def _write_index(folder: Path) -> None:
    rows = []
    for path in sorted(folder.rglob("*.png")):
        name, digest = path.stem, hashlib.sha256(path.read_bytes()).hexdigest()
        with Image.open(path) as image:
            width, height = image.size
        rows.append((path.relative_to(folder).as_posix(), "test", name, name, name, height, width, digest))
    columns = ["path", "role", "photo", "scene", "pair", "height", "width", "sha256"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "index.csv", index=False)


def _write_noise(tree: Tree, clean: dict[str, np.ndarray], rng: np.random.Generator) -> None:
    strip = np.concatenate([image[60:124, 60:124] for image in clean.values()], axis=1)
    for source, (sigma, strength) in SOURCES.items():
        noisy = camera_noise(strip, sigma, strength, rng)
        folder = tree.noise(source)
        _save_images(folder, {"clean": strip, "degraded": noisy})
        (folder / "noise.json").write_text(json.dumps(_noise_statistics(strip / 255, noisy / 255)))


def _noise_statistics(clean: np.ndarray, degraded: np.ndarray) -> dict[str, object]:
    noise = (degraded - clean)[:, :64]
    power = np.abs(np.fft.fft2(noise, axes=(0, 1))) ** 2 / 64**2
    frequency = np.fft.fftfreq(64)
    radius = np.hypot(frequency[:, None], frequency)
    edges = np.linspace(0, 0.5, 21)
    rings = [(radius > low) & (radius <= high) for low, high in pairwise(edges)]
    lags = np.fft.fftshift(np.fft.ifft2(power, axes=(0, 1)).real.mean(axis=2))[27:38, 27:38]
    everything = degraded - clean
    level = np.linspace(0.025, 0.975, 20)
    std = [[_bin_std(clean[..., c], everything[..., c], middle) for middle in level] for c in range(3)]
    return {
        "power_spectrum": {
            "frequency": ((edges[:-1] + edges[1:]) / 2).tolist(),
            "power": [[power[..., c][ring].mean() for ring in rings] for c in range(3)],
        },
        "intensity": {"level": level.tolist(), "std": std},
        "autocorrelation": (lags / lags.max()).tolist(),
        "channel_correlation": np.corrcoef(everything.reshape(-1, 3).T).tolist(),
        "std": everything.std(axis=(0, 1)).tolist(),
    }


def _bin_std(clean: np.ndarray, noise: np.ndarray, middle: float) -> float | None:
    chosen = noise[np.abs(clean - middle) <= 0.025]
    return float(chosen.std()) if chosen.size >= 100 else None


def _write_logs(tree: Tree, rng: np.random.Generator, *, paired: bool) -> None:
    step = np.arange(10, 1501, 10)
    models = {"ludvae": 0.06, "awgn+dncnn": 0.02, "awgn_tuned+dncnn": 0.012, "ludvae+dncnn": 0.009}
    for model, start in (models | {"supervised+dncnn": 0.008} if paired else models).items():
        for seed in (0, 1) if model == "ludvae+dncnn" else (0,):
            loss = start * (0.08 + np.exp(-step / 150)) * np.exp(0.15 * rng.normal(size=len(step)))
            log = pd.DataFrame({"step": step, "loss": loss, "lr": 1e-3, "seconds": step * 0.21})
            if "+" in model and paired:
                psnr = 31 - 5 * np.exp(-step / 300) + 0.1 * rng.normal(size=len(step)) - 20 * start
                log["val_psnr"] = np.where(step % 150 == 0, psnr, np.nan)
            tree.log(model, seed).parent.mkdir(parents=True)
            log.to_csv(tree.log(model, seed), index=False)


def _write_table(tree: Tree, clean: dict, outputs: dict, rng: np.random.Generator, *, paired: bool) -> None:
    rows = []
    scores = {method: _scores(clean, images, rng, paired=paired) for method, images in outputs.items()}
    for method, metrics in scores.items():
        for metric, values in metrics.items():
            rows.append(_table_row(method, metric, values, scores))
        if paired:
            rows.append({"method": method, "metric": "lpips", "note": LPIPS_NOTE})
    table = pd.DataFrame(rows)
    table.insert(0, "dataset", DATASET)
    table.insert(0, "table", "denoising")
    tree.table.parent.mkdir(parents=True)
    table.to_csv(tree.table, index=False)


def _scores(clean: dict, images: dict, rng: np.random.Generator, *, paired: bool) -> dict[str, np.ndarray]:
    sharpness = [float(np.abs(np.diff(image.astype(float), axis=0)).mean()) for image in images.values()]
    scores = {"niqe": 3 + np.array(sharpness) / 4}
    if paired:
        pairs = [(clean[name], image) for name, image in images.items()]
        scores["psnr"] = np.array([peak_signal_noise_ratio(a, b, data_range=255) for a, b in pairs])
        scores["ssim"] = np.array(
            [structural_similarity(a, b, channel_axis=2, data_range=255) for a, b in pairs]
        )
        scores["swd"] = (50 - scores["psnr"]) / 1000 + 0.001 * rng.random(len(pairs))
    return scores


def _table_row(method: str, metric: str, values: np.ndarray, scores: dict) -> dict[str, object]:
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    sign = 1 if metric in ("psnr", "ssim") else -1
    others = [other for other in scores if other not in (method, "supervised+dncnn")]
    rival = max(others, key=lambda other: sign * scores[other][metric].mean())
    difference = values - scores[rival][metric]
    spread = 1.96 * difference.std(ddof=1) / np.sqrt(len(difference))
    published = {"ludvae+dncnn": 34.91, "supervised+dncnn": 36.83, "bm3d": 25.65} if metric == "psnr" else {}
    return {
        "method": method,
        "metric": metric,
        "mean": values.mean(),
        "std": values.std(ddof=1),
        "n": len(values),
        "seeds": 1,
        "ci_low": values.mean() - half,
        "ci_high": values.mean() + half,
        "rival": rival,
        "difference": difference.mean(),
        "difference_low": difference.mean() - spread,
        "difference_high": difference.mean() + spread,
        "published": published.get(method),
        "source": "LUD-VAE, Table 2 (SIDD benchmark)" if method in published else None,
        "note": "descriptive: fewer than five scenes",
    }


def _write_run(tree: Tree, rng: np.random.Generator) -> None:
    config = {
        "datasets": {DATASET: {"clean": "/home/someone/pictures/clean", "crop": 64, "seeds": [0]}},
        "methods": {name: {"restorer": "dncnn", "steps": 1500} for name in METHODS},
        "degradations": {"supervised": {"kind": "real_pairs"}},
        "tables": {"denoising": {"dataset": DATASET, "metrics": ["psnr", "ssim", "lpips", "swd", "niqe"]}},
    }
    (tree.root / "config.json").write_text(json.dumps(config))
    (tree.root / "rulegraph.dot").write_text(RULEGRAPH)
    columns = [
        "s",
        "h:m:s",
        "max_rss",
        "max_vms",
        "max_uss",
        "max_pss",
        "io_in",
        "io_out",
        "mean_load",
        "cpu_time",
    ]
    for rule in ("train_degradation", "sample_pairs", "train_restorer", "restore", "measure"):
        for job in range(3):
            seconds, memory = float(rng.uniform(2, 300)), float(rng.uniform(300, 1500))
            path = tree.root / "benchmarks" / rule / DATASET / f"job{job}.tsv"
            path.parent.mkdir(parents=True, exist_ok=True)
            row = [seconds, "0:00:01", memory, memory, memory, memory, 0, 0, 180, seconds * 1.8]
            pd.DataFrame([row], columns=columns).to_csv(path, sep="\t", index=False)
    # Snakemake writes dashes for jobs that end before it first looks.
    quick = tree.root / "benchmarks" / "plot_table" / "denoising.tsv"
    quick.parent.mkdir(parents=True)
    pd.DataFrame([[0.4, "0:00:00", *"--------"]], columns=columns).to_csv(quick, sep="\t", index=False)


def run_script(name: str, *arguments: str | Path) -> int:
    """Run ``src/<name>.py`` in this process, as from the command line; return its exit status."""
    script = Path(__file__).parents[1] / "src" / f"{name}.py"
    with mock.patch.object(sys, "argv", [str(script), *map(str, arguments)]):
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as end:
            return int(end.code or 0)
    return 0


def methods(tree: Tree) -> list[str]:
    """The methods that the tree has restored images of, in the table's order."""
    return [method for method in METHODS if tree.restored(method).exists()]


def draw_figures(tree: Tree) -> dict[str, Path]:
    """Draw all figures by their scripts; return them by the report's names."""
    figures = {
        "table/denoising": tree.figure("denoising"),
        "comparison/photos": tree.figure("comparison").with_suffix(""),
        "noise_patches": tree.figure("noise_patches"),
        "noise_statistics": tree.figure("noise_statistics"),
        "losses": tree.figure("losses"),
    }
    models = tree.root / "models" / DATASET
    logs = [f"{p.parent.relative_to(models).as_posix()}={p}" for p in sorted(models.rglob("log.csv"))]
    sources = [f"{source}={tree.noise(source)}" for source in SOURCES]
    restored = [f"{method}={tree.restored(method)}" for method in methods(tree)]
    patches, statistics = figures["noise_patches"], figures["noise_statistics"]
    comparison = ["--restored", *restored, "--out", figures["comparison/photos"]]
    assert run_script("plot_losses", "--log", *logs, "--out", figures["losses"]) == 0
    assert (
        run_script("plot_noise", "--noise", *sources, "--patches", patches, "--statistics", statistics) == 0
    )
    assert run_script("plot_comparison", "--dataset-dir", tree.dataset, *comparison) == 0
    if tree.transport(MOVED).exists():
        figures["perception_distortion"] = tree.figure("perception_distortion")
        moved = f"{MOVED}={tree.transport(MOVED)}"
        assert (
            run_script("plot_perception", "--transport", moved, "--out", figures["perception_distortion"])
            == 0
        )
    assert run_script("plot_table", "--table", tree.table, "--out", figures["table/denoising"]) == 0
    return figures


def write_report(tree: Tree, figures: dict[str, Path]) -> Path:
    """Write the report by its script; return its path."""
    out = tree.root / "report.html"
    restored = [f"{DATASET}/{method}={tree.restored(method)}" for method in methods(tree)]
    arguments = ["--config", tree.root / "config.json", "--table", f"denoising={tree.table}"]
    arguments += ["--figure", *(f"{name}={path}" for name, path in figures.items())]
    arguments += ["--dataset-dir", f"{DATASET}={tree.dataset}", "--restored", *restored]
    arguments += ["--benchmarks", tree.root / "benchmarks", "--rulegraph", tree.root / "rulegraph.dot"]
    if tree.transport(MOVED).exists():
        arguments += ["--transport", f"{MOVED}={tree.transport(MOVED)}"]
    assert run_script("report", *arguments, "--out", out) == 0
    return out


if __name__ == "__main__":
    for folder, has_pairs in (("paired", True), ("unpaired", False)):
        written = write(Path(sys.argv[1]) / folder, paired=has_pairs)
        print(write_report(written, draw_figures(written)))
