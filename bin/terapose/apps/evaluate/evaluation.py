"""All scores of two label images, from one reading of both, block by block.

1. A block is read with the halo that boundaries need (`boundary`), once from each image.
2. Of the block itself, pairs of labels and boxes are counted (`counts`); of boundaries, voxels.
3. When all blocks are read, the scores follow from these counts alone. So they do not depend on the
   blocks, and what is in memory is a block and the tables of instances and of touching pairs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from terapose.apps.evaluate.agreement import Agreement, agreement
from terapose.apps.evaluate.boundary import Boundary, Reach, boundary_of, inner, with_halo
from terapose.apps.evaluate.counts import (
    BLOCK,
    Boxes,
    Overlap,
    Pairs,
    check_labels,
    corners,
    count,
    regions,
    runs,
)
from terapose.apps.evaluate.groups import Matches
from terapose.apps.evaluate.masks import Mask
from terapose.apps.evaluate.numbers import plain, ratio
from terapose.apps.evaluate.scores import THRESHOLDS, Scores, check_thresholds, scored
from terapose.apps.evaluate.seams import Planes, Seams, at_seams
from terapose.apps.evaluate.sizes import Range, Scale, Spread, by_size, spread_of
from terapose.io.images.array_like import Voxels

CURVE = tuple(n / 100 for n in range(50, 100, 5))
"""IoU of 0.5 to 0.95, over which average precision is averaged (as COCO does)."""


@dataclass(frozen=True)
class Settings:
    """What is scored, and how.

    Attributes
    ----------
    thresholds
        IoU values above 0 up to 1.
    reach
        How far boundaries may be apart.
    scale
        Ranges of sizes.
    planes
        Where the blocks of a run meet, if that is to be compared.
    """

    thresholds: tuple[float, ...] = THRESHOLDS
    reach: Reach = field(default_factory=Reach)
    scale: Scale = field(default_factory=Scale)
    planes: Planes | None = None


@dataclass(frozen=True)
class Evaluation:
    """All scores of two label images.

    Attributes
    ----------
    scores
        At the thresholds of the settings.
    curve
        At the thresholds of `CURVE`.
    agreement
        Scores of whole images.
    boundary
        Boundary voxels.
    spread
        Sizes of all instances.
    sizes
        By size of the reference instance.
    seams
        Cells at seams of a run against the others, if asked for.
    settings
        With which they were found.
    in_pieces
        Whether all of the reference, and all of the prediction, has one number, but is in pieces
        that do not touch (`masks`).
    """

    scores: Scores
    curve: Scores
    agreement: Agreement
    boundary: Boundary
    spread: Spread
    sizes: list[Range]
    seams: Seams | None
    settings: Settings
    in_pieces: tuple[bool, bool]

    @property
    def iou_sum(self) -> float:
        """Sum of the IoU of the pairs matched at 0.5."""
        found = self.curve
        instances = found.reference + found.predicted
        return found.panoptic_quality * instances / 2 if instances else 0.0

    @property
    def mean_average_precision(self) -> float:
        """Mean average precision over the IoU values of `CURVE`."""
        return math.fsum(self.curve.average_precision) / len(CURVE)

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and dictionaries for JSON; first those of `Scores`."""
        scores, whole, settings = self.scores, self.agreement, self.settings
        f1 = [f1_of(*counts) for counts in _counts(scores)]
        found: dict[str, Any] = {
            "f1": f1,
            "mean_average_precision": self.mean_average_precision,
            "curve": {
                "thresholds": CURVE,
                "average_precision": self.curve.average_precision,
                "f1": [f1_of(*counts) for counts in _counts(self.curve)],
            },
            "recognition_quality": f1_of(*_counts(self.curve)[0]),
            "segmentation_quality": scores.mean_iou,
            "seg": whole.seg,
            "mean_coverage": whole.mean_coverage,
            "split": whole.split,
            "merged": whole.merged,
            "variation_of_information": {
                "split": whole.information_split,
                "merge": whole.information_merge,
                "total": whole.information_split + whole.information_merge,
            },
            "adapted_rand": {
                "error": whole.rand_error,
                "precision": whole.rand_precision,
                "recall": whole.rand_recall,
            },
            "boundary": {
                "f": self.boundary.f,
                "precision": self.boundary.precision,
                "recall": self.boundary.recall,
                "tolerance": settings.reach.tolerance,
                "spacing": settings.reach.spacing,
            },
            "volume_ratio": dict(
                zip(("lower", "median", "upper"), whole.volume_ratio, strict=True)
            ),
            "by_size": {
                "measure": "diameter" if settings.scale.diameter else "voxels",
                "unit": settings.scale.unit_of_edges,
                "ranges": [one.as_dict() for one in self.sizes],
            },
            "seams": None if self.seams is None else self.seams.as_dict(),
        }
        return {**scores.as_dict(), **plain(found)}


