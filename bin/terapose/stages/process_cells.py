"""process_cells: apply a function of the user's to the numbered cells, and number what it makes.

What functions are, and why the result does not depend on the blocks, is in
`terapose.results.processing`. For each block

1. the function gets the labels with its halo, and the channels that were segmented: what it returns
   are new objects of the block, which get numbers from 1;
2. the numbers of voxels are written, and a table: the key by which each new object is ordered, its
   size, box and sums, and what is known of the border.

The gather compares the labels that neighbouring blocks give to their common border, joins what
continues across it, and gives dense IDs: the *IDs* of a block are a lookup from its numbers. The
output has the form of that of **relabel** (`terapose.intermediates.cell_parts`), so later stages
are the same. Up to 430 bytes are kept in memory for each new object of each block.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.objects.filters import BOX
from terapose.algorithms.objects.measure import measure
from terapose.core.errors import InputError, few
from terapose.core.geometry import Box
from terapose.core.tables import Table, merged, select, windows
from terapose.intermediates.cell_parts import (
    WHOLE,
    at_border,
    no_parts,
    put_cell_tables,
    summed,
)
from terapose.intermediates.relabel_map import ids_of, named_labels
from terapose.io.store.arrays import INTEGER
from terapose.io.store.long_tables import get_window
from terapose.pipeline.job import Job, Result
from terapose.pipeline.state import Added, State
from terapose.results.processing import blocks
from terapose.results.processing.blocks import Numbered, Setting
from terapose.results.processing.builtin import BUILTIN
from terapose.results.processing.chosen import chosen
from terapose.results.processing.functions import Function
from terapose.results.processing.joining import dense_ids, final_ids, not_local, pairs_of

_PARTS = "part_"
"""What precedes the columns of `WHOLE` in the table of a block."""


class _Cells(Setting):
    """The cells of a run, and the channels that were segmented."""

    def __init__(self, job: Job) -> None:
        function = chosen(job.params["process"], job.params["process_options"])
        plan = job.plan
        super().__init__(function, plan.grid, plan.output.voxel_size, plan.image.address)
        self.job = job
        self._last: dict[int, int] = {}

    def read_labels(self, box: Box) -> NDArray[Any]:
        """Labels of a box."""
        return named_labels(self.job, box)

    def pixels(self, box: Box) -> NDArray[Any] | None:
        """The image of a box; no built-in function looks at it."""
        if self.function.name in BUILTIN:
            return None
        channels = self.job.plan.image.channels
        return np.stack([self.job.read_image(box, channel) for channel in channels])

    def boxes_of(self, ids: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Boxes of cells, which **relabel** has put into its table.

        Its windows are those of the numbers of **objects**; those of cells rise from one to the
        next.
        """
        rows, done = [np.zeros((0, len(BOX)), np.int64)], 0
        every = range(len(windows(self.job.before.last)))
        while done < len(ids):
            number = bisect_left(every, ids[done], key=self._last_of)
            table = get_window(self.job.store, self.job.before.cell_table, number)
            kept = select(table, np.isin(table["id"], ids))
            rows.append(np.stack([kept[column] for column in BOX], axis=1))
            done += max(len(kept["id"]), 1)
        return np.concatenate(rows)

    def _last_of(self, number: int) -> int:
        """The last cell in a window of the table of cells, or in those before it."""
        if number not in self._last:
            ids = get_window(self.job.store, self.job.before.cell_table, number)["id"]
            before = self._last_of(number - 1) if number and not len(ids) else 0
            self._last[number] = int(ids[-1]) if len(ids) else before
        return self._last[number]

    def applied(self, number: int) -> Numbered:
        """New objects of a block."""
        if self.function.kind == "numbers":
            return blocks.by_number(self, number)
        if self.function.kind == "objects":
            return blocks.by_object(self, number, self.boxes_of)
        return blocks.by_block(self, number)


def run(job: Job) -> dict[str, Any]:
    """Process the blocks of one task."""
    setting, plan, name = _Cells(job), job.plan, job.name("numbers")
    job.store.create(name, plan.image.shape, plan.chunk, "uint32", INTEGER, plan.block_packs(4))
    checksums, tables = [], []
    for item in job.items:
        found = setting.applied(item)
        checksums.append(job.store.write(name, plan.grid[item], found.numbers))
        tables.append(job.name(f"{item}.npz"))
        job.store.put_table(tables[-1], _table(setting, item, found))
    return {"checksums": checksums, "tables": tables}


