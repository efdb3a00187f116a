"""One image, run in ten ways: one checksum of the mask."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from tests.synthetic import write_ome_zarr
from tests.workflow.conftest import Launches
from tests.workflow.launch import Launch, results, segment

pytestmark = pytest.mark.slow

COLUMNS = ("block_shape", "slab_planes", "rectangle", "max_tasks", "max_memory")
WAYS: dict[str, dict[str, str]] = {
    "whole": {},
    "quarters": {"block_shape": "3,20,24", "max_tasks": "2"},
    "planes": {"block_shape": "1,40,48", "slab_planes": "1"},
    "odd": {"block_shape": "2,17,31", "slab_planes": "2", "rectangle": "24", "max_tasks": "2"},
    "small": {"block_shape": "3,9,11", "slab_planes": "1"},
    "little": {"max_memory": "1"},
}
"""Samples of one run, with the columns of their samplesheet.

Without `max_tasks` all is one task, but of the last one, which may not need as much memory as that.
"""
MASK = "mask.ome.tif"


def _sheet(folder: Path, image: Path) -> Path:
    lines = [",".join(("sample", "image", *COLUMNS))]
    for name, cut in WAYS.items():
        values = (f'"{cut.get(column, "")}"' for column in COLUMNS)
        lines.append(",".join((name, str(image), *values)))
    path = folder / "samples.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def _found(launch: Launch, sample: str) -> tuple[str, bytes, str]:
    """Labels, table, and the checksum of the mask."""
    out = launch.out / sample
    return (*results(out), hashlib.sha256((out / MASK).read_bytes()).hexdigest())


@pytest.mark.thorough(shorter="tests/workflow/test_modes.py::test_same_bytes_however_it_is_cut")
def test_one_checksum(launches: Launches, voxels: np.ndarray, tmp_path: Path) -> None:
    image = write_ome_zarr(tmp_path / "nuclei.zarr", voxels[5:8], voxel_size=(1.0, 1.0, 1.0))
    options = ("--mode", "2d", "--flow_threshold", 0, "--mask_tiff", MASK)
    # on one machine
    segment(image, tmp_path / "out" / "nuclei", *(o.replace("_", "-") for o in map(str, options)))
    first = Launch(tmp_path)
    found = {"command": _found(first, "nuclei")}
    # six in a run that is killed on its way, and goes on
    many = launches("many")
    words = ("--input", _sheet(tmp_path, image), *options, "-resume")
    run = many.start(*words)
    assert run.wait_for(process="FOLLOW"), run.said
    run.kill_all()
    again = many.done(*words)
    assert again.cached and again.tasks and "WHOLE" in again.submitted | again.cached
    found |= {name: _found(many, name) for name in WAYS}
    # each stage as a task; another cut with that store there; and back
    apart = launches("apart")
    for name, cut in (("apart", ()), ("over", ("--block_shape", "3,24,24")), ("back", ())):
        words = ("--input", image, *options, *cut, "--single_task", "false", "-resume")
        apart.done(*words)
        found[name] = _found(apart, "nuclei")
    assert len(found) == 10
    assert len({*found.values()}) == 1, {name: one[2] for name, one in found.items()}
    assert int(tifffile.imread(tmp_path / "out" / "nuclei" / MASK).max()) > 3
