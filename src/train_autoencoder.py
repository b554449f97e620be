"""Train an autoencoder on a dataset's clean images; validated, where there are any, on the clean images of `val`."""

import argparse
import sys
from pathlib import Path

from nopairs import command
from nopairs.training.data import autoencoder_data
from nopairs.training.run import add_training_arguments, train_and_save


def main(args: argparse.Namespace) -> None:
    train_and_save("autoencoder", args, lambda options: autoencoder_data(args.dataset, options))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", type=Path, required=True, help="the dataset's folder")
    add_training_arguments(parser)
    sys.exit(command.run(main, parser))