def _table(setting: Setting, number: int, found: Numbered) -> Table:
    """What the gather needs of a block."""
    core, count = setting.grid[number], len(found.keys)
    nothing = np.zeros(core.shape, np.float32)
    local = found.numbers.astype(np.int32)
    parts = measure(local, count, core.start, setting.grid.shape, nothing)
    outside = np.zeros(core.shape, bool)
    for other in setting.around(number):
        # voxels that this block may continue
        outside[setting.grid[other].grow(1).intersect(core).within(core)] = True
    index = np.flatnonzero(outside & (found.numbers > 0))
    edges = [np.insert(pairs, 0, other, axis=1) for other, pairs in found.edges.items()]
    return {
        "keys": found.keys,
        **{f"{_PARTS}{column}": parts[column] for column in WHOLE},
        "border_index": index,
        "border_number": found.numbers.reshape(-1)[index].astype(np.int64),
        "verdicts": np.array([*found.verdicts.items()], np.int64).reshape(-1, 2),
        "edges": np.concatenate([np.zeros((0, 3), np.int64), *edges]),
    }


def gather(job: Job, results: list[Result]) -> Added:
    """Join what blocks have made, and number it."""
    setting, grid = _Cells(job), job.plan.grid
    tables = [_of_block(job, number) for number in range(len(grid))]
    parts = merged([no_parts(), *({c: t[_PARTS + c] for c in WHOLE} for t in tables)])
    keys = [table["keys"] for table in tables]
    if setting.function.kind == "numbers":
        count, ids = _renumbered(setting.function, keys, parts)
    else:
        # objects keep to themselves, so blocks have nothing to join
        is_joined = setting.function.kind != "objects"
        pairs = _joined(job, setting) if is_joined else np.zeros((0, 4), np.int64)
        count, ids = final_ids(keys, pairs)
    cells = _cells(job, parts, ids, count, setting.function)
    name = job.name("cells")
    put_cell_tables(job.store, job.plan, name, cells)
    dtype = "uint32" if count < 2**32 else "uint64"
    for number, part in enumerate(ids):
        job.store.put_table(ids_of(name, number), {"id": part.astype(dtype)})
    state = State(
        numbers=job.name("numbers"),
        relabel=name,
        cell_table=f"{name}/cells",
        by_block=f"{name}/by_block",
        label_type=dtype,
        cells=count,
        last=count,
    )
    return Added(state, {"cells": count})


def _of_block(job: Job, number: int) -> Table:
    """Keys and parts of a block, without what is only needed while blocks are compared."""
    table = job.store.get_table(job.name(f"{number}.npz"))
    return {name: table[name] for name in ("keys", *(_PARTS + column for column in WHOLE))}


def _joined(job: Job, setting: Setting) -> NDArray[np.int64]:
    """Pairs of objects that continue one another; refuses blocks that disagree.

    Columns are block, number, block, number.
    """

    @lru_cache(2 * len(blocks.FORWARD))
    def table(number: int) -> Table:
        return job.store.get_table(job.name(f"{number}.npz"))

    pairs = [np.zeros((0, 4), np.int64)]
    for number in range(len(setting.grid)):
        own = table(number)
        verdicts = dict(own["verdicts"].tolist())
        for other in (n for n in setting.around(number) if n < number):
            theirs = table(other)
            if dict(theirs["verdicts"].tolist())[number] != verdicts[other]:
                remedy = "give a larger HALO in it, or make it a function of objects (EACH)"
                raise not_local(setting.function, other, number, remedy)
            edges = theirs["edges"][theirs["edges"][:, 0] == number]
            here = own["border_number"][np.searchsorted(own["border_index"], edges[:, 2])]
            pairs.append(pairs_of(other, edges[:, 1], number, here))
    return np.concatenate(pairs)


def _renumbered(
    function: Function, keys: list[NDArray[np.uint64]], parts: Table
) -> tuple[int, list[NDArray[np.uint64]]]:
    """The same of a function of numbers: 0 removes a cell."""
    every = np.concatenate([np.zeros((0, 2), np.uint64), *keys])[:, 1]
    old, row = np.unique(every, return_inverse=True)
    sizes = np.zeros(len(old), np.int64)
    np.add.at(sizes, row.reshape(-1), parts["count"])
    count, dense = dense_ids(function.renumber(old, sizes))
    new = dense[row.reshape(-1)]
    split = np.split(new, np.cumsum([len(part) for part in keys])[:-1])
    return count, [np.concatenate([[np.uint64(0)], part]) for part in split]


def _cells(
    job: Job, parts: Table, ids: list[NDArray[np.uint64]], count: int, function: Function
) -> Table:
    """The table of cells, as **relabel** leaves it."""
    number = np.concatenate([np.zeros(0, np.uint64), *(part[1:] for part in ids)]).astype(np.int64)
    kept = number > 0
    flat, shape = job.plan.mode == "2d", job.plan.image.shape
    cells = summed(select(parts, kept), number[kept] - 1, count)
    tall = np.flatnonzero(cells["z1"] - cells["z0"] > 1) + 1
    if flat and len(tall):
        raise InputError(
            "the function makes cells of several planes, which mode 2d has not",
            where=function.name,
            got=few([*map(str, tall[:10]), *tall[10:]], 10),
            remedy="give objects in different planes different IDs",
        )
    border = at_border(cells, shape, flat=flat)
    return {"id": np.arange(1, count + 1), **cells, "border": border}
