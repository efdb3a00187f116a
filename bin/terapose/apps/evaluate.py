"""Scores of a label image against a reference, for images of any size.

1. Both are read block by block. Runs of voxels with the same pair of labels are counted, so that
   what is kept grows with the number of overlapping pairs, not with voxels or with labels squared.
2. Pairs give the intersection over union (IoU) of every two instances that touch.
3. At a threshold, true positives are the largest one-to-one matching among the pairs that reach
   it: the number that Cellpose's assignment finds, because a match always outweighs IoU there.

The scores are those of Caicedo et al. 2019 (average precision TP / (TP + FP + FN), as
`cellpose.metrics.average_precision` has it) and Kirillov et al. 2019 (panoptic quality).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.core.errors import InputError
from terapose.io.images.array_like import Voxels

THRESHOLDS = (0.5, 0.75, 0.9)
BLOCK = (64, 512, 512)

_MATCHED = 0.5  # IoU from which a pair is a match for `mean_iou` and `panoptic_quality`
_PENDING = 1 << 22  # pairs gathered before they are merged


@dataclass(frozen=True)
class Scores:
    """How well a label image agrees with a reference; one entry a threshold where plural.

    Attributes
    ----------
    thresholds
        IoU from which two instances match.
    average_precision
        TP / (TP + FP + FN); NaN where neither image has an instance.
    true_positives, false_positives, false_negatives
        Number of matched instances, of predicted ones and of reference ones without a match.
    recall, precision
        TP / reference instances and TP / predicted instances; NaN where there are none.
    reference, predicted
        Number of instances.
    mean_iou
        Mean IoU of the pairs matched at 0.5; NaN where there are none.
    panoptic_quality
        Sum of the matched pairs' IoU at 0.5, by TP + FP/2 + FN/2.
    """

    thresholds: tuple[float, ...]
    average_precision: tuple[float, ...]
    true_positives: tuple[int, ...]
    false_positives: tuple[int, ...]
    false_negatives: tuple[int, ...]
    recall: tuple[float, ...]
    precision: tuple[float, ...]
    reference: int
    predicted: int
    mean_iou: float
    panoptic_quality: float

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers and lists for JSON: NaN becomes None."""
        return {name: _plain(value) for name, value in asdict(self).items()}


def average_precision(
    reference: NDArray[Any], predicted: NDArray[Any], thresholds: Sequence[float] = THRESHOLDS
) -> Scores:
    """Score a label image that fits in memory.

    Parameters
    ----------
    reference, predicted
        Label images of one shape and of any dimension and integer dtype, 0 the background.
    thresholds
        IoU values above 0 up to 1.

    Returns
    -------
    Scores

    Raises
    ------
    InputError
        If the shapes differ, a dtype is not an integer or a threshold is out of range.
    """
    _check(reference, predicted, thresholds)
    return _score(_Overlaps().add(reference, predicted), thresholds)


def compare(
    reference: Voxels,
    predicted: Voxels,
    block: tuple[int, int, int] = BLOCK,
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    progress: Callable[[int, int], None] | None = None,
) -> Scores:
    """Score a label image of any size, block by block.

    Parameters
    ----------
    reference, predicted
        (Z, Y, X) label images of one shape that read regions by slices: NumPy, zarr, `Lazy`.
    block
        (Z, Y, X) voxels read at once; the scores do not depend on it.
    thresholds
        IoU values above 0 up to 1.
    progress
        Called after each block with the number of blocks done and of all blocks.

    Returns
    -------
    Scores

    Raises
    ------
    InputError
        If the shapes differ, a dtype is not an integer or a threshold is out of range.
    """
    _check(reference, predicted, thresholds)
    overlaps = _Overlaps()
    blocks = math.prod(-(-n // b) for n, b in zip(reference.shape, block, strict=True))
    # one after another: of a file of a few bytes there may be more than fit into memory
    for done, region in enumerate(_regions(reference.shape, block), 1):
        overlaps.add(np.asarray(reference[region]), np.asarray(predicted[region]))
        if progress is not None:
            progress(done, blocks)
    return _score(overlaps, thresholds)


class _Overlaps:
    """Sparse contingency table of two label images, grown block by block."""

    def __init__(self) -> None:
        self._tables: list[tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.int64]]] = []
        self._pending = 0

    def add(self, reference: NDArray[Any], predicted: NDArray[Any]) -> _Overlaps:
        """Count the pairs of labels of one block."""
        a, b = reference.reshape(-1), predicted.reshape(-1)
        if not a.size:
            return self
        _check_signs(reference=a, predicted=b)
        starts = np.flatnonzero((a[1:] != a[:-1]) | (b[1:] != b[:-1])) + 1
        starts = np.concatenate([[0], starts])
        counts = np.diff(np.append(starts, a.size))
        table = _merge(a[starts].astype(np.uint64), b[starts].astype(np.uint64), counts)
        self._tables.append(table)
        self._pending += len(table[0])
        if self._pending > _PENDING:
            merged = self.table()
            self._tables, self._pending = [merged], 0
        return self

    def table(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.int64]]:
        """Labels of the reference, of the prediction, and voxels, of each pair that occurs."""
        if not self._tables:
            empty = np.empty(0, np.uint64)
            return empty, empty, np.empty(0, np.int64)
        a, b, counts = (np.concatenate(column) for column in zip(*self._tables, strict=True))
        return _merge(a, b, counts)


