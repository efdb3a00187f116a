"""Average precision, recall, precision and panoptic quality.

1. Both images are read block by block, and the voxels of each pair of labels are counted
   (`terapose.apps.evaluate.counts`).
2. Pairs give the intersection over union (IoU) of every two instances that touch.
3. At a threshold, true positives are the largest one-to-one matching among the pairs that reach
   it (`terapose.apps.evaluate.matching`).

The scores are those of Caicedo et al. 2019 (average precision TP / (TP + FP + FN), as
`cellpose.metrics.average_precision` has it) and Kirillov et al. 2019 (panoptic quality).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.apps.evaluate.counts import (
    BLOCK,
    Overlap,
    Pairs,
    check_labels,
    count,
    overlap_of,
    regions,
    runs,
)
from terapose.apps.evaluate.matching import MATCHED, matched
from terapose.apps.evaluate.numbers import plain, ratio
from terapose.core.errors import InputError
from terapose.io.images.array_like import Voxels

THRESHOLDS = (0.5, 0.75, 0.9)


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
        found: dict[str, Any] = plain(asdict(self))
        return found


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
    check_labels(reference, predicted)
    check_thresholds(thresholds)
    return scored(overlap_of(reference, predicted), thresholds)


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
    check_labels(reference, predicted)
    check_thresholds(thresholds)
    pairs, blocks = Pairs(), count(reference.shape, block)
    for done, region in enumerate(regions(reference.shape, block), 1):
        found = runs(np.asarray(reference[region]), np.asarray(predicted[region]))
        pairs.add(found.reference, found.predicted, found.voxels)
        if progress is not None:
            progress(done, blocks)
    return scored(pairs.overlap(), thresholds)


def scored(overlap: Overlap, thresholds: Sequence[float]) -> Scores:
    """Scores by the instances of two images and their pairs."""
    n_reference, n_predicted = len(overlap.reference), len(overlap.predicted)
    true = [len(matched(overlap, t)) for t in thresholds]
    ious = overlap.iou[matched(overlap, MATCHED)]
    total = float(ious.sum())
    return Scores(
        thresholds=tuple(float(t) for t in thresholds),
        average_precision=tuple(ratio(tp, n_reference + n_predicted - tp) for tp in true),
        true_positives=tuple(true),
        false_positives=tuple(n_predicted - tp for tp in true),
        false_negatives=tuple(n_reference - tp for tp in true),
        recall=tuple(ratio(tp, n_reference) for tp in true),
        precision=tuple(ratio(tp, n_predicted) for tp in true),
        reference=n_reference,
        predicted=n_predicted,
        mean_iou=ratio(total, len(ious)),
        panoptic_quality=ratio(total, (n_reference + n_predicted) / 2),
    )


def check_thresholds(thresholds: Sequence[float]) -> None:
    """Raise InputError for a threshold that is not above 0, up to 1."""
    for threshold in thresholds:
        if not 0 < threshold <= 1:
            raise InputError(
                "out of range", where="thresholds", got=threshold, allowed="above 0, up to 1"
            )
