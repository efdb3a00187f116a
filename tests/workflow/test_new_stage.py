"""Stages are added to a copy of Terapose, and all know them.

One works on the plan (four files, three of them edited), one comes before it and one after the
results.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.synthetic import write_tiff
from tests.workflow.conftest import SHAPE, Launches
from tests.workflow.launch import copy_of_workflow, environment, network

from terapose.io.labels.ome_zarr import open_level

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
from terapose.io.images.model import Image


def find(image: Image, params: Parameters, model_files: Sequence[Path]) -> dict[str, Any]:
    """Find it."""
    return {"diameter": image.shape[1] // 4 + len(model_files)}
'''
AFTER = '''"""contents: what there is."""

from pathlib import Path


def look(results: Path, output: Path) -> None:
    """Write down the names of all results."""
    names = sorted(path.name for path in results.iterdir() if path.name[0] != ".")
    (output / "contents.txt").write_text(f"results: {' '.join(names)}")
'''
PROCESS_BEFORE = """
process DIAMETER {
    tag "${sample}"
    label 'network'

    input:
    tuple val(sample), '-', val(args), path(image, stageAs: 'image*/*'), path(model), path(beside)

    output:
    tuple val(sample), path('found.json')

    script:
    \"\"\"
    terapose.py stage diameter --model-file ${model} --output found.json ${args}
    \"\"\"
}
"""
PROCESS_AFTER = """
include { folder_of } from '../outdir'

process CONTENTS {
    tag "${sample}"
    label 'small'
    publishDir { "${params.outdir}/${folder_of(sample)}" }, mode: params.publish_mode

    input:
    tuple val(sample), path(results, stageAs: 'results/*'), val(args)

    output:
    tuple val(sample), path('contents.txt')

    script:
    \"\"\"
    terapose.py stage contents results --output . ${args}
    \"\"\"
}
"""
NEW = {
    "bin/terapose/stages/sizes.py": STAGE,
    "bin/terapose/stages/diameter.py": BEFORE,
    "bin/terapose/stages/contents.py": AFTER,
    "modules/processes/diameter.nf": PROCESS_BEFORE,
    "modules/processes/contents.nf": PROCESS_AFTER,
}
PLAN_CALL = "    PLAN(fetched.map { sample, row, given, network -> tuple(sample, row.plan, "
FIND = """\
    DIAMETER(
        asking(fetched, 'diameter').map { sample, row, given, network ->
            tuple(sample, row.plan, row.diameter, given.image, network, given.beside)
        }
    )
    handed = fetched
        .filter { _sample, row, _given, _network -> !('diameter' in row.runs) }
        .map { sample, row, _given, _network -> tuple(sample, row.plan) }
        .mix(DIAMETER.out.map { sample, found -> tuple(sample, found.text) })
