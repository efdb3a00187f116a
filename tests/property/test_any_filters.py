"""The rules on a table of objects against Cellpose's on the array."""

from __future__ import annotations

from typing import Any

import numpy as np
from cellpose import utils
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.fields import same_partition

from terapose.algorithms.objects.filters import Windows, resolved, small_enough
from terapose.algorithms.objects.holes import find_holes
from terapose.algorithms.objects.measure import COLUMNS, measure
from terapose.core.geometry import Box
from terapose.core.tables import Table, select

SHAPE = (14, 15, 16)


def nested_boxes(rng: np.random.Generator, count: int) -> NDArray[np.int64]:
    """Hollow and full boxes painted over each other: shells in shells, cut shells, debris."""
    labels = np.zeros(SHAPE, np.int64)
    for number in rng.permutation(count) + 1:
        start = [int(rng.integers(0, n - 3)) for n in SHAPE]
        stop = [min(n, a + int(rng.integers(3, n))) for n, a in zip(SHAPE, start, strict=True)]
        box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        part = labels[box]
        wall = np.ones(part.shape, bool)
        if rng.random() < 0.8:
            wall[1:-1, 1:-1, 1:-1] = False
        wall &= rng.random(part.shape) < rng.choice([1.0, 1.0, 0.97])
        part[wall] = number
    return labels


def tables(labels: NDArray[np.int64], probability: NDArray[np.float32]) -> tuple[Table, Table]:
    """The tables as ``masks`` writes them."""
    ids = np.unique(labels[labels > 0])
    local = np.where(labels > 0, np.searchsorted(ids, labels) + 1, 0).astype(np.int32)
    rows = measure(local, len(ids), (0, 0, 0), SHAPE, probability)
    row, voxel = find_holes(local, len(ids))
    at = tuple(voxel.T)
    holes = {
        "id": ids[row],
        "voxel": np.ravel_multi_index(at, SHAPE).astype(np.int64),
        "under": labels[at],
        "probability": probability[at],
    }
    return {"id": ids, **rows}, holes


@given(
    st.integers(0, 2**20),
    st.integers(1, 7),
    st.sampled_from([-1, 15, 60]),
    st.sampled_from([1, 0.15]),
    st.sampled_from([1, 2, 3, 100]),
)
@settings(max_examples=120)
def test_the_rules_of_cellpose(
    seed: int, count: int, least: int, fraction: float, rows: int
) -> None:
    """Whatever the windows are that objects are gone through by."""
    rng = np.random.default_rng(seed)
    labels = nested_boxes(rng, count)
    probability = rng.normal(0, 1, SHAPE).astype(np.float32)
    objects, holes = tables(labels, probability)
    rules = {"min_size": least, "flow_threshold": 0, "min_median_fraction": 0, "border": "keep"}
    objects = select(objects, small_enough(objects, SHAPE, fraction))
    holes = select(holes, np.isin(holes["id"], objects["id"]))

    def read(box: Box) -> tuple[NDArray[Any], NDArray[np.float32]]:
        return labels[box.slices].copy(), probability[box.slices]

    kept, patches = resolved(Windows.of(objects, holes, rows), SHAPE, rules, read)
    found = np.where(np.isin(labels, kept["id"]), labels, 0)
    found.ravel()[patches["voxel"]] = np.where(np.isin(patches["id"], kept["id"]), patches["id"], 0)
    counts = np.bincount(labels.ravel())
    small = np.where(counts[labels] > labels.size * fraction, 0, labels)
    expected = utils.fill_holes_and_remove_small_masks(_by_first_voxel(small), min_size=least)
    assert same_partition(found, expected)
    _same_statistics(found, kept, probability)


def _by_first_voxel(labels: NDArray[np.int64]) -> NDArray[np.int32]:
    """Renumber as `fastremap.renumber` does in `cellpose.dynamics.get_masks_torch`."""
    ids, first = np.unique(labels, return_index=True)
    order = [i for i in ids[np.argsort(first)] if i]
    lookup = np.zeros(labels.max() + 1, np.int32)
    lookup[order] = np.arange(1, len(order) + 1)
    return lookup[labels]


def _same_statistics(labels: NDArray[Any], kept: Table, probability: NDArray[np.float32]) -> None:
    ids = kept["id"]
    np.testing.assert_array_equal(np.unique(labels[labels > 0]), ids)
    local = np.where(labels > 0, np.searchsorted(ids, labels) + 1, 0).astype(np.int32)
    again = measure(local, len(ids), (0, 0, 0), SHAPE, probability)
    for name in COLUMNS:
        np.testing.assert_allclose(kept[name], again[name], rtol=1e-9, atol=1e-9, err_msg=name)
