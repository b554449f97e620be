"""Print a table of what the project costs beside a baseline that is measured in the same run.

    python benchmarks/run.py [--only training restoring resflow transport priors workflow] [--out benchmarks/results.md]

Sizes are those of config.yaml. Nothing else should compute meanwhile.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

import yaml
from table import markdown

from nopairs import config as settings
from nopairs.files import atomic_file
from nopairs.reporting import provenance
from nopairs.training.hardware import has_fast_bfloat16

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("training", "restoring", "resflow", "transport", "priors", "workflow")


def main(args: argparse.Namespace) -> None:
    """Measure and print."""
    raw = yaml.safe_load((ROOT / "config.yaml").read_text())
    config = settings.resolve(raw, ROOT / "workflow/schemas/config.schema.yaml")
    rows = []
    for part in args.only:
        print(f"measuring: {part}", file=sys.stderr, flush=True)
        rows += importlib.import_module(part).measure(config)
    text = markdown(rows)
    print(text)
    if args.out:
        with atomic_file(args.out) as temporary:
            temporary.write_text(f"# Benchmarks\n\n{text}\n\n{machine()}\n", encoding="utf-8")


def machine() -> str:
    """Describe where and with what the table was measured."""
    import torch

    facts = provenance.hardware() | provenance.versions(ROOT)
    facts["fast bfloat16"] = "yes" if has_fast_bfloat16(torch.device("cpu")) else "no"
    lines = [f"- {name}: {value}" for name, value in facts.items()]
    return "\n".join(["Printed by `python benchmarks/run.py` on:", "", *lines])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, default=PARTS, help="parts to measure (default: all)"
    )
    parser.add_argument("--out", type=Path, help="Markdown file to write the table and the machine into")
    main(parser.parse_args())
