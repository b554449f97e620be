"""Fit a transport of a restorer's images to natural ones, and choose its alphas on `val`.

The statistics come from training images alone: restored ones, degraded by the method's own degradation or taken from the dataset's
degraded half, and clean ones of other photos. Where the dataset has no `val`, further pairs of that degradation take its place.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import yaml

from nopairs import command
from nopairs.data.images import read_rgb
from nopairs.data.tiles import to_tensor, to_uint8
from nopairs.errors import NopairsError
from nopairs.files import write_csv
from nopairs.models import load_restorer, make_options, save_model, weights_digest
from nopairs.restorers.folder import Folder
from nopairs.restorers.tiling import restore_tiled
from nopairs.training import hardware
from nopairs.training.pairs import load_pairs, read_validation
from nopairs.transport.choosing import score_alphas
from nopairs.transport.dot import Codec, DotOptions, Enhancer, fit
from nopairs.transport.loading import DIGEST, load_autoencoder
from nopairs.transport.statistics import deal, photos_of

# Validation images that alphas are judged on, at most.
MOST_JUDGES = 24
Images = list[np.ndarray]


def main(args: argparse.Namespace) -> None:
    device = hardware.start(args)
    entry = yaml.safe_load(args.entry)
    options = make_options(DotOptions, "dot", {**entry.get("options", {}), "seed": args.seed})
    codec = Codec(load_autoencoder(args.autoencoder).to(device))
    restorer = load_restorer(args.restorer).to(device)

    def restore(images: Images) -> Images:  # to 8 bits, as the workflow's files are
        return [to_uint8(restore_tiled(restorer, to_tensor(image[None])))[0] for image in images]

    natural, degraded, judges = choose_images(args, options)

    def latents(images: Images) -> Iterator[torch.Tensor]:
        return (codec.latents_of(to_tensor(image[None]), options.scale) for image in images)

    restored = restorer.others(options.images) if isinstance(restorer, Folder) else restore(degraded)
    dot, facts = fit(latents(restored), latents(natural), options)
    for remark in facts.remarks(len(dot.source_mean)):
        print(remark, flush=True)
    clean, val = (list(side) for side in zip(*judges, strict=True)) if judges else ([], [])
    can_choose = val and len(entry["alphas"]) > 1 and not isinstance(restorer, Folder)
    scored = (
        score_alphas(Enhancer(dot, codec.model), restore(val), clean, entry["alphas"]) if can_choose else []
    )
    write_csv(args.out / "alphas.csv", scored)
    told = {
        "autoencoder": entry["autoencoder"],
        DIGEST: weights_digest(codec.model),
        "fit": vars(facts),
        "seed": args.seed,
    }
    save_model(args.out, "transport", entry["kind"], vars(dot.options), dot.state_dict(), told)


def choose_images(
    args: argparse.Namespace, options: DotOptions
) -> tuple[Images, Images, list[tuple[np.ndarray, np.ndarray]]]:
    """Return natural and degraded images for the statistics, and pairs (clean, degraded) to choose alphas on, all uint8 (H, W, 3)."""
    judges = read_validation(args.dataset, MOST_JUDGES)
    if args.pairs:
        clean, degraded = load_pairs(args.pairs)
        photos = photos_of(args.content or args.dataset, args.part)
        copies = len(clean) // len(photos)  # which lie side by side; one of them is taken
        wanted = (options.images, 1 if options.paired else 2, 0 if judges else MOST_JUDGES, options.first)
        held, (first, *second) = deal(photos, *wanted)
        judges = judges or [(clean[k * copies], degraded[k * copies]) for k in held]
        natural = [clean[k * copies] for k in first]
        restored = [degraded[k * copies] for k in (second[0] if second else first)]
    elif options.paired:
        raise NopairsError(
            "dot: paired statistics need pairs; name a degradation as the transport's `statistics:`"
        )
    else:
        natural, restored = (read_some(args.dataset, role, options) for role in ("clean", "degraded"))
    if args.natural:
        natural = read_some(args.natural, "clean", options)
    return natural, restored, judges


def read_some(dataset: Path, role: str, options: DotOptions) -> Images:
    paths = sorted((dataset / role).glob("*.png"))
    _, (chosen,) = deal(photos_of(dataset, role), options.images, 1, first=options.first)
    return [read_rgb(paths[k]) for k in chosen]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--entry", required=True, help="the transport's entry (kind, options, alphas), as JSON"
    )
    parser.add_argument(
        "--autoencoder", required=True, help="folder of a trained one, or an entry (kind, options) as JSON"
    )
    parser.add_argument("--restorer", type=Path, required=True, help="folder of the restorer's model")
    parser.add_argument("--dataset", type=Path, required=True, help="the dataset's folder")
    parser.add_argument("--pairs", type=Path, help="pairs of a degradation that the statistics come from")
    parser.add_argument(
        "--content", type=Path, help="folder of the dataset that the pairs are of (default: the dataset's)"
    )
    parser.add_argument(
        "--part",
        default="clean",
        help="folder in it of the tiles that the pairs are of: clean, degraded or pairs/clean (default: clean)",
    )
    parser.add_argument(
        "--natural", type=Path, help="folder of another dataset, whose clean images are the aim"
    )
    parser.add_argument("--seed", type=int, required=True)
    hardware.add_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder of the transport")
    sys.exit(command.run(main, parser))
