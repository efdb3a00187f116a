"""One block and many against Cellpose's own functions on the whole array: no voxel differs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cellpose import core, dynamics, transforms
from numpy.typing import NDArray

import terapose
from terapose import networks
from terapose.networks.weights import resolve
from terapose.simulate import volume

SHAPE = (24, 60, 70)


@pytest.fixture(scope="module")
def network() -> networks.Network:
    return networks.load(resolve("auto"))


@pytest.fixture(scope="module")
def image() -> NDArray[np.uint16]:
    return volume(SHAPE, seed=3, voxel_size=(1.0, 1.0, 1.0), diameter=13)[0]


def stable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cellpose leaves seeds of equal height to an unstable sort: Terapose defines their order."""
    unstable = torch.Tensor.argsort
    monkeypatch.setattr(torch.Tensor, "argsort", lambda self: unstable(self, stable=True))


def cellpose_masks(image: NDArray[Any], network: networks.Network, **options: Any) -> NDArray[Any]:
    """What `CellposeModel.eval(do_3D=True)` does, with our network."""
    x = transforms.normalize_img(image[..., np.newaxis].astype(np.float32))
    flows, _ = core.run_3D(network.module, x, bsize=network.tile)
    flow, probability = flows[..., :3].transpose(3, 0, 1, 2), flows[..., 3]
    return dynamics.resize_and_compute_masks(flow, probability, do_3D=True, **options)


def same_partition(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether two label images are equal after renumbering."""
    pairs = np.unique(np.stack([one.ravel(), other.ravel()]).astype(np.int64), axis=1)
    return all(len(np.unique(side)) == pairs.shape[1] for side in pairs)


@pytest.mark.parametrize("min_size", [15, 60])
def test_the_same_cells_as_cellpose_on_the_whole_image(
    image: NDArray[np.uint16],
    network: networks.Network,
    min_size: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stable(monkeypatch)
    expected = cellpose_masks(image, network, min_size=min_size, niter=200)
    assert expected.max() > 5
    whole = terapose.segment(image, min_size=min_size)
    assert same_partition(whole, expected)
    cut = terapose.segment(image, min_size=min_size, block_shape=(11, 17, 23), slab_planes=7)
    np.testing.assert_array_equal(cut, whole)


def test_labels_are_dense_and_ordered_by_seed(image: NDArray[np.uint16], tmp_path: Path) -> None:
    labels = terapose.segment(image, min_size=60)
    found = np.unique(labels)
    np.testing.assert_array_equal(found, np.arange(found.max() + 1))
