"""Disturb the whole workflow in every way that happens, start it again, and compare its tables with an undisturbed run's.

    python tests/fault_campaign.py > table.md     # an hour or more; root, for the disks that fill up and fail
    python tests/fault_campaign.py --only kill --count 3

Every row is a run of a small experiment in a fresh folder: SIGKILL of everything, SIGKILL of Snakemake alone (its jobs live
on), a disk that fills up, a file system that becomes read-only, a second workflow in the folder, and where there is a cluster
a cancelled and a timed-out Slurm job. Exit status 1 if any row's tables differ or a restart fails.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
TINY = ROOT / "tests/workflow/tiny.yaml"

# Over the tiny configuration: trainings that are long enough to be hit and resumed, fewer methods.
TRAINING = {"save_every": 0.2, "log_every": 20}
EXPERIMENT = {
    "threads": 1,
    "degradations": {"ludvae": {"training": {"steps": 150, **TRAINING}}},
    "restorers": {"dncnn": {"training": {"steps": 300, "validate_every": 100, **TRAINING}}},
    "tables": {
        "denoising": {
            "methods": ["input", "awgn+dncnn", "ludvae+dncnn"],
            "rivals": ["awgn+dncnn"],
        }
    },
}
# For Slurm, whose shortest time limit is a minute.
LONGER = {"degradations": {"ludvae": {"training": {"steps": 5000, **TRAINING}}}}
VOLUME_MB = 400
LONGEST_RUN = 1800  # seconds
ERROR = re.compile(r"nopairs: error: .*|.*Directory cannot be locked.*|OSError: .*|.*\[Errno \d+\].*")


@dataclass(frozen=True)
class Moment:
    """Some seconds after so many of the workflow's jobs were done: the same place whatever else the machine does."""

    jobs: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.jobs} jobs + {self.seconds:.1f} s"


@dataclass
class Row:
    """What happened: `moment` of the fault, `said` on the terminal, `starts` that the recovery took."""

    fault: str
    moment: Moment | None = None
    running: str = ""
    said: str = ""
    starts: int = 0
    finished: bool = False
    identical: bool = False
    leftovers: int = 0
    skipped: str = ""

    def markdown(self) -> str:
        if self.skipped:
            return f"| {self.fault} | skipped: {self.skipped} | | | | | |"
        yes = {True: "yes", False: "**NO**"}
        finished = f"{yes[self.finished]} ({self.starts})"
        cells = (
            self.fault,
            self.moment,
            self.running,
            self.said,
            finished,
            yes[self.identical],
            self.leftovers,
        )
        return f"| {' | '.join(map(str, cells))} |"


HEADER = """| fault | moment | running | said | restart ok (starts) | tables identical | files left over |
| --- | ---: | --- | --- | --- | --- | ---: |"""


