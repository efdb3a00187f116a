"""What tasks ask for follows the plan, and what they ask for again follows the way they ended."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import zarr
from tests.workflow.launch import ROOT, environment, needs_engine

from terapose.core.params import check
from terapose.networks.files import identify
from terapose.pipeline.checked import open_checked
from terapose.pipeline.graph import memory_of
from terapose.pipeline.needs import LEAST, needs_of
from terapose.pipeline.planning import make_plan

pytestmark = pytest.mark.slow

GB = 10**9
HOUR = 3_600_000
NEEDS = {"memory": 3 * GB, "seconds": 3600, "cpus": 2, "gpus": 0}
LIMIT = 5 * GB
Asked = tuple[int, int | None]
FIRST: Asked = (3 * GB, HOUR)
MORE_MEMORY: list[Asked] = [FIRST, (LIMIT, HOUR)]
MORE_TIME: list[Asked] = [FIRST, (3 * GB, 2 * HOUR)]
GATHER = 4 * 2**30


class Case(NamedTuple):
    """A task that ends in some way.

    Attributes
    ----------
    ends
        Exit status of each attempt; 0 afterwards.
    asked
        Bytes and milliseconds of each attempt; None of a time that is not asked for.
    says
        What is in the log of each attempt.
    failed
        How it ended and what is said of it, if it failed for good.
    process
        The process of ``asks.nf`` that it is a task of.
    """

    ends: list[int]
    asked: list[Asked]
    says: str = ""
    failed: tuple[str, str] | None = None
    process: str = "ENDS"


MEMORY = {
    "SLURM": "slurmstepd-vm: error: Exceeded job memory limit",
    "SLURM, cgroups": "slurmstepd: error: Detected 1 oom_kill event in StepId=7.batch.",
    "SLURM, older": "slurmstepd: error: Job 7 exceeded memory limit (3 > 2), being killed",
    "LSF": "TERM_MEMLIMIT: job killed after reaching LSF memory usage limit.",
    "PBS": "=>> PBS: job killed: mem 5000kb exceeded limit 4000kb",
    "PBS, virtual": "=>> PBS: job killed: vmem 5000kb exceeded limit 4000kb",
    "PBS, a process": "=>> PBS: job killed: pvmem 5000kb exceeded limit 4000kb",
    "PBS, cgroups": "Cgroup memory limit exceeded: Killed process 7 (python3)",
    "SGE": 'job 7.1 exceeds job hard limit "h_vmem" of queue "all" (5.0 > limit:4.0) - sending',
    "UGE": 'job 7 exceeds job master hard limit "h_rss" of queue "all" (5.0 > limit:4.0)',
}
TIME = {
    "SLURM": "slurmstepd-vm: error: *** JOB 15 ON vm CANCELLED AT now DUE TO TIME LIMIT ***",
    "LSF": "half a line TERM_RUNLIMIT: job killed after reaching LSF run time limit.",
    "PBS": "=>> PBS: job killed: walltime 3610 exceeded limit 3600",
    "SGE": "job 48.1 exceeded hard wallclock time - initiate terminate method",
}
"""What schedulers write of a task that they end, though it looks like one that was evicted."""
HARMLESS = {
    "resources": "resources_used.mem=5000kb resources_used.walltime=00:01:00",
    "asked for": "Requested: mem=4gb, walltime=01:00:00, h_vmem=4G (memory limit, time limit)",
    "evicted": "slurmstepd: error: *** JOB 7 ON vm CANCELLED AT now DUE TO PREEMPTION ***",
    "processor time": "=>> PBS: job killed: cput 3610 exceeded limit 3600",
}
"""What they write as well, and what others do."""
KILLED = ("exit status 137", "was killed, most likely for lack of memory")
CASES = {
    "well": Case([], [FIRST]),
    "on a GPU": Case([], [FIRST]),
    "out of memory": Case([137], MORE_MEMORY),
    "too large": Case(
        [137] * 9, MORE_MEMORY, MEMORY["SLURM"], ("exit status 137", MEMORY["SLURM"])
    ),
    "too large, by the log": Case(
        [143] * 9, MORE_MEMORY, MEMORY["PBS"], ("exit status 143", MEMORY["PBS"])
    ),
    "out of time": Case([140], MORE_TIME),
    "too slow": Case(
        [140] * 9, MORE_TIME, failed=("exit status 140", "was killed, or stopped without a message")
    ),
    "too slow, by the log": Case(
        [143] * 9, MORE_TIME, TIME["SGE"], ("exit status 143", TIME["SGE"])
    ),
    # what is repeated goes on where it was
    "too slow, of the network": Case([140, 140], [*MORE_TIME, MORE_TIME[1]], process="PASSES"),
    "too large, of the network": Case(
        [143] * 9, MORE_MEMORY, MEMORY["LSF"], ("exit status 143", MEMORY["LSF"]), "PASSES"
    ),
    "evicted, often": Case([143] * 5, [FIRST] * 6),
    "crashed": Case([139, 139], [FIRST] * 3),
    # evictions take away nothing of what other ends are granted
    "evicted, then out of memory": Case([143, 143, 137], [FIRST] * 3 + MORE_MEMORY[1:2]),
    "evicted, then out of time": Case([143, 143, 140], [FIRST] * 3 + MORE_TIME[1:2]),
    "evicted, then crashed": Case([143, 143, 139], [FIRST] * 4),
    "evicted, then too large": Case(
        [143, 143, *[137] * 3], [FIRST] * 2 + MORE_MEMORY, failed=KILLED
    ),
    "a GPU that others use": Case([75], [FIRST] * 2),
    "a GPU that is too small": Case(
        [75] * 9,
        [FIRST] * 3,
        f"{HARMLESS['evicted']}\nterapose: cuda: the GPU has too little free memory",
        ("exit status 75", "cuda: the GPU has too little free memory"),
        "PASSES",
    ),
    "a mistake": Case(
        [2], [FIRST], "terapose: mask.tif: is empty", ("exit status 2", "mask.tif: is empty")
    ),
    "a fault": Case(
        [1],
        [FIRST],
        "ModuleNotFoundError: No module named torch",
        ("exit status 1", "ModuleNotFoundError: No module named torch"),
    ),
    "a gather": Case([], [(GATHER, None)], process="GATHERS"),
    # no time was asked for: the queue has a limit of its own
    "a slow gather": Case(
        [140] * 9,
        [(GATHER, None), (GATHER, 2 * HOUR)],
        TIME["PBS"],
        ("exit status 140", TIME["PBS"]),
        "GATHERS",
    ),
    **{f"{name}: memory": Case([143], MORE_MEMORY, said) for name, said in MEMORY.items()},
    **{f"{name}: time": Case([143], MORE_TIME, said) for name, said in TIME.items()},
    **{f"harmless: {name}": Case([143], [FIRST] * 2, said) for name, said in HARMLESS.items()},
}


class Traced(NamedTuple):
    """What is known of tasks.

    Attributes
    ----------
    rows
        Those of the trace, attempt by attempt.
    failed
        Name, end and sentence of those that failed, by their tags.
    """

    rows: list[dict[str, str]]
    failed: dict[str, tuple[str, str]]


def traced(
    folder: Path, jobs: list[dict[str, Any]], settings: str, samples: str = "several"
) -> Traced:
    """What is known of tasks that end in this way, in a run of one sample or several."""
    needs_engine()
    (folder / "jobs.json").write_text(json.dumps(jobs))
    fields = "name,tag,process,status,exit,attempt,memory,time,cpus"
    trace = f"trace {{\n enabled = true\n raw = true\n file = 'trace.tsv'\n fields = '{fields}'\n}}"
    (folder / "own.config").write_text(f"{trace}\n{settings}\n")
    script = Path(__file__).with_name("asks.nf")
    config = ["-c", ROOT / "conf/base.config", "-c", "own.config"]
    words = ["--jobs", "jobs.json", "--answers", "failed.json", "--samples", samples]
    done = subprocess.run(
        ["nextflow", "-q", *map(str, config), "run", script, *words],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert (folder / "trace.tsv").exists(), done.stdout + done.stderr
    with (folder / "trace.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    failed = json.loads((folder / "failed.json").read_text())
    return Traced(
        sorted(rows, key=lambda row: (row["tag"], int(row["attempt"]))),
        {
            name.partition("(")[2][:-1]: (end.partition(", work folder ")[0], said)
            for name, end, said in failed
        },
    )


def test_what_is_asked_for_again(tmp_path: Path) -> None:
    jobs: list[dict[str, Any]] = [
        {
            "name": name,
            "ends": case.ends,
            "needs": {**NEEDS, "gpus": int(name == "on a GPU")},
            "says": case.says,
            "process": case.process,
        }
        for name, case in CASES.items()
    ]
    limits = f"process.resourceLimits = [memory: {LIMIT}.B, cpus: 1, time: 2.h]"
    rows, failed = traced(tmp_path, jobs, limits)
    assert failed == {name: case.failed for name, case in CASES.items() if case.failed}
    asked: dict[str, list[Asked]] = {name: [] for name in CASES}
    for row in rows:
        assert row["cpus"] == "1"
        seconds = None if row["time"] == "-" else int(row["time"])
        asked[row["tag"]].append((int(row["memory"]), seconds))
    assert asked == {name: case.asked for name, case in CASES.items()}
    gpus = [path.read_text().strip() for path in (tmp_path / "work").glob("*/*/gpus")]
    assert sorted(gpus) == ["0"] * (len(gpus) - 1) + ["1"]


@pytest.mark.parametrize("samples", ["one", "several"])
def test_tasks_beside_one_that_fails_are_finished(tmp_path: Path, samples: str) -> None:
    """Of a single sample no other begins afterwards; with several samples the run goes on."""
    following = {"name": "following", "ends": [], "process": "SMALL"}
    ends = "Finishing pending tasks" if samples == "one" else "Error is ignored"
    jobs: list[dict[str, Any]] = [
        {
            "name": "a mistake",
            "ends": [2],
            "needs": NEEDS,
            "says": "terapose: it is empty",
            "waits_for": "Submitted process > ENDS (beside)",
        },
        {"name": "beside", "ends": [], "needs": NEEDS, "waits_for": ends, "next": following},
    ]
    rows, failed = traced(tmp_path, jobs, "executor.cpus = 8\nprocess.cpus = 1", samples)
    assert failed == {"a mistake": ("exit status 2", "it is empty")}
    assert {row["tag"]: row["exit"] for row in rows} == {
        "a mistake": "2",
        "beside": "0",
        **({} if samples == "one" else {"following": "0"}),
    }


@pytest.mark.parametrize("container", ["", "process.container = 'image'"])
def test_cancelled_before_or_while_it_runs_is_a_kill(tmp_path: Path, container: str) -> None:
    """Nextflow's own wrapper is signalled, while it prepares a task and while the task runs."""
    traced(tmp_path, [{"name": "well", "ends": [], "needs": NEEDS}], container)
    (folder,) = (path.parent for path in (tmp_path / "work").glob("*/*/gpus"))
    (folder / ".command.sh").write_text("touch began\nsleep 600\n")
    wrapper = folder / ".command.run"
    usual = wrapper.read_text()
    # a container has an environment of its own
    assert ("$venv/bin" in usual) is (not container)
    assert usual.count("\nnxf_stage() {\n") == 1
    for early in (True, False):
        (folder / ".exitcode").unlink()
        signal = "\nnxf_stage() {\n    kill -TERM $$\n"
        wrapper.write_text(usual.replace("\nnxf_stage() {\n", signal) if early else usual)
        with subprocess.Popen(["bash", wrapper], cwd=folder) as task:
            while not early and not (folder / "began").exists():
                assert task.poll() is None
                time.sleep(0.1)
            if not early:
                task.terminate()
        assert task.returncode == 143
        assert (folder / ".exitcode").read_text() == "143"
        assert (folder / "began").exists() is not early


