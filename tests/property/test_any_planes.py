"""Any planes, any blocks: the masks of Cellpose plane by plane, stitched or not, and the bytes of
a single block."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cellpose import dynamics, utils
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.fields import (
    Field,
    balls,
    check_table,
    same_partition,
    same_result,
    segment_field,
    stable_sort,
    to_centres,
)

from terapose.core.geometry import ZYX


def field_of_planes(shape: ZYX, *, count: int, radius: float, noise: float, seed: int) -> Field:
    """Sections of balls, each plane with flows to the centres of what lies in it: dY, dX, p."""
    labels = balls(shape, seed=seed, count=count, radius=radius)
    planes = [
        to_centres(labels[z : z + 1], noise=noise, seed=seed + z)[1:] for z in range(shape[0])
    ]
    return np.concatenate(planes, axis=1)


def cellpose_planes(field: Field, threshold: float, **options: Any) -> list[NDArray[Any]]:
    """Cellpose's own masks of each plane."""
    with pytest.MonkeyPatch.context() as patch:
        stable_sort(patch)
        return [
            np.asarray(
                dynamics.resize_and_compute_masks(
                    plane[:2].copy(), plane[2].copy(), flow_threshold=threshold, **options
                )
            )
            for plane in np.moveaxis(field, 1, 0)
        ]


def cellpose_stitched(planes: list[NDArray[Any]], threshold: float, least: int) -> NDArray[Any]:
    """Cellpose's own way from planes to cells."""
    stack = np.stack(planes).astype(np.result_type(*planes))
    joined = utils.stitch3D(stack, stitch_threshold=threshold)
    return np.asarray(utils.fill_holes_and_remove_small_masks(joined, min_size=least))


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    """Stacks of planes, blocks smaller than a cell, cells and rules."""
    shape = (draw(st.integers(2, 6)), draw(st.integers(20, 66)), draw(st.integers(20, 66)))
    return {
        "shape": shape,
        "cut": {
            "block_shape": [
                draw(st.integers(1, shape[0])),
                draw(st.integers(9, 40)),
                draw(st.integers(9, 40)),
            ],
            "slab_planes": draw(st.integers(1, 4)),
            "max_tasks": draw(st.integers(1, 5)),
        },
        "seed": draw(st.integers(0, 2**16)),
        "count": draw(st.integers(0, 40)),
        "radius": draw(st.floats(3, 10)),
        "noise": draw(st.sampled_from([0.0, 0.5, 1.5])),
        "flow_threshold": draw(st.sampled_from([0.0, 0.4, 0.2])),
        "min_size": draw(st.sampled_from([-1, 15, 60])),
        "rules": {
            "cellprob_threshold": draw(st.sampled_from([0.0, -2.5])),
            "max_size_fraction": draw(st.sampled_from([0.4, 0.05])),
            "niter": draw(st.sampled_from([7, 200])),
        },
    }


def both(tiny_model: Path, field: Field, case: dict[str, Any], **rules: Any) -> NDArray[Any]:
    """Labels of a single block, after they were found equal to those of many."""
    rules = {**rules, **case["rules"], "flow_threshold": case["flow_threshold"]}
    rules["min_size"] = case["min_size"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = segment_field(folder, tiny_model, field, block_shape=case["shape"], **rules)
        same_result(segment_field(folder, tiny_model, field, **case["cut"], **rules), whole)
    check_table(whole)
    return whole.labels


@given(cases())
@settings(max_examples=12)
def test_planes_by_themselves(tiny_model: Path, case: dict[str, Any]) -> None:
    field = field_of_planes(**{k: case[k] for k in ("shape", "count", "radius", "noise", "seed")})
    labels = both(tiny_model, field, case, mode="2d")
    expected = cellpose_planes(
        field, case["flow_threshold"], min_size=case["min_size"], **case["rules"]
    )
    for found, plane in zip(labels, expected, strict=True):
        assert same_partition(found, plane)
    # an ID belongs to one plane
    assert sum(len(np.unique(plane[plane > 0])) for plane in labels) == labels.max()


@given(cases(), st.sampled_from([0.1, 0.25, 0.6]))
@settings(max_examples=16)
def test_stitched_planes(tiny_model: Path, case: dict[str, Any], threshold: float) -> None:
    field = field_of_planes(**{k: case[k] for k in ("shape", "count", "radius", "noise", "seed")})
    labels = both(tiny_model, field, case, mode="stitch", stitch_threshold=threshold)
    planes = cellpose_planes(field, case["flow_threshold"], min_size=-1, **case["rules"])
    # after an empty second plane Cellpose starts to count again, and gives numbers twice
    if planes[1].any() or not planes[0].any():
        expected = cellpose_stitched(planes, threshold, case["min_size"])
        assert same_partition(labels, expected)


def test_cellpose_gives_numbers_twice_after_an_empty_second_plane() -> None:
    """Why that case is left out above: two cells far apart get one number."""
    planes = np.zeros((3, 8, 16), np.uint16)
    planes[0, 1:4, 1:4] = 1
    planes[2, 4:7, 10:14] = 1
    assert np.unique(utils.stitch3D(planes.copy(), stitch_threshold=0.25)).tolist() == [0, 1]
