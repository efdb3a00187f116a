"""A cluster of one node: munge, SLURM's controller and its daemon, in a folder of their own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.waiting import wait_until

TOOLS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")
_SETTINGS = """\
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldPort={port}
SlurmdPort={next_port}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
SchedulerParameters=sched_interval=2
ReturnToService=2
KillWait=2
MailProg=/bin/true
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=8000 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


SITE = """
process.resourceLimits = [cpus: 2, memory: 6.GB, time: 1.h]
executor {
    pollInterval = '1 sec'
    queueStatInterval = '2 sec'
    exitReadTimeout = '20 sec'
}
"""
"""The site's settings for Nextflow."""


def missing() -> str:
    """Why there can be no cluster here; nothing if there can."""
    tools = [name for name in TOOLS if shutil.which(name) is None]
    if tools:
        return f"no {', '.join(tools)} (apt-get install slurm-wlm munge)"
    return "" if os.geteuid() == 0 else "daemons are started as root"


@dataclass
class Cluster:
    """Daemons that run until `stop`.

    Attributes
    ----------
    folder
        Of their files; short, for a socket is in it.
    """

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """What commands need to find the cluster."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def start(self) -> None:
        """Start the daemons, and wait until the node is idle."""
        host = socket.gethostname().partition(".")[0]
        for name in ("state", "spool"):
            (self.folder / name).mkdir(parents=True)
        self.folder.chmod(0o755)
        ports = {"port": _free_port(), "next_port": _free_port()}
        text = _SETTINGS.format(host=host, folder=self.folder, **ports)
        (self.folder / "slurm.conf").write_text(text)
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        files = {"socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        words = [f"--{option}={self.folder}/munge.{end}" for option, end in files.items()]
        self.call("munged", "--force", f"--key-file={key}", *words)
        self.call("slurmctld", "-c")
        self._start_node()

    def _start_node(self) -> None:
        """Start the node's daemon, and wait until the node is idle."""
        self.call("slurmd", "-N", socket.gethostname().partition(".")[0])
        log = self.folder / "slurmctld.log"
        wait_until(lambda: "idle" in self.call("sinfo", "-h", "-o", "%T"), log.read_text)

    def fail_node(self) -> None:
        """Let the node fail, with all that runs on it, and come back."""
        daemon = int((self.folder / "slurmd.pid").read_text())
        os.kill(daemon, signal.SIGKILL)
        steps = [number for job in self.jobs() for number in _named(f"slurmstepd: [{job}.")]
        for number in [n for step in steps for n in [step, *_below(step)]]:
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        # the controller would notice by itself, but within minutes
        node = self.call("sinfo", "-h", "-o", "%N").strip()
        self.call("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
        self._start_node()

    def stop(self) -> None:
        """End jobs and daemons."""
        with suppress(subprocess.CalledProcessError):
            self.call("scancel", "--user", "root")
        for name in ("slurmd", "slurmctld", "munge"):
            with suppress(OSError, ValueError):
                number = int((self.folder / f"{name}.pid").read_text())
                os.kill(number, signal.SIGTERM)
                end = time.monotonic() + 30
                while _is_running(number) and time.monotonic() < end:
                    time.sleep(0.1)

    def call(self, *words: str) -> str:
        """Run a command; what it printed."""
        environment = {**os.environ, **self.environment}
        return subprocess.run(
            words, env=environment, capture_output=True, text=True, check=True
        ).stdout

    def jobs(self, state: str = "running") -> list[str]:
        """Numbers of the jobs in a state."""
        return self.call("squeue", "-h", "-o", "%A", "-t", state).split()


@contextmanager
def started() -> Iterator[Cluster]:
    """A cluster while a block runs."""
    with TemporaryDirectory(prefix="slurm-") as folder:
        made = Cluster(Path(folder) / "one")
        try:
            made.start()
            yield made
        finally:
            made.stop()


def _is_running(number: int) -> bool:
    """Whether a process runs; one that has ended stays listed where nothing waits for orphans."""
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _named(start: str) -> list[int]:
    """Processes whose command begins with a text."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (entry / "cmdline").read_bytes().startswith(start.encode()):
                found.append(int(entry.name))
    return found


def _below(process: int) -> list[int]:
    """Processes that a process has started, and those that they have."""
    found = []
    for entry in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(OSError):
            for number in map(int, entry.read_text().split()):
                found += [number, *_below(number)]
    return found


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
