"""stitch (gather, mode stitch): join the objects of neighbouring planes into cells.

`cellpose.utils.stitch3D`, on a table of pairs instead of planes, from the first plane down:

1. IoU of each pair of objects that overlap; below ``stitch_threshold`` it counts as none;
2. each upper object stands by the lower one(s) it overlaps best, each lower one takes the best of
   those upper ones, and between equals that whose cell began first;
3. a lower object without any begins a new cell. Cells are numbered as they begin.

(Cellpose resets its counter after an empty second plane, and then gives numbers twice. Here each
cell has its own.) Columns of objects add up to columns of cells.
"""

from __future__ import annotations

import itertools
import time

import numpy as np
from numpy.typing import NDArray

from terapose.filters import Table
from terapose.job import Job, Receipt, Summary, gather, gathered
from terapose.naming import get_naming, put_naming
from terapose.stages.masks import merged

_ADDED = ("count", "sum_z", "sum_y", "sum_x", "sum_probability", "sum_error", "measured")
_LEAST = ("first", "z0", "y0", "x0")
_MOST = ("z1", "y1", "x1")


def run(job: Job, receipts: list[Receipt]) -> Summary:
    """Check the receipts of ``overlaps`` and join.

    Returns
    -------
    dict
        As `terapose.job.gathered`, with the names of the table of cells and of the naming.
    """
    begin = time.perf_counter()
    summary = gather(job.plan, "overlaps", receipts)
    pairs = merged([job.store.get_table(r["pairs"]) for r in summary.pop("results")])
    objects = job.store.get_table(job.before["object_table"])
    cell = join(objects["z0"], objects["count"], pairs, job.params["stitch_threshold"])
    table = job.name("objects.npz")
    job.store.put_table(table, total(objects, cell))
    nothing = np.zeros(0, np.int64)
    naming = get_naming(job).renamed(np.concatenate([[0], cell]), nothing, nothing)
    put_naming(job.store, job.name("naming"), naming)
    return gathered(
        job,
        summary,
        begin,
        naming=job.name("naming"),
        patches=len(naming.voxel),
        object_table=table,
        joined=int(cell.max(initial=0)),
    )


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
        share); a pair may stand there several times.
    threshold
        Least IoU.

    Returns
    -------
    (N,) int64
        1..M, in the order in which cells begin.
    """
    key, inverse = np.unique(
        np.stack([pairs["lower"], pairs["upper"]]), axis=1, return_inverse=True
    )
    shared = np.bincount(inverse.ravel(), pairs["count"], key.shape[1]).astype(np.int64)
    lower, upper = key - 1
    iou = shared / (count[upper] + count[lower] - shared)
    good = iou >= threshold
    lower, upper, iou = lower[good], upper[good], iou[good]
    best = np.zeros(len(count))
    np.maximum.at(best, upper, iou)
    good = iou == best[upper]
    lower, upper, iou = lower[good], upper[good], iou[good]
    cell = np.zeros(len(count), np.int64)
    cells = 0
    # pairs are sorted by the lower object, and so by plane
    edges = np.searchsorted(plane, np.arange(plane.max(initial=-1) + 2))
    for first, stop in itertools.pairwise(edges):
        span = slice(*np.searchsorted(lower, [first, stop]))
        order = np.lexsort((cell[upper[span]], -iou[span], lower[span]))
        taken, at = np.unique(lower[span][order], return_index=True)
        cell[taken] = cell[upper[span][order][at]]
        new = first + np.flatnonzero(cell[first:stop] == 0)
        cell[new] = np.arange(cells + 1, cells + len(new) + 1)
        cells += len(new)
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
