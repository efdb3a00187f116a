"""Cellpose's tiled normalisation, cut into steps (`cellpose.transforms.normalize99_tile`).

1. `tile_starts`: every plane is covered by tiles of one size, overlapping by a tenth.
2. `tile_percentiles`: low and high percentile of each tile of each plane.
3. `tile_maps`: tiles without contrast take over the nearest tile's pair, neighbours are smoothed
   into each other, all planes are averaged: one low and one high map for the image.
4. `normalize_tiles`: the maps are enlarged to the size of a plane and the voxels of a box scaled.

Channels do not depend on each other; only the order of rounding depends on how many there are,
so steps 3 and 4 are given it. All steps are float32, with Cellpose's bits (``tile_overlap=0.1``,
``smooth3D=1``, ``norm3D=True``); step 4 says where not. Halo: none; steps 1 to 3 concern the whole
image, and after them each box is independent.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.resize import resize, source_box
from terapose.core.errors import InputError
from terapose.core.geometry import ZYX, Box

OVERLAP = 0.1
FLAT = np.float32(1e-3)  # tiles with less between their percentiles have no contrast
_PAIRS = 2**21  # of tiles that are compared at a time


def tile_starts(length: int, edge: int) -> NDArray[np.int64]:
    """First voxels of the tiles along an axis; each tile is ``min(edge, length)`` long."""
    count = 1 if length <= edge else int(np.ceil((1.0 + 2 * OVERLAP) * length / edge))
    return np.linspace(0, length - min(edge, length), count).astype(np.int64)


def tile_percentiles(
    values: NDArray[Any], percentiles: tuple[float, float]
) -> tuple[np.float32, np.float32]:
    """Low and high percentile of a tile.

    Parameters
    ----------
    values
        The voxels of one tile of one plane, (Y, X), any real dtype.
    percentiles
        Low and high, 0 to 100.
    """
    tile = values.astype(np.float32, copy=False)
    low, high = (np.float32(np.percentile(tile, q)) for q in percentiles)
    return low, high


def tile_maps(
    low: NDArray[np.float32], high: NDArray[np.float32], channels: int = 1
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """One map of low and one of high values from the percentiles of all tiles of all planes.

    Planes are smoothed into each other (sigma 1) and tiles into those above and below (sigma 1,
    twice), never into those left and right: that is what Cellpose does, so it is kept.

    Parameters
    ----------
    low, high
        (Z, ny, nx) float32: percentiles of the tiles.
    channels
        Number of channels of the array that Cellpose normalises.

    Returns
    -------
    low_map, high_map : (ny, nx) float32
    """
    from scipy.ndimage import gaussian_filter1d  # slow to import, and few runs need it

    filled = [_fill(*plane) for plane in zip(low, high, strict=True)]
    maps = []
    for tiles in (np.stack(planes) for planes in zip(*filled, strict=True)):
        for axis in (0, 1, 1):
            tiles = gaussian_filter1d(tiles, 1, axis=axis)
        # numpy adds single tiles of several channels in another order than those of one
        together = np.stack([tiles] * min(channels, 2), axis=-1)
        maps.append(together.mean(axis=0)[..., 0])
    return maps[0], maps[1]


def _fill(
    low: NDArray[np.float32], high: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Tiles of a plane without contrast take the values of the nearest tile, the first of equals.

    Where no tile has contrast all are 0 and 1.
    """
    flat = high - low < FLAT
    if flat.all():
        return np.zeros_like(low), np.ones_like(high)
    if not flat.any():
        return low, high
    to, source = np.argwhere(flat), np.argwhere(~flat)
    nearest = np.empty_like(to)
    # a slide has 100,000 tiles, and half of all pairs of them do not fit into memory
    step = max(1, _PAIRS // len(source))
    for first in range(0, len(to), step):
        part = slice(first, first + step)
        squares = ((to[None, part] - source[:, None]) ** 2).sum(axis=-1)
        nearest[part] = source[squares.argmin(axis=0)]
    low, high = low.copy(), high.copy()
    for tiles in (low, high):
        tiles[tuple(to.T)] = tiles[tuple(nearest.T)]
    return low, high


def normalize_tiles(
    values: NDArray[Any],
    box: Box,
    shape: ZYX,
    low_map: NDArray[np.float32],
    high_map: NDArray[np.float32],
    channels: int = 1,
) -> NDArray[np.float32]:
    """Scale the voxels of a box: low becomes 0 and high becomes 1, with no clipping.

    Parameters
    ----------
    values
        (Z, Y, X), any real dtype: the voxels in ``box``.
    box
        Region of the image.
    shape
        The whole image.
    low_map, high_map
        (ny, nx) float32, from `tile_maps`.
    channels
        Number of channels of the array that Cellpose normalises. The bits are Cellpose's for 1
        and 2. With 3 OpenCV has different bits near the left and right edge of the image (see
        `terapose.algorithms.resize`): 1 in 8,000 voxels was up to 2.4e-7 off, 2e-7 of values above
        1.

    Returns
    -------
    (Z, Y, X) float32

    Raises
    ------
    InputError
        Where low and high meet and Cellpose would divide by zero. Each tile has a range of 1e-3
        or more, but smoothed with tiles a million times brighter it can be rounded away.
    """
    low, high = (_enlarge(tiles, box, shape, channels) for tiles in (low_map, high_map))
    span = high - low
    if (span == 0).any():
        raise InputError(
            "low and high percentiles of the tiles coincide, so they cannot be scaled to 0 and 1",
            allowed="contrast that float32 can represent beside the image's brightest planes",
            remedy="normalise without tiles, or leave out the planes that are so much brighter",
        )
    scaled = values.astype(np.float32)
    scaled -= low
    scaled /= span
    return scaled


def _enlarge(
    tiles: NDArray[np.float32], box: Box, shape: ZYX, channels: int
) -> NDArray[np.float32]:
    """A map at the size of a plane, in the rows and columns of ``box``: (1, Y, X) float32."""
    old, new = (1, *tiles.shape), (1, *shape[1:])
    plane = Box((0, *box.start[1:]), (1, *box.stop[1:]))
    part = tiles[None][source_box(plane, old, new).slices]
    return resize(part, plane, old, new, channels)
