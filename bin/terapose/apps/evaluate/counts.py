"""Pairs of labels and their voxels, and boxes of labels, counted block by block.

Runs of voxels along X with the same pair of labels are counted, so that what is kept grows with the
number of overlapping pairs, not with voxels or with labels squared. Counts are whole numbers that
add up, and boxes are minima and maxima, so that neither depends on the blocks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from terapose.core.errors import InputError
from terapose.io.images.array_like import Voxels
from terapose.io.labels.values import check_signs, check_type

BLOCK = (64, 512, 512)
"""(Z, Y, X) voxels that are read at once."""
_PENDING = 1 << 20
"""Rows that are gathered before they are merged, at least; of long tables as many as they have."""

Labels = NDArray[np.uint64]
Whole = NDArray[np.int64]


@dataclass(frozen=True)
class Overlap:
    """Instances of two label images, and the voxels that each pair of them shares.

    Attributes
    ----------
    reference, predicted
        Labels of the instances, ascending.
    reference_size, predicted_size
        Voxels of each.
    row, column
        Of each pair that shares voxels, the positions in `reference` and `predicted`.
    shared
        Voxels that each pair shares.
    """

    reference: Labels
    predicted: Labels
    reference_size: Whole
    predicted_size: Whole
    row: Whole
    column: Whole
    shared: Whole

    @property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union of each pair."""
        sizes = self.reference_size[self.row] + self.predicted_size[self.column]
        ious: NDArray[np.float64] = self.shared / (sizes - self.shared)
        return ious


class Pairs:
    """Sparse contingency table of two label images, grown block by block."""

    def __init__(self) -> None:
        self._tables: list[tuple[Labels, Labels, Whole]] = []
        self._pending, self._limit = 0, _PENDING

    def add(self, reference: Labels, predicted: Labels, voxels: Whole) -> Pairs:
        """Count runs of voxels, whose labels are given."""
        table = _merge(reference, predicted, voxels)
        self._tables.append(table)
        self._pending += len(table[0])
        if self._pending > self._limit:
            merged = self._merged()
            self._tables, self._pending = [merged], 0
            self._limit = max(_PENDING, len(merged[0]))
        return self

    def overlap(self) -> Overlap:
        """What both images contain, by all that was added."""
        a, b, voxels = self._merged()
        reference, row = np.unique(a, return_inverse=True)
        predicted, column = np.unique(b, return_inverse=True)
        sizes = [np.bincount(n, voxels).astype(np.int64) for n in (row, column)]
        # the background is the smallest label, where there is one
        skipped = [int(len(labels) > 0 and labels[0] == 0) for labels in (reference, predicted)]
        both = (a != 0) & (b != 0)
        return Overlap(
            reference[skipped[0] :],
            predicted[skipped[1] :],
            sizes[0][skipped[0] :],
            sizes[1][skipped[1] :],
            row[both] - skipped[0],
            column[both] - skipped[1],
            voxels[both],
        )

    def _merged(self) -> tuple[Labels, Labels, Whole]:
        if not self._tables:
            return np.empty(0, np.uint64), np.empty(0, np.uint64), np.empty(0, np.int64)
        a, b, counts = (np.concatenate(column) for column in zip(*self._tables, strict=True))
        return _merge(a, b, counts)


class Boxes:
    """Bounding boxes of labels, grown block by block."""

    def __init__(self) -> None:
        self._labels: list[Labels] = []
        self._corners: list[Whole] = []
        self._pending, self._limit = 0, _PENDING

    def add(self, labels: Labels, starts: Whole, stops: Whole) -> None:
        """Take runs of voxels.

        Parameters
        ----------
        labels
            Label of each run; 0 is passed over.
        starts, stops
            (N, 3) first voxel of each run and the voxel after its last, in (Z, Y, X).
        """
        inside = labels != 0
        # maxima are minima of negative numbers: one table for both corners
        corners = np.concatenate([starts[inside], -stops[inside]], axis=1)
        found, boxes = smallest(labels[inside], corners)
        self._labels.append(found)
        self._corners.append(boxes)
        self._pending += len(found)
        if self._pending > self._limit:
            found, boxes = self._merged()
            self._labels, self._corners, self._pending = [found], [boxes], 0
            self._limit = max(_PENDING, len(found))

    def of(self, labels: Labels) -> tuple[Whole, Whole]:
        """First and last corner, (N, 3) each, of labels that were added, in ascending order."""
        found, boxes = self._merged()
        at = np.searchsorted(found, labels)
        return boxes[at, :3], -boxes[at, 3:]

    def _merged(self) -> tuple[Labels, Whole]:
        if not self._labels:
            return np.empty(0, np.uint64), np.empty((0, 6), np.int64)
        return smallest(np.concatenate(self._labels), np.concatenate(self._corners))


