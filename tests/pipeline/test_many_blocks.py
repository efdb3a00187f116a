"""More blocks than the IDs of other systems can number, and more cells than 32 bits can.

`cellpose.contrib.distributed_segmentation` writes a block's number in front of the five digits of
a cell's in 32 bits: from block 42,949 on, different cells share IDs. Here a provisional ID is a row
of one table of seeds, whatever the blocks are. An image of so many blocks takes hours, so its last
blocks alone are run, on what their neighbours would have left.

What comes after goes through tables of all cells (test_parts.py): it numbers them 1..N, and more
than 2**32 of them cannot be tried here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from tests.fields import Labels, to_centres

from terapose.core.geometry import Box
from terapose.core.params import check
from terapose.intermediates.seeds import COLUMNS
from terapose.io.store.arrays import INTEGER
from terapose.io.store.long_columns import CHUNK, get_run, put_column
from terapose.io.store.rows_by_block import FIRST
from terapose.io.store.store import Store
from terapose.networks.files import identify
from terapose.pipeline.checked import open_checked
from terapose.pipeline.job import Job, Receipt, Result
from terapose.pipeline.local import stage_params
from terapose.pipeline.plan import Plan
from terapose.pipeline.planning import make_plan
from terapose.pipeline.running import run, run_gather
from terapose.pipeline.state import State
from terapose.stages import gradients


@dataclass(frozen=True)
class Tail:
    """The last four tasks of a plan of 45,590 blocks, up to the table of seeds."""

    plan: Plan
    store: Store
    labels: Labels
    before: int
    state: State

    def masks(self, **other: Any) -> tuple[NDArray[Any], Result]:
        """Labels of the last blocks, and what the receipt of their task says."""
        last = len(self.plan.tasks["masks"]) - 1
        job = Job(self.plan, self.store, "masks", last, {}, self.state.model_copy(update=other))
        result = run(job)["result"]
        first = self.plan.grid[job.items[0]].start
        box = Box(first, self.plan.image.shape)
        return self.store.read(job.name("labels"), box), result


@pytest.fixture(scope="module")
def tail(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Tail:
    """Two cells at the end of 4.6e9 voxels; receipts say that all blocks before hold a seed."""
    folder = tmp_path_factory.mktemp("many")
    block, count, size = (23, 66, 66), 45_590, 10
    shape = (block[0] * count, *block[1:])
    address = str(folder / "image.zarr")
    zarr.create_array(address, shape=shape, chunks=block, dtype="uint8", dimension_names="zyx")
    cut = {"block_shape": block, "slab_planes": block[0], "max_tasks": count // size}
    params = check({"model": str(tiny_model), **cut})
    plan = make_plan(open_checked(address, params), identify(tiny_model), params)
    store = Store(str(folder / "store"))
    gradients.prepare(plan, store)
    depth = 4 * size * block[0]
    labels = np.zeros((depth, *block[1:]), np.int64)
    # over the face of the last two blocks, and in the last one
    labels[depth - 29 : depth - 18, 15:26, 15:26] = 1
    labels[depth - 14 : depth - 3, 45:56, 36:47] = 2
    store.write("gradients-zy", Box((shape[0] - depth, 0, 0), shape), to_centres(labels))

    def last(stage: str, tasks: int, before: State) -> list[Receipt]:
        of, total = stage_params(params, stage), len(plan.tasks[stage])
        return [run(Job(plan, store, stage, n, of, before)) for n in range(total - tasks, total)]

    def all_of(stage: str, done: list[Receipt]) -> list[Receipt]:
        """Receipts of all tasks: those before the last ones say what the first of these does."""
        items = plan.tasks[stage][: -len(done)]
        return [*({**done[0], "task": n, "items": [*i]} for n, i in enumerate(items)), *done]

    begin = State(flows="gradients-zy")
    job = Job(plan, store, "follow", 0, stage_params(params, "follow"), begin)
    state = run_gather(job, all_of("follow", last("follow", 3, begin)))
    receipts = all_of("peaks", last("peaks", 2, state))
    for receipt in receipts[:-2]:
        name = f"before/{receipt['task']}.npz"
        middle = (np.arange(*receipt["items"]) + 0.5) * math.prod(block)
        columns: dict[str, NDArray[Any]] = {"position": middle.astype(np.uint64)}
        columns["count"] = np.full(size, 11, np.int32)
        store.put_table(name, columns)
        receipt["result"] = {**receipt["result"], "seeds": name}
    state = run_gather(Job(plan, store, "seeds", 0, {}, state), receipts)
    return Tail(plan, store, labels[-size * block[0] :], count - 2 * size, state)


def test_ids_do_not_overflow_with_many_blocks(tail: Tail) -> None:
    """Cellpose gives each block 100,000 IDs of 32 bits: from block 42,949 on cells share them."""
    assert len(tail.plan.grid) * 100_000 > 2**32
    assert math.prod(tail.plan.image.shape) > 2**32
    assert tail.state.found == tail.before + 2
    labels, told = tail.masks()
    assert told["found"] == 2
    expected = np.where(tail.labels > 0, tail.labels + tail.before, 0)
    np.testing.assert_array_equal(labels, expected)
    assert labels.dtype == np.uint32


def test_ids_above_32_bits_stay_apart(tail: Tail) -> None:
    """As if 2**32 + 500 cells lay before: of their table only what is read is there."""
    more, table, vast = 2**32 + 500, tail.state.seeds, "vast"
    length, written = tail.state.found + more, more // CHUNK * CHUNK
    for column in COLUMNS:
        values = get_run(tail.store, f"{table}/{column}", (0, tail.state.found)).astype(np.uint64)
        values = np.pad(values + np.uint64(more * (column == "id")), (more - written, 0))
        name = f"{vast}/{column}"
        tail.store.create(name, (1, 1, length), (1, 1, CHUNK), "uint64", INTEGER)
        tail.store.write(name, Box((0, 0, written), (1, 1, length)), values[np.newaxis, np.newaxis])
    first = get_run(tail.store, f"{table}/{FIRST}", (0, len(tail.plan.grid) + 1))
    put_column(tail.store, f"{vast}/{FIRST}", first + more)
    labels, told = tail.masks(seeds=vast, found=length, dtype="uint64", key=vast)
    assert told["found"] == 2
    assert labels.dtype == np.uint64
    before = np.uint64(tail.before + more)
    expected = np.where(tail.labels > 0, tail.labels.astype(np.uint64) + before, 0)
    np.testing.assert_array_equal(labels, expected)
