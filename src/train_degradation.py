"""Train a degradation model from a dataset's unpaired clean and degraded tiles, or where its options say so from the real pairs."""

import argparse
import sys
from pathlib import Path

import yaml

from nopairs import command
from nopairs.models import training_roles
from nopairs.training.data import dataset_data
from nopairs.training.run import add_training_arguments, train_and_save


def main(args: argparse.Namespace) -> None:
    roles = training_roles("degradation", yaml.safe_load(args.entry))
    train_and_save(
        "degradation", args, lambda options: dataset_data(args.dataset, roles, [], options, equal_sizes=True)
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", type=Path, required=True, help="the dataset's folder")
    add_training_arguments(parser)
    sys.exit(command.run(main, parser))