def evaluate(
    reference: Voxels,
    predicted: Voxels,
    settings: Settings | None = None,
    block: tuple[int, int, int] = BLOCK,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Score a label image of any size, block by block.

    Parameters
    ----------
    reference, predicted
        (Z, Y, X) label images of one shape that read regions by slices: NumPy, zarr, `Lazy`.
    settings
        What is scored.
    block
        (Z, Y, X) voxels read at once, without halo; the scores do not depend on it.
    progress
        Called after each block with the number of blocks done and of all blocks.

    Returns
    -------
    Evaluation

    Raises
    ------
    InputError
        If the shapes differ, a dtype is not an integer or a threshold is out of range.
    """
    settings = settings or Settings()
    check_labels(reference, predicted)
    check_thresholds(settings.thresholds)
    pairs, boxes, boundary = Pairs(), (Boxes(), Boxes()), Boundary()
    masks = (Mask(), Mask())
    shape, blocks = reference.shape, count(reference.shape, block)
    reach = replace(settings.reach, shape=tuple(shape))
    for done, (z, y, x) in enumerate(regions(shape, block), 1):
        around = with_halo((z, y, x), shape, reach.halo)
        inside = inner((z, y, x), around)
        a, b = np.asarray(reference[around]), np.asarray(predicted[around])
        found = runs(a[inside], b[inside])
        pairs.add(found.reference, found.predicted, found.voxels)
        starts, stops = corners(found, (z, y, x))
        boxes[0].add(found.reference, starts, stops)
        boxes[1].add(found.predicted, starts, stops)
        boundary += boundary_of(a, b, inside, reach)
        for mask, labels in zip(masks, (a, b), strict=True):
            mask.add(labels[inside], (z, y, x), shape)
        if progress is not None:
            progress(done, blocks)
    return _evaluation(pairs.overlap(), boxes, masks, boundary, settings, is_plane=shape[0] == 1)


def f1_of(true: int, extra: int, missed: int) -> float:
    """F1, 2 TP / (2 TP + FP + FN); NaN of nothing."""
    return ratio(2 * true, 2 * true + extra + missed)


def _evaluation(
    overlap: Overlap,
    boxes: tuple[Boxes, Boxes],
    masks: tuple[Mask, Mask],
    boundary: Boundary,
    settings: Settings,
    *,
    is_plane: bool,
) -> Evaluation:
    seams, spread = None, spread_of(overlap, settings.scale, is_plane=is_plane)
    if settings.planes is not None:
        corners_of = (boxes[0].of(overlap.reference), boxes[1].of(overlap.predicted))
        seams = at_seams(Matches(overlap), *corners_of, settings.planes)
    return Evaluation(
        scored(overlap, settings.thresholds),
        scored(overlap, CURVE),
        agreement(overlap),
        boundary,
        spread,
        by_size(overlap, settings.scale, spread),
        seams,
        settings,
        (
            masks[0].is_in_pieces(overlap.reference_size),
            masks[1].is_in_pieces(overlap.predicted_size),
        ),
    )


def _counts(scores: Scores) -> list[tuple[int, int, int]]:
    columns = (scores.true_positives, scores.false_positives, scores.false_negatives)
    return list(zip(*columns, strict=True))