def test_a_light_sheet_asks_for_what_is_projected(tmp_path: Path, tiny_model: Path) -> None:
    """At the first attempt, in each of its stages; nothing of it is computed."""
    image = tmp_path / "sheet.zarr"
    shape, chunks = (640, 2048, 2048), (64, 256, 256)
    zarr.create_array(str(image), shape=shape, chunks=chunks, dtype="uint16")
    params = check({"model": str(tiny_model), "diameter": 12, "voxel_size": (2, 0.5, 0.5)})
    plan = make_plan(open_checked(str(image), params), identify(tiny_model), params)
    projected = memory_of(plan)
    assert {"gradients-zy", "combine", "follow", "masks"} <= projected.keys()
    jobs = [
        {"name": stage, "ends": [], "needs": asdict(needs_of(plan, stage))} for stage in projected
    ]
    rows, _ = traced(tmp_path, jobs, "executor { memory = '64 GB'\n cpus = 8 }")
    asked = {row["tag"]: int(row["memory"]) for row in rows if row["process"] == "ENDS"}
    assert asked == {stage: max(memory, LEAST) for stage, memory in projected.items()}
    assert 4 * GB < max(asked.values()) <= params.max_memory * GB


@pytest.mark.parametrize(
    ("process", "memory", "requested"), [("ENDS", 5, 6), ("GATHERS", 3, 4), ("SMALL", 2, 3)]
)
def test_what_the_machine_does_not_have_ends_the_run(
    process: str, memory: int, requested: int, tmp_path: Path
) -> None:
    """What is said helps: a smaller max_memory only where it makes the request smaller."""
    needs = {**NEEDS, "memory": 6 * 2**30}
    jobs: list[dict[str, Any]] = [{"name": "large", "ends": [], "needs": needs, "process": process}]
    machine = f"executor.memory = '{memory} GB'\nprocess.cpus = 1"
    rows, failed = traced(tmp_path, jobs, machine)
    end, said = failed["large"]
    assert end == "no exit status"
    begin = f"Process requirement exceeds available memory -- req: {requested} GB; avail: {memory} "
    assert said.startswith(begin)
    assert ("give a smaller max_memory" in said) is (process == "ENDS")
    assert "resourceLimits" in said
    assert not [row for row in rows if row["exit"] != "-"]
    if process == "GATHERS":
        (tmp_path / "capped").mkdir()
        limits = f"\nprocess.resourceLimits = [memory: {memory}.GB]"
        rows, failed = traced(tmp_path / "capped", jobs, machine + limits)
        assert not failed and int(rows[-1]["memory"]) == memory * 2**30