@dataclass
class Campaign:
    """The experiment, the folder for its runs, and the undisturbed run's tables, number of jobs and duration in seconds."""

    folder: Path
    turns: Path | None
    rng: random.Random
    experiment: dict[str, Any] = field(default_factory=lambda: EXPERIMENT)
    tables: dict[str, bytes] = field(default_factory=dict)
    jobs: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.configuration = self.folder / "experiment.yaml"
        self.configuration.write_text(yaml.safe_dump(self.experiment))
        self.where = ["--cores", "2"]
        self.environment: dict[str, str] | None = None

    def start(self, folder: Path, *arguments: str, name: str = "run") -> subprocess.Popen[bytes]:
        """Start Snakemake in a session of its own, its output in a file beside `folder`."""
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
        command += ["--directory", str(folder), *self.where]
        command += ["--configfile", str(TINY), str(self.configuration), *arguments]
        with self.output(folder, name).open("wb") as output:
            return subprocess.Popen(
                command, stdout=output, stderr=output, env=self.environment, start_new_session=True
            )

    def output(self, folder: Path, name: str = "run") -> Path:
        return self.folder / f"{folder.name}.{name}.log"

    def said(self, folder: Path, name: str = "run") -> str:
        """The last sentence about an error that a run printed."""
        lines = self.output(folder, name).read_text(errors="replace").splitlines()
        found = [line.strip() for line in lines if ERROR.fullmatch(line)]
        text = found[-1] if found else ""
        return text.replace(str(folder), "FOLDER").replace("|", "\\|")

    def undisturbed(self) -> None:
        folder = self.new_folder("undisturbed")
        started = time.monotonic()
        if self.start(folder).wait(LONGEST_RUN) != 0:
            sys.exit(f"the undisturbed run failed; see {self.output(folder)}")
        self.seconds = time.monotonic() - started
        self.tables, self.jobs = read_tables(folder), self.done(folder)
        if not self.tables:
            sys.exit(f"the undisturbed run made no table; see {self.output(folder)}")
        shutil.rmtree(folder)

    def new_folder(self, name: str) -> Path:
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def moments(self, count: int) -> list[Moment]:
        """Random moments, one in each of `count` equal parts of the workflow, the last one before its last job ends."""
        seconds = 2 * self.seconds / self.jobs
        places = [self.jobs * (part + self.rng.random()) / count for part in range(count)]
        return [Moment(min(int(place), self.jobs - 1), self.rng.uniform(0, seconds)) for place in places]

    def done(self, folder: Path) -> int:
        """How many jobs a run says are done."""
        steps = re.findall(
            r"^(\d+) of \d+ steps", self.output(folder).read_text(errors="replace"), re.MULTILINE
        )
        return int(steps[-1]) if steps else 0

    def recover(self, folder: Path, row: Row, session: int | None = None) -> None:
        """Start the workflow again as the documentation says, and compare its tables.

        If a job of `session` that is still running is in the way, wait for it, as the message says.
        """
        self.start(folder, "--unlock", name="unlock").wait(LONGEST_RUN)
        for _ in range(3):
            row.starts += 1
            name = f"restart{row.starts}"
            row.finished = self.start(folder, name=name).wait(LONGEST_RUN) == 0
            if row.finished or session is None:
                break
            row.said = self.said(folder, name)
            while running(session):
                time.sleep(0.5)
        self.compare(folder, row)

    def compare(self, folder: Path, row: Row) -> None:
        row.identical = read_tables(folder) == self.tables
        row.leftovers = len(list((folder / "results").rglob("*.tmp*")))

    def until(self, folder: Path, moment: Moment) -> subprocess.Popen[bytes]:
        """Start the workflow and return at `moment`, or when it has ended."""
        process = self.start(folder)
        while self.done(folder) < moment.jobs and process.poll() is None:
            time.sleep(0.05)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(moment.seconds)
        return process


def read_tables(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "results/tables").glob("*.csv"))}


def running(session: int) -> list[str]:
    """Names of the project's scripts that run in a session, or "snakemake"; none when the session has ended."""
    names = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int((folder / "stat").read_text().rsplit(")", 1)[1].split()[3]) != session:
                continue
            command = (folder / "cmdline").read_text().split("\0")
            scripts = [Path(word).stem for word in command[:3] if Path(word).parent == ROOT / "src"]
            names.update(scripts or (["snakemake"] if "snakemake" in command else []))
    return sorted(names)


def jobs_of(session: int) -> str:
    """The scripts that run in a session, for the table."""
    return ", ".join(name for name in running(session) if name != "snakemake") or "between jobs"


def kill_everything(campaign: Campaign, number: int, moment: Moment) -> Row:
    """SIGKILL Snakemake and its jobs at once, as a power cut or a closed session does."""
    folder = campaign.new_folder(f"kill{number}")
    process = campaign.until(folder, moment)
    row = Row("SIGKILL of everything", moment, jobs_of(process.pid))
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    campaign.recover(folder, row)
    return row


def kill_snakemake(campaign: Campaign, number: int, moment: Moment) -> Row:
    """SIGKILL Snakemake only, and start it again while its jobs are still running."""
    folder = campaign.new_folder(f"orphan{number}")
    process = campaign.until(folder, moment)
    row = Row("SIGKILL of Snakemake alone", moment, jobs_of(process.pid))
    process.kill()
    process.wait()
    campaign.recover(folder, row, session=process.pid)
    return row


