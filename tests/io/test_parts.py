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
from terapose.core.geometry import Box, Grid, zyx
from terapose.core.tables import ROWS, Table, windows
from terapose.io.store.long_tables import (
    ByNumber,
    Sorter,
    blocks_together,
    get_whole,
    put_rows,
    put_whole,
    voxels_together,
)
from terapose.io.store.sorted_columns import columns_in, looked_up, put_column, span_of
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
def test_sorting_by_ranges(store: Store, count: int) -> None:
    key = RNG.integers(0, 5000, count)
    sorter = Sorter(store, "aside", "key", 700)
    for part in np.array_split(np.arange(count), 3):
        sorter.add({"key": key[part], "value": part})
    assert sorter.put_columns("t", {"key": np.int64, "value": np.uint32}) == count
    found = columns_in(store, "t", ("key", "value"), count, (0, 5000))
    # rows of one key stay in order
    order = np.argsort(key, kind="stable")
    np.testing.assert_array_equal(found["key"], key[order])
    np.testing.assert_array_equal(found["value"], order)
    assert [path.name for path in Path(store.address).iterdir()] == ["t"]


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


def test_only_the_numbers_that_occur_are_looked_up(store: Store) -> None:
    """Background is in nearly every block: it must not mean all numbers from 0 on."""
    values = np.concatenate([[0], RNG.integers(0, 10**6, 3 * 2**18)])
    put_column(store, "names", values)
    ids = RNG.integers(2**18 + 5, 2**19 - 5, (3, 4, 5))
    ids[0] = 0
    Path(store.where("names/c/0/0/0")).unlink()
    np.testing.assert_array_equal(looked_up(store, "names", ids), values[ids])
    nothing = looked_up(store, "names", np.zeros((2, 2), np.uint32))
    assert not nothing.any() and nothing.dtype == values.dtype
    with pytest.raises(StoreError):
        looked_up(store, "names", np.array([1]))


@given(st.data())
@settings(max_examples=60)
def test_all_of_a_box_is_within_its_span(data: st.DataObject) -> None:
    shape = zyx(data.draw(st.tuples(*[st.integers(1, 6)] * 3)))
    start = zyx(data.draw(st.integers(0, n - 1)) for n in shape)
    stop = zyx(data.draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True))
    inside = np.arange(np.prod(shape)).reshape(shape)[Box(start, stop).slices]
    span = inside.min(), inside.max() + 1
    assert span_of(Box(start, stop), shape) == span
    over = data.draw(st.tuples(*[st.integers(0, 3)] * 6))
    low = zyx(a - n if a == 0 else a for a, n in zip(start, over[:3], strict=True))
    high = zyx(b + n if b == size else b for b, n, size in zip(stop, over[3:], shape, strict=True))
    assert span_of(Box(low, high), shape) == span


def test_rows_that_were_looked_at_are_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """To find a part of a long column takes a few reads the first time, and two afterwards."""
    values = np.cumsum(RNG.integers(0, 3, 9 * 2**18))
    put_column(store, "t/key", values)
    reads: list[Box] = []
    read = Store.read

    def counted(self: Store, name: str, box: Box) -> NDArray[Any]:
        reads.append(box)
        return read(self, name, box)

    monkeypatch.setattr(Store, "read", counted)
    for n, span in enumerate([(5, 900), (800_000, 800_400), (799_000, 799_500)]):
        found = columns_in(store, "t", ("key",), len(values), span)["key"]
        np.testing.assert_array_equal(found, values[(values >= span[0]) & (values < span[1])])
        if n == 2:
            # the ends of the span, and what is there
            assert len(reads) <= 4
        reads.clear()
