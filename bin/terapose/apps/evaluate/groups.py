"""Scores of some of the instances, with confidence intervals: what groups have in common.

A matched pair belongs to the group of the reference instance, a predicted instance without a match
to its own group. So the true positives of all groups add up to those of the images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.apps.evaluate.counts import Overlap
from terapose.apps.evaluate.intervals import Interval, difference, wilson
from terapose.apps.evaluate.matching import MATCHED, matched
from terapose.apps.evaluate.numbers import ratio

Chosen = NDArray[np.bool_]


@dataclass(frozen=True)
class Found:
    """What was found of some instances, at an IoU of 0.5.

    Attributes
    ----------
    reference
        Number of reference instances.
    matched
        How many of these have a match.
    extra
        Number of predicted instances without a match.
    """

    reference: int
    matched: int
    extra: int

    def __add__(self, other: Found) -> Found:
        """Both together."""
        return Found(
            self.reference + other.reference,
            self.matched + other.matched,
            self.extra + other.extra,
        )

    @property
    def recall(self) -> float:
        """Share of the reference instances with a match."""
        return ratio(self.matched, self.reference)

    @property
    def average_precision(self) -> float:
        """TP / (TP + FP + FN)."""
        return ratio(self.matched, self.reference + self.extra)

    @property
    def recall_interval(self) -> Interval:
        """Wilson's interval of recall."""
        return wilson(self.matched, self.reference)

    @property
    def average_precision_interval(self) -> Interval:
        """Wilson's interval of average precision."""
        return wilson(self.matched, self.reference + self.extra)

    def as_dict(self) -> dict[str, Any]:
        """Counts and scores."""
        return {
            "reference": self.reference,
            "true_positives": self.matched,
            "false_positives": self.extra,
            "false_negatives": self.reference - self.matched,
            "recall": self.recall,
            "recall_interval": self.recall_interval,
            "average_precision": self.average_precision,
            "average_precision_interval": self.average_precision_interval,
        }

    def minus(self, other: Found) -> dict[str, dict[str, float]]:
        """Differences of both scores, with Newcombe's intervals."""
        pairs = {
            "recall": ((self.matched, self.reference), (other.matched, other.reference)),
            "average_precision": (
                (self.matched, self.reference + self.extra),
                (other.matched, other.reference + other.extra),
            ),
        }
        names = ("value", "low", "high")
        return {
            name: dict(zip(names, difference(*counts), strict=True))
            for name, counts in pairs.items()
        }


class Matches:
    """Which instances of two images have a match at an IoU of 0.5.

    Parameters
    ----------
    overlap
        Instances and pairs.
    """

    def __init__(self, overlap: Overlap) -> None:
        pairs = matched(overlap, MATCHED)
        self.reference = np.zeros(len(overlap.reference), np.bool_)
        self.reference[overlap.row[pairs]] = True
        self.predicted = np.zeros(len(overlap.predicted), np.bool_)
        self.predicted[overlap.column[pairs]] = True

    def found(self, reference: Chosen, predicted: Chosen) -> Found:
        """Count the chosen instances of both images."""
        return Found(
            int(np.count_nonzero(reference)),
            int(np.count_nonzero(reference & self.reference)),
            int(np.count_nonzero(predicted & ~self.predicted)),
        )
