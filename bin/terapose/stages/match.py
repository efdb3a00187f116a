"""match (gather): which cell of the second network belongs to which nucleus.

1. A nucleus selects the cell that contains most of it, if that is at least half of the nucleus (in
   a tie, the one with the smaller number);
2. a cell is matched to the nucleus that selected it and has most pixels in it (in a tie, the one
   with the smaller number);
3. a nucleus that got no cell is a cell by itself: nothing that was found of the nuclei is lost.
   Cells that got no nucleus are left out.

Two lookups are written, from nucleus to cell and back, and the boxes by block of what the pairs
cover. Numbers stay those of the nuclei.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.objects.filters import BOX
from terapose.core.tables import Table, merged
from terapose.intermediates.cells import boxes_of, by_block
from terapose.io.store.long_columns import put_column
from terapose.io.store.long_tables import get_whole
from terapose.pipeline.job import Job, Result
from terapose.pipeline.state import Added, State


def gather(job: Job, results: list[Result]) -> Added:
    """Match on the counts of all blocks."""
    nuclei = get_whole(job.store, job.before.cell_table, job.before.last)
    pairs = merged([job.store.get_table(r["pairs"]) for r in results])
    boxes = merged([job.store.get_table(r["boxes"]) for r in results])
    last = int(boxes["cell"].max(initial=0))
    cell_of, owner = matched(nuclei["count"], pairs, last)
    name = f"match-{job.key}"
    put_column(job.store, f"{name}/cell_of", cell_of)
    put_column(job.store, f"{name}/owner", owner)
    widened = boxes_of(job.store, f"{name}/by_block", job.plan)
    widened.add(by_block(_widened(nuclei, boxes, owner), job.plan))
    widened.close()
    state = State(
        matched=name,
        by_block=f"{name}/by_block",
        relabel=f"{name}/result",
        second=results[0]["second"],
        second_labels=f"cell_overlaps-{job.before.key}/cells",
    )
    return Added(state, {"pairs": int((cell_of > 0).sum())})


def matched(
    count: NDArray[np.int64], pairs: Table, last: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Match nuclei and cells.

    Parameters
    ----------
    count
        (N,) pixels of each nucleus; nucleus ``n`` has the number ``n + 1``.
    pairs
        ``nucleus``, ``cell`` and ``count`` of the pixels they share; a pair may be there several
        times.
    last
        Largest number of a cell.

    Returns
    -------
    cell_of : (N + 1,) int64
        Number of each nucleus' cell, 0 for none (and for the background).
    owner : (last + 1,) int64
        Number of each cell's nucleus, 0 for none.
    """
    both = np.stack([pairs["nucleus"], pairs["cell"]])
    (nucleus, cell), where = np.unique(both, axis=1, return_inverse=True)
    shared = np.zeros(len(nucleus), np.int64)
    np.add.at(shared, where.ravel(), pairs["count"])
    half = 2 * shared >= count[nucleus - 1]
    nucleus, cell, shared = nucleus[half], cell[half], shared[half]
    cell_of, owner = np.zeros(len(count) + 1, np.int64), np.zeros(last + 1, np.int64)
    best = _best(nucleus, cell, shared)
    nucleus, cell, shared = nucleus[best], cell[best], shared[best]
    best = _best(cell, nucleus, shared)
    nucleus, cell = nucleus[best], cell[best]
    cell_of[nucleus], owner[cell] = cell, nucleus
    return cell_of, owner


def _best(
    one: NDArray[np.int64], other: NDArray[np.int64], shared: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Pairs that are the best of each of ``one``: most pixels, then the smaller number."""
    order = np.lexsort((other, -shared, one))
    _, first = np.unique(one[order], return_index=True)
    return np.asarray(order[first])


def _widened(nuclei: Table, boxes: Table, owner: NDArray[np.int64]) -> Table:
    """Boxes of nuclei with those of their cells."""
    table = {c: nuclei[c].copy() for c in ("id", *BOX)}
    row = owner[boxes["cell"]] - 1
    there = row >= 0
    for column in BOX:
        add = np.minimum if column.endswith("0") else np.maximum
        add.at(table[column], row[there], boxes[column][there])
    return table
