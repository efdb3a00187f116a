"""A function of the user's in the workflow: the file is staged once, and read by no task."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.synthetic import nuclei, write_ome_zarr
from tests.workflow.conftest import Launches
from tests.workflow.launch import results, segment

pytestmark = pytest.mark.slow

FILE = """
import numpy as np
EACH, HALO = "object", 1
OPTIONS = {"parts": 1}
def process(labels, image, block):
    x = np.indices(labels.shape)[2]
    middle = np.median(x[labels > 0])
    return labels * np.where(x < middle, 1, block.options["parts"])
"""


@pytest.mark.thorough(
    shorter="tests/stages/test_process_cells.py::test_any_blocks_give_what_the_command_gives"
)
def test_a_file_in_any_blocks(launches: Launches, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(FILE)
    volume, _ = nuclei((9, 90, 100), spacing=12, seed=5)
    image = write_ome_zarr(tmp_path / "plane.zarr", volume[4], axes="yx")
    words = ("--process-options", "parts=2", "--process", file, "--diameter", 12)
    whole = segment(image, tmp_path / "whole", *words, "--block-shape", "999,999,999")
    launch = launches("processed")
    given = (
        *("--input", image, "--block_shape", "1,40,37", "--max_tasks", 2, "--diameter", 12),
        *("--process", file, "--process_options", "parts=2"),
    )
    run = launch.done(*given)
    assert run.submitted >= {"PROCESS_CELLS", "GATHER_PROCESS_CELLS"}
    out = launch.out / image.stem
    assert results(out) == whole
    plain = json.loads((out / "provenance.json").read_text())["stages"]
    assert plain["process_cells"]["cells"] > plain["relabel"]["cells"] > 5
    # other content is another function: what precedes it is kept
    file.write_text(FILE.replace("x < middle", "x <= middle"))
    again = launch.done(*given, "-resume")
    assert {"PROCESS_CELLS", "EXPORT", "FINISH"} <= again.submitted
    assert not {"RELABEL", "MASKS", "FOLLOW", "PLAN"} & again.submitted
    assert results(out) == segment(image, tmp_path / "other", *words)
    assert results(out) != whole
