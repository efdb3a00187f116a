"""Stages are added to a copy of Terapose, and all know them.

One works on the plan (four files, three of them edited), one comes before it and one after the
results.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.workflow.conftest import SHAPE, Launches
from tests.workflow.launch import ROOT

from terapose.io.labels.ome_zarr import open_level
from terapose.networks.weights import resolve

STAGE = '''"""sizes: how many voxels of each block belong to cells."""

from typing import Any

from terapose.intermediates.relabel_map import named_labels
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
BEFORE = '''"""diameter: the diameter of cells, before the plan."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from terapose.core.params import Parameters
from terapose.io.images import Image


def find(image: Image, params: Parameters, model_files: Sequence[Path]) -> dict[str, Any]:
    """Find it."""
    return {"diameter": image.shape[0] + len(model_files)}
'''
AFTER = '''"""report: how many cells there are."""

import json
from pathlib import Path


def look(results: Path, output: Path) -> None:
    """Write it down."""
    record = json.loads((results / "provenance.json").read_text())
    (output / "report.txt").write_text(f"{record['cells']} cells")
'''
PROCESS_BEFORE = """
process DIAMETER {
    label 'network'

    input:
    tuple val(sample), '-', val(args), path(image, stageAs: 'image*/*'), path(model)

    output:
    tuple val(sample), path('found.json')

    script:
    \"\"\"
    terapose.py stage diameter --model-file ${model} --output found.json ${args}
    \"\"\"

    stub:
    \"\"\"
    echo '{}' > found.json
    \"\"\"
}
"""
PROCESS_AFTER = """
process REPORT {
    label 'small'

    input:
    tuple val(sample), path(labels), path(record)

    output:
    tuple val(sample), path('report.txt')

    script:
    \"\"\"
    terapose.py stage report . --output .
    \"\"\"

    stub:
    \"\"\"
    touch report.txt
    \"\"\"
}
"""
NEW = {
    "bin/terapose/stages/sizes.py": STAGE,
    "bin/terapose/stages/diameter.py": BEFORE,
    "bin/terapose/stages/report.py": AFTER,
    "modules/processes/diameter.nf": PROCESS_BEFORE,
    "modules/processes/report.nf": PROCESS_AFTER,
}
PLAN_CALL = "    PLAN(fetched.map { sample, row, given, network -> tuple(sample, row.plan, "
EDITS = {
    "bin/terapose/pipeline/graph.py": {
        '    Stage(\n        "cell_overlaps",\n': (
            '    Stage("sizes", "Count the voxels of cells.", "blocks", over="blocks",'
            " memory=of_regions),\n"
        ),
        ')\n"""Stages before the plan;': (
            '    Stage("diameter", "Find the diameter.", "network", phase="before"),\n'
        ),
        '    Stage("picture",': (
            '    Stage("report", "Count the cells.", "small", phase="after"),\n'
        ),
    },
    "modules/stub.nf": {"'cell_overlaps', 'export'": "'sizes', "},
    "modules/phases/labels.nf": {
        "workflow LABELS {": (
            "include { BLOCKS as SIZES } from '../processes/blocks'\n"
            "include { GATHER as GATHER_SIZES } from '../processes/gather'\n\n"
        )
    },
    "modules/phases/prepare.nf": {
        "workflow PREPARE {": "include { DIAMETER } from '../processes/diameter'\n\n",
        PLAN_CALL: (
            "    DIAMETER(fetched.map { sample, row, given, network ->"
            ' tuple(sample, row.plan, "${row.diameter}", given.image, network) })\n'
        ),
    },
    "modules/phases/look.nf": {
        "workflow LOOK {": "include { REPORT } from '../processes/report'\n\n",
        "    PICTURE(": "    REPORT(results)\n",
    },
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
    for file, text in NEW.items():
        (copy / file).write_text(text)
    for file, edits in EDITS.items():
        text = (copy / file).read_text()
        for before, added in edits.items():
            assert text.count(before) == 1, (file, before)
            text = text.replace(before, added + before)
        (copy / file).write_text(text)
    # the plan is made of what was found
    prepare = copy / "modules/phases/prepare.nf"
    now = PLAN_CALL.replace("fetched.map", "fetched.join(DIAMETER.out).map")
    now = now.replace("network ->", "network, found ->").replace("row.plan", "found.text")
    prepare.write_text(prepare.read_text().replace(PLAN_CALL, now))
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

    def run(*more: object, given: str = "") -> str:
        done = subprocess.run(
            [*map(str, [*words, *more])], capture_output=True, text=True, check=True, input=given
        )
        return done.stdout

    said = run("stage", "--help")
    assert "  sizes        Count the voxels of cells.\n" in said
    assert "  diameter     Find the diameter.\n" in said
    assert "  report       Count the cells.\n" in said
    given = (image, "--model", "nuclei-small")
    assert "\nsizes " in run("plan", *given)
    run("segment", image, tmp_path / "out", *given[1:], "--jobs", 1)
    cells = np.asarray(open_level(str(tmp_path / "out" / "labels.zarr"), 0)[:])
    record = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert record["stages"]["sizes"]["voxels"] == (cells > 0).sum() > 0
    assert record["rescale"] == record["model"]["diam_mean"] / (SHAPE[0] + 1)
    assert (tmp_path / "out" / "report.txt").read_text() == f"{record['cells']} cells"

    # and as processes of the workflow
    run("check", *given, "--lines", tmp_path / "lines.tsv")
    names, values = (tmp_path / "lines.tsv").read_text().splitlines()
    row = dict(zip(names.split("\t"), values.split("\t"), strict=True))
    found, network = tmp_path / "found.json", resolve("nuclei-small")
    one = ("stage", "diameter", "--model-file", network, "--output", found)
    run(*one, *row["diameter"].split(), given=row["plan"])
    places = ("--store", tmp_path / "store", "--tasks", tmp_path / "tasks")
    plan = ("stage", "plan", "--model-file", network, "--output", tmp_path / "plan.json", *places)
    run(*plan, given=found.read_text())
    kept = json.loads((tmp_path / "store" / "plan.json").read_text())
    assert kept["rescale"] == record["rescale"] and kept["tasks"]["sizes"]
    run("stage", "report", tmp_path / "out", "--output", tmp_path)
    assert (tmp_path / "report.txt").read_text() == f"{record['cells']} cells"


def test_in_the_workflow(copy: Path, launches: Launches, image: Path) -> None:
    launch = launches("sizes")
    launch.workflow = copy
    run = launch.run("--input", image, "-stub-run")
    assert {"SIZES", "GATHER_SIZES", "DIAMETER", "REPORT"} <= run.submitted
