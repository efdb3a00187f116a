"""Tiles of a plane and the network over a stack of planes against Cellpose's ``run_net``."""

from __future__ import annotations

import numpy as np
import pytest
from cellpose import core, transforms
from numpy.typing import NDArray
from tests.unets import random_unet

from terapose.networks.base import Network, Tilewise
from terapose.networks.tile_grid import tile_grid
from terapose.networks.tiling import run_planes, taper, window


@pytest.fixture(scope="module")
def network() -> Network:
    module = Tilewise(random_unet((2, 2)), 4)
    return Network("unet", "", 224, 2, 30.0, "float32", module)


@pytest.mark.parametrize("shape", [(40, 231), (224, 208), (500, 300), (8, 8), (1000, 64)])
@pytest.mark.parametrize(("tile", "overlap"), [(224, 0.1), (256, 0.1), (256, 0.5)])
def test_tiles_lie_where_cellpose_has_them(
    shape: tuple[int, int], tile: int, overlap: float
) -> None:
    plane = np.random.default_rng(0).random((3, *shape)).astype(np.float32)
    before_y, after_y, before_x, after_x = transforms.get_pad_yx(*shape, min_size=(tile, tile))
    padded = np.pad(plane, ((0, 0), (before_y, after_y), (before_x, after_x)))
    tiles, ysub, xsub, height, width = transforms.make_tiles(
        padded, bsize=tile, tile_overlap=overlap
    )
    grid = tile_grid(shape, tile, overlap)
    assert grid.pad == (before_y, before_x)
    assert grid.padded == (height, width)
    assert grid.corners == [(y[0], x[0]) for y, x in zip(ysub, xsub, strict=True)]
    assert len(grid.corners) == tiles.shape[0] * tiles.shape[1]


@pytest.mark.parametrize("tile", [224, 256, 384])
def test_the_taper_is_cellposes(tile: int) -> None:
    np.testing.assert_array_equal(taper(tile), transforms._taper_mask(ly=tile, lx=tile))


@pytest.mark.parametrize("shape", [(3, 30, 40), (2, 250, 100), (1, 420, 430)])
@pytest.mark.parametrize("batch_size", [1, 8])
def test_the_network_over_planes(
    shape: tuple[int, int, int], batch_size: int, network: Network
) -> None:
    planes = np.random.default_rng(1).random((*shape, 2)).astype(np.float32)
    expected, _ = core.run_net(network.module, planes, bsize=224, rsz=None)
    found = run_planes(network, np.moveaxis(planes, -1, 1), tile=224, batch_size=batch_size)
    np.testing.assert_array_equal(np.moveaxis(found, 1, -1), expected)
    assert found.std() > 0


@pytest.mark.parametrize("overlap", [0.1, 0.5])
@pytest.mark.parametrize("seed", range(3))
def test_rectangles_of_a_plane_are_parts_of_the_whole(seed: int, overlap: float) -> None:
    """An output that depends on the pixel's place in its tile shows any tile that is missing."""
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(40, 400)), int(rng.integers(250, 500)))
    planes = rng.random((2, 1, *shape)).astype(np.float32)
    place = rng.random((3, 64, 64)).astype(np.float32)

    def forward(tiles: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(tiles * place + tiles.mean(axis=(1, 2, 3))[:, None, None, None])

    whole = run_planes(forward, planes, tile=64, overlap=overlap)
    for _ in range(6):
        (y0, y1), (x0, x1) = (sorted(rng.choice(n + 1, 2, replace=False)) for n in shape)
        region = ((int(y0), int(y1)), (int(x0), int(x1)))
        (a, b), (c, d) = window(shape, region, tile=64, overlap=overlap)
        part = run_planes(
            forward,
            planes[..., a:b, c:d],
            tile=64,
            overlap=overlap,
            batch_size=3,
            shape=shape,
            region=region,
        )
        np.testing.assert_array_equal(part, whole[..., y0:y1, x0:x1])


@pytest.mark.parametrize("shape", [(2, 60, 250), (2, 224, 208), (1, 300, 470)])
def test_augmented_tiles(shape: tuple[int, int, int], network: Network) -> None:
    planes = np.random.default_rng(4).random((*shape, 2)).astype(np.float32)
    expected, _ = core.run_net(network.module, planes, bsize=224, augment=True)
    stack = np.moveaxis(planes, -1, 1)
    found = run_planes(network, stack, tile=224, augment=True)
    np.testing.assert_array_equal(np.moveaxis(found, 1, -1), expected)
    region = ((shape[1] // 3, shape[1] - 5), (shape[2] // 2, shape[2]))
    (a, b), (c, d) = window(shape[1:], region, tile=224, augment=True)
    part = run_planes(
        network, stack[..., a:b, c:d], tile=224, augment=True, shape=shape[1:], region=region
    )
    (a, b), (c, d) = region
    np.testing.assert_array_equal(part, found[..., a:b, c:d])


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_empty_tiles_are_run_once(batch_size: int) -> None:
    rng = np.random.default_rng(5)
    planes = np.zeros((3, 1, 150, 200), np.float32)
    planes[1, 0, 90:, 120:] = rng.random((60, 80))
    planes[2, 0, 3, 3] = 0.05
    run: list[int] = []

    def forward(tiles: NDArray[np.float32]) -> NDArray[np.float32]:
        run.append(len(tiles))
        return np.asarray(np.repeat(tiles * 2 - 1, 3, axis=1))

    def found(skip_empty: float | None) -> NDArray[np.float32]:
        run.clear()
        return run_planes(forward, planes, tile=64, skip_empty=skip_empty, batch_size=batch_size)

    exact = found(None)
    np.testing.assert_allclose(exact[:, 2], planes[:, 0] * 2 - 1, atol=1e-6)
    full = sum(run)
    assert full < 3 * len(tile_grid((150, 200), 64, 0.1).corners) // 2
    assert max(run) <= batch_size
    skipped = found(0.1)
    assert sum(run) < full
    np.testing.assert_array_equal(skipped[1], exact[1])
    assert skipped[2].max() < exact[2].max()
