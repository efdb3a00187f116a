"""Tasks take no more memory than was projected for them (all sizes and modes: docs/hpc.md)."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.peaks import CASES, measure

from terapose.pipeline.needs import LEAST

pytestmark = pytest.mark.slow


def measured(name: str, folder: Path) -> set[str]:
    """Measure the tasks of an image; the stages whose tasks keep to what was projected."""
    (case,) = (case for case in CASES if case.name == name)
    rows = measure(case, folder)
    assert not [row for row in rows if row.measured > row.projected]
    assert not [row for row in rows if row.projected > max(1.5 * row.measured, LEAST)]
    return {row.stage for row in rows}


def test_peaks_are_below_their_projections(tmp_path: Path) -> None:
    stages = measured("slide, small", tmp_path)
    assert {"gradients-yx", "follow", "masks", "flow_errors", "export", "measure"} <= stages


@pytest.mark.thorough(
    shorter="tests/pipeline/test_projected.py::test_peaks_are_below_their_projections"
)
@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("volume, small", "gradients-zy"),
        ("volume, resized", "combine"),
        ("volume, converted", "convert"),
        ("stitch, small", "cell_holes"),
        ("volume, one task", "whole"),
        ("stitch, one task", "whole"),
        ("slide, one task", "whole"),
    ],
)
def test_so_they_are_of_volumes_and_in_other_modes(tmp_path: Path, name: str, stage: str) -> None:
    assert stage in measured(name, tmp_path)
