"""stitch (gather, mode stitch): join the objects of neighbouring planes into cells.

`cellpose.utils.stitch3D`, on a table of pairs instead of planes, from the first plane down:

1. IoU of each pair of objects that overlap; below ``stitch_threshold`` it counts as none;
2. each upper object chooses the lower one(s) it overlaps best, each lower one takes the best of
   these upper ones or, in a tie, the one whose cell began first. Two lower objects may overlap the
   same one equally well: they belong to one cell, and count as one for the next plane;
3. a lower object without any begins a new cell. Cells are numbered as they begin.

(Cellpose resets its counter after an empty second plane, and then assigns duplicate numbers. Here
each cell has its own.) Columns of objects add up to columns of cells.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from terapose.core.tables import Table, merged
from terapose.intermediates.relabel_map import get_relabel_map, put_relabel_map
from terapose.io.store.long_tables import get_whole, put_whole
from terapose.pipeline.job import Job, Result
from terapose.pipeline.state import Added, State

_ADDED = ("count", "sum_z", "sum_y", "sum_x", "sum_probability", "sum_error", "measured")
_LEAST = ("first", "z0", "y0", "x0")
_MOST = ("z1", "y1", "x1")


def gather(job: Job, results: list[Result]) -> Added:
    """Join what ``overlaps`` has counted: a table of cells and a relabel map."""
    pairs = merged([job.store.get_table(r["pairs"]) for r in results])
    objects = get_whole(job.store, job.before.object_table, job.before.last)
    cell = join(objects["z0"], objects["count"], pairs, job.params["stitch_threshold"])
    table, cells = job.name("objects"), int(cell.max(initial=0))
    put_whole(job.store, table, total(objects, cell), cells)
    nothing = np.zeros(0, np.int64)
    relabel_map = get_relabel_map(job).renamed(np.concatenate([[0], cell]), nothing, nothing)
    put_relabel_map(job.store, job.name("relabel_map"), job.plan.grid, relabel_map)
    state = State(
        relabel_map=job.name("relabel_map"),
        patches=len(relabel_map.voxel),
        object_table=table,
        last=cells,
    )
    return Added(state, {"joined": cells})


def join(
    plane: NDArray[np.int64], count: NDArray[np.int64], pairs: Table, threshold: float
) -> NDArray[np.int64]:
    """Number of the cell that each object belongs to.

    Parameters
    ----------
    plane, count
        (N,) Z and pixels of each object, in the order of planes; object ``i`` has the ID ``i + 1``.
    pairs
        ``upper``, ``lower`` (IDs of objects in planes z and z + 1) and ``count`` (pixels they
        share); a pair may occur several times.
    threshold
        Least IoU.

    Returns
    -------
    (N,) int64
        1..M, in the order in which cells begin.
    """
    order = np.argsort(pairs["lower"], kind="stable")
    lower, upper, shared = (pairs[name][order] for name in ("lower", "upper", "count"))
    lower, upper = lower - 1, upper - 1
    cell = np.zeros(len(count), np.int64)
    cells = 0
    edges = np.searchsorted(plane, np.arange(plane.max(initial=-1) + 2))
    # the plane above, in which objects of the same cell count as one
    above = slice(0, 0)
    for first, stop in itertools.pairwise(edges):
        span = slice(*np.searchsorted(lower, [first, stop]))
        # numbered from 0 in this plane: as many as all so far would be too many for each plane
        names, number = np.unique(cell[above], return_inverse=True)
        area = np.bincount(number, count[above], len(names))
        key, inverse = np.unique(
            np.stack([lower[span], np.searchsorted(names, cell[upper[span]])]),
            axis=1,
            return_inverse=True,
        )
        below, one = key
        both = np.bincount(inverse.ravel(), shared[span], key.shape[1])
        iou = both / (area[one] + count[below] - both)
        iou[iou < threshold] = 0
        best = np.zeros(len(names))
        np.maximum.at(best, one, iou)
        iou[iou < best[one]] = 0
        order = np.lexsort((one, -iou, below))
        order = order[iou[order] > 0]
        taken, at = np.unique(below[order], return_index=True)
        cell[taken] = names[one[order][at]]
        new = first + np.flatnonzero(cell[first:stop] == 0)
        cell[new] = np.arange(cells + 1, cells + len(new) + 1)
        cells += len(new)
        above = slice(first, stop)
    return cell


def total(objects: Table, cell: NDArray[np.int64]) -> Table:
    """The table of cells: sums, boxes and first voxels of their objects."""
    cells = int(cell.max(initial=0))
    table: Table = {"id": np.arange(1, cells + 1)}
    for columns, add in ((_ADDED, np.add), (_LEAST, np.minimum), (_MOST, np.maximum)):
        for name in columns:
            if name not in objects:
                continue
            values = objects[name]
            start = np.iinfo(np.int64).max if columns is _LEAST else 0
            table[name] = np.full(cells, start, values.dtype)
            add.at(table[name], cell - 1, values)
    return table
