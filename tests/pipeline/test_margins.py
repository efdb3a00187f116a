"""Margins are as wide as they have to be: cells that need the last voxel that a block reads.

What ``follow`` leaves is written by hand, so that points end where they are wanted. One voxel less
of any margin gives another result here, where cells of usual shapes hide it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.fields import NETWORK, prepared, scatter

from terapose.algorithms.flows.points import NOWHERE
from terapose.core.geometry import ZYX, Box
from terapose.io.store.arrays import INTEGER
from terapose.pipeline.job import Job
from terapose.pipeline.running import run_gather
from terapose.pipeline.state import State

SHAPE = (17, 33, 33)
BLOCKS = ((17, 33, 33), (17, 33, 16))
Ends = dict[ZYX, ZYX]
"""Where the point that starts in a voxel ends."""


def grouped(folder: Path, model: Path, ends: Ends, block: ZYX) -> tuple[NDArray[Any], list[int]]:
    """Run ``peaks`` to ``masks``; labels, and the voxels of each object of the table."""
    plan, store = prepared(folder, model, np.zeros(SHAPE, np.uint8), block_shape=block)
    written = np.full((3, *SHAPE), NOWHERE, np.int16)
    for start, end in ends.items():
        written[(slice(None), *start)] = np.subtract(end, start)
    moved = np.where(written == NOWHERE, 0, np.abs(written)).max(axis=0)
    farthest = np.array([moved[box.slices].max() for box in plan.grid], np.int32)
    store.create("follow-x/ends", (3, *SHAPE), (3, *plan.chunk), "int16", INTEGER)
    store.write("follow-x/ends", Box.whole(SHAPE), written)
    store.put_table("follow-x/displacements.npz", {"displacement": farthest})
    store.write(NETWORK, Box.whole(SHAPE), np.ones((4, *SHAPE), np.float32))
    before = State(ends="follow-x/ends", displacements="follow-x/displacements.npz", flows=NETWORK)
    receipts = scatter(plan, store, "peaks", {}, before)
    before = run_gather(Job(plan, store, "seeds", 0, {}, before), receipts)
    receipts = scatter(plan, store, "masks", {}, before)
    labels = store.read(Job(plan, store, "masks", 0, {}, before).name("labels"), Box.whole(SHAPE))
    tables = [store.get_table(r["result"]["objects"]) for r in receipts]
    return labels, [int(count) for table in tables for count in table["count"]]


def column(y: int, x: int, half: int, z: int = 8) -> Ends:
    """Points of a column along Y that end in its middle."""
    return {(z, y + n, x): (z, y, x) for n in range(-half, half + 1)}


@pytest.mark.parametrize("block", BLOCKS)
def test_the_farthest_point_counts(tmp_path: Path, tiny_model: Path, block: ZYX) -> None:
    """Two voxels from the one at the block's face lies one that holds a single point more."""
    ends = column(10, 15, 6)
    # to the first of 14 voxels, the last of them from as far as any point of its block gets
    ends |= {(8, 10, x): (8, 10, 17) for x in range(17, 31)}
    labels, counts = grouped(tmp_path, tiny_model, ends, block)
    assert counts == [14]
    assert (labels[8, 10, 17:31] == 1).all() and np.count_nonzero(labels) == 14


@pytest.mark.parametrize("block", BLOCKS)
def test_the_farthest_voxel_is_part_of_its_object(
    tmp_path: Path, tiny_model: Path, block: ZYX
) -> None:
    """A seed at the block's face grows five voxels; there ends a point from farthest away."""
    ends = column(10, 15, 5)
    for x in range(16, 20):
        ends |= column(10, x, 1)
    ends |= {(8, 10, x): (8, 10, 20) for x in range(20, 27)}
    labels, counts = grouped(tmp_path, tiny_model, ends, block)
    assert counts == [len(ends)]
    assert all(labels[start] == 1 for start in ends)


@pytest.mark.parametrize("block", BLOCKS)
def test_of_equal_seeds_the_later_one_wins(tmp_path: Path, tiny_model: Path, block: ZYX) -> None:
    """Of 24 pairs that grow into each other; so many that a sort has to be stable by intent.

    Those of the middle plane are higher than the others: equal numbers alone are left in place.
    """
    ends: Ends = {}
    for z, half in ((3, 5), (8, 6), (13, 5)):
        for y in (8, 22):
            for x in (2, 9, 16, 23):
                ends |= column(y, x, half, z) | column(y, x + 4, half, z)
                for between in (1, 2, 3):
                    ends |= column(y, x + between, 1, z)
    labels, counts = grouped(tmp_path, tiny_model, ends, block)
    # in C order the seeds of a pair follow each other
    np.testing.assert_array_equal(np.unique(labels), np.arange(0, 49, 2))
    assert sorted(counts) == [2 * 11 + 3 * 3] * 16 + [2 * 13 + 3 * 3] * 8
