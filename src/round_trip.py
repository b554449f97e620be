"""Encode and decode clean images: the row of a table that bounds what a transport in these latents can reach."""

import argparse
import sys
from pathlib import Path

from nopairs import command
from nopairs.data.images import read_rgb, write_png
from nopairs.data.tiles import to_tensor, to_uint8
from nopairs.errors import NopairsError
from nopairs.files import atomic_folder, write_json
from nopairs.metrics.names import ROUND_TRIP
from nopairs.training import hardware
from nopairs.transport.dot import Codec
from nopairs.transport.loading import load_autoencoder


def main(args: argparse.Namespace) -> None:
    device = hardware.start(args)
    images = sorted(args.clean.glob("*.png"))
    if not images:
        raise NopairsError(f"{args.clean}: no PNG images; the dataset has no clean test images")
    codec = Codec(load_autoencoder(args.autoencoder).to(device))
    with atomic_folder(args.out) as folder:
        for image in images:
            write_png(folder / image.name, to_uint8(codec.round_trip(to_tensor(read_rgb(image)[None])))[0])
    write_json(args.facts, {"remark": f"{ROUND_TRIP} by {args.name}"})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--autoencoder", required=True, help="folder of a trained one, or an entry (kind, options) as JSON"
    )
    parser.add_argument("--name", required=True, help="how tables call it")
    parser.add_argument("--clean", type=Path, required=True, help="folder of clean PNGs")
    hardware.add_arguments(parser)
    parser.add_argument("--facts", type=Path, required=True, help="JSON: what tables say of these images")
    parser.add_argument("--out", type=Path, required=True, help="folder for the PNGs")
    sys.exit(command.run(main, parser))