def _merge(
    a: NDArray[np.uint64], b: NDArray[np.uint64], counts: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.int64]]:
    """Sum the counts of equal pairs."""
    order = np.lexsort((b, a))
    a, b, counts = a[order], b[order], counts[order]
    first = np.flatnonzero(np.append(True, (a[1:] != a[:-1]) | (b[1:] != b[:-1])))
    return a[first], b[first], np.add.reduceat(counts, first)


def _score(overlaps: _Overlaps, thresholds: Sequence[float]) -> Scores:
    a, b, counts = overlaps.table()
    reference, row = np.unique(a, return_inverse=True)
    predicted, column = np.unique(b, return_inverse=True)
    row_size = np.bincount(row, counts).astype(np.int64)
    column_size = np.bincount(column, counts).astype(np.int64)
    both = (a != 0) & (b != 0)
    row, column, counts = row[both], column[both], counts[both]
    iou = counts / (row_size[row] + column_size[column] - counts)
    n_reference = int(np.count_nonzero(reference))
    n_predicted = int(np.count_nonzero(predicted))
    true = [_match(row, column, iou >= t).sum() for t in thresholds]
    matched = iou[iou >= _MATCHED][_match(row, column, iou >= _MATCHED)]
    total = float(matched.sum())
    return Scores(
        thresholds=tuple(float(t) for t in thresholds),
        average_precision=tuple(_ratio(tp, n_reference + n_predicted - tp) for tp in true),
        true_positives=tuple(int(tp) for tp in true),
        false_positives=tuple(int(n_predicted - tp) for tp in true),
        false_negatives=tuple(int(n_reference - tp) for tp in true),
        recall=tuple(_ratio(tp, n_reference) for tp in true),
        precision=tuple(_ratio(tp, n_predicted) for tp in true),
        reference=n_reference,
        predicted=n_predicted,
        mean_iou=_ratio(total, len(matched)),
        panoptic_quality=_ratio(total, (n_reference + n_predicted) / 2),
    )


def _match(
    row: NDArray[np.int64], column: NDArray[np.int64], good: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which of the good pairs are in a largest one-to-one matching.

    Above an IoU of 0.5 all are; at 0.5 exactly and below, two can share an instance.
    """
    row, column = row[good], column[good]
    if len(np.unique(row)) == len(row) and len(np.unique(column)) == len(column):
        return np.ones(len(row), np.bool_)
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import maximum_bipartite_matching

    graph = csr_matrix((np.ones(len(row), np.int8), (row, column)))
    partner = maximum_bipartite_matching(graph, perm_type="column")
    chosen: NDArray[np.bool_] = partner[row] == column
    return chosen


def _check(reference: Voxels, predicted: Voxels, thresholds: Sequence[float]) -> None:
    if tuple(reference.shape) != tuple(predicted.shape):
        raise InputError(
            "the two label images differ in shape",
            where="predicted",
            got=" x ".join(map(str, predicted.shape)),
            allowed=" x ".join(map(str, reference.shape)),
            remedy="compare label images of the same image at the same pyramid level",
        )
    for name, labels in (("reference", reference), ("predicted", predicted)):
        if not np.issubdtype(labels.dtype, np.integer) and labels.dtype != np.bool_:
            raise InputError(
                "a label image must have whole numbers",
                where=name,
                got=str(labels.dtype),
                allowed="an integer dtype",
            )
    for threshold in thresholds:
        if not 0 < threshold <= 1:
            raise InputError(
                "out of range", where="thresholds", got=threshold, allowed="above 0, up to 1"
            )


def _check_signs(**labels: NDArray[Any]) -> None:
    for name, values in labels.items():
        if values.dtype.kind == "i" and values.min() < 0:
            raise InputError(
                "a label image must have whole numbers from 0 up",
                where=name,
                got=int(values.min()),
                remedy="write 0 where there is no cell",
            )


def _regions(shape: Sequence[int], block: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    if not shape:
        yield ()
        return
    for start in range(0, shape[0], block[0]):
        for rest in _regions(shape[1:], block[1:]):
            yield slice(start, min(start + block[0], shape[0])), *rest


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else math.nan


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and math.isnan(value) else value
