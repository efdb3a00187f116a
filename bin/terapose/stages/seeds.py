"""seeds (gather): one table of all seeds, numbered by position.

A seed's provisional ID is its place in C order (z, y, x) of the whole image, from 1: dense, and
the same whatever the blocks were. The table is sorted by position, so a block finds the seeds
around it by bisection.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.geometry import ZYX, Box
from terapose.job import Job, Receipt, Summary, gather, gathered
from terapose.store import INTEGER, Store

log = logging.getLogger(__name__)

_CHUNK = 2**18


def run(job: Job, receipts: list[Receipt]) -> Summary:
    """Check the receipts of ``peaks`` and make the table.

    Returns
    -------
    dict
        As `terapose.job.gathered`, with the names of the arrays the next stage reads.
    """
    begin = time.perf_counter()
    summary = gather(job.plan, "peaks", receipts)
    results = summary.pop("results")
    tables = [job.store.get_table(r["seeds"]) for r in results]
    position = np.concatenate([t["position"] for t in tables])
    count = np.concatenate([t["count"] for t in tables])
    order = np.argsort(position, kind="stable")
    if not len(order):
        log.warning("no seeds: no cells will be found")
    name = f"seeds-{summary['key']}"
    for column, values in (("position", position[order]), ("count", count[order])):
        put_column(job.store, f"{name}/{column}", values)
    return gathered(
        job,
        summary,
        begin,
        seeds=name,
        found=len(order),
        counts=f"peaks-{summary['key']}/counts",
        dtype="uint32" if len(order) < 2**32 else "uint64",
        **{k: job.before[k] for k in ("flows", "ends", "displacements", "max_excursion")},
    )


def put_column(store: Store, name: str, values: NDArray[np.integer[Any]]) -> None:
    """Write a long column as an array, so that parts of it can be read."""
    # a store array is ZYX: a column lies along X, padded so that there is one
    length = max(1, len(values))
    store.create(name, (1, 1, length), (1, 1, _CHUNK), str(values.dtype), INTEGER)
    padded = np.zeros((1, 1, length), values.dtype)
    padded[0, 0, : len(values)] = values
    store.write(name, Box((0, 0, 0), (1, 1, length)), padded)


def seeds_in(
    store: Store, summary: Summary, box: Box, shape: ZYX
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Seeds in a box: voxels (N, 3) int64 ZYX, end points each holds, and provisional IDs."""
    plane = shape[1] * shape[2]
    first, position, count = _rows(
        store,
        (f"{summary['seeds']}/position", f"{summary['seeds']}/count"),
        summary["found"],
        (box.start[0] * plane, box.stop[0] * plane),
    )
    voxels = np.stack(np.unravel_index(position, shape), axis=1)
    inside = ((voxels >= box.start) & (voxels < box.stop)).all(axis=1)
    ids = np.arange(first + 1, first + 1 + len(voxels), dtype=np.int64)
    return voxels[inside], count[inside], ids[inside]


def column_in(
    store: Store, names: tuple[str, str], total: int, span: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of two columns where the first, which is sorted, lies in ``span``."""
    return _rows(store, names, total, span)[1:]


def _rows(
    store: Store, names: tuple[str, str], total: int, span: tuple[int, int]
) -> tuple[int, NDArray[np.int64], NDArray[np.int64]]:
    """Like `column_in`, with the number of the first row."""
    first = _bisect(store, names[0], total, span[0])
    stop = _bisect(store, names[0], total, span[1])
    if first == stop:
        return first, np.zeros(0, np.int64), np.zeros(0, np.int64)
    run = Box((0, 0, first), (1, 1, stop))
    key, value = (store.read(name, run)[0, 0].astype(np.int64) for name in names)
    return first, key, value


def _bisect(store: Store, name: str, total: int, value: int) -> int:
    """First row of a sorted column that is at least ``value``, reading a chunk at a time."""
    low, high = 0, total
    while high - low > _CHUNK:
        middle = (low + high) // 2
        at = store.read(name, Box((0, 0, middle), (1, 1, middle + 1)))[0, 0, 0]
        low, high = (middle, high) if at < value else (low, middle + 1)
    if low == high:
        return low
    rows = store.read(name, Box((0, 0, low), (1, 1, high)))[0, 0]
    return low + int(np.searchsorted(rows, value))