def full_disk(campaign: Campaign, number: int, moment: Moment) -> Row:
    """Fill the disk while the workflow runs, free it when the workflow has ended."""
    row = Row("full disk", moment)
    with volume(campaign.folder / f"full{number}") as folder:
        process = campaign.until(folder, moment)
        row.running = jobs_of(process.pid)
        fill(folder / "ballast")
        row.said = ended(campaign, folder, process)
        (folder / "ballast").unlink()
        campaign.recover(folder, row)
    return row


def read_only(campaign: Campaign, number: int, moment: Moment) -> Row:
    """Make the file system read-only at once, as Linux does after a disk error; mount it again when the workflow has ended."""
    row = Row("read-only file system", moment)
    with volume(campaign.folder / f"readonly{number}") as folder:
        process = campaign.until(folder, moment)
        row.running = jobs_of(process.pid)
        mount("-o", "remount,abort", folder)
        row.said = ended(campaign, folder, process)
        unmount(folder)
        subprocess.run(["e2fsck", "-fy", image_of(folder)], check=False, capture_output=True)
        mount("-o", "loop", image_of(folder), folder)
        campaign.recover(folder, row)
    return row


def two_workflows(campaign: Campaign, number: int, moment: Moment) -> Row:
    """Start a second workflow in the same folder; the first must not be disturbed."""
    folder = campaign.new_folder(f"two{number}")
    first = campaign.until(folder, moment)
    row = Row("second workflow in the folder", moment, jobs_of(first.pid))
    second = campaign.start(folder, name="second")
    refused = second.wait(LONGEST_RUN) != 0
    row.said = campaign.said(folder, "second") if refused else "**NOTHING**"
    row.finished = first.wait(LONGEST_RUN) == 0 and refused
    campaign.compare(folder, row)
    return row


def on_slurm(folder: Path, turns: Path | None) -> Iterator[Row]:
    """Cancel a training, and let its time run out, in a cluster of one node that is started for it."""
    sys.path.insert(0, str(ROOT / "tests/slurm"))
    try:
        import cluster as slurm
    except ImportError:
        yield Row("Slurm", skipped="no tests/slurm/cluster.py here")
        return
    if reason := slurm.missing():
        yield Row("Slurm", skipped=reason)
        return
    campaign = Campaign(folder, turns, random.Random(0), LONGER)
    with turn(turns):
        campaign.undisturbed()
    with slurm.Cluster() as cluster:
        campaign.where, campaign.environment = ["--profile", str(ROOT / "slurm")], cluster.environment
        for fault, command in (
            ("cancelled Slurm job", ("scancel", "{job}")),
            ("timed-out Slurm job", ("scontrol", "update", "JobId={job}", "TimeLimit=1")),
        ):
            with turn(turns):
                yield disturb_job(campaign, cluster, fault, command)


def disturb_job(campaign: Campaign, cluster: Any, fault: str, command: tuple[str, ...]) -> Row:
    """Disturb the training in a Slurm job once it has saved a state; the workflow tries a failed job again by itself."""
    folder = campaign.new_folder(fault.split()[0])
    process = campaign.start(folder)
    model = folder / "results/models/photos/ludvae/seed0"
    cluster.wait_until((model / "training_state.pt").exists, LONGEST_RUN)
    (job,) = (job for job, rules in cluster.jobs("RUNNING").items() if "train_degradation" in rules)
    row = Row(fault, running="train_degradation")
    cluster.ask(*(word.format(job=job) for word in command))
    cluster.wait_until(lambda: job not in cluster.jobs(), LONGEST_RUN)
    state = re.search(r"JobState=\w+ Reason=\w+", cluster.ask("scontrol", "show", "job", job))
    trained = (model / "model.json").exists()
    row.said = "**the training had ended**" if trained else state[0] if state else ""
    row.finished = process.wait(LONGEST_RUN) == 0
    if not row.finished:
        campaign.recover(folder, row)
    campaign.compare(folder, row)
    return row


