"""Scores of many pairs of images: one by one, their mean, and of all instances together.

The mean counts every image the same, what is pooled counts every instance the same. Both have an
interval of 95 % from a bootstrap over images (`terapose.apps.evaluate.intervals`): it says how far
the score would differ for other images of the same kind, and takes images, not cells, as
independent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.apps.evaluate.evaluation import CURVE, Evaluation
from terapose.apps.evaluate.intervals import RESAMPLES, SEED, bootstrap
from terapose.apps.evaluate.numbers import plain

Column = NDArray[np.float64]

HEADER = (
    *("reference", "predicted", "true_positives", "false_positives", "false_negatives"),
    *("recall", "precision", "f1", "average_precision_50", "average_precision_75"),
    *("average_precision_90", "mean_average_precision", "panoptic_quality"),
    *("recognition_quality", "segmentation_quality", "seg", "mean_coverage", "split", "merged"),
    *("information_split", "information_merge", "rand_error", "boundary_f", "volume_ratio_median"),
)
"""Scores of a pair in a table; counts, recall, precision and F1 at an IoU of 0.5."""
_COUNTS = ("reference", "predicted", "true_positives", "false_positives", "false_negatives")
_COUNTED = (*_COUNTS, "split", "merged")


def row_of(evaluation: Evaluation) -> dict[str, float]:
    """The scores of `HEADER` for one pair."""
    found, curve = evaluation.as_dict(), evaluation.curve
    precision = dict(zip(CURVE, curve.average_precision, strict=True))
    row = {
        **{name: getattr(curve, name) for name in _COUNTS[:2]},
        **{name: getattr(curve, name)[0] for name in (*_COUNTS[2:], "recall", "precision")},
        "f1": found["recognition_quality"],
        **{f"average_precision_{round(100 * t)}": precision[t] for t in (0.5, 0.75, 0.9)},
        "information_split": evaluation.agreement.information_split,
        "information_merge": evaluation.agreement.information_merge,
        "rand_error": evaluation.agreement.rand_error,
        "boundary_f": evaluation.boundary.f,
        "volume_ratio_median": evaluation.agreement.volume_ratio[1],
    }
    row |= {name: found[name] for name in HEADER if name not in row}
    return {name: math.nan if row[name] is None else row[name] for name in HEADER}


def summary(evaluations: Mapping[str, Evaluation]) -> dict[str, Any]:
    """Mean and pooled scores of several pairs, with intervals.

    Parameters
    ----------
    evaluations
        Of each pair, by name.

    Returns
    -------
    dict
        ``mean`` and ``pooled`` with `value`, `low` and `high` of each score, and how often images
        were drawn.
    """
    rows = [row_of(one) for one in evaluations.values()]
    mean = {}
    for name in HEADER:
        values = np.array([row[name] for row in rows], np.float64)
        known = np.isfinite(values)
        mean[name] = _interval((np.where(known, values, 0.0), known.astype(np.float64)), _quotient)
    found: dict[str, Any] = plain(
        {
            "images": len(rows),
            "confidence": 0.95,
            "resamples": RESAMPLES,
            "seed": SEED,
            "mean": {name: one for name, one in mean.items() if name not in _COUNTED},
            "pooled": {**_sums(rows), **_pooled(list(evaluations.values()))},
            "seams": _seams(evaluations.values()),
        }
    )
    return found


def _seams(evaluations: Iterable[Evaluation]) -> dict[str, Any] | None:
    """Cells at seams of all images that have any, against the others."""
    found = [one.seams for one in evaluations if one.seams is not None]
    return reduce(add, found).as_dict() if found else None


def _sums(rows: list[dict[str, float]]) -> dict[str, int]:
    return {name: int(sum(row[name] for row in rows)) for name in _COUNTED}


def _pooled(evaluations: list[Evaluation]) -> dict[str, dict[str, float]]:
    """Scores of all instances together."""
    reference = _column(evaluations, lambda one: one.curve.reference)
    predicted = _column(evaluations, lambda one: one.curve.predicted)
    true = [
        _column(evaluations, lambda one, n=n: one.curve.true_positives[n])
        for n in range(len(CURVE))
    ]
    ious = _column(evaluations, lambda one: one.iou_sum)
    precisions = {
        f"average_precision_{round(100 * CURVE[n])}": _interval(
            (true[n], reference, predicted), _average_precision
        )
        for n in (0, 5, 8)
    }
    return {
        "recall": _interval((true[0], reference), _quotient),
        "precision": _interval((true[0], predicted), _quotient),
        "f1": _interval((2 * true[0], reference + predicted), _quotient),
        **precisions,
        "mean_average_precision": _interval((reference, predicted, *true), _mean_precision),
        "panoptic_quality": _interval((2 * ious, reference + predicted), _quotient),
        "segmentation_quality": _interval((ious, true[0]), _quotient),
    }


def _column(evaluations: list[Evaluation], value: Callable[..., float]) -> Column:
    return np.array([value(one) for one in evaluations], np.float64)


def _interval(columns: tuple[Column, ...], score: Callable[..., Column]) -> dict[str, float]:
    with np.errstate(invalid="ignore", divide="ignore"):
        value = float(score(*(np.array([column.sum()]) for column in columns))[0])
    low, high = bootstrap(columns, score)
    return {"value": value, "low": low, "high": high}


def _quotient(part: Column, whole: Column) -> Column:
    return part / whole


def _average_precision(true: Column, reference: Column, predicted: Column) -> Column:
    return true / (reference + predicted - true)


def _mean_precision(reference: Column, predicted: Column, *true: Column) -> Column:
    both = [_average_precision(one, reference, predicted) for one in true]
    return np.asarray(np.mean(both, axis=0))
