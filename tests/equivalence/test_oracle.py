"""The shipped network, one block and many, against Cellpose's own functions on the whole array."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cellpose import core, transforms
from numpy.typing import NDArray
from tests.fields import Field, cellpose_masks, same_partition
from tests.synthetic import write_zarr

from terapose.api.runner import segment_file
from terapose.apps.simulate.scene import volume
from terapose.core.params import check
from terapose.io.labels.ome_zarr import open_level
from terapose.networks.loading import load
from terapose.networks.weights import resolve

SHAPE = (12, 30, 34)
CUT = {"block_shape": (7, 16, 13), "slab_planes": 7}


@pytest.fixture(scope="session")
def image() -> NDArray[np.uint16]:
    return volume(SHAPE, seed=3, voxel_size=(1.0, 1.0, 1.0), diameter=9)[0]


@pytest.fixture(scope="session")
def field(image: NDArray[np.uint16]) -> Field:
    """What `CellposeModel.eval(do_3D=True)` hands to its masks, with our network."""
    network = load(resolve("auto"))
    x = transforms.normalize_img(image[..., np.newaxis].astype(np.float32))
    flows, _ = core.run_3D(network.module, x, bsize=network.tile)
    return np.ascontiguousarray(np.moveaxis(flows, -1, 0))


@pytest.fixture(scope="session")
def folder(image: NDArray[np.uint16], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("oracle")
    write_zarr(path / "image.zarr", np.asarray(image))
    return path


def labels_of(folder: Path, name: str, **params: Any) -> NDArray[Any]:
    """Segment the image; with the same name the network's work is taken from the run before."""
    # the network's own diameter, so that the image is not resized
    segment_file(str(folder / "image.zarr"), folder / name, check({"diameter": 17, **params}))
    return np.asarray(open_level(str(folder / name / "labels.zarr"), 0)[:])


@pytest.mark.parametrize("min_size", [15, 60])
def test_the_same_cells_as_cellpose_on_the_whole_image(
    folder: Path, field: Field, min_size: int
) -> None:
    whole = labels_of(folder, "whole", min_size=min_size)
    expected = cellpose_masks(field, min_size=min_size)
    assert expected.max() >= 3
    assert same_partition(whole, expected)
    cut = labels_of(folder, "cut", min_size=min_size, **CUT)
    np.testing.assert_array_equal(cut, whole)
    found = np.unique(whole)
    np.testing.assert_array_equal(found, np.arange(found.max() + 1))
    assert (whole > 0).sum() < whole.size