"""
EDITS = {
    "bin/terapose/pipeline/graph.py": {
        '    Stage(\n        "cell_overlaps",\n': (
            '    Stage("sizes", "Count the voxels of cells.", "blocks", over="blocks",'
            " memory=estimate.of_regions, requests=Traffic.outlines),\n"
        ),
        ')\n"""Stages before the plan;': (
            '    Stage("diameter", "Find the diameter.", "network", phase="before",'
            " asked=lambda mode, params: params.diameter is None),\n"
        ),
        '    Stage("picture",': (
            '    Stage("contents", "List the results.", "small", phase="after",'
            " asked=lambda mode, params: params.diameter is None),\n"
        ),
    },
    "modules/stages.nf": {
        "'cell_overlaps', 'export'": "'sizes', ",
        "'publish', 'verify'": "'diameter', ",
        "'picture', 'evaluate'": "'contents', ",
    },
    "modules/phases/labels.nf": {
        "workflow LABELS {": (
            "include { BLOCKS as SIZES } from '../processes/blocks'\n"
            "include { GATHER as GATHER_SIZES } from '../processes/gather'\n\n"
        )
    },
    "modules/phases/prepare.nf": {
        "workflow PREPARE {": (
            "include { DIAMETER } from '../processes/diameter'\n"
            "include { asking } from '../tasks'\n\n"
        ),
        PLAN_CALL: FIND,
    },
    "modules/phases/look.nf": {
        "workflow LOOK {": "include { CONTENTS } from '../processes/contents'\n\n",
        "    PICTURE(": (
            "    CONTENTS(asking(results, 'contents').map { sample, run, files ->"
            " tuple(sample, files, run.words.contents) })\n"
        ),
    },
}
"""In front of what, and what is put there."""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy with the stage."""
    copy = copy_of_workflow(tmp_path_factory.mktemp("copy") / "workflow")
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
    now = PLAN_CALL.replace("fetched.map", "fetched.join(handed).map")
    now = now.replace("network ->", "network, work ->").replace("row.plan", "work")
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


def test_a_stage_that_follows_a_pattern_is_in_four_files() -> None:
    """One that comes before the plan or after the results has a process of its own."""
    texts = {file: [*edits.values()] for file, edits in EDITS.items()}
    texts |= {file: [file, text] for file, text in NEW.items()}
    found = {f for f, parts in texts.items() if any("sizes" in part.lower() for part in parts)}
    assert found == {
        *("bin/terapose/stages/sizes.py", "bin/terapose/pipeline/graph.py"),
        *("modules/stages.nf", "modules/phases/labels.nf"),
    }


def test_on_one_machine(copy: Path, image: Path, tmp_path: Path) -> None:
    words = [sys.executable, copy / "bin" / "terapose.py"]

    def run(*more: object) -> str:
        command = [*map(str, [*words, *more])]
        return subprocess.run(
            command, env=environment(), capture_output=True, text=True, check=True
        ).stdout

    said = run("stage", "--help")
    helps = dict(line.split(maxsplit=1) for line in said.splitlines() if len(line.split()) > 1)
    assert helps["sizes"] == "Count the voxels of cells."
    assert helps["diameter"] == "Find the diameter."
    assert helps["contents"] == "List the results."
    given = (image, "--model", network())
    assert "\nsizes " in run("plan", *given)
    run("segment", image, tmp_path / "out", *given[1:], "--jobs", 1)
    cells = np.asarray(open_level(str(tmp_path / "out" / "labels.zarr"), 0)[:])
    record = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert record["stages"]["sizes"]["voxels"] == (cells > 0).sum() > 0
    assert record["rescale"] == record["model"]["diam_mean"] / (SHAPE[1] // 4 + 1)
    names = "cells.csv cells.parquet labels.zarr provenance.json"
    assert (tmp_path / "out" / "contents.txt").read_text() == f"results: {names}"


def test_in_the_workflow(copy: Path, launches: Launches, voxels: np.ndarray) -> None:
    """What is around the plan is done; stages on the plan are stubs."""
    for name in ("check", "fetch", "plan", "diameter", "contents"):
        process = copy / "modules" / "processes" / f"{name}.nf"
        head, _, body = process.read_text().partition("    script:\n")
        script = body.partition("    stub:\n")[0].rstrip("}\n")
        process.write_text(f"{head}    script:\n{script}\n    stub:\n{script}\n}}\n")
    launch = launches("sizes")
    launch.workflow = copy
    write_tiff(launch.path / "plane.tif", voxels[6:7])
    sheet = launch.path / "sheet.csv"
    sheet.write_text("sample,image,diameter\nfound,plane.tif,\ngiven,plane.tif,9\n")
    words = ("--input", sheet, "--single_task", "false", "-stub-run")
    first = launch.done(*words)
    assert {"SIZES", "GATHER_SIZES"} <= first.submitted
    started = re.findall(r"Submitted process > (?:\w+:)*(DIAMETER|CONTENTS) (.*)", first.said)
    assert sorted(started) == [("CONTENTS", "(found)"), ("DIAMETER", "(found)")]
    plans = [json.loads((store / "plan.json").read_text()) for store in launch.stores()]
    diameters = [plan["model"]["diam_mean"] / plan["rescale"] for plan in plans]
    assert sorted(diameters) == pytest.approx([9, SHAPE[1] // 4 + 1])
    results = "cells.csv cells.parquet labels.zarr provenance.json"
    assert (launch.out / "found" / "contents.txt").read_text() == f"results: {results}"
    assert not (launch.out / "given" / "contents.txt").exists()

    # edited, it looks at the results again, and nothing else is done
    shutil.rmtree(launch.out)  # a stub's record is none
    code = copy / "bin/terapose/stages/contents.py"
    code.write_text(code.read_text().replace('"results: ', '"now: '))
    again = launch.done(*words, "-resume")
    assert again.submitted == {"CHECK", "PUBLISH", "CONTENTS"}
    assert (launch.out / "found" / "contents.txt").read_text() == f"now: {results}"
