"""Scores of the held-out images, with intervals and differences that were computed by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from benchmarks import held_out, untrained_ways
from benchmarks.held_out import Scored, gained, pooled, scored_image

from terapose.apps.train.data import Item


def image(annotated: Any, found: Any) -> Scored:
    """Objects in a row, five pixels each, by number; 0 where there is none."""
    labels, others = (np.array([row], np.int32).repeat(5, 1) for row in (annotated, found))
    nothing = np.zeros((3, *labels.shape), np.float32)
    return scored_image(Item("a.tif", 0, nothing[:1], labels, nothing, 5.0), others)


FOUND, MISSED = image([0, 1], [0, 4]), image([0, 1, 0], [0, 0, 1])


def test_precision_is_pooled_and_its_interval_is_over_images() -> None:
    """Two images: both are drawn once in half of the samples, and each twice in a quarter."""
    for value, low, high in pooled([FOUND, MISSED]):
        assert value == pytest.approx(1 / 3)  # one match, one annotated and one found without
        assert (low, high) == (0, 1)
    assert held_out.row("a", [FOUND, MISSED]) == (
        f"| a |{' 0.333 (0.000-1.000) |' * 3} 1.00 / 1.00 / 1.00 |"
    )


def test_a_difference_is_of_the_same_images_in_each_sample() -> None:
    half = image([1, 0, 2], [1, 0, 0])
    both = image([1, 0, 2], [1, 0, 2])
    # in each sample twice as much, although the scores themselves vary
    assert gained([both] * 3, [half] * 3) == [(0.5, 0.5, 0.5)] * 3
    assert gained([FOUND, MISSED], [FOUND, MISSED]) == [(0, 0, 0)] * 3
    for value, low, high in gained([FOUND, MISSED], [MISSED, MISSED]):
        assert value == pytest.approx(1 / 3)
        assert (low, high) == (0, 1)
    # FOUND twice: 1 - 0, MISSED twice: 0 - 1, both: as good
    assert gained([FOUND, MISSED], [MISSED, FOUND]) == [(0, -1, 1)] * 3
    base = [MISSED, MISSED]
    assert untrained_ways.row("a", base, base) == f"| a |{' 0.000 |' * 3}"
    assert untrained_ways.row("b", [FOUND, MISSED], base) == (
        f"| b |{' 0.333 (+0.333: +0.000 to +1.000) |' * 3}"
    )


def test_objects_without_background_are_all_counted() -> None:
    full = image([1, 2], [1, 2])
    assert (full.scores.reference, full.scores.predicted) == (2, 2)
    assert full.scores.true_positives == (2, 2, 2)


def test_areas_are_found_over_annotated() -> None:
    found = image([1, 1, 1, 1, 0, 2], [3, 3, 3, 0, 0, 2])
    assert sorted(found.areas) == [0.75, 1]
    assert found.scores.true_positives == (2, 2, 1)
