"""Flows along Z are divided by the anisotropy, or left as Cellpose has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.cases import make_networks
from benchmarks.oracle import cellpose_labels, differing, is_defined, terapose_results
from cellpose import transforms
from scipy import ndimage
from tests.fields import (
    Field,
    Labels,
    balls,
    cellpose_masks,
    check_table,
    same_partition,
    same_result,
    segment_field,
    to_centres,
)
from tests.synthetic import nuclei

from terapose.apps.evaluate.scores import compare
from terapose.core.geometry import ZYX, Box
from terapose.core.params import check
from terapose.networks.loading import load

SETTINGS = ("anisotropy", "cellpose")


def at_one_pace(labels: Labels) -> Field:
    """Flows to each label's centre that do not slow down near it, as a network gives them.

    Each component has the length that two passes add up to: points move two voxels a step.
    """
    centres = ndimage.center_of_mass(labels > 0, labels, np.arange(1, labels.max() + 1))
    target = np.concatenate([np.zeros((1, 3)), centres])[labels]
    way = np.moveaxis(target, -1, 0) - np.indices(labels.shape)
    length = np.sqrt((way**2).sum(axis=0))
    flows = 10 * way / np.where(length > 0, length, 1) * (labels > 0)
    return np.concatenate([flows, np.where(labels > 0, 3, -3)[None]]).astype(np.float32)


def test_the_default_divides_dz_by_the_anisotropy(tmp_path: Path, tiny_model: Path) -> None:
    shape = (12, 20, 22)
    field = to_centres(balls((30, 20, 22), seed=3, count=9, radius=5), noise=0.3)
    last = np.ascontiguousarray(np.moveaxis(field, 0, -1))
    expected = np.moveaxis(transforms.resize_image_3d(last, shape), -1, 0).copy()
    expected[0] /= 2.5
    results = []
    for block in (shape, (7, 11, 9)):
        planned = {"image_shape": shape, "block_shape": block, "anisotropy": 2.5}
        result = segment_field(tmp_path, tiny_model, field, slab_planes=5, **planned)
        flows = result.store.read(result.states["combine"].flows, Box.whole(shape))
        # a row's last voxels may be rounded twice by OpenCV
        np.testing.assert_allclose(flows, expected, atol=2e-6)
        results.append(result)
    same_result(*results)
    check_table(results[0])
    assert same_partition(results[0].labels, cellpose_masks(expected))


def test_flat_cells_are_found_whole(tmp_path: Path, tiny_model: Path) -> None:
    """Points that do not overshoot flat cells end at the seed, and their voxels are not lost."""
    truth = balls((48, 44, 46), seed=8, count=14, radius=9)
    flat, field = truth[1::3], at_one_pace(truth)
    scores, found = {}, {}
    for scaling in SETTINGS:
        labels = segment_field(
            *(tmp_path, tiny_model, field),
            image_shape=flat.shape,
            anisotropy=3,
            flow_scaling=scaling,
        ).labels
        [scores[scaling]] = compare(flat, labels, thresholds=(0.75,)).average_precision
        found[scaling] = (labels[flat > 0] > 0).mean()
    assert scores["anisotropy"] > 0.8 > 0.3 > scores["cellpose"]
    assert found["anisotropy"] > 0.9 > 0.8 > found["cellpose"]


@pytest.mark.parametrize(
    ("shape", "grid", "planned"),
    [
        ((14, 20, 22), (14, 20, 22), {}),
        ((12, 20, 22), (18, 30, 33), {"diameter": 20.0}),
        ((24, 20, 22), (12, 20, 22), {"anisotropy": 0.5}),
        ((4, 24, 30), (4, 24, 30), {"mode": "2d"}),
        ((4, 24, 30), (4, 36, 45), {"mode": "2d", "diameter": 20.0, "anisotropy": 3}),
        ((4, 24, 30), (4, 24, 30), {"mode": "stitch", "voxel_size": [2.0, 1.0, 1.0]}),
    ],
    ids=["3d", "3d resized", "3d fine Z", "2d", "2d resized", "stitch"],
)
def test_the_same_bytes_where_z_is_not_coarse_or_planes_stand_alone(
    tmp_path: Path, tiny_model: Path, shape: ZYX, grid: ZYX, planned: dict[str, Any]
) -> None:
    flat = "mode" in planned
    field = to_centres(balls(grid, seed=3, count=9, radius=5), noise=0.3)[flat:]
    results = []
    for scaling in SETTINGS:
        folder = tmp_path / scaling
        folder.mkdir()
        result = segment_field(
            folder, tiny_model, field, image_shape=shape, flow_scaling=scaling, **planned
        )
        written = sorted(path.name for path in Path(result.store.address).glob("combine-*/flows"))
        if grid == shape:  # the network's sum is the result, nothing is written
            assert result.states["combine"].flows == f"gradients-{result.plan.axes[-1]}"
            assert not written
        else:
            assert written
        results.append(result)
    one, other = results
    same_result(one, other)
    flows = [r.store.read(r.states["combine"].flows, Box.whole(shape)) for r in results]
    assert flows[0].tobytes() == flows[1].tobytes()
    assert len(one.cells["CellID"]) >= 3


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_networks(tmp_path_factory.mktemp("networks"))["rough"]


def test_the_cells_of_cellpose_by_default_where_z_is_isotropic_and_on_request_elsewhere(
    network: Path,
) -> None:
    image = nuclei((7, 24, 24), seed=3, spacing=9)[0][None]
    given = {"mode": "3d", "model": str(network)}
    isotropic = check(given)
    assert is_defined(isotropic, "3d")
    ours = terapose_results(image, isotropic)[0]
    assert ours.max() >= 4
    assert differing(ours, cellpose_labels(image, load(network), isotropic, "3d")) == 0

    on_request = check({**given, "anisotropy": 2.0, "flow_scaling": "cellpose"})
    assert is_defined(on_request, "3d")
    theirs = cellpose_labels(image, load(network), on_request, "3d")
    assert differing(terapose_results(image, on_request)[0], theirs) == 0

    default = check({**given, "anisotropy": 2.0})
    assert not is_defined(default, "3d")
    assert is_defined(default, "2d") and is_defined(default, "stitch")
    assert is_defined(check({**given, "anisotropy": 0.5}), "3d")
    assert differing(terapose_results(image, default)[0], theirs) > 0