def path_with(tools: Path, sbatch: str) -> str:
    """A PATH with a new folder of SLURM's commands, and what is in the place of `sbatch`."""
    tools.mkdir()
    said = {"sbatch": sbatch}
    for tool in ("sbatch", "squeue", "scancel"):
        (tools / tool).write_text(f"#!/bin/sh\n{said.get(tool, '')}\n")
        (tools / tool).chmod(0o755)
    return os.pathsep.join([str(tools), environment()["PATH"]])


def on_slurm(folder: Path, name: str, sbatch: str) -> Traced:
    """What is known of a task that is submitted to a cluster, with these settings of a user.

    Parameters
    ----------
    folder
        Where Nextflow runs.
    name
        The tag of the task.
    sbatch
        What is in the place of the scheduler's command, in the language of a shell.
    """
    path = path_with(folder / "tools", sbatch)
    settings = """
    process {
        executor = 'slurm'
        maxRetries = 1
        withName: 'ENDS' { memory = 2.GB }
    }
    executor {
        exitReadTimeout = '1 s'
        pollInterval = '200 ms'
        queueStatInterval = '200 ms'
    }
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", path)
        return traced(folder, [{"name": name, "ends": [], "needs": NEEDS}], settings)


def test_the_users_settings_win_and_no_exit_status_is_a_kill(tmp_path: Path) -> None:
    """A scheduler that loses each job: it says that it took it, and knows nothing of it."""
    rows, failed = on_slurm(tmp_path, "lost", "touch .command.begin; echo Submitted batch job $$")
    lost = [(int(r["memory"]), r["exit"]) for r in rows if r["process"] == "ENDS"]
    assert lost == [(2 * 2**30, "-")] * 2
    assert failed == {"lost": ("no exit status", "was killed, or stopped without a message")}


def test_a_machine_that_google_took_away_is_a_kill(tmp_path: Path) -> None:
    """No shell can exit with what Google Batch says of it: the file says so."""
    taken = "touch .command.begin; echo 50001 > .exitcode; echo Submitted batch job $$"
    rows, failed = on_slurm(tmp_path, "taken", taken)
    assert [(int(r["memory"]), r["exit"]) for r in rows if r["process"] == "ENDS"] == [
        (2 * 2**30, "50001")
    ] * 2
    assert failed["taken"][0] == "exit status 50001"


def test_why_a_job_is_not_accepted_is_said(tmp_path: Path) -> None:
    said = (
        "sbatch: error: Batch job submission failed: Requested node configuration is not available"
    )
    _, failed = on_slurm(tmp_path, "refused", f"echo >> tried; echo '{said}' >&2; exit 1")
    assert len([*(tmp_path / "work").rglob("tried")]) == 2
    assert failed == {"refused": ("exit status 1", said)}


def test_a_job_array_asks_for_the_most_of_its_stage(tmp_path: Path) -> None:
    """Nextflow evaluates what it asks for without the tasks in it."""
    needs_engine()
    path = path_with(tmp_path / "tools", f"cp .command.run {tmp_path}/asked.sh\nexit 1")
    (tmp_path / "own.config").write_text("process.executor = 'slurm'\nprocess.maxRetries = 0\n")
    config = ["-c", ROOT / "conf/base.config", "-c", "own.config"]
    subprocess.run(
        ["nextflow", "-q", *map(str, config), "run", Path(__file__).with_name("arrays.nf")],
        cwd=tmp_path,
        env={**environment(), "PATH": path},
        capture_output=True,
    )
    asked = (tmp_path / "asked.sh").read_text()
    assert "#SBATCH --array 0-1\n" in asked
    # as much as the task that asks for most, of each
    assert "#SBATCH --mem 3814M\n" in asked and "#SBATCH -t 01:00:00\n" in asked
    assert "#SBATCH -c 2\n" in asked
