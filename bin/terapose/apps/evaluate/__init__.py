"""Scores of a label image against a reference, for images of any size.

`evaluate` reads both images block by block and gives all scores; `compare` and `average_precision`
give the first of them alone, the latter of arrays in memory. docs/scores.md defines every score.
"""

from terapose.apps.evaluate.evaluation import Evaluation, Settings, evaluate
from terapose.apps.evaluate.scores import THRESHOLDS, Scores, average_precision, compare

__all__ = [
    "THRESHOLDS",
    "Evaluation",
    "Scores",
    "Settings",
    "average_precision",
    "compare",
    "evaluate",
]
