"""The command line tool: `nopairs COMMAND ...`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nopairs import __version__, command
from nopairs.command import positive_int
from nopairs.errors import NopairsError

if TYPE_CHECKING:
    import torch

    from nopairs.restorers.apply import Failure

# The library is imported inside the commands: with torch it takes seconds, and help should come at once.


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool on `argv` (the process's own by default) and return its exit status."""
    return command.run(lambda args: args.run(args), build_parser(), argv)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; each command sets `run`: parsed arguments in, exit status out."""
    parser = argparse.ArgumentParser(prog="nopairs", description="Image restoration learned without pairs.")
    parser.add_argument("--version", action="version", version=f"nopairs {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_restore(commands)
    _add_enhance(commands)
    _add_data(commands)
    return parser


def _add_restore(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "Apply a trained restorer to photos of any size; each keeps its format, bit depth, alpha and EXIF."
    parser = commands.add_parser("restore", help="apply a trained restorer to photos", description=text)
    parser.add_argument(
        "--model",
        required=True,
        type=Path,
        help="folder or file of a trained model, or a published weight file",
    )
    parser.add_argument(
        "--keep-wide",
        type=float,
        default=0.0,
        metavar="PIXELS",
        help="leave what is wider as it was, for a network that tints another camera's photos or moves their brightness: 12 does",
    )
    _add_photos(parser, tile=512)
    parser.set_defaults(run=_restore)


def _add_enhance(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = (
        "Move restored photos, of whatever tool, towards the statistics of natural ones (deep optimal transport). The map is "
        "fitted first, on the photos themselves and a folder of natural ones: ten of each, of 512 x 512 pixels, if both folders show "
        "the same scenes; else dozens, since a few photos differ by their content more than by the restoration."
    )
    parser = commands.add_parser("enhance", help="make restored photos more natural", description=text)
    parser.add_argument(
        "--autoencoder",
        required=True,
        help="folder of a trained one, data/taef2, a folder of diffusers, or a hub name such as stabilityai/sd-vae-ft-mse",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--natural", type=Path, metavar="FOLDER", help="natural photos to fit on")
    what.add_argument("--transport", type=Path, metavar="FOLDER", help="a map that was fitted before")
    parser.add_argument(
        "--fit-on",
        type=Path,
        metavar="FOLDER",
        help="restored photos to fit on (default: the photos themselves)",
    )
    parser.add_argument(
        "--restorer",
        type=Path,
        metavar="MODEL",
        help="the photos are degraded ones, and this restores them first: folder or file of a model",
    )
    parser.add_argument(
        "--alpha",
        type=alpha_value,
        default=0.8,
        help="1 leaves the restored photo, 0 moves it all the way; from -0.5 to 1.5 (default: 0.8)",
    )
    parser.add_argument(
        "--patch",
        type=positive_int,
        help="side of a patch of latents (default: 3)",
    )
    parser.add_argument(
        "--images",
        type=positive_int,
        help="photos of each side to fit on, at most (default: 40)",
    )
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="keep the fitted map there")
    _add_photos(parser, tile=1024)
    parser.set_defaults(run=_enhance)


def _add_photos(parser: argparse.ArgumentParser, tile: int) -> None:
    """Add the photos, where the results go, and what the work may take."""
    parser.add_argument(
        "inputs", nargs="+", type=Path, metavar="PHOTO", help="image file, or folder of images"
    )
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        type=Path,
        help="folder for the results, or a file name for one photo",
    )
    parser.add_argument(
        "--tile",
        type=positive_int,
        default=tile,
        help=f"side of a tile in pixels; lower it if memory is short (default: {tile})",
    )
    parser.add_argument(
        "--threads", type=positive_int, help="CPU threads (default: as many as there are cores)"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="(default: auto)")


def _add_data(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "The catalogue of datasets: what it has, and how to get it."
    parser = commands.add_parser("data", help="list and fetch datasets", description=text)
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    text = "Show every dataset: size, licence, and what is already there."
    shown = actions.add_parser("list", help="show every dataset", description=text)
    shown.add_argument("--markdown", action="store_true", help="print the table of docs/datasets.md")
    shown.set_defaults(run=_list_data)
    text = (
        "Fetch datasets: what is there is verified, what was begun is gone on with, the rest is downloaded."
    )
    fetch = actions.add_parser("fetch", help="download and verify datasets", description=text)
    fetch.add_argument("names", nargs="+", metavar="NAME", help="of `nopairs data list`")
    fetch.add_argument(
        "--mirror", default="", help="folder or base address asked first (default: NOPAIRS_MIRROR)"
    )
    fetch.add_argument("--only", help="regular expression; fetch only files with it in their path")
    fetch.add_argument("--jobs", type=positive_int, default=4, help="downloads at once (default: 4)")
    fetch.set_defaults(run=_fetch_data)
    for action in (shown, fetch):
        action.add_argument(
            "--to",
            type=Path,
            default=Path("data"),
            metavar="FOLDER",
            help="folder of datasets (default: data)",
        )
        action.add_argument(
            "--lock",
            type=Path,
            default=Path("data.lock"),
            help="file of the hashes that nobody published (default: data.lock)",
        )


def _list_data(args: argparse.Namespace) -> None:
    from nopairs.data.listing import markdown_table, terminal_table
    from nopairs.data.store import Store

    print(markdown_table() if args.markdown else terminal_table(Store(args.to, args.lock)))


def _fetch_data(args: argparse.Namespace) -> None:
    from nopairs.data import entries
    from nopairs.data.store import Store

    store = Store(args.to, args.lock, args.mirror, args.jobs)
    wanted = []
    for name in args.names:  # all of them first: a mistake in the last one should not be told hours later
        entry = entries.load(name)
        if not entry.files:
            raise NopairsError(f"{name}: not to be fetched; name your own folder of it in the configuration")
        wanted.append((entry, entry.wanted_files(entry.only if args.only is None else args.only)))
    for entry, files in wanted:
        store.fetch(entry.name, files)
        place = args.to / entry.name
        print(
            f"{entry.name}: {len(files)} files in {place}; licence: {entry.licence}; cite: {entry.citation}"
        )


def _restore(args: argparse.Namespace) -> int:
    import torch

    from nopairs.models import load_restorer
    from nopairs.restorers.apply import plan_outputs, restore_files
    from nopairs.restorers.wide import KeepWide
    from nopairs.training.hardware import pick_device

    if args.threads is not None:
        torch.set_num_threads(args.threads)
    model = load_restorer(args.model)
    if args.keep_wide:
        model = KeepWide(model, args.keep_wide)
    model = model.eval().to(pick_device(args.device))
    photos = len(plan_outputs(args.inputs, args.output))
    failures = restore_files(model, args.inputs, args.output, args.tile)
    return _tell(args, photos, failures, "restore", "restored")


def _tell(args: argparse.Namespace, photos: int, failures: Sequence[Failure], command: str, done: str) -> int:
    """Say how many photos were worked on, what was left out, and which failed; return the exit status."""
    from nopairs.data.images import tell_left_out

    print(f"{args.output}: {photos - len(failures)} of {photos} photos {done}", flush=True)
    for path in args.inputs:
        if told := tell_left_out(path):
            print(f"nopairs {command}: {told}", file=sys.stderr)
    if failures:
        print(f"nopairs {command}: photos that could not be {done}: {len(failures)}", file=sys.stderr)
        for failure in failures:
            print(f"  {failure.path}: {failure.reason.removeprefix(f'{failure.path}: ')}", file=sys.stderr)
    return 1 if failures else 0


def _enhance(args: argparse.Namespace) -> int:
    import torch

    from nopairs.models import load_restorer
    from nopairs.restorers.apply import plan_outputs, process_files
    from nopairs.restorers.tiling import restore_tiled
    from nopairs.training.hardware import pick_device
    from nopairs.transport.loading import find_autoencoder, load_transport
    from nopairs.transport.photos import enhance_photo, fit_on_photos, save_fit

    if args.threads is not None:
        torch.set_num_threads(args.threads)
    for option in ("fit_on", "patch", "images", "save"):
        if args.transport and getattr(args, option) is not None:
            raise NopairsError(
                f"--{option.replace('_', '-')} is for a map that is fitted now, not for --transport; leave it out"
            )
    photos = len(plan_outputs(args.inputs, args.output))
    device = pick_device(args.device)
    autoencoder = find_autoencoder(args.autoencoder).to(device)
    restorer = load_restorer(args.restorer).eval().to(device) if args.restorer else None

    def restore(image: torch.Tensor) -> torch.Tensor:
        return image if restorer is None else restore_tiled(restorer, image, args.tile).clamp(0, 1)

    if args.transport:
        enhancer = load_transport(args.transport, autoencoder, tile=args.tile)
    else:
        fit_on = [args.fit_on] if args.fit_on else args.inputs
        enhancer, remarks = fit_on_photos(
            autoencoder, fit_on, args.natural, restore, args.patch or 3, args.images or 40, args.tile
        )
        for remark in remarks:
            print(f"nopairs enhance: {remark}", file=sys.stderr)
        if args.save:
            save_fit(args.save, enhancer, args.autoencoder)
    failures = process_files(
        lambda photo, show: enhance_photo(enhancer, photo, args.alpha, restore),
        args.inputs,
        args.output,
        "enhancing",
    )
    return _tell(args, photos, failures, "enhance", "enhanced")


def alpha_value(text: str) -> float:
    """Parse an argument that is an alpha which transports take."""
    from nopairs.transport.dot import HIGHEST_ALPHA, LOWEST_ALPHA

    value = float(text)
    if not LOWEST_ALPHA <= value <= HIGHEST_ALPHA:
        raise argparse.ArgumentTypeError(f"{value} is not from {LOWEST_ALPHA} to {HIGHEST_ALPHA}")
    return value
