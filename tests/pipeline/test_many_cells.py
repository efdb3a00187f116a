"""Gathers go through tables of cells in windows: memory does not grow with the number of cells.

MouseLand/cellpose issue 1481: joining the cells of a large volume runs out of memory. Here a volume
eight times as deep has eight times as many cells, and needs hardly more memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from benchmarks.tables import BEFORE, STEP, Made, gathers, keyed
from numpy.typing import NDArray
from tests.fields import prepared, scatter
from tests.memory import alone, traced

from terapose.io.store.long_columns import get_run
from terapose.pipeline.job import Job
from terapose.pipeline.running import run_gather
from terapose.pipeline.state import State

DEPTHS = (800, 6400)
MOST = 25
"""Bytes for each further cell; a row of the table of objects has 108."""


def peaks_of(folder: Path, depth: int) -> dict[str, int]:
    """Largest memory that arrays took in each gather."""
    made = Made(folder, (depth, 1000, 1000))
    before = BEFORE
    found = {}
    for name, run, receipts in gathers(made):
        given = [keyed(each, before) for each in receipts]
        before, found[name] = traced(run, made.job(name, before), *given)
        if name == "relabel":
            check(made, before)
    table = pd.read_csv(Path(made.store.address) / "cells.csv")
    np.testing.assert_array_equal(table["CellID"], np.arange(1, np.prod(made.cells) + 1))
    return found


def peaks_of_both(folder: Path) -> list[dict[str, int]]:
    """The same at both depths; what is loaded once counts for the first."""
    return [peaks_of(folder / str(depth), depth) for depth in DEPTHS]


def check(made: Made, state: State) -> None:
    """All cells keep their numbers, and the tenth of them that has a hole got its voxels."""
    cells = int(np.prod(made.cells))
    assert (state.cells, state.patches) == (cells, 3 * (cells // 10))

    def column(name: str, count: int) -> NDArray[Any]:
        return get_run(made.store, f"{state.relabel_map}/{name}", (0, count))

    np.testing.assert_array_equal(column("lookup", cells + 1), np.arange(cells + 1))
    voxel, label = (column(f"patch_{name}", state.patches) for name in ("voxel", "label"))
    assert len(np.unique(voxel)) == state.patches
    at = np.stack(np.unravel_index(voxel, made.plan.image.shape)) // STEP
    np.testing.assert_array_equal(label, np.ravel_multi_index(tuple(at), made.cells) + 1)


def test_memory_does_not_grow_with_the_number_of_cells(tmp_path: Path) -> None:
    small, large = alone(peaks_of_both, tmp_path)
    assert "relabel" in large and large.keys() == small.keys()
    more = STEP**-3 * 1000 * 1000 * (DEPTHS[1] - DEPTHS[0])
    for name, peak in large.items():
        assert (peak - small[name]) / more < MOST, name


def test_histograms_are_added_up_one_by_one(tmp_path: Path, tiny_model: Path) -> None:
    """Of numbers with more than 16 bits each task counts megabytes, and there may be thousands."""
    values = np.random.default_rng(0).gamma(2, 300, (8, 64, 64)).astype(np.float32)
    params = {"block_shape": (2, 16, 16), "max_tasks": 64}
    plan, store = prepared(tmp_path, tiny_model, values, **params)
    receipts = scatter(plan, store, "intensities", {}, State())
    sizes = [
        sum(c.nbytes for c in store.get_table(r["result"]["table"]).values()) for r in receipts
    ]
    assert len(sizes) == 64 and min(sizes) > 2**20
    job = Job(plan, store, "percentiles", 0, {}, State())
    state, peak = alone(traced, run_gather, job, receipts)
    # that of a task, decoded, packed and added to the sum; never those of all tasks
    assert peak < 6 * max(sizes) < sum(sizes) / 8
    expected = np.percentile(values, [1, 99])
    np.testing.assert_allclose([state.low[0], state.high[0]], expected, rtol=1e-6)