def ended(campaign: Campaign, folder: Path, process: subprocess.Popen[bytes]) -> str:
    """Wait for a disturbed workflow to end by itself; return what it said."""
    status = process.wait(LONGEST_RUN)
    return campaign.said(folder) if status else "**NOTHING, exit status 0**"


@contextlib.contextmanager
def volume(folder: Path) -> Iterator[Path]:
    """Yield a mounted ext4 file system of its own."""
    folder.mkdir(exist_ok=True)
    image = image_of(folder)
    with image.open("wb") as file:
        file.truncate(VOLUME_MB << 20)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
    mount("-o", "loop", image, folder)
    try:
        yield folder
    finally:
        unmount(folder)
        image.unlink()


def image_of(folder: Path) -> Path:
    return folder.with_suffix(".ext4")


def mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *arguments], check=True)


def unmount(folder: Path) -> None:
    """Unmount as soon as nothing uses it any more."""
    for _ in range(60):
        if subprocess.run(["umount", folder], check=False, capture_output=True).returncode == 0:
            return
        time.sleep(0.5)
    subprocess.run(["umount", "-l", folder], check=True)


def fill(path: Path) -> None:
    """Write until the disk is full."""
    block = bytes(1 << 20)
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while len(block):
            if file.write(block) < len(block):
                block = block[: len(block) // 2]


def why_no_volumes() -> str:
    if os.geteuid() != 0:
        return "needs root"
    return "" if all(map(shutil.which, ("mkfs.ext4", "e2fsck"))) else "needs e2fsprogs"


Fault = Callable[[Campaign, int, Moment], Row]
FAULTS: dict[str, tuple[Fault, int, Callable[[], str]]] = {
    "kill": (kill_everything, 20, str),
    "orphan": (kill_snakemake, 5, str),
    "full": (full_disk, 3, why_no_volumes),
    "readonly": (read_only, 3, why_no_volumes),
    "two": (two_workflows, 2, str),
}
KINDS = (*FAULTS, "slurm")


@contextlib.contextmanager
def turn(file: Path | None) -> Iterator[None]:
    """Hold a lock on `file`, if one is given: other measurements on the machine wait for it too."""
    if file is None:
        yield
        return
    with file.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def disturbed(name: str, count: int | None, campaign: Campaign) -> Iterator[Row]:
    """The rows of one kind of fault."""
    if name == "slurm":
        yield from on_slurm(campaign.folder / "slurm", campaign.turns)
        return
    fault, default, why_not = FAULTS[name]
    if reason := why_not():
        yield Row(name, skipped=reason)
        return
    for number, moment in enumerate(campaign.moments(count or default)):
        with turn(campaign.turns):
            yield fault(campaign, number, moment)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", nargs="+", choices=KINDS, default=KINDS, metavar="KIND", help=", ".join(KINDS)
    )
    parser.add_argument(
        "--count", type=int, help="rows of each kind (default: 20 kills, fewer of the others)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    parser.add_argument(
        "--folder", type=Path, help="for the runs (default: a temporary one, deleted if all is well)"
    )
    parser.add_argument("--turns", type=Path, metavar="FILE", help="hold this file's lock during each run")
    args = parser.parse_args()
    folder = (args.folder or Path(tempfile.mkdtemp(prefix="nopairs-faults-"))).resolve()
    (folder / "slurm").mkdir(parents=True, exist_ok=True)
    campaign = Campaign(folder, args.turns, random.Random(args.seed))
    if set(args.only) & FAULTS.keys():
        with turn(args.turns):
            campaign.undisturbed()
        print(f"undisturbed: {campaign.jobs} jobs in {campaign.seconds:.0f} s\n")
    print(HEADER, flush=True)
    good = True
    for name in args.only:
        for row in disturbed(name, args.count, campaign):
            print(row.markdown(), flush=True)
            good &= bool(row.skipped) or (row.finished and row.identical)
    if good and not args.folder:
        shutil.rmtree(folder)
    else:
        print(f"the runs and what they printed: {folder}", file=sys.stderr)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
