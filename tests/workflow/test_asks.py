"""What tasks ask for follows the plan, and what they ask for again follows the way they ended."""

from __future__ import annotations

import csv
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.workflow.launch import ROOT, environment, needs_engine

pytestmark = pytest.mark.slow

GB = 10**9
HOUR = 3_600_000
NEEDS = {"memory": 3 * GB, "seconds": 3600, "cpus": 2, "gpus": 0}
LIMIT = 5 * GB
ENDS = {
    "well": [],
    "out of memory": [137],
    "out of time": [140],
    "evicted, often": [143] * 5,
    "crashed": [139, 139],
    "a mistake": [2],
    "a fault": [1],
    "too large": [137] * 9,
}
ASKED = {
    "well": [(3 * GB, HOUR)],
    "out of memory": [(3 * GB, HOUR), (LIMIT, HOUR)],
    "too large": [(3 * GB, HOUR), (LIMIT, HOUR)],
    "out of time": [(3 * GB, HOUR), (3 * GB, 2 * HOUR)],
    "evicted, often": [(3 * GB, HOUR)] * 6,
    "crashed": [(3 * GB, HOUR)] * 3,
    "a mistake": [(3 * GB, HOUR)],
    "a fault": [(3 * GB, HOUR)],
}
"""Bytes and milliseconds of each attempt."""


def traced(folder: Path, jobs: list[dict[str, Any]], settings: str) -> list[dict[str, str]]:
    """The rows of the trace of tasks that end in this way, attempt by attempt."""
    needs_engine()
    (folder / "jobs.json").write_text(json.dumps(jobs))
    fields = "name,tag,process,status,exit,attempt,memory,time,cpus"
    trace = f"trace {{\n enabled = true\n raw = true\n file = 'trace.tsv'\n fields = '{fields}'\n}}"
    (folder / "own.config").write_text(f"{trace}\n{settings}\n")
    script = Path(__file__).with_name("asks.nf")
    config = ["-c", ROOT / "conf/base.config", "-c", "own.config"]
    done = subprocess.run(
        ["nextflow", "-q", *map(str, config), "run", script, "--jobs", "jobs.json"],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert (folder / "trace.tsv").exists(), done.stdout + done.stderr
    with (folder / "trace.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return sorted(rows, key=lambda row: (row["tag"], int(row["attempt"])))


def test_what_is_asked_for_again(tmp_path: Path) -> None:
    jobs = [{"name": name, "ends": ends, "needs": NEEDS} for name, ends in ENDS.items()]
    limits = f"process.resourceLimits = [memory: {LIMIT}.B, cpus: 1]"
    rows = traced(tmp_path, jobs, limits)
    asked: dict[str, list[tuple[int, int]]] = {name: [] for name in ENDS}
    for row in rows:
        if row["process"] == "ENDS":
            assert row["cpus"] == "1"
            asked[row["tag"]].append((int(row["memory"]), int(row["time"])))
        else:
            assert (int(row["memory"]), row["time"]) == (4 * 2**30, "-")
    assert asked == ASKED


def test_the_users_settings_win_and_no_exit_status_is_a_kill(tmp_path: Path) -> None:
    """A scheduler that loses each job: it says that it took it, and knows nothing of it."""
    tools = tmp_path / "tools"
    tools.mkdir()
    said = {"sbatch": "touch .command.begin; echo Submitted batch job $$"}
    for name in ("sbatch", "squeue", "scancel"):
        (tools / name).write_text(f"#!/bin/sh\n{said.get(name, '')}\n")
        (tools / name).chmod(0o755)
    path = os.pathsep.join([str(tools), os.environ["PATH"]])
    settings = """
    process {
        executor = 'slurm'
        maxRetries = 1
        withName: 'ENDS' { memory = 2.GB }
        withName: 'GATHERS' { executor = 'local' }
    }
    executor {
        exitReadTimeout = '1 s'
        pollInterval = '200 ms'
        queueStatInterval = '200 ms'
    }
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", path)
        rows = traced(tmp_path, [{"name": "lost", "ends": [], "needs": NEEDS}], settings)
    lost = [(int(r["memory"]), r["exit"]) for r in rows if r["process"] == "ENDS"]
    assert lost == [(2 * 2**30, "-")] * 2
