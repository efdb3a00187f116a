"""What a region of a virtual HDF5 dataset is read from: regions of the datasets it is made of.

HDF5 joins them by itself. Here they are only found, so that their chunks can be looked at before.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from terapose.io.images.hdf5_files import Hdf5Files, Node, shape_of
from terapose.io.images.joined import Index


class _Box(NamedTuple):
    """A box of voxels: where it starts, and its shape."""

    start: tuple[int, ...]
    shape: tuple[int, ...]


_ALL = _Box((), ())


class StoredRegions:
    """Regions that a region is read from: each of a dataset that holds its voxels itself.

    They may be larger than what is read: where voxels of a source are not joined as one box, all
    of the source is meant.

    Parameters
    ----------
    files
        Where the datasets are; stays open.
    """

    def __init__(self, files: Hdf5Files) -> None:
        self._files = files
        self._known: dict[tuple[str, str], list[tuple[Any, _Box | None, _Box | None]]] = {}

    def of(self, node: Node, region: Index) -> Iterator[tuple[Any, Index]]:
        """Find those of a region of a dataset: slices of step 1, or numbers, one for each axis.

        Yields
        ------
        dataset, region
            The dataset is open until the next one.
        """
        if not node.item.is_virtual:
            yield node.item, region
            return
        for source, there, here in self._sources(node.item):
            cut = _cut(region, there) if there else None
            if cut == []:
                continue
            for part in self._files.parts_at(node.item, source):
                whole = _whole(part.item)
                box = whole if here == _ALL else here
                inside = _moved(there, cut, box) if there and cut and box else None
                yield from self.of(part, inside or tuple(slice(0, n) for n in whole.shape))

    def _sources(self, dataset: Any) -> list[tuple[Any, _Box | None, _Box | None]]:
        """What a dataset is joined of: h5py's entry, the box it fills and its own box."""
        name = (dataset.file.filename, dataset.name)
        if name not in self._known:
            self._known[name] = [
                (source, _whole(dataset) if there == _ALL else there, _box(source.src_space))
                for source in dataset.virtual_sources()
                for there in [_box(source.vspace)]
            ]
        return self._known[name]


def _whole(dataset: Any) -> _Box:
    shape = shape_of(dataset)
    return _Box((0,) * len(shape), shape)


def _box(space: Any) -> _Box | None:
    """The voxels that are chosen of a dataset, if they are one box; `_ALL` if they are all."""
    import h5py

    if space.get_select_type() == h5py.h5s.SEL_ALL:
        return _ALL
    try:
        low, high = space.get_select_bounds()
        count = space.get_select_npoints()
    except (RuntimeError, ValueError):  # without end
        return None
    shape = tuple(int(b) - int(a) + 1 for a, b in zip(low, high, strict=True))
    return _Box(tuple(map(int, low)), shape) if math.prod(shape) == count else None


def _cut(region: Index, box: _Box) -> list[tuple[int, int]]:
    """What part of a region is in a box: first and stop of each axis in it; empty if nothing."""
    parts = []
    for part, start, length in zip(region, *box, strict=True):
        first, stop = (part, part + 1) if isinstance(part, int) else (part.start, part.stop)
        low, high = max(first - start, 0), min(stop - start, length)
        if low >= high:
            return []
        parts.append((low, high))
    return parts


def _moved(there: _Box, cut: list[tuple[int, int]], here: _Box) -> Index | None:
    """What is there in a box, in the box of the source that fills it; None if they differ.

    Only axes with a length count: a plane may be joined as a part of a volume.
    """
    if [n for n in there.shape if n > 1] != [n for n in here.shape if n > 1]:
        return None
    places = iter(part for part, n in zip(cut, there.shape, strict=True) if n > 1)
    return tuple(
        slice(start + low, start + high)
        for start, length in zip(*here, strict=True)
        for low, high in [next(places) if length > 1 else (0, 1)]
    )
