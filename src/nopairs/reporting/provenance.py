"""What a run stood on and what it cost: versions, hardware, and the time and memory of each rule."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pandas as pd

_PACKAGES = ("nopairs", "torch", "numpy", "scikit-image", "snakemake")


def versions(checkout: Path) -> dict[str, str]:
    """Return the versions of Python and the main packages, and the commit of the code in `checkout`."""
    known = {"Python": platform.python_version()}
    for package in _PACKAGES:
        try:
            known[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            known[package] = "not installed"
    if commit := _commit(checkout):
        known["commit"] = commit
    return known


def _commit(checkout: Path) -> str | None:
    """Return the checked-out commit, marked where files differ from it; None outside a git checkout."""
    try:
        commit = _output("git", "-C", str(checkout), "rev-parse", "--short=12", "HEAD")
        changed = _output("git", "-C", str(checkout), "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit} with uncommitted changes" if changed else commit


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def hardware() -> dict[str, str]:
    """Return system, processor, cores, memory and GPU of this machine; nothing that names it or its user."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "System": f"{platform.system()} {platform.machine()}",
        "Processor": _processor(Path("/proc/cpuinfo")),
        "Cores for this job": str(len(os.sched_getaffinity(0))),
        "Memory": f"{memory:.0f} GiB",
        "GPU": _gpu(),
    }


def _processor(cpuinfo: Path) -> str:
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _gpu() -> str:
    # Asked of the driver: to import torch for it takes longer than to write the whole report.
    try:
        names = _output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    except (OSError, subprocess.CalledProcessError):
        return "none"
    return names.splitlines()[0] if names else "none"


@dataclass(frozen=True)
class Usage:
    """What the jobs of one rule took: their number, seconds (sum and longest) and the largest memory in MiB.

    A number is None where Snakemake measured none, as for jobs that end before it first looks.
    """

    rule: str
    jobs: int
    seconds: float | None
    longest: float | None
    memory: float | None


def usage(folder: Path) -> list[Usage]:
    """Read Snakemake's benchmarks in `folder`, ``<rule>.tsv`` or ``<rule>/.../*.tsv``; longest rule first."""
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*.tsv")):
        if not path.stat().st_size:  # Snakemake wrote it before the machine crashed
            continue
        inner = path.relative_to(folder)
        files.setdefault(inner.parts[0] if len(inner.parts) > 1 else inner.stem, []).append(path)
    rules = [_usage(rule, paths) for rule, paths in files.items()]
    return sorted(rules, key=lambda rule: -(rule.seconds or 0))


def _usage(rule: str, paths: Iterable[Path]) -> Usage:
    jobs = pd.concat([pd.read_csv(path, sep="\t") for path in paths])
    seconds = pd.to_numeric(jobs["s"], errors="coerce").dropna()
    memory = pd.to_numeric(jobs["max_rss"], errors="coerce").dropna()
    return Usage(
        rule,
        len(jobs),
        float(seconds.sum()) if len(seconds) else None,
        float(seconds.max()) if len(seconds) else None,
        float(memory.max()) if len(memory) else None,
    )


def duration(seconds: float | None) -> str:
    """Return a time as people say it: 0.4 s, 12 s, 3 min 05 s, 2 h 04 min; a dash where unknown."""
    if seconds is None:
        return "\N{EN DASH}"
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
