"""Move restored images towards natural ones by a fitted transport, at a number alpha or at the one that was best on `val`."""

import argparse
import sys
from pathlib import Path

import pandas as pd

from nopairs import command
from nopairs.data.images import read_rgb, write_png
from nopairs.data.tiles import to_tensor, to_uint8
from nopairs.errors import NopairsError
from nopairs.files import atomic_folder, read_json, write_json
from nopairs.training import hardware
from nopairs.transport.choosing import CHOOSES, choose
from nopairs.transport.loading import load_autoencoder, load_transport


def main(args: argparse.Namespace) -> None:
    device = hardware.start(args)
    images = sorted(args.restored.glob("*.png"))
    if not images:
        raise NopairsError(f"{args.restored}: no PNG images to move; restore them first")
    chosen = args.alpha in CHOOSES
    alpha = choose(read_scores(args.model / "alphas.csv") if chosen else [], args.alpha)
    autoencoder = load_autoencoder(args.autoencoder).to(device)
    enhancer = load_transport(args.model, autoencoder)
    with atomic_folder(args.out) as folder:
        for image in images:
            moved = enhancer(to_tensor(read_rgb(image)[None]), alpha)
            write_png(folder / image.name, to_uint8(moved)[0])
    name = read_json(args.model / "model.json")["autoencoder"]
    best = f", best on val for {args.alpha}" if chosen else ""
    write_json(
        args.facts, {"alpha": alpha, "remark": f"moved in the latents of {name}, alpha = {alpha:g}{best}"}
    )


def read_scores(path: Path) -> list[dict[str, float]]:
    try:
        frame = pd.read_csv(path)
    except pd.errors.EmptyDataError:  # there were no validation images
        return []
    return [{str(name): float(value) for name, value in row.items()} for row in frame.to_dict("records")]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder that fit_transport.py wrote")
    parser.add_argument(
        "--autoencoder", required=True, help="folder of a trained one, or an entry (kind, options) as JSON"
    )
    parser.add_argument("--restored", type=Path, required=True, help="folder of restored PNGs")
    parser.add_argument("--alpha", default="0", help=f"a number, or {' or '.join(CHOOSES)} (default: 0)")
    hardware.add_arguments(parser)
    parser.add_argument(
        "--facts", type=Path, required=True, help="JSON: the alpha that was used, and a remark"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the moved PNGs")
    sys.exit(command.run(main, parser))
