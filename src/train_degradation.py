"""Train a degradation model from a dataset's unpaired clean and degraded tiles."""

import argparse
import sys
from pathlib import Path

from nopairs import errors
from nopairs.training.data import UnpairedData
from nopairs.training.run import add_training_arguments, train_and_save


def main(args: argparse.Namespace) -> None:
    train_and_save("degradation", args, lambda options: UnpairedData(args.dataset, options))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", type=Path, required=True, help="the dataset's folder")
    add_training_arguments(parser)
    sys.exit(errors.run(main, parser))
