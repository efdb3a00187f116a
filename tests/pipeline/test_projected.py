"""Tasks take no more memory than was projected for them (all sizes and modes: docs/hpc.md)."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.peaks import CASES, measure

from terapose.pipeline.needs import LEAST


@pytest.mark.slow
def test_peaks_are_below_their_projections(tmp_path: Path) -> None:
    (case,) = (case for case in CASES if case.name == "slide, small")
    rows = measure(case, tmp_path)
    assert {"gradients-yx", "follow", "masks", "flow_errors", "export", "measure"} <= {
        row.stage for row in rows
    }
    assert not [row for row in rows if row.measured > row.projected]
    assert not [row for row in rows if row.projected > max(1.5 * row.measured, LEAST)]
