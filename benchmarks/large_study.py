"""What planning a large study takes: 20 datasets x 30 methods x 5 seeds, for a cluster.

Prints the seconds and the memory of the dry run of `snakemake --profile slurm all`, and how many jobs Slurm would get. Nothing
is run or submitted, and no Slurm is needed.
"""

import argparse
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]


def study(photos: Path, datasets: int, seeds: int) -> dict[str, Any]:
    """Return a configuration of `datasets` x 30 methods x `seeds`; its images are made in `photos`."""
    pair = {}
    for side in ("clean", "degraded"):
        (photos / side).mkdir(parents=True)
        Image.fromarray(np.full((256, 256, 3), 255 * (side == "clean"), np.uint8)).save(
            photos / side / "photo.png"
        )
        pair[side] = str(photos / side)
    degradations: dict[str, Any] = {
        f"ludvae{k}": {"base": "ludvae", "options": {"kl_ramp": 0.1 * (k + 1)}} for k in range(5)
    }
    degradations["ludvae_sum"] = {"base": "ludvae0", "model": "ludvae0", "sampling": {"mode": "method3"}}
    restorers = {f"dncnn{k}": {"base": "dncnn", "options": {"depth": 10 + k}} for k in range(3)}
    noises = [*degradations, "awgn", "awgn_tuned", "supervised"]
    table = {
        "methods": ["input", "nlm", "bm3d", *(f"{noise}+{name}" for noise in noises for name in restorers)],
        "metrics": ["psnr", "ssim", "lpips", "swd", "niqe"],
    }
    names = [f"camera{k}" for k in range(datasets)]
    return {
        "dataset": names[0],
        "seeds": list(range(seeds)),
        "datasets": {name: {**pair, "pairs": pair, "val": pair, "test": pair} for name in names},
        "degradations": degradations,
        "restorers": restorers,
        "tables": {"denoising": table, **{name: {"dataset": name, **table} for name in names[1:]}},
    }


def plan(folder: Path, config: dict[str, Any]) -> str:
    """Return what the dry run of `all` on a cluster prints."""
    (folder / "study.yaml").write_text(yaml.safe_dump(config))
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--profile",
        "slurm",
        "--dry-run",
        "--directory",
        str(folder),
    ]
    command += ["--configfile", str(folder / "study.yaml"), "--", "all"]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout


def slurm_jobs(printed: str) -> list[tuple[str, list[str]]]:
    """Return each group of a dry run: its name, and the rules of its jobs."""
    jobs: list[tuple[str, list[str]]] = []
    for line in printed.splitlines():
        if group := re.search(r"Group job (\S+) \(jobs", line):
            jobs.append((group[1], []))
        elif rule := re.match(r"    rule (\w+):", line):
            jobs[-1][1].append(rule[1])
    return jobs


def main() -> None:
    """Plan the study and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datasets", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config = study(Path(folder) / "photos", args.datasets, args.seeds)
        started = time.monotonic()
        printed = plan(Path(folder), config)
        seconds = time.monotonic() - started
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    groups = slurm_jobs(printed)
    total = re.findall(r"^total +(\d+)", printed, re.MULTILINE)[-1]
    print(f"{total} jobs; {len(groups)} for Slurm, of {sum(len(rules) for _, rules in groups)} steps:")
    for name, count in Counter(re.sub("^pairs_.*", "pairs_...", name) for name, _ in groups).most_common():
        print(f"  {count:5} {name}")
    print(f"{seconds:.0f} s ({used.ru_utime + used.ru_stime:.0f} s of CPU), {used.ru_maxrss / 2**20:.2f} GB")


if __name__ == "__main__":
    main()
