"""The cost of the workflow around the work: what `make demo` takes beyond what its scripts do.

    python benchmarks/workflow.py [--steps 20]     # by itself: where the seconds of each script go

The default run is started with every training cut to a few steps, which changes neither its jobs nor what surrounds them. Its cost is
the time in which no job was at work: Snakemake's start and planning, its doings between jobs, and the starts of processes with their
imports, unless another job worked meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from table import Row

ROOT = Path(__file__).resolve().parents[1]
STEPS = 20
MOST_SECONDS = 20.0
Interval = tuple[float, float]


@dataclass(frozen=True)
class Cost:
    """Seconds of one run.

    Attributes:
        wall: from start to end.
        work: at least one job was at work.
        planning: before the first process of a job.
        starting: no job was at work, but a process was starting.
        jobs: how many scripts ran.
        by_script: of each script its number, the seconds of its starts and of its work, both summed.
    """

    wall: float
    work: float
    planning: float
    starting: float
    jobs: int
    by_script: dict[str, tuple[int, float, float]]

    @property
    def around(self) -> float:
        """Seconds in which no job was at work."""
        return self.wall - self.work


def measure(config: dict[str, Any]) -> list[Row]:
    """Run the configuration with short trainings and measure what surrounds the work."""
    with tempfile.TemporaryDirectory() as folder:
        cost = run(Path(folder), shortened(config))
    between = cost.around - cost.planning - cost.starting
    parts = (
        f"start and plan {cost.planning:.1f}, process starts {cost.starting:.1f}, between jobs {between:.1f}"
    )
    return [
        Row(
            f"workflow around the work of {cost.jobs} scripts",
            f"{cost.around:.1f} s ({parts})",
            f"{cost.work:.0f} s: at work, trainings cut to {STEPS} steps",
            f"{cost.around / cost.work:.2f}",
            f"under {MOST_SECONDS:.0f} s",
            cost.around < MOST_SECONDS,
        )
    ]


def profile(cost: Cost) -> str:
    """Return a Markdown table of where the seconds of the scripts went."""
    lines = ["| script | runs | starts, s | work, s |", "| --- | ---: | ---: | ---: |"]
    scripts = sorted(cost.by_script.items(), key=lambda item: -sum(item[1][1:]))
    lines += [f"| {name} | {runs} | {starts:.1f} | {work:.1f} |" for name, (runs, starts, work) in scripts]
    between = cost.around - cost.planning - cost.starting
    lines.append(
        f"\nFrom start to end {cost.wall:.1f} s; no script at work {cost.around:.1f} s: start and plan {cost.planning:.1f},"
        f" process starts {cost.starting:.1f}, between jobs {between:.1f}."
    )
    return "\n".join(lines)


def shortened(config: dict[str, Any], steps: int = STEPS) -> dict[str, Any]:
    """Return what to merge over the configuration so that each training takes a few steps."""
    short: dict[str, Any] = {"selection": {"steps": steps}}
    for family in ("degradations", "restorers"):
        trained = [name for name, entry in config[family].items() if "training" in entry]
        short[family] = {name: {"training": {"steps": steps}} for name in trained}
    return short


def run(folder: Path, changes: dict[str, Any]) -> Cost:
    """Run `all` in `folder` as `make demo` does."""
    (folder / "changes.yaml").write_text(yaml.safe_dump(changes))
    trace = folder / "trace.jsonl"
    # As at a user's, where Python keeps compiled modules.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    paths = [str(ROOT / "benchmarks/hooks"), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    environment |= {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "NOPAIRS_TRACE": str(trace)}
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(ROOT / "Snakefile"),
        "--directory",
        str(folder),
    ]
    command += ["--cores", "all", "--quiet", "rules", "host"]
    command += ["--configfile", str(folder / "changes.yaml"), "--", "all"]
    start = time.time()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    end = time.time()
    if done.returncode:
        raise SystemExit(f"the run failed:\n{done.stdout}{done.stderr}")
    return account(start, end, [json.loads(line) for line in trace.read_text().splitlines()])


def account(start: float, end: float, jobs: list[dict[str, Any]]) -> Cost:
    """Divide the time between `start` and `end`; each job says when its process started and its work began and ended."""
    work = covered((job["begun"], job["ended"]) for job in jobs)
    busy = covered((job["started"], job["ended"]) for job in jobs)
    by_script: dict[str, tuple[int, float, float]] = {}
    for job in jobs:
        count, starts, works = by_script.get(job["script"], (0, 0.0, 0.0))
        starts, works = starts + job["begun"] - job["started"], works + job["ended"] - job["begun"]
        by_script[job["script"]] = (count + 1, starts, works)
    planning = min(job["started"] for job in jobs) - start
    return Cost(end - start, work, planning, busy - work, len(jobs), by_script)


def covered(intervals: Iterable[Interval]) -> float:
    """Return the length of the union of intervals."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=STEPS, help="of each training; 0: as configured")
    steps = parser.parse_args().steps
    configured = yaml.safe_load((ROOT / "config.yaml").read_text())
    with tempfile.TemporaryDirectory() as place:
        print(profile(run(Path(place), shortened(configured, steps) if steps else {})))