@dataclass(frozen=True)
class Runs:
    """Runs of voxels along the last axis of a block.

    Attributes
    ----------
    reference, predicted
        Labels of each run.
    voxels
        Length of each run.
    first
        Position of the first voxel of each run in the block, in C order.
    """

    reference: Labels
    predicted: Labels
    voxels: Whole
    first: Whole


def runs(reference: NDArray[np.generic], predicted: NDArray[np.generic]) -> Runs:
    """Find the runs of one block.

    Parameters
    ----------
    reference, predicted
        Label images of one shape.

    Raises
    ------
    InputError
        If a label is negative.
    """
    width = reference.shape[-1] if reference.ndim else 1
    a, b = reference.reshape(-1, max(width, 1)), predicted.reshape(-1, max(width, 1))
    if not a.size:
        nothing, none = np.empty(0, np.uint64), np.empty(0, np.int64)
        return Runs(nothing, nothing, none, none)
    check_signs(a, "reference")
    check_signs(b, "predicted")
    begins = np.ones(a.shape, np.bool_)
    begins[:, 1:] = (a[:, 1:] != a[:, :-1]) | (b[:, 1:] != b[:, :-1])
    first = np.flatnonzero(begins)
    voxels = np.diff(np.append(first, a.size))
    a, b = a.reshape(-1)[first], b.reshape(-1)[first]
    return Runs(a.astype(np.uint64), b.astype(np.uint64), voxels, first)


def overlap_of(reference: NDArray[np.generic], predicted: NDArray[np.generic]) -> Overlap:
    """What two label images of one shape contain that fit in memory."""
    found = runs(reference, predicted)
    return Pairs().add(found.reference, found.predicted, found.voxels).overlap()


def corners(found: Runs, region: Sequence[slice]) -> tuple[Whole, Whole]:
    """First voxel of each run of a (Z, Y, X) block and the voxel after its last, in the image."""
    shape = tuple(part.stop - part.start for part in region)
    starts = np.stack(np.unravel_index(found.first, shape), axis=1).astype(np.int64)
    starts += [part.start for part in region]
    stops = starts + 1
    stops[:, 2] += found.voxels - 1
    return starts, stops


def regions(shape: Sequence[int], block: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """Blocks of an image, one after another: of a file of a few bytes there may be very many."""
    if not shape:
        yield ()
        return
    for start in range(0, shape[0], block[0]):
        for rest in regions(shape[1:], block[1:]):
            yield slice(start, min(start + block[0], shape[0])), *rest


def count(shape: Sequence[int], block: Sequence[int]) -> int:
    """Number of blocks of an image."""
    return math.prod(-(-n // b) for n, b in zip(shape, block, strict=True))


def check_labels(
    reference: Voxels,
    predicted: Voxels,
    names: tuple[str, str] = ("reference", "predicted"),
) -> None:
    """Refuse images of two shapes, and numbers that are not whole.

    Parameters
    ----------
    reference, predicted
        Label images.
    names
        What messages call them.

    Raises
    ------
    InputError
        If the shapes differ, or a dtype is not an integer.
    """
    if tuple(reference.shape) != tuple(predicted.shape):
        raise InputError(
            "the two label images differ in shape",
            where=names[1],
            got=" x ".join(map(str, predicted.shape)),
            allowed=" x ".join(map(str, reference.shape)),
            remedy="compare label images of the same image at the same pyramid level, or "
            "by position (--align position)",
        )
    for name, labels in zip(names, (reference, predicted), strict=True):
        check_type(labels.dtype, name)


def _merge(a: Labels, b: Labels, counts: Whole) -> tuple[Labels, Labels, Whole]:
    """Sum the counts of equal pairs."""
    if not len(a):
        return a, b, counts
    order = np.lexsort((b, a))
    a, b, counts = a[order], b[order], counts[order]
    first = np.flatnonzero(np.append(True, (a[1:] != a[:-1]) | (b[1:] != b[:-1])))
    return a[first], b[first], np.add.reduceat(counts, first)


def smallest(labels: Labels, values: Whole) -> tuple[Labels, Whole]:
    """Labels, ascending, and the smallest value of each column for each of them."""
    if not len(labels):
        return labels, values
    order = np.argsort(labels, kind="stable")
    labels, values = labels[order], values[order]
    first = np.flatnonzero(np.append(True, labels[1:] != labels[:-1]))
    return labels[first], np.minimum.reduceat(values, first, axis=0)
