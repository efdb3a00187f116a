"""Scores of whole images: coverage, splits and merges, information, Rand error, volume.

All follow from the instances and their pairs (`terapose.apps.evaluate.counts.Overlap`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from terapose.apps.evaluate.counts import Overlap
from terapose.apps.evaluate.matching import MATCHED, matched
from terapose.apps.evaluate.numbers import quartiles, ratio


@dataclass(frozen=True)
class Agreement:
    """How well two label images agree; NaN where a score is one of nothing.

    Attributes
    ----------
    seg
        Mean over reference instances of the IoU with the predicted one that contains more than
        half of it, 0 without one (SEG of the Cell Tracking Challenge: Maska et al. 2014).
    mean_coverage
        Mean over reference instances of the largest IoU with any predicted one (MUCov: Silberman
        et al. 2014, unweighted).
    split
        Reference instances to which two or more predicted ones belong: those with more than half
        of their voxels in it. After Coelho et al. 2009, who assign to the largest share.
    merged
        Predicted instances that contain more than half of two or more reference ones.
    information_split, information_merge
        Variation of information in bits, on the voxels of reference instances: the entropy of the
        prediction given the reference, and of the reference given the prediction (Meila 2007).
        Predicted background counts as one instance.
    rand_error, rand_precision, rand_recall
        Adapted Rand error on the same voxels (Arganda-Carreras et al. 2015), 1 minus the harmonic
        mean of the two others.
    volume_ratio
        Lower quartile, median and upper quartile of predicted by reference size, of the instances
        matched at an IoU of 0.5.
    """

    seg: float
    mean_coverage: float
    split: int
    merged: int
    information_split: float
    information_merge: float
    rand_error: float
    rand_precision: float
    rand_recall: float
    volume_ratio: tuple[float, float, float]


def agreement(overlap: Overlap) -> Agreement:
    """All scores of this module.

    Parameters
    ----------
    overlap
        Instances and pairs of two images.
    """
    iou, row, column, shared = overlap.iou, overlap.row, overlap.column, overlap.shared
    count = len(overlap.reference)
    in_predicted = 2 * shared > overlap.reference_size[row]
    in_reference = 2 * shared > overlap.predicted_size[column]
    best = np.zeros(count)
    np.maximum.at(best, row, iou)
    pieces = np.bincount(row[in_reference], minlength=count)
    contained = np.bincount(column[in_predicted], minlength=len(overlap.predicted))
    split, merge = _information(overlap)
    return Agreement(
        ratio(float(iou[in_predicted].sum()), count),
        ratio(float(best.sum()), count),
        int(np.count_nonzero(pieces > 1)),
        int(np.count_nonzero(contained > 1)),
        split,
        merge,
        *_rand(overlap),
        quartiles(volume_ratios(overlap)[1]),
    )


def volume_ratios(overlap: Overlap) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Positions of the reference instances matched at 0.5, and predicted by reference size."""
    pairs = matched(overlap, MATCHED)
    row = overlap.row[pairs]
    return row, overlap.predicted_size[overlap.column[pairs]] / overlap.reference_size[row]


def _parts(overlap: Overlap) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Voxels of reference instances by pair, by reference and by predicted instance.

    The background of the prediction is one more predicted instance.
    """
    inside = np.bincount(overlap.row, overlap.shared, len(overlap.reference)).astype(np.int64)
    outside = overlap.reference_size - inside
    columns = np.bincount(overlap.column, overlap.shared, len(overlap.predicted)).astype(np.int64)
    pairs = np.concatenate([overlap.shared, outside])
    return pairs, overlap.reference_size, np.append(columns, outside.sum())


def _information(overlap: Overlap) -> tuple[float, float]:
    pairs, rows, columns = (part[part > 0] for part in _parts(overlap))
    total = int(rows.sum())
    if not total:
        return np.nan, np.nan
    both, reference, predicted = (_entropy(part / total) for part in (pairs, rows, columns))
    return max(both - reference, 0.0), max(both - predicted, 0.0)


def _entropy(shares: NDArray[np.float64]) -> float:
    return float(-(shares * np.log2(shares)).sum())


def _rand(overlap: Overlap) -> tuple[float, float, float]:
    """Adapted Rand error, precision and recall, of pairs of different voxels."""
    parts = _parts(overlap)
    total = int(parts[1].sum())
    # of floats: squares of large cells are beyond 64 bits
    both, reference, predicted = (float((part.astype(np.float64) ** 2).sum()) for part in parts)
    precision = ratio(both - total, predicted - total)
    recall = ratio(both - total, reference - total)
    error = 1 - ratio(2 * (both - total), reference + predicted - 2 * total)
    return error, precision, recall
