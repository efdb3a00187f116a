"""Relabel maps: from the provisional labels that ``masks`` wrote to what they became.

No gather rewrites the label image. It writes a *relabel map*: a lookup from provisional ID to new
ID (0: the object is gone), and, sorted, the voxels that filling holes gave to an object, and its
ID.
A relabel map can be renamed: that is another lookup on top, and more voxels. Where cells were
processed, each block has a lookup instead, for the numbers that **process_cells** wrote.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.core.geometry import Box
from terapose.core.tables import ROWS, Table
from terapose.io.store.long_tables import Sorter, voxels_together
from terapose.io.store.sorted_columns import ColumnWriter, looked_up, put_column, rows_within
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
        (P,) int64 linear indices of voxels that changed hands, rising and each once.
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
        """Apply another lookup, and then give these voxels (rising) to these new IDs."""
        both = np.concatenate([voxel, self.voxel])
        ids = np.concatenate([names[label], names[self.label]])
        # the first of equal voxels stays: what was filled last
        where, first = np.unique(both, return_index=True)
        return RelabelMap(names[self.lookup], where, ids[first])


def put_relabel_map(store: Store, name: str, relabel_map: RelabelMap) -> None:
    """Write a relabel map under a name."""
    put_column(store, f"{name}/lookup", relabel_map.lookup)
    put_column(store, f"{name}/patch_voxel", relabel_map.voxel)
    put_column(store, f"{name}/patch_label", relabel_map.label)


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
        width = voxels_together(job.plan.grid)
        self._patches = Sorter(job.store, f"{name}/unsorted", "patch_voxel", width)
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
        self._patches.add({"patch_voxel": patches["voxel"], "patch_label": label})

    def close(self) -> int:
        """Complete the relabel map; returns how many voxels change hands."""
        if self._earlier is not None:
            names = np.concatenate(self._names)
            self._lookup.add(names[self._earlier.lookup])
            # what was filled last counts
            left = ~np.isin(self._earlier.voxel, np.concatenate(self._voxels))
            voxel, label = self._earlier.voxel[left], names[self._earlier.label[left]]
            self._patches.add({"patch_voxel": voxel, "patch_label": label})
        self._lookup.close()
        types = {"patch_voxel": np.int64, "patch_label": self._dtype}
        return self._patches.put_columns(self._name, types)


def get_relabel_map(job: Job) -> RelabelMap:
    """The relabel map of the stage before."""
    name, count = job.before.relabel_map, job.before.found
    lookup = job.store.read(f"{name}/lookup", Box((0, 0, 0), (1, 1, count + 1)))[0, 0]
    patches = Box((0, 0, 0), (1, 1, job.before.patches))
    voxel, label = (
        job.store.read(f"{name}/patch_{column}", patches)[0, 0] for column in ("voxel", "label")
    )
    return RelabelMap(lookup, voxel.astype(np.int64), label)


def named_labels(job: Job, box: Box) -> NDArray[Any]:
    """Labels of a box under the relabel map of the stage before: (Z, Y, X)."""
    if job.before.is_processed:
        return _processed(job, box)
    name = job.before.relabel_map
    provisional = job.store.read(job.before.labels, box)
    labels = looked_up(job.store, f"{name}/lookup", provisional)
    shape, columns = job.plan.image.shape, ("patch_voxel", "patch_label")
    patches = rows_within(job.store, name, columns, job.before.patches, box, shape)
    for _, voxels, ids in patches:
        labels[tuple((voxels - box.start).T)] = ids
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
