"""Apply a restorer to a folder of 8-bit PNGs, in tiles."""

import argparse
import sys
from pathlib import Path

from nopairs import command
from nopairs.data.images import read_rgb, write_png
from nopairs.data.tiles import to_tensor, to_uint8
from nopairs.errors import NopairsError
from nopairs.files import atomic_folder
from nopairs.models import load_restorer
from nopairs.restorers.folder import Folder
from nopairs.restorers.tiling import restore_tiled
from nopairs.training import hardware


def main(args: argparse.Namespace) -> None:
    device = hardware.start(args)
    images = sorted(args.images.glob("*.png"))
    if not images:
        raise NopairsError(f"{args.images}: no PNG images to restore; run the preprocessing step")
    restorer = load_restorer(args.model).to(device)
    with atomic_folder(args.out) as folder:
        for image in images:
            if isinstance(restorer, Folder):
                write_png(folder / image.name, restorer.restored(image.name))
                continue
            write_png(
                folder / image.name, to_uint8(restore_tiled(restorer, to_tensor(read_rgb(image)[None])))[0]
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="a trained model's folder or a weight file")
    parser.add_argument("--images", type=Path, required=True, help="folder of degraded PNGs")
    hardware.add_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder for the restored PNGs")
    sys.exit(command.run(main, parser))
