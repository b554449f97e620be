"""Train maps between distributions whose optimal map is known, by OTS and by regularised GANs, and measure how far they are from it."""

import argparse
import sys
import tempfile
from pathlib import Path

import torch
import yaml

from nopairs import command
from nopairs.files import write_csv
from nopairs.metrics.names import POINTS
from nopairs.models import make_options
from nopairs.training.options import TrainingOptions
from nopairs.transport.bias import BiasOptions, closed_form, judge, problem_of, train


def main(args: argparse.Namespace) -> None:
    torch.set_num_threads(args.threads)
    entry = yaml.safe_load(args.entry)
    options = make_options(BiasOptions, "bias", entry.get("options", {}))
    training = make_options(TrainingOptions, "training", entry["training"])
    problem = problem_of(args.problem, args.seed)
    untouched = judge(torch.nn.Identity(), problem, args.seed)
    rows = [{"problem": args.problem, "method": "none", "weight": "", "seed": args.seed, **untouched}]
    for method, weight in options.runs():
        with tempfile.TemporaryDirectory() as folder:
            found = train(problem, method, weight, options, training, Path(folder), args.seed)
        theory = closed_form(method, weight, untouched, args.problem == POINTS)
        row = {"problem": args.problem, "method": method, "weight": weight, "seed": args.seed}
        rows.append(row | found | {f"{name}_theory": value for name, value in theory.items()})
        print(f"{method}, weight {weight}: L2-UVP {found['uvp']:.2f} %", flush=True)
    write_csv(args.out, rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--entry", required=True, help="the config's `bias`: options and training, as YAML or JSON"
    )
    parser.add_argument("--problem", required=True, help="points, gaussians<dimension> or patches<side>")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, required=True, help="CSV: a row a map")
    sys.exit(command.run(main, parser))
