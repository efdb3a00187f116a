"""Profiles add to the resources of the base configuration and take none of them away."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def settings(folder: Path, *profiles: str) -> dict[str, dict[str, str]]:
    """Settings of each label of a process, and of all (""), as Nextflow resolves them."""
    path = f"{ROOT / '.engine'}{os.pathsep}{os.environ['PATH']}"
    command = [
        "nextflow",
        "config",
        str(ROOT),
        *(["-profile", ",".join(profiles)] if profiles else []),
    ]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    body = done.stdout.partition("\nprocess {\n")[2].partition("\n}")[0]
    blocks = re.findall(r"withLabel:'?(\w+)'? \{(.*?)\n   \}", body, re.DOTALL)
    found = {label: dict(re.findall(r"(\w+) = (.+)", block)) for label, block in blocks}
    plain = re.sub(r"   withLabel.*?\n   \}", "", body, flags=re.DOTALL)
    own = re.findall(r"^   (\w+) = (.+?)\s*(?=^   \S|\Z)", plain, re.M | re.S)
    return {**found, "": dict(own)}


@pytest.mark.parametrize("profile", ["gpu", "slurm", "test"])
def test_a_profile_keeps_what_tasks_ask_for(profile: str, tmp_path: Path) -> None:
    base = settings(tmp_path)
    assert {"small", "gather"} <= set(base) and "needs" in base["gather"]
    assert {"memory", "time", "cpus", "accelerator", "errorStrategy"} <= set(base[""])
    with_profile = settings(tmp_path, profile)
    for label, asked in base.items():
        assert asked.items() <= with_profile[label].items()
