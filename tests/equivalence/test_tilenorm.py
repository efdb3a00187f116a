"""Normalisation in tiles is Cellpose's, whole and in boxes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cellpose import transforms
from numpy.typing import NDArray
from tests.memory import alone, traced

from terapose.algorithms.normalize.tiled import (
    normalize_tiles,
    tile_maps,
    tile_percentiles,
    tile_starts,
)
from terapose.core.errors import InputError
from terapose.core.geometry import ZYX, Box

PERCENTILES = (1.0, 99.0)
Maps = tuple[NDArray[np.float32], NDArray[np.float32]]


def expected(image: NDArray[np.float32], edge: int) -> NDArray[np.float32]:
    """Cellpose's result for a ZYXC image."""
    normalized: NDArray[np.float32] = transforms.normalize_img(
        image.copy(), tile_norm_blocksize=edge, percentile=PERCENTILES
    )
    return normalized


def maps_of(image: NDArray[np.float32], edge: int, channels: int) -> Maps:
    """Both maps of one channel, ZYX."""
    depth, height, width = image.shape
    rows, columns = tile_starts(height, edge), tile_starts(width, edge)
    pairs = np.empty((2, depth, len(rows), len(columns)), np.float32)
    for z, j, i in np.ndindex(*pairs.shape[1:]):
        tile = image[z, rows[j] : rows[j] + edge, columns[i] : columns[i] + edge]
        pairs[:, z, j, i] = tile_percentiles(tile, PERCENTILES)
    return tile_maps(pairs[0], pairs[1], channels)


def in_boxes(
    image: NDArray[np.float32], maps: Maps, channels: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Normalise a ZYX image in eight boxes that meet at a random voxel."""
    shape: ZYX = image.shape
    cuts = [(0, int(rng.integers(0, n + 1)), n) for n in shape]
    result = np.full(shape, np.nan, np.float32)
    for corner in np.ndindex(2, 2, 2):
        start, stop = ([c[i + k] for c, i in zip(cuts, corner, strict=True)] for k in (0, 1))
        box = Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
        if box.size:
            result[box.slices] = normalize_tiles(image[box.slices], box, shape, *maps, channels)
    return result


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    ("shape", "edge"),
    [
        ((1, 130, 97), 32),
        ((1, 40, 300), 50),  # a single row of tiles
        ((1, 300, 40), 50),  # a single column
        ((1, 30, 40), 50),  # a single tile
        ((12, 30, 40), 50),
        ((7, 65, 90), 25),
        ((140, 33, 20), 40),  # sums over many planes
    ],
)
def test_cellpose_normalizes_the_same(shape: ZYX, edge: int, channels: int) -> None:
    rng = np.random.default_rng(0)
    image = rng.gamma(2, 300, (*shape, channels)).astype(np.float32)
    image *= np.linspace(0.5, 3, shape[2], dtype=np.float32)[:, None]
    whole = expected(image, edge)
    for c in range(channels):
        one = np.ascontiguousarray(image[..., c])
        found = in_boxes(one, maps_of(one, edge, channels), channels, rng)
        np.testing.assert_array_equal(found, whole[..., c])


def image_of(kind: str, rng: np.random.Generator) -> NDArray[np.float32]:
    """An image with tiles that have no contrast."""
    image = rng.gamma(2, 300, (3, 90, 110)).astype(np.float32)
    if kind == "a flat corner":
        image[:, 30:, 40:] = 7
    elif kind == "an empty plane":
        image[1] = 0
    elif kind == "everything flat":
        image[:] = 5
    return image


@pytest.mark.parametrize("kind", ["a flat corner", "an empty plane", "everything flat"])
def test_tiles_without_contrast(kind: str) -> None:
    rng = np.random.default_rng(1)
    image = image_of(kind, rng)
    found = in_boxes(image, maps_of(image, 20, 1), 1, rng)
    np.testing.assert_array_equal(found, expected(image[..., None], 20)[..., 0])


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.float64])
def test_any_real_dtype(dtype: type) -> None:
    rng = np.random.default_rng(2)
    image: NDArray[Any] = rng.integers(0, 120, (1, 60, 80)).astype(dtype)
    found = in_boxes(image, maps_of(image, 30, 1), 1, rng)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected(image[..., None], 30)[..., 0])


def test_three_channels_to_the_last_bit_but_one() -> None:
    rng = np.random.default_rng(3)
    image = rng.gamma(2, 300, (2, 140, 200, 3)).astype(np.float32)
    whole = expected(image, 60)
    for c in range(3):
        one = np.ascontiguousarray(image[..., c])
        found = in_boxes(one, maps_of(one, 60, 3), 3, rng)
        np.testing.assert_allclose(found, whole[..., c], rtol=2.5e-7, atol=2.5e-7)
        # and between the outermost tiles' centres to the last bit
        np.testing.assert_array_equal(found[..., 25:-25], whole[:, :, 25:-25, c])


def test_a_range_that_is_rounded_away_is_refused() -> None:
    image = np.zeros((4, 8, 8), np.float32)
    image[:, ::2] = 0.00101
    image[0] = 1e6
    image[0, ::2] += 0.0625
    with np.errstate(all="ignore"):
        assert not np.isfinite(expected(image[..., None], 16)).all()
    maps = maps_of(image, 16, 1)
    with pytest.raises(InputError, match="low and high percentiles of the tiles coincide"):
        normalize_tiles(image, Box.whole((4, 8, 8)), (4, 8, 8), *maps)


@pytest.mark.parametrize("pairs", [1, 37, 1000])
def test_nearest_tiles_are_found_a_part_at_a_time(
    pairs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MouseLand/cellpose has no such limit: of a slide half of whose tiles are flat, all pairs of
    tiles would not fit into memory."""
    image = image_of("a flat corner", np.random.default_rng(1))
    whole = maps_of(image, 20, 1)
    monkeypatch.setattr("terapose.algorithms.normalize.tiled._PAIRS", pairs)
    for found, known in zip(maps_of(image, 20, 1), whole, strict=True):
        np.testing.assert_array_equal(found, known)


def test_memory_of_nearest_tiles_is_bounded() -> None:
    low = np.zeros((1, 90, 90), np.float32)
    high = np.where(np.indices((90, 90)).sum(0) % 2, 1, 0).astype(np.float32)[None]
    _, peak = alone(traced, tile_maps, low, high)
    # of all pairs of 4,050 flat tiles and 4,050 others it would be 400 MB
    assert peak < 120e6
