"""Compile every kernel once, where the environment is made, so that no task pays for it.

numba keeps its code in NUMBA_CACHE_DIR, or beside the package where that is not set. It compiles
for the types of arrays and for how they are laid out in memory: both are as the stages have them.
"""

from __future__ import annotations

import numpy as np

from terapose.algorithms.flows.flow_error import flow_errors_2d, flow_errors_3d
from terapose.algorithms.flows.follow import LEAST_SAMPLE, SAMPLE, follow, scale_flows
from terapose.algorithms.flows.points import displaced, places_of, points_in
from terapose.algorithms.objects.expand import expand
from terapose.algorithms.objects.holes import find_holes
from terapose.algorithms.objects.measure import measure
from terapose.algorithms.objects.moments import add_rows, add_sums, add_values, hull_areas, rows_of
from terapose.algorithms.objects.numbered import numbered
from terapose.algorithms.objects.outlines import polygons
from terapose.algorithms.objects.seeds import assign, count_ends, find_seeds, grow_seeds
from terapose.algorithms.windows import copy_windows, grow_boxes, mark_windows
from terapose.networks.tiling import run_planes


def _tables(shape: tuple[int, int, int]) -> None:
    """Kernels of the table of cells."""
    local, box = np.ones(shape, np.int32), np.array([[0, 0, 0, *shape]])
    first, left, right = rows_of(box)
    # columns of one row are laid out as a whole table, those of several rows are not
    origin = np.zeros(3, np.int64)
    for table in (box, np.repeat(box, 2, axis=0)):
        sums = np.zeros((len(table), 10), np.int64)
        add_sums(local, origin, table[:, :3], sums, table.copy())
        add_rows(local, origin, table[:, 1], *rows_of(table))
    add_values(local, np.ones(shape), np.zeros(1))
    hull_areas(first, left, right, np.zeros(1, np.int64))
    # a ring of pixels, and a pixel beside it
    pieces = np.array([[1, 1, 1, 0], [1, 0, 1, 0], [1, 1, 1, 0], [0, 0, 0, 1]], bool)
    polygons(pieces)
    for dtype in (np.uint32, np.uint64):
        expand(np.ones(shape, dtype), 1.0)


def main() -> None:
    """Run each kernel on a few voxels, with the types that the stages use."""
    shape = (4, 4, 4)
    inside = np.ones(shape, bool)
    written, _ = displaced(inside, places_of(inside), (0, 0, 0))
    starts, _ = points_in(written, (0, 0, 0))
    planar = scale_flows(np.zeros((2, *shape), np.float32), np.ones(shape, bool), shape)
    # sinks are looked for where there are many points
    many = np.repeat(starts, SAMPLE * LEAST_SAMPLE // len(starts) + 1, axis=0)
    for points in (starts, many):
        follow(planar, (0, 0, 0), shape, points, 2)
    flows = scale_flows(np.zeros((3, *shape), np.float32), np.ones(shape, bool), shape)
    follow(flows, (0, 0, 0), shape, many, 2)
    ends, _, _ = follow(flows, (0, 0, 0), shape, starts, 2)
    counts = count_ends(ends, (0, 0, 0), shape) + np.int32(20)
    seeds = np.ascontiguousarray(find_seeds(counts))
    owner = grow_seeds(counts, seeds, np.arange(len(seeds)))
    rounds, wanted = np.full(4, 2), np.array([1])
    numbered(np.ones(shape, np.int64), wanted)
    for dtype in (np.uint32, np.uint64):
        ones = np.ones(shape, dtype)
        flow_errors_3d(ones, flows, wanted)
        for single in (False, True):
            flow_errors_2d(ones[:1], planar[:, :1].copy(), wanted, rounds[:1], single)
        labels, at = np.zeros(shape, dtype), (0, 0, 0)
        assign(starts, ends, owner, at, np.arange(len(seeds), dtype=dtype), labels, at)
        # an object with a hole: of others it is not looked for
        ones[:, 1, 1] = 0
        find_holes(numbered(ones[:1], wanted), 1, flat=True)
    _tables(shape)
    windows, slots = np.zeros((1, 3), np.int64), np.zeros(1, np.int64)
    for pixel in (np.uint8, np.uint16, np.float32):
        copy_windows(np.zeros(shape, pixel), windows, slots, np.zeros((1, *shape), pixel))
    ids = np.array([1])
    for label in (np.uint16, np.uint32, np.int32):
        mark_windows(np.zeros(shape, label), windows, slots, ids, np.zeros((1, *shape), bool))
        grow_boxes(np.zeros(shape, label), (0, 0, 0), ids, np.zeros((1, 6), np.int64))
    measure(np.ones(shape, np.int32), 1, (0, 0, 0), shape, np.zeros(shape, np.float32))
    run_planes(lambda tiles: np.zeros((len(tiles), 3, 224, 224), np.float32),
               np.zeros((1, 1, 8, 8), np.float32), tile=224)  # fmt: skip


if __name__ == "__main__":
    main()
