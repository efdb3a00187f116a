"""A cluster of two kinds of machines: tasks of one process believe that their processor is old."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.workflow.conftest import Launches
from tests.workflow.launch import results

pytestmark = pytest.mark.slow

# a task for each stage: those of one stage are all on the same kind here
CUT = ("--slab_planes", 16, "--single_task", "false")
OLD = "export ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41"
SITE = f"""
process {{
    withName: 'GRADIENTS_ZX' {{
        beforeScript = '{OLD}'
    }}
}}
"""
SEVERAL = "tasks ran on machines of several kinds, which may round differently: "


@pytest.mark.thorough(
    shorter="tests/pipeline/test_rounding.py"
    "::test_a_gather_warns_of_several_kinds_and_refuses_them_on_request"
)
def test_several_kinds_are_a_warning_or_refused(
    launches: Launches, image: Path, undisturbed: tuple[str, bytes]
) -> None:
    launch = launches("kinds")
    site = launch.path / "site.config"
    site.write_text(SITE)
    words = ("--input", image, *CUT)
    run = launch.done(*words, "-c", site)
    (warning,) = [line for line in run.said.splitlines() if line.startswith("WARNING: ")]
    assert warning.startswith(f"WARNING: {SEVERAL}torch ") and "ONEDNN_MAX_CPU_ISA=SSE41" in warning
    record = json.loads((launch.out / "nuclei" / "provenance.json").read_text())
    assert record["notes"] == [warning.removeprefix("WARNING: ")]
    # the same voxels here, but not the same probabilities
    labels, table = results(launch.out / "nuclei")
    assert labels == undisturbed[0] and table != undisturbed[1]

    # finished tasks find their work done, so it is the gather that refuses it
    run = launch.run(*words, "-c", site, "-resume", "--strict")
    assert run.process.returncode != 0 and "GATHER_ZX" in run.submitted, run.said
    assert run.last.startswith(f"terapose: stage gradients-zx: {SEVERAL[:-2]}; got torch ")
    assert "FOLLOW" not in run.submitted | run.cached

    # from the beginning it is refused before the first task there computes
    run = launch.run(*words, "-c", site, "--strict")
    assert run.process.returncode != 0 and "GATHER_ZX" not in run.submitted, run.said
    assert run.last.startswith("terapose: stage gradients-zx: this machine may round differently")
    assert "GRADIENTS_ZX" in run.submitted and "(strict)" in run.last
    # and goes on where all are of one kind
    assert "WARNING" not in launch.done(*words, "-resume", "--strict").said
    assert results(launch.out / "nuclei") == undisturbed
