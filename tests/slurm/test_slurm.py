"""The workflow on a real Slurm of one node: as a user types it, with jobs cancelled, over their memory and requeued.

Skipped where Slurm's programs are not installed; NOPAIRS_TEST_SLURM=1 installs Debian's, and lets nothing be skipped.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cluster as slurm
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[2]
# Seconds after which something must have gone wrong, on a busy machine too.
PATIENCE = 1800
WANTED = os.environ.get("NOPAIRS_TEST_SLURM") == "1"
# The tiny experiment, with a training that lasts long enough to be interrupted, and a method of each kind of job.
METHODS = "input, nlm, bm3d, awgn+dncnn, ludvae+dncnn"
LONGER = (
    "degradations: {ludvae: {training: {steps: 600, save_every: 0.5, log_every: 50}}}\n"
    f"tables: {{denoising: {{methods: [{METHODS}]}}}}\n"
)
# As a user would fill the table in.
PARTITIONS = "partitions: {main: {max_runtime: 2880}, gpu: {max_runtime: 2880, max_gpu: 4}}\n"
MODELS = ("ludvae", "awgn+dncnn", "ludvae+dncnn")


@pytest.fixture(scope="module")
def cluster() -> Iterator[slurm.Cluster]:
    if WANTED and slurm.missing():
        slurm.install()
    if slurm.missing():
        pytest.skip(slurm.missing())
    try:
        running = slurm.Cluster().__enter__()
    except RuntimeError as error:
        if WANTED:
            raise
        pytest.skip(f"no Slurm could be started here: {error}")
    yield running
    running.__exit__()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh checkout: the files that git would deliver, in a folder of its own."""
    folder = tmp_path_factory.mktemp("checkout")
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name, follow_symlinks=False)
    (folder / "longer.yaml").write_text(LONGER)
    (folder / "slurm/partitions.yaml").write_text(PARTITIONS)
    return folder


def command(*arguments: str) -> list[str]:
    configs = ["--configfile", "tests/workflow/tiny.yaml", "longer.yaml"]
    return [sys.executable, "-m", "snakemake", *arguments[:-1], *configs, "--", arguments[-1]]


def running(cluster: slurm.Cluster, group: str) -> list[str]:
    """Return the running jobs of a group of the workflow's rules."""
    return [job for job, comment in cluster.jobs("RUNNING").items() if comment.startswith(f"rule_{group}_")]


@dataclass
class Run:
    """What the disturbed run printed, and the folders of it and of the undisturbed one."""

    printed: str
    folder: Path
    undisturbed: Path
    saved_step: int
    requeued: str


@pytest.fixture(scope="module")
def run(cluster: slurm.Cluster, checkout: Path) -> Run:
    """`snakemake --profile slurm all`, disturbed in three ways; beside it the same on this machine, left alone."""
    too_little = [
        f"{rule}:mem_mb=100*attempt**6" for rule in ("preprocess", "fit_niqe", "measure_real_noise")
    ]
    arguments = command("--profile", "slurm", "--set-resources", *too_little, "all")
    with (checkout / "slurm.out").open("w") as out:
        process = subprocess.Popen(arguments, cwd=checkout, env=cluster.environment, stdout=out, stderr=out)
    try:
        state = checkout / "results/models/photos/ludvae/seed0/training_state.pt"
        cluster.wait_until(state.exists, PATIENCE)
        (training,) = running(cluster, "pairs_ludvae")
        cluster.ask("scancel", training)
        cluster.wait_until(lambda: training not in cluster.jobs(), 60)
        saved_step = torch.load(state, weights_only=True)["step"]

        cluster.wait_until(lambda: running(cluster, "restorer"), PATIENCE)
        (restoring, *_) = running(cluster, "restorer")
        cluster.ask("scontrol", "requeue", restoring)
        requeued = cluster.ask("scontrol", "show", "job", restoring)

        undisturbed = checkout / "undisturbed"
        local = command("--cores", "2", "--directory", str(undisturbed), "table_denoising")
        subprocess.run(local, cwd=checkout, capture_output=True, check=True)
        process.wait(PATIENCE)
    finally:
        process.kill()
    return Run((checkout / "slurm.out").read_text(), checkout, undisturbed, saved_step, requeued)


def test_it_runs_to_the_report(run: Run) -> None:
    assert (run.folder / "results/report.html").is_file(), run.printed[-5000:]
    assert not list((run.folder / "results").rglob("training_state.pt"))


def test_cancelled_requeued_and_out_of_memory_the_result_is_the_same(run: Run) -> None:
    # Cancelled, and over its memory: Snakemake tries again. The requeued one is Slurm's.
    assert run.printed.count("Trying to restart job") == 2
    assert "Restarts=1" in run.requeued
    assert 0 < run.saved_step < 600
    tables = [
        pd.read_csv(folder / "results/tables/denoising.csv") for folder in (run.folder, run.undisturbed)
    ]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    for model in MODELS:
        one, other = (
            load_file(folder / f"results/models/photos/{model}/seed0/model.safetensors")
            for folder in (run.folder, run.undisturbed)
        )
        assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one), model


def test_few_jobs_wait_in_the_queue(run: Run) -> None:
    submitted = re.findall(r"submitted with SLURM jobid (\d+)", run.printed)
    # data, simple and classical ones together, a degradation, two restorers; data and the degradation twice
    assert len(submitted) == 6 + 2
    partitions = re.findall(r"Auto-selected partition '(\w+)'", run.printed)
    assert (partitions.count("main"), partitions.count("gpu")) == (3 + 1, 3 + 1)


def test_two_processes_get_two_gpus(run: Run, cluster: slurm.Cluster) -> None:
    folder = run.folder / "results/models/photos/ludvae/seed0"
    by_one = pd.read_csv(folder / "log.csv").loss
    arguments = command(
        "--profile", "slurm", "--config", "processes=2", "results/models/photos/ludvae/seed0/model.json"
    )
    with (run.folder / "two.out").open("w") as out:
        process = subprocess.Popen(arguments, cwd=run.folder, env=cluster.environment, stdout=out, stderr=out)
        asked = lambda: cluster.ask("squeue", "--noheader", "--Format=tres-per-job:40")  # noqa: E731
        cluster.wait_until(lambda: asked() or process.poll() is not None, PATIENCE)
        assert "gpu:2" in asked(), (run.folder / "two.out").read_text()
        assert process.wait(PATIENCE) == 0, (run.folder / "two.out").read_text()
    assert json.loads((folder / "model.json").read_text())["processes"] == 2
    assert pd.read_csv(folder / "log.csv").loss.tolist() == pytest.approx(by_one.tolist(), rel=0.05, abs=5e-4)
