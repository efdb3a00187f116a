"""Datasets of an HDF5 file as one array: one alone, or many of one shape (times, channels)."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from terapose.io.images.axes import Layout, Shape
from terapose.io.images.hdf5_chunks import check_chunks
from terapose.io.images.hdf5_files import Hdf5Files, Node, shape_of
from terapose.io.images.hdf5_virtual import StoredRegions
from terapose.io.images.identity import Identity, files_identity
from terapose.io.images.joined import Index, Joined
from terapose.io.images.model import Source, is_cut_in_planes


class Datasets:
    """Datasets by number, opened when they are first read.

    Parameters
    ----------
    files
        Where they are; stays open.
    paths
        One for each.
    dtype
        Type of the voxels. Signed integers are taken as unsigned ones where it is unsigned.
    """

    def __init__(self, files: Hdf5Files, paths: Sequence[str], dtype: np.dtype[Any]) -> None:
        self._files, self._paths, self._dtype = files, paths, dtype
        self._open: dict[int, Node] = {}
        self._regions = StoredRegions(files)
        self._whole: set[tuple[str, str]] = set()
        # one thread would close files of a virtual dataset in which another looks for its chunks
        self._one = threading.Lock()

    def read(self, number: int, region: Index) -> np.ndarray:
        """Read a region of one of them, a thread at a time, as HDF5 itself does."""
        with self._one:
            if number not in self._open:
                node = self._files.find(self._paths[number])
                self._files.sources(node)
                self._open[number] = node
            for dataset, part in self._regions.of(self._open[number], region):
                check_chunks(dataset, part, self._whole)
            block = np.asarray(self._open[number].item[region])
        if (block.dtype.kind, self._dtype.kind) == ("i", "u"):
            return block.view(self._dtype.newbyteorder(block.dtype.byteorder))
        return block


def open_stack(
    file_name: str,
    address: str,
    paths: Sequence[str],
    counts: tuple[int, ...],
    dtype: np.dtype[Any],
) -> Source:
    """Open datasets for reading, in the process that reads them.

    Parameters
    ----------
    file_name, address
        The file, and what the user gave, for messages.
    paths
        Paths of the datasets, the last axis in front fastest.
    counts
        Lengths of the axes in front; empty for a single dataset.
    dtype
        Type of the voxels.
    """
    datasets = Datasets(Hdf5Files(file_name, address), paths, dtype)
    return cast(Source, Joined(counts, datasets.read))


def identity_of(paths: Sequence[str], files: Sequence[str]) -> Identity:
    """Identify datasets by their paths and all files that they need."""
    known = files_identity(files[0], *files)
    return known._replace(parts=(*known.parts, *paths))


def stored_as(files: Hdf5Files, node: Node, layout: Layout) -> tuple[Shape, bool]:
    """Chunks of a dataset in (Z, Y, X), and whether a region is read without much more than it.

    A dataset without chunks is in one piece, of which any row can be read. One that is put
    together from others has the chunks of the first.
    """
    shape = shape_of(node.item)
    chunks = files.chunks(node) or (1,) * (len(shape) - 1) + shape[-1:]
    spatial = layout.spatial((1,) * (len(layout.read) - len(chunks)) + chunks)
    return spatial, not is_cut_in_planes(spatial, layout.shape, node.item.dtype)
