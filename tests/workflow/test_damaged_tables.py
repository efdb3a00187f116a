"""A damaged table of tasks ends its own sample: the others go on, and it is named at the end."""

from __future__ import annotations

import pytest
from tests.workflow.conftest import Launches
from tests.workflow.launch import copy_of_workflow

pytestmark = pytest.mark.slow

SCRIPT = """
include { expect_samples ; say_end } from './modules/failures'
include { PREPARE } from './modules/phases/prepare'
include { named_images ; run_parameters ; source } from './modules/sources'

workflow {
    def given = run_parameters()
    def named = named_images(given)
    expect_samples(given, named)
    sources = channel.fromList(named).map { name, address, own ->
        source(name, address, own, given, false)
    }
    PREPARE(sources, file("${projectDir}/params.json"), '', false)
    finished = [:]
    PREPARE.out.subscribe { sample, run ->
        finished[sample] = [cells: run.tasks.masks.size(), seconds: [masks: 1.25]]
    }
    workflow.onComplete = {
        say_end('', finished, [])
    }
}
"""
LOOP = "> tasks/\\$stage.csv\n    done\n"
DAMAGE = "[ ${sample} = good ] || echo task,first,stop > tasks/masks.csv\n"


def test_only_its_sample_fails(launches: Launches) -> None:
    """Where it is the only one, tests/workflow/test_workflow.py damages a table of a real plan."""
    launch = launches("tables")
    copy = copy_of_workflow(launch.path / "workflow")
    plan = copy / "modules" / "processes" / "plan.nf"
    text = plan.read_text()
    assert text.count(LOOP) == 1
    plan.write_text(text.replace(LOOP, f"{LOOP}    {DAMAGE}"))
    launch.workflow = copy / "prepare.nf"
    launch.workflow.write_text(SCRIPT)
    images = launch.path / "images"
    images.mkdir()
    for name in ("bad", "good"):
        (images / f"{name}.tif").touch()
    run = launch.run("--input", images, "-stub-run")
    assert run.process.returncode == 1
    (table,) = (p for p in launch.work.glob("*/*/tasks/masks.csv") if p.read_text().count("\n") < 2)
    said = [line for line in run.said.splitlines() if line.startswith("terapose: ")]
    failed, last = said
    assert failed.startswith(
        f"terapose: PREPARE:REFUSE (bad): {table}: is damaged; "
        "run again without -resume to recreate it (exit status 2, work folder /"
    )
    assert last.startswith("terapose: some samples failed, 1 finished; ")
    assert run.last == last
    assert {"Cells: 2 in 1 sample", "Seconds: masks 1.3"} <= {*run.said.splitlines()}
