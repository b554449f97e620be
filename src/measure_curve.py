"""Measure a transport at every alpha on the test images, and cut crops of some of them, for the figure and the report's slider."""

import argparse
import sys
from pathlib import Path

import numpy as np
import yaml

from nopairs import command
from nopairs.data.images import read_rgb, write_png
from nopairs.data.showing import choose_images, zoom_box
from nopairs.data.tiles import to_tensor, to_uint8
from nopairs.errors import NopairsError
from nopairs.files import atomic_folder, write_csv, write_json
from nopairs.metrics.niqe import NiqeModel
from nopairs.training import hardware
from nopairs.transport.choosing import score, score_alphas
from nopairs.transport.dot import blend
from nopairs.transport.loading import load_autoencoder, load_transport

CROP = 160  # pixels a side
SHOWN = 3  # images whose crops are kept


def main(args: argparse.Namespace) -> None:
    device = hardware.start(args)
    names = sorted(path.name for path in (args.dataset / "test" / "clean").glob("*.png"))
    if not names:
        raise NopairsError(f"{args.dataset}: no clean test images to measure against")
    clean = [read_rgb(args.dataset / "test" / "clean" / name) for name in names]
    restored = [read_rgb(args.restored / name) for name in names]
    alphas = sorted({*yaml.safe_load(args.alphas), 0.0, 1.0})
    model = NiqeModel.load(args.niqe_model) if args.niqe_model else None
    enhancer = load_transport(args.model, load_autoencoder(args.autoencoder).to(device))
    rows = [{"point": "alpha", **row} for row in score_alphas(enhancer, restored, clean, alphas, model)]
    rows.append({"point": "clean", **score(clean, clean, model)})
    shown = {name: names.index(name) for name in choose_images(args.dataset, SHOWN)}
    with atomic_folder(args.crops) as folder:
        for name, k in shown.items():
            write_crops(folder / Path(name).stem, clean[k], restored[k], alphas, enhancer.transport)
    write_csv(args.out, rows)


def write_crops(
    folder: Path, clean: np.ndarray, restored: np.ndarray, alphas: list[float], transport
) -> None:
    """Write the same square of the clean image and of every alpha: clean.png and 00.png, 01.png ..., by crops.json's alphas."""
    box = zoom_box(clean, min(CROP, *clean.shape[:2]))
    folder.mkdir(parents=True)
    write_png(folder / "clean.png", box.cut(clean))
    image = to_tensor(restored[None])
    moved = transport(image)
    for k, alpha in enumerate(alphas):
        write_png(folder / f"{k:02d}.png", box.cut(to_uint8(blend(image, moved, alpha))[0]))
    write_json(folder / "crops.json", {"alphas": alphas, "x": box.x, "y": box.y, "size": box.size})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder that fit_transport.py wrote")
    parser.add_argument(
        "--autoencoder", required=True, help="folder of a trained one, or an entry (kind, options) as JSON"
    )
    parser.add_argument("--dataset", type=Path, required=True, help="the dataset's folder")
    parser.add_argument("--restored", type=Path, required=True, help="folder of restored test PNGs")
    parser.add_argument("--alphas", required=True, help="what to measure, as a JSON list; 0 and 1 always are")
    parser.add_argument("--niqe-model", type=Path, help="written by fit_niqe.py; without it there is no NIQE")
    hardware.add_arguments(parser)
    parser.add_argument("--crops", type=Path, required=True, help="folder for the crops")
    parser.add_argument(
        "--out", type=Path, required=True, help="CSV: a row an alpha, and one of the clean images"
    )
    sys.exit(command.run(main, parser))
