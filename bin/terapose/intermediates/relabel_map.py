"""Relabel maps: from the provisional labels that ``masks`` wrote to what they became.

No gather rewrites the label image. It writes a *relabel map*: a lookup from provisional ID to new
ID (0: the object is gone), and, by block, the voxels that filling holes gave to an object, and its
ID.
A relabel map can be renamed: that is another lookup on top, and more voxels. Where cells were
processed, each block has a lookup instead, for the numbers that **process_cells** wrote.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.core.geometry import Box, Grid
from terapose.core.tables import ROWS, Table
from terapose.core.voxels import blocks_of_indices, held_by
from terapose.io.store.long_columns import ColumnWriter, get_run, looked_up, put_column
from terapose.io.store.long_tables import BlockSorter
from terapose.io.store.rows_by_block import rows_of
from terapose.io.store.store import Store
from terapose.pipeline.job import Job


@dataclass(frozen=True)
class RelabelMap:
    """What provisional labels became.

    Attributes
    ----------
    lookup
        (N + 1,) new ID of each provisional one; entry 0 is the background.
    voxel
        (P,) int64 linear indices of voxels that changed hands, each once.
    label
        (P,) their new IDs.
    """

    lookup: NDArray[Any]
    voxel: NDArray[np.int64]
    label: NDArray[Any]

    @classmethod
    def identity(cls, count: int) -> RelabelMap:
        """Every object keeps its provisional ID."""
        return cls(np.arange(count + 1), np.zeros(0, np.int64), np.zeros(0, np.int64))

    def renamed(
        self, names: NDArray[Any], voxel: NDArray[np.int64], label: NDArray[Any]
    ) -> RelabelMap:
        """Apply another lookup, and then give these voxels to these new IDs."""
        both = np.concatenate([voxel, self.voxel])
        ids = np.concatenate([names[label], names[self.label]])
        # the first of equal voxels stays: what was filled last
        where, first = np.unique(both, return_index=True)
        return RelabelMap(names[self.lookup], where, ids[first])


def _patches(store: Store, name: str, grid: Grid, dtype: Any) -> BlockSorter:
    """A writer of voxels that change hands: linear indices and new IDs, by block."""
    return BlockSorter(store, name, grid, {"patch_voxel": np.int64, "patch_label": dtype})


def _by_block(grid: Grid, voxel: NDArray[np.int64], label: NDArray[Any]) -> Table:
    """Rows for it."""
    return {"block": blocks_of_indices(grid, voxel), "patch_voxel": voxel, "patch_label": label}


def put_relabel_map(store: Store, name: str, grid: Grid, relabel_map: RelabelMap) -> None:
    """Write a relabel map under a name."""
    put_column(store, f"{name}/lookup", relabel_map.lookup)
    patches = _patches(store, name, grid, relabel_map.label.dtype)
    patches.add(_by_block(grid, relabel_map.voxel, relabel_map.label))
    patches.close()


class NewNames:
    """Writes a relabel map for objects that are given some at a time, by rising ID.

    Parameters
    ----------
    job
        The stage; ``before`` says which relabel map these IDs have, if they are not provisional.
    name
        Name of the relabel map to write.
    """

    def __init__(self, job: Job, name: str) -> None:
        self._job, self._name, self._next = job, name, 0
        self._dtype = job.before.dtype
        self._lookup = ColumnWriter(job.store, f"{name}/lookup", job.before.found + 1, self._dtype)
        self._patches = _patches(job.store, name, job.plan.grid, self._dtype)
        # where provisional IDs have names already, these are needed as a whole
        self._earlier = get_relabel_map(job) if job.before.is_named else None
        self._names: list[NDArray[np.int64]] = []
        self._voxels: list[NDArray[np.int64]] = []

    def add(self, ids: NDArray[np.int64], names: NDArray[np.int64], patches: Table) -> None:
        """The next window of IDs: new names of those that have one, and who got which voxels."""
        first, self._next = self._next, min(self._next + ROWS, self._job.before.last + 1)
        lookup = np.zeros(self._next - first, np.int64)
        lookup[ids - first] = names
        if self._earlier is None:
            self._lookup.add(lookup)
        else:
            self._names.append(lookup)
            self._voxels.append(patches["voxel"])
        label = lookup[patches["id"] - first]
        self._patches.add(_by_block(self._job.plan.grid, patches["voxel"], label))

    def close(self) -> int:
        """Complete the relabel map; returns how many voxels change hands."""
        if self._earlier is not None:
            names = np.concatenate(self._names)
            self._lookup.add(names[self._earlier.lookup])
            # what was filled last counts
            left = ~np.isin(self._earlier.voxel, np.concatenate(self._voxels))
            voxel, label = self._earlier.voxel[left], names[self._earlier.label[left]]
            self._patches.add(_by_block(self._job.plan.grid, voxel, label))
        self._lookup.close()
        return self._patches.close()


def get_relabel_map(job: Job) -> RelabelMap:
    """The relabel map of the stage before."""
    name, count = job.before.relabel_map, job.before.found
    lookup = get_run(job.store, f"{name}/lookup", (0, count + 1))
    columns, every = ("patch_voxel", "patch_label"), range(len(job.plan.grid))
    rows = rows_of(job.store, name, columns, every)
    return RelabelMap(lookup, *(rows[column] for column in columns))


def named_labels(job: Job, box: Box) -> NDArray[Any]:
    """Labels of a box under the relabel map of the stage before: (Z, Y, X)."""
    if job.before.is_processed:
        return _processed(job, box)
    name = job.before.relabel_map
    provisional = job.store.read(job.before.labels, box)
    labels = looked_up(job.store, f"{name}/lookup", provisional)
    if not job.before.patches:
        return labels
    grid = job.plan.grid
    patches = rows_of(job.store, name, ("patch_voxel", "patch_label"), grid.touching(box))
    voxels = np.stack(np.unravel_index(patches["patch_voxel"], grid.shape), axis=1)
    inside = held_by(box, voxels)
    labels[tuple((voxels[inside] - box.start).T)] = patches["patch_label"][inside]
    return labels


def _processed(job: Job, box: Box) -> NDArray[Any]:
    """Labels of a box after **process_cells**: numbers and lookups are those of blocks."""
    name = job.before.relabel
    numbers = job.store.read(job.before.numbers, box)
    labels = np.zeros(box.shape, job.before.label_type)
    for block in job.plan.grid.touching(box):
        part = job.plan.grid[block].intersect(box)
        ids = job.store.get_table(ids_of(name, block))["id"]
        labels[part.within(box)] = ids[numbers[part.within(box)]]
    return labels


def ids_of(name: str, block: int) -> str:
    """Name of the lookup of a block, for numbers from 1, with 0 in front."""
    return f"{name}/ids/{block}.npz"
