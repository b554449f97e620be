"""Let a prior learn from a dataset's clean tiles: by the training loop, or by its own means, or not at all."""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
import yaml

from nopairs import command, registry
from nopairs.data.images import read_rgb
from nopairs.data.tiles import read_tiles
from nopairs.files import write_csv
from nopairs.models import make, make_options, save_model
from nopairs.priors import operators
from nopairs.priors.base import Prior, planes
from nopairs.training.loop import Data
from nopairs.training.options import TrainingOptions
from nopairs.training.run import add_training_arguments, train_and_save


def main(args: argparse.Namespace) -> None:
    entry = yaml.safe_load(args.entry)
    kind, settings = registry.find(registry.PRIORS, entry["kind"]), entry.get("options", {})
    images = (
        planes(read_tiles(args.dataset / "clean")[0]) if kind.from_images else np.zeros((0, 1, 1), np.uint8)
    )
    operator = operators.read(args.operator) if args.operator else None
    files = sorted(args.observations.glob("*.npy")) if kind.from_observations else []
    observations = [np.load(file, allow_pickle=False) for file in files]
    torch.set_num_threads(args.threads)

    def data(options: TrainingOptions) -> Data:
        val = [read_rgb(path) for path in sorted((args.dataset / "val/clean").glob("*.png"))]
        return kind.Data(
            observations if kind.from_observations else images,
            [planes(image[None]) for image in val],
            make_options(kind.Options, entry["kind"], settings),
            options,
            operator,
        )

    def prepare(prior: Prior) -> list[dict[str, float]]:
        if kind.from_observations:
            prior.operator = operator
        return prior.fit(torch.from_numpy(images).float() / 255, args.seed) if kind.from_images else []

    if kind.learned:
        train_and_save("prior", args, data, prepare)
        return
    prior = make("prior", entry["kind"], settings)
    write_csv(args.out / "log.csv", prepare(prior))
    save_model(args.out, "prior", entry["kind"], settings, prior.state_dict(), {"seed": args.seed})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", type=Path, required=True, help="the dataset's folder")
    parser.add_argument(
        "--operator", help="of the dataset, for what learns from pairs: kind and options, as YAML or JSON"
    )
    parser.add_argument(
        "--observations", type=Path, help="folder that observe.py wrote, for what learns from them"
    )
    add_training_arguments(parser)
    sys.exit(command.run(main, parser))
