"""Images with other voxels or at other places are brought to one grid, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.label_pairs import blobs
from tests.synthetic import write_ome_zarr

from terapose.apps.evaluate.align import Grid, aligned, fitting
from terapose.apps.evaluate.asked import Asked, answer
from terapose.apps.evaluate.evaluation import evaluate
from terapose.core.errors import InputError

BY_POSITION = Asked(align="position")


def nearest(here: Grid, there: Grid, labels: NDArray[Any]) -> NDArray[Any]:
    """By distances of all centres, axis by axis; -1 where there is no voxel."""
    found = labels.astype(np.int64)
    for axis in range(3):
        at = here.origin[axis] + np.arange(here.shape[axis]) * here.voxel_size[axis]
        centres = there.origin[axis] + np.arange(there.shape[axis]) * there.voxel_size[axis]
        apart = np.abs(at[:, None] - centres)
        # of two equally near the later one
        places = len(centres) - 1 - np.round(apart, 9)[:, ::-1].argmin(axis=1)
        half = there.voxel_size[axis] / 2
        inside = (at >= centres[0] - half - 1e-9) & (at < centres[-1] + half - 1e-9)
        taken = np.moveaxis(np.take(found, places, axis), axis, 0)
        taken[~inside] = -1
        found = np.moveaxis(taken, 0, axis)
    return found


@pytest.mark.parametrize(
    ("size", "origin"),
    [
        ((1.0, 1.0, 1.0), (0.0, 0.0, 0.0)),
        ((2.0, 2.0, 2.0), (0.5, 0.5, 0.5)),
        ((0.5, 0.5, 0.5), (-0.25, -0.25, -0.25)),
        ((1.0, 0.3, 0.7), (3.0, -2.0, 5.0)),
        ((3.0, 1.0, 1.0), (1.0, 7.4, -6.5)),
    ],
)
def test_the_nearest_voxel_is_taken(size: Any, origin: Any) -> None:
    reference, predicted = blobs(1)
    here = Grid(reference.shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    there = Grid(predicted.shape, size, origin)
    both = aligned(reference, predicted, here, there)
    expected = nearest(here, there, predicted)
    inside = tuple(slice(a, b) for a, b in zip(both.start, both.stop, strict=True))
    assert (expected[inside] >= 0).all()
    assert np.count_nonzero(expected >= 0) == np.prod(both.predicted.shape)
    whole = (slice(0, n) for n in both.predicted.shape)
    region = tuple(whole)
    np.testing.assert_array_equal(both.predicted[region], expected[inside])
    np.testing.assert_array_equal(both.reference[region], reference[inside])
    part = (slice(2, 5), slice(3, 9), slice(4, 5))
    np.testing.assert_array_equal(both.predicted[part], expected[inside][part])
    # edges of the prediction's voxels, in voxels of what is compared
    edges = np.asarray(both.first) + np.asarray(both.scale) * 3
    expected_edges = np.asarray(origin) + 2.5 * np.asarray(size) + 0.5 - both.start
    np.testing.assert_allclose(edges, expected_edges)


def test_scores_of_a_level_are_those_of_what_was_resampled(tmp_path: Path) -> None:
    reference, predicted = (labels.astype(np.uint16) for labels in blobs(1))
    fine = write_ome_zarr(tmp_path / "fine.zarr", reference, voxel_size=(2, 0.5, 0.5))
    coarse = write_ome_zarr(
        tmp_path / "coarse.zarr",
        np.ascontiguousarray(predicted[:, ::2, ::2]),
        voxel_size=(2, 1, 1),
        translations=[(0, 0.25, 0.25)],
    )
    with pytest.raises(InputError, match=r"differ in shape.* by position \(--align position\)"):
        answer(str(fine), str(coarse), Asked())
    found = answer(str(fine), str(coarse), BY_POSITION)
    repeated = predicted[:, ::2, ::2].repeat(2, 1).repeat(2, 2)
    expected = evaluate(reference, repeated)
    assert found.evaluation.curve == expected.curve
    assert found.evaluation.agreement == expected.agreement
    assert found.aligned is not None
    assert found.aligned["voxels_of_reference_for_one"] == (1, 2, 2)
    # the other way round the finer one is thinned
    thinned = answer(str(coarse), str(fine), BY_POSITION).evaluation
    assert thinned.curve == evaluate(repeated[:, ::2, ::2], reference[:, 1::2, 1::2]).curve


def test_a_region_is_compared_where_it_is(tmp_path: Path) -> None:
    reference, predicted = (labels.astype(np.uint16) for labels in blobs(1))
    whole = write_ome_zarr(tmp_path / "whole.zarr", reference, voxel_size=(2, 0.5, 0.5))
    region = write_ome_zarr(
        tmp_path / "region.zarr",
        np.ascontiguousarray(predicted[4:, 10:40, 8:50]),
        voxel_size=(2, 0.5, 0.5),
        translations=[(8, 5, 4)],
    )
    found = answer(str(whole), str(region), BY_POSITION)
    cut = evaluate(reference[4:, 10:40, 8:50], predicted[4:, 10:40, 8:50])
    assert found.evaluation.curve == cut.curve
    assert found.aligned is not None
    assert (found.aligned["start"], found.aligned["stop"]) == ((4, 10, 8), (20, 40, 50))


def test_what_cannot_be_placed_is_refused_or_noted(tmp_path: Path) -> None:
    labels = blobs(1)[0].astype(np.uint16)
    size = (1.0, 1.0, 1.0)
    here = write_ome_zarr(tmp_path / "here.zarr", labels, voxel_size=size)
    far = write_ome_zarr(tmp_path / "far.zarr", labels, voxel_size=size, translations=[(0, 0, 500)])
    bare = write_ome_zarr(tmp_path / "bare.zarr", labels, unit=None)
    large = write_ome_zarr(tmp_path / "large.zarr", labels, voxel_size=(1, 2, 2))
    with pytest.raises(InputError, match="at different positions and do not overlap"):
        answer(str(here), str(far), BY_POSITION)
    with pytest.raises(InputError, match=r"bare\.zarr: images are compared by position, but"):
        answer(str(here), str(bare), BY_POSITION)
    given = Asked(align="position", voxel_size=size)
    assert answer(str(here), str(bare), given).evaluation.curve.recall[0] == 1
    assert answer(str(here), str(bare), Asked()).notes == ()
    (note,) = answer(str(here), str(far), Asked()).notes
    assert "is at another place than" in note
    (note,) = answer(str(here), str(large), Asked()).notes
    assert "have another size than those of" in note


def test_blocks_shrink_where_the_prediction_is_finer() -> None:
    assert fitting((64, 512, 512), (1.0, 0.25, 4.0)) == (64, 128, 512)
    assert fitting((64, 512, 512), (1e-9, 1.0, 1.0)) == (1, 512, 512)
