"""Estimate an operator from pairs, which a degradation model may have sampled: a kernel and the noise, by least squares."""

import argparse
import sys
from pathlib import Path

from nopairs import command
from nopairs.files import write_json
from nopairs.priors.estimated import estimate
from nopairs.training.pairs import load_pairs


def main(args: argparse.Namespace) -> None:
    clean, degraded = load_pairs(args.pairs)
    found = estimate(clean, degraded, args.size)
    write_json(args.out, found)
    middle = max(max(row) for row in found["kernel"])
    print(f"noise {found['noise']:.4f}, largest tap {middle:.3f} of {args.size}x{args.size}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=Path, required=True, help="folder with clean.npy and degraded.npy")
    parser.add_argument("--size", type=int, required=True, help="of the kernel, pixels a side")
    parser.add_argument("--out", type=Path, required=True, help="JSON: the operator's kind and options")
    sys.exit(command.run(main, parser))
