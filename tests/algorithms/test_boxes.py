"""Bounding boxes: those of scipy."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scipy.ndimage import find_objects

from terapose.algorithms.objects.boxes import object_boxes


@pytest.mark.parametrize("dtype", ["uint8", "int32", "uint32", "int64"])
@pytest.mark.parametrize("shape", [(5, 17, 23), (31, 40), (1, 1, 1)])
def test_boxes_are_those_of_scipy(shape: tuple[int, ...], dtype: str) -> None:
    rng = np.random.default_rng(len(shape))
    for share in (0.0, 0.05, 0.6):
        labels = (rng.integers(0, 60, shape) * (rng.random(shape) < share)).astype(dtype)
        assert object_boxes(labels) == find_objects(labels.astype(np.int64))
        assert object_boxes(labels, 7) == find_objects(labels.astype(np.int64), max_label=7)
    turned = labels[..., ::-2]
    assert object_boxes(turned, 70) == find_objects(turned.astype(np.int64), max_label=70)


def test_an_empty_image_has_no_boxes() -> None:
    assert object_boxes(np.zeros((3, 0, 4), np.int32)) == []


@pytest.mark.parametrize(
    "stage", ["combine", "peaks", "objects", "flow_errors", "relabel", "export"]
)
def test_a_stage_starts_without_scipy(stage: str) -> None:
    code = f"import sys, terapose.stages.{stage}; sys.exit('scipy.ndimage' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
