"""A real Slurm cluster of one node, on loopback and with files of its own, for as long as a test needs it.

No root is needed, and no other Slurm on the machine is touched. Its node claims more CPUs, memory and GPUs than there may be,
so that the workflow's jobs fit on any machine: only what is asked for and what is done with it is under test.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
PATH = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
CPUS, MEMORY, GPUS = 16, 256_000, 4

# Memory is enforced by polling, as it needs no cgroups; requeued jobs start after `cred_expire` seconds rather than two minutes.
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
MpiDefault=none
KillWait=10
AccountingStorageType=accounting_storage/none
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} Gres=gpu:{gpus} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES PriorityTier=1 State=UP
PartitionName=gpu Nodes={host} PriorityTier=1 State=UP
PartitionName=urgent Nodes={host} PriorityTier=2 State=UP
"""


def missing() -> str:
    """Return why no cluster can be started here; nothing if one can."""
    absent = [program for program in PROGRAMS if shutil.which(program, path=PATH) is None]
    if not absent:
        return ""
    return f"no {', '.join(absent)} here; `apt-get install {' '.join(PACKAGES)}`, or NOPAIRS_TEST_SLURM=1 as root, which does it"


def install() -> None:
    """Install Debian's packages, as root."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *PACKAGES]):
        subprocess.run(["apt-get", *command], check=True, env=environment, stdout=subprocess.DEVNULL)


class Cluster:
    """The cluster's daemons; `environment` is what a process needs to talk to it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # short: sockets have short names
        self.environment = {**os.environ, "PATH": f"{self.folder}{os.pathsep}{PATH}"}
        self.environment["SLURM_CONF"] = str(self.folder / "slurm.conf")
        self._daemons: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Cluster:
        try:
            self._configure()
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if len(self._daemons) == 3:
            subprocess.run(["scancel", "--user", getpass.getuser()], env=self.environment, check=False)
            self.wait_until(lambda: not self.jobs(), 30)
        for daemon in reversed(self._daemons):
            daemon.terminate()
            daemon.wait()
        shutil.rmtree(self.folder)

    def _configure(self) -> None:
        self.folder.chmod(0o755)  # munged insists
        host = socket.gethostname().split(".")[0]
        control_port, node_port = free_ports(2)
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        (self.folder / "slurm.conf").write_text(
            CONFIGURATION.format(
                host=host,
                user=getpass.getuser(),
                folder=self.folder,
                control_port=control_port,
                node_port=node_port,
                cpus=CPUS,
                memory=MEMORY,
                gpus=GPUS,
            )
        )
        # A GPU needs a device file of its own, whatever is behind it.
        devices = ",".join(f"/dev/{name}" for name in ("null", "zero", "full", "random")[:GPUS])
        (self.folder / "gres.conf").write_text(f"NodeName={host} Name=gpu File={devices}\n")
        # The executor's job step drops SLURM_CONF before it calls srun, which on a real cluster finds /etc/slurm.
        srun = self.folder / "srun"
        srun.write_text(
            f'#!/bin/sh\nSLURM_CONF={self.folder}/slurm.conf exec {shutil.which("srun", path=PATH)} "$@"\n'
        )
        srun.chmod(0o755)

    def _start(self) -> None:
        munge = [
            f"--{name}={self.folder}/munge.{name}" for name in ("socket", "pid-file", "log-file", "seed-file")
        ]
        self._run("munged", "--foreground", f"--key-file={self.folder}/munge.key", *munge)
        self.wait_until(lambda: (self.folder / "munge.socket").exists(), 20)
        self._run("slurmctld", "-D", "-f", str(self.folder / "slurm.conf"))
        self._run("slurmd", "-D", "-f", str(self.folder / "slurm.conf"))
        self.wait_until(lambda: "idle" in self.ask("sinfo", "--noheader", "--format=%T"), 120)

    def _run(self, program: str, *arguments: str) -> None:
        with (self.folder / f"{program}.out").open("wb") as log:
            path = shutil.which(program, path=PATH)
            assert path
            self._daemons.append(
                subprocess.Popen(
                    [path, *arguments], env=self.environment, stdout=log, stderr=subprocess.STDOUT
                )
            )

    def wait_until(self, condition: object, seconds: float) -> None:
        """Wait until `condition()` holds; RuntimeError with the daemons' last words if it does not in `seconds`."""
        end = time.monotonic() + seconds
        while not condition():  # type: ignore[operator]
            if time.monotonic() > end:
                words = "\n".join(file.read_text()[-1500:] for file in self.folder.glob("*.out"))
                raise RuntimeError(f"not within {seconds} s:\n{words}")
            time.sleep(0.2)

    def ask(self, *command: str) -> str:
        """Return what a Slurm command prints; nothing if it fails."""
        return subprocess.run(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ).stdout

    def jobs(self, *states: str) -> dict[str, str]:
        """Return the jobs in some states (by default those pending or running): id and comment, which names the rules."""
        chosen = [f"--states={','.join(states)}"] if states else []
        lines = self.ask("squeue", "--noheader", "--format=%i|%k", *chosen).splitlines()
        return dict(line.split("|", 1) for line in lines)


def free_ports(count: int) -> list[int]:
    """Return ports that nothing listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
