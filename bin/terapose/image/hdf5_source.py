"""Datasets of an HDF5 file as one array: one alone, or many of one shape (times, channels)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from terapose.image import address as addresses
from terapose.image.axes import Layout, Shape
from terapose.image.hdf5_files import Hdf5Files, Node, shape_of
from terapose.image.model import Source, is_cut_in_planes


class Stack:
    """Datasets under leading axes, indexed like the array they make.

    Parameters
    ----------
    files
        Where they are; stays open.
    paths
        One for each, the last leading axis fastest.
    counts
        Lengths of the leading axes; empty for a single dataset.
    dtype
        Type of the voxels: bits are taken as this type where it has the size of the stored one.
    """

    def __init__(
        self, files: Hdf5Files, paths: Sequence[str], counts: tuple[int, ...], dtype: np.dtype[Any]
    ) -> None:
        self._files, self._paths = files, paths
        self._numbers = np.arange(math.prod(counts)).reshape(counts)
        self._dtype = dtype
        self._datasets: dict[int, Any] = {}

    def __getitem__(self, index: tuple[int | slice, ...]) -> np.ndarray:
        """Read a region; a number in place of a slice drops its axis."""
        lead = self._numbers.ndim
        wanted = np.asarray(self._numbers[index[:lead]])
        blocks = [self._read(int(number), index[lead:]) for number in wanted.ravel()]
        return np.stack(blocks).reshape(wanted.shape + blocks[0].shape)

    def _read(self, number: int, region: tuple[int | slice, ...]) -> np.ndarray:
        if number not in self._datasets:
            node = self._files.find(self._paths[number])
            self._files.sources(node)
            self._datasets[number] = node.item
        block = np.asarray(self._datasets[number][region])
        kind = self._dtype.newbyteorder(block.dtype.byteorder)
        is_other_sign = block.dtype.kind == "i" and kind.kind == "u"
        return block.view(kind) if is_other_sign else block


def open_stack(
    file_name: str,
    address: str,
    paths: Sequence[str],
    counts: tuple[int, ...],
    dtype: np.dtype[Any],
) -> Source:
    """Open datasets for reading, in the process that reads them."""
    return cast(Source, Stack(Hdf5Files(file_name, address), paths, counts, dtype))


def identity_of(paths: Sequence[str], files: Sequence[str]) -> str:
    """Identify datasets by their paths and all files that they need."""
    return addresses.digest(addresses.file_identity(files[0], *files), *paths)


def stored_as(files: Hdf5Files, node: Node, layout: Layout) -> tuple[Shape, bool]:
    """Chunks of a dataset in (Z, Y, X), and whether a region is read without much more than it.

    A dataset without chunks lies in one piece, of which any row can be read. One that is put
    together from others has the chunks of its first.
    """
    shape = shape_of(node.item)
    chunks = files.chunks(node) or (1,) * (len(shape) - 1) + shape[-1:]
    spatial = layout.spatial((1,) * (len(layout.read) - len(chunks)) + chunks)
    return spatial, not is_cut_in_planes(spatial, layout.shape, node.item.dtype)
