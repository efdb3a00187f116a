"""A stage is added to a copy of Terapose: four files, three of them edited, and all know it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.pipeline.conftest import Launches
from tests.pipeline.launch import ROOT

from terapose.io.labels.ome_zarr import open_level

STAGE = '''"""sizes: how many voxels of each block belong to cells."""

from typing import Any

from terapose.intermediates.naming import named_labels
from terapose.pipeline.job import Job, Result
from terapose.pipeline.state import Added


def run(job: Job) -> dict[str, Any]:
    """Count the voxels of the blocks of one task."""
    boxes = (job.plan.grid[item] for item in job.items)
    return {"voxels": sum(int((named_labels(job, box) > 0).sum()) for box in boxes)}


def gather(job: Job, results: list[Result]) -> Added:
    """Add them up."""
    return Added(told={"voxels": sum(result["voxels"] for result in results)})
'''
EDITS = {
    "bin/terapose/pipeline/graph.py": (
        '    Stage(\n        "matches",\n',
        '    Stage("sizes", "Count the voxels of cells.", "blocks", over="blocks"),\n',
    ),
    "modules/stub.nf": ("'matches', 'export'", "'sizes', "),
    "modules/phases/labels.nf": (
        "workflow LABELS {",
        "include { BLOCKS as SIZES } from '../processes/blocks'\n"
        "include { GATHER as GATHER_SIZES } from '../processes/gather'\n\n",
    ),
}
"""In front of what, and what is put there."""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy with the stage."""
    copy = tmp_path_factory.mktemp("copy") / "workflow"
    for name in ("main.nf", "nextflow.config", "conf", "modules", "bin", "assets"):
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", ".*")
            shutil.copytree(ROOT / name, copy / name, ignore=ignored)
        else:
            copy.mkdir(exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    (copy / "bin/terapose/stages/sizes.py").write_text(STAGE)
    for file, (before, added) in EDITS.items():
        text = (copy / file).read_text()
        assert text.count(before) == 1, file
        (copy / file).write_text(text.replace(before, added + before))
    labels = copy / "modules/phases/labels.nf"
    text = labels.read_text()
    head, call, rest = text.partition("    // cells of a second network")
    assert call
    calls = (
        "    SIZES(blocks(runs, 'sizes', RELABEL.out))\n"
        "    GATHER_SIZES(gathering(runs, 'sizes', RELABEL.out, SIZES.out))\n\n"
    )
    labels.write_text(head + calls + call + rest.replace("RELABEL.out", "GATHER_SIZES.out"))
    return copy


def test_on_one_machine(copy: Path, image: Path, tmp_path: Path) -> None:
    words = [sys.executable, copy / "bin" / "terapose.py"]

    def run(*more: object) -> str:
        done = subprocess.run(
            [*map(str, [*words, *more])], capture_output=True, text=True, check=True
        )
        return done.stdout

    assert "  sizes        Count the voxels of cells.\n" in run("stage", "--help")
    given = (image, "--model", "nuclei-small", "--diameter", 15)
    assert "\nsizes " in run("plan", *given)
    run("segment", image, tmp_path / "out", *given[1:], "--jobs", 1)
    cells = np.asarray(open_level(str(tmp_path / "out" / "labels.zarr"), 0)[:])
    record = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert record["stages"]["sizes"]["voxels"] == (cells > 0).sum() > 0


def test_in_the_workflow(copy: Path, launches: Launches, image: Path) -> None:
    launch = launches("sizes")
    launch.workflow = copy
    run = launch.run("--input", image, "-stub-run")
    assert {"SIZES", "GATHER_SIZES"} <= run.submitted
