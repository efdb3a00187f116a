"""Long tables: windows, tables of tasks and sorting give what one table in memory gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from terapose.algorithms.objects.filters import Windows, resolve
from terapose.core.errors import StoreError
from terapose.core.geometry import Box, Grid
from terapose.core.tables import ROWS, Table, windows
from terapose.io.store import long_columns
from terapose.io.store.long_columns import CHUNK, get_runs, looked_up, put_column
from terapose.io.store.long_tables import (
    BlockSorter,
    ByNumber,
    blocks_together,
    get_whole,
    put_rows,
    put_whole,
    voxels_together,
)
from terapose.io.store.rows_by_block import rows_of
from terapose.io.store.store import Store

RNG = np.random.default_rng(0)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


def table(ids: NDArray[np.int64]) -> Table:
    return {"id": ids, "twice": 2 * ids}


@pytest.mark.parametrize("last", [0, 1, ROWS - 1, ROWS, 2 * ROWS + 5])
def test_windows_hold_each_number_once(store: Store, last: int) -> None:
    ids = RNG.permutation(np.arange(1, last + 1))
    put_whole(store, "t", table(ids), last)
    found = get_whole(store, "t", last)
    np.testing.assert_array_equal(found["id"], np.arange(1, last + 1))
    np.testing.assert_array_equal(found["twice"], 2 * found["id"])


@given(
    st.lists(st.lists(st.integers(1, 400), max_size=30), min_size=1, max_size=8),
    st.sampled_from([1, 7, 64, 1000]),
)
@settings(max_examples=50)
def test_tables_of_tasks_by_number(tasks: list[list[int]], rows: int) -> None:
    """Numbers of tasks interleave as they like; some tasks have none."""
    store = Store("memory://by-number")
    results, known = [], set()
    for task, numbers in enumerate(tasks):
        ids = np.array([i for i in dict.fromkeys(numbers) if i not in known], np.int64)
        known |= set(ids.tolist())
        results.append({"table": f"{task}.npz", **put_rows(store, f"{task}.npz", [table(ids)])})
    reader = ByNumber(store, results, "table")
    types = {"id": np.int64, "twice": np.int64}
    found = [reader.rows(first, stop, types) for first, stop in windows(400, rows)]
    ids = np.concatenate([f["id"] for f in found])
    np.testing.assert_array_equal(ids, sorted(known))
    np.testing.assert_array_equal(np.concatenate([f["twice"] for f in found]), 2 * ids)


def test_only_tables_that_are_due_are_in_memory(store: Store) -> None:
    results = []
    for task in range(20):
        ids = np.arange(task * 10, task * 10 + 15) + 1
        results.append({"table": f"{task}.npz", **put_rows(store, f"{task}.npz", [table(ids)])})
    reader = ByNumber(store, results, "table")
    together = [len(reader.tables(first, first + 5)) for first in range(1, 200, 5)]
    assert max(together) == 2


@pytest.mark.parametrize("count", [0, 1, 1000, 2**18, 600_000])
def test_rows_by_block(store: Store, count: int) -> None:
    """Of any blocks come their rows, each once, in the order of blocks and then as they came in."""
    grid = Grid((20, 30, 700), (5, 10, 20))
    block = RNG.integers(0, len(grid), count)
    block[block % 7 == 3] = 0
    sorter = BlockSorter(store, "t", grid, {"value": np.uint32})
    for part in np.array_split(np.arange(count), 3):
        sorter.add({"block": block[part], "value": part})
    assert sorter.close() == count
    order = np.argsort(block, kind="stable")
    some = [0, 1, 2, 3, 10, 11, 90, 200, 201, 417, 418, len(grid) - 1]
    for blocks in ([], [0], [3], [5, 6], some, [*range(len(grid))]):
        found = rows_of(store, "t", ("value",), blocks)["value"]
        np.testing.assert_array_equal(found, order[np.isin(block[order], blocks)])
    assert sorted(path.name for path in Path(store.where("t")).iterdir()) == ["first", "value"]


def test_runs_of_a_column_are_read_without_what_is_far_between(store: Store) -> None:
    """Chunks that hold nothing of a run are not even there."""
    values = RNG.integers(0, 10**6, 10 * CHUNK)
    remote = Store("memory://runs")
    for where in (store, remote):
        put_column(where, "t", values)
    # on an object store each chunk has a file of its own
    for chunk in (1, 2, 4, 5, 6, 7, 9):
        remote.drop(f"t/c/0/0/{chunk}")
    runs = [(5, 9), (40, 41), (41, 41), (3 * CHUNK + 1, 3 * CHUNK + 700), (8 * CHUNK, 9 * CHUNK)]
    expected = np.concatenate([values[a:b] for a, b in runs])
    for where in (store, remote):
        np.testing.assert_array_equal(get_runs(where, "t", runs), expected)
    with pytest.raises(StoreError):
        get_runs(remote, "t", [(CHUNK - 1, CHUNK + 1)])


@pytest.mark.parametrize(
    ("shape", "block", "voxels", "blocks"),
    [
        ((640, 100, 200), (64, 50, 50), 64 * 20_000, 8),
        ((1, 9000, 8000), (1, 1000, 1000), 1000 * 8000, 8),
        # many thin layers: a thousandth of the image
        ((64_000, 8, 8), (2, 8, 8), 64 * 64, 32),
    ],
)
def test_what_is_sorted_together(
    shape: tuple[int, int, int], block: tuple[int, int, int], voxels: int, blocks: int
) -> None:
    grid = Grid(shape, block)
    assert (voxels_together(grid), blocks_together(grid)) == (voxels, blocks)


@pytest.mark.parametrize("rows", [1, 2, 5, 1000])
@pytest.mark.parametrize("sizes", [[30, 10, 10, 40], [30, 10, 50, 40, 20], [7]])
def test_the_median_of_all_windows(sizes: list[int], rows: int) -> None:
    count = np.array(sizes)
    ids = np.arange(1, len(sizes) + 1)
    columns = ("first", *(f"{a}{n}" for n in "01" for a in "zyx"), *(f"sum_{a}" for a in "zyx"))
    objects: Table = {"id": ids, "count": count, **{c: ids for c in columns}}
    objects["sum_probability"] = np.zeros(len(ids))
    none = np.zeros(0, np.int64)
    holes: Table = {"id": none, "voxel": none, "under": none, "probability": np.zeros(0)}
    rules = {"flow_threshold": 0, "min_size": 0, "min_median_fraction": 1.0, "border": "keep"}

    def read(box: Box) -> tuple[NDArray[Any], NDArray[np.float32]]:
        raise AssertionError("nothing is nested")

    found = resolve(Windows.of(objects, holes, rows), (100, 100, 100), rules, read)
    kept = np.concatenate([objects["id"] for objects, _ in found])
    np.testing.assert_array_equal(kept, ids[count >= np.median(count)])


def test_only_the_numbers_that_occur_are_looked_up() -> None:
    """Background is in nearly every block: it must not mean all numbers from 0 on."""
    store = Store("memory://names")
    values = np.concatenate([[0], RNG.integers(1, 10**6, 9 * CHUNK)])
    put_column(store, "names", values)
    # numbers of chunks 2, 3, and 7, up to their last ones
    ids = RNG.integers(2 * CHUNK + 5, 4 * CHUNK, (3, 4, 5))
    ids[0], ids[1, 0], ids[1, 1] = 0, 7 * CHUNK, 8 * CHUNK - 1
    for chunk in (0, 1, 4, 5, 6, 8, 9):
        store.drop(f"names/c/0/0/{chunk}")
    for dtype in (np.uint32, np.uint64, np.int64):
        found = looked_up(store, "names", ids.astype(dtype))
        np.testing.assert_array_equal(found, values[ids])
    nothing = looked_up(store, "names", np.zeros((2, 2), np.uint32))
    assert not nothing.any() and nothing.dtype == values.dtype
    with pytest.raises(StoreError):
        looked_up(store, "names", np.array([1]))


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=12), st.sampled_from([1, 7, 64, 4000]))
@settings(max_examples=60)
def test_any_numbers_are_looked_up(ids: list[int], chunk: int) -> None:
    store = Store("memory://any")
    values = np.arange(3001) * 3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long_columns, "CHUNK", chunk)
        store.drop("t")
        store._known.clear()
        put_column(store, "t", values)
        found = looked_up(store, "t", np.array(ids))
    np.testing.assert_array_equal(found, values[ids])
