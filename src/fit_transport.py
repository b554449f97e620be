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

from nopairs import errors
from nopairs.data.images import read_rgb
from nopairs.data.tiles import to_tensor, to_uint8
from nopairs.errors import NopairsError
from nopairs.files import write_csv
from nopairs.models import load_restorer, make_options, save_model
from nopairs.restorers.folder import Folder
from nopairs.restorers.tiling import restore_tiled
from nopairs.training.hardware import pick_device
from nopairs.training.pairs import load_pairs, read_validation
from nopairs.transport.choosing import score_alphas
from nopairs.transport.dot import Codec, DotOptions, Enhancer, fit
from nopairs.transport.loading import load_autoencoder

# Validation images that alphas are judged on, at most.
MOST_JUDGES = 24
Images = list[np.ndarray]


def main(args: argparse.Namespace) -> None:
    torch.set_num_threads(args.threads)
    device = pick_device(args.device)
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
    can_choose = val and not isinstance(restorer, Folder)
    scored = (
        score_alphas(Enhancer(dot, codec.model), restore(val), clean, entry["alphas"]) if can_choose else []
    )
    write_csv(args.out / "alphas.csv", scored)
    told = {"autoencoder": entry["autoencoder"], "fit": vars(facts), "seed": args.seed}
    save_model(args.out, "transport", entry["kind"], vars(dot.options), dot.state_dict(), told)


def choose_images(
    args: argparse.Namespace, options: DotOptions
) -> tuple[Images, Images, list[tuple[np.ndarray, np.ndarray]]]:
    """Return natural and degraded images for the statistics, and pairs (clean, degraded) to choose alphas on, all uint8 (H, W, 3).

    The pairs of a degradation are dealt in turn, so that natural and restored images are alike in content and from no common tile,
    unless they are wanted paired.
    """
    val = read_validation(args.dataset)
    judges = [val[k] for k in spread(len(val), MOST_JUDGES)] if val else []
    if args.pairs:
        clean, degraded = load_pairs(args.pairs)
        held = 0 if judges else min(MOST_JUDGES, len(clean) // 3)
        places = spread(len(clean), (1 if options.paired else 2) * options.images + held)
        judges = judges or [(clean[k], degraded[k]) for k in places[:held]]
        dealt = places[held:]
        first, second = (dealt, dealt) if options.paired else (dealt[::2], dealt[1::2])
        natural, restored = [clean[k] for k in first], [degraded[k] for k in second]
    elif options.paired:
        raise NopairsError(
            "dot: paired statistics need pairs; name a degradation as the transport's `statistics:`"
        )
    else:
        natural, restored = (
            some_tiles(args.dataset / role, options.images) for role in ("clean", "degraded")
        )
    if args.natural:
        natural = some_tiles(args.natural / "clean", options.images)
    return natural, restored, judges


def some_tiles(folder: Path, count: int) -> Images:
    paths = sorted(folder.glob("*.png"))
    if not paths:
        raise NopairsError(f"{folder}: no tiles to take statistics from; run the preprocessing step")
    return [read_rgb(paths[k]) for k in spread(len(paths), count)]


def spread(count: int, wanted: int) -> list[int]:
    """Return `wanted` of `count` places, evenly spread; all of them where they are fewer."""
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).round().astype(int)).tolist()


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
        "--natural", type=Path, help="folder of another dataset, whose clean images are the aim"
    )
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--out", type=Path, required=True, help="folder of the transport")
    sys.exit(errors.run(main, parser))
