"""The part of an image that a mask shows, such as the tissue of a slide.

A mask is an image of any resolution that covers all of the image; what is not 0 in it is *tissue*.
Voxel ``i`` of an axis of ``n`` voxels is looked up in the mask's voxel ``floor((i + 0.5) * m / n)``
of ``m``: the one under its centre. A mask of one plane holds for all planes.

1. The plan finds the box that holds all tissue; only that is segmented. Intensities are measured
   as ever, in the whole image.
2. The part of the mask under that box is copied into the store (`prepare`), at its own resolution.
3. Voxels outside of the tissue belong to no cell (**follow**), and tiles that hold no tissue are
   not sent through the network (**gradients**). Tiles belong to the grid of the whole plane, and a
   tile is left out only where no voxel of tissue reads a pixel of it, so the cells in the tissue
   are those that would be found if every tile were run, however the work is cut. Its flows count
   as 0 where `flow3d_smooth` mixes them into those of the tissue's border.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from terapose.errors import InputError
from terapose.geometry import ZYX, Box, Grid, zyx
from terapose.image_plan import TissuePlan
from terapose.plan import Plan
from terapose.resize import taps
from terapose.store import INTEGER, Store

if TYPE_CHECKING:
    from terapose.image import Image

NAME = "tissue"
_TOGETHER = (16, 2048, 2048)
_CHUNK = (16, 512, 512)


def find_tissue(address: str, shape: ZYX) -> tuple[Box, TissuePlan]:
    """The box of an image that holds all tissue, and the part of the mask that covers it.

    Parameters
    ----------
    address
        Path or URL of the mask image.
    shape
        (Z, Y, X) of the image at the level that is segmented.

    Raises
    ------
    InputError
        If the mask cannot be opened, has other proportions than the image, or shows nothing.
    """
    mask = _open(address)
    _check_proportions(address, mask.shape, shape)
    used = _extent(address, mask.identity)
    if used is None:
        raise InputError(
            "the mask shows no tissue",
            where=address,
            got="0 in every voxel",
            allowed="a mask that is not 0 where cells are looked for",
            remedy="check the mask, or leave region out",
        )
    box = Box(
        zyx(-(-(2 * a * n - m) // (2 * m)) for a, n, m in _axes(used.start, shape, mask.shape)),
        zyx(-(-(2 * b * n - m) // (2 * m)) for b, n, m in _axes(used.stop, shape, mask.shape)),
    )
    if not box.size:
        raise InputError(
            "the tissue of the mask is smaller than one voxel of the image",
            where=address,
            got=f"{mask.shape} for an image of {shape} (Z, Y, X)",
            remedy="segment a finer level, or enlarge the tissue",
        )
    known = TissuePlan(
        address=address,
        identity=mask.identity,
        shape=mask.shape,
        start=used.start,
        stop=used.stop,
    )
    return box, known


def _axes(values: ZYX, shape: ZYX, mask: ZYX) -> list[tuple[int, int, int]]:
    return list(zip(values, shape, mask, strict=True))


def _open(address: str) -> Image:
    from terapose.lazy import open_labels

    return open_labels(address).image


def _check_proportions(address: str, mask: ZYX, shape: ZYX) -> None:
    """Refuse a mask that cannot cover the image: levels round each axis by less than a voxel."""
    factors = [n / m for n, m in zip(shape, mask, strict=True)]
    fits = mask[0] in (1, shape[0]) or abs(mask[0] * factors[1] - shape[0]) <= factors[1]
    fits = fits and abs(mask[1] * factors[2] - shape[1]) <= max(factors[1], factors[2])
    if not fits:
        raise InputError(
            "the mask has other proportions than the image",
            where=address,
            got=f"shape {mask} (Z, Y, X)",
            allowed=f"those of {shape}, at any resolution, or one plane for all planes",
            remedy="give a mask of the whole image",
        )


@lru_cache(maxsize=4)  # one run asks several times, and all of the mask has to be decoded
def _extent(address: str, _identity: str) -> Box | None:
    """The box of the voxels that are not 0; None where there is none."""
    mask = _open(address)
    first, last = [*mask.shape], [0, 0, 0]
    for box in Grid(mask.shape, zyx(min(a, n) for a, n in zip(_TOGETHER, mask.shape, strict=True))):
        found = mask.read(box.slices) != 0
        for axis in range(3):
            along = np.flatnonzero(found.any(axis=tuple(a for a in range(3) if a != axis)))
            if len(along):
                first[axis] = min(first[axis], box.start[axis] + int(along[0]))
                last[axis] = max(last[axis], box.start[axis] + int(along[-1]) + 1)
    return Box(zyx(first), zyx(last)) if max(last) else None


def prepare(plan: Plan, store: Store) -> None:
    """Copy the part of the mask that is used into the store, as 0 and 1.

    Raises
    ------
    InputError
        If the mask is another one than was planned with.
    """
    tissue = plan.image.tissue
    if tissue is None:
        return
    mask = _open(tissue.address)
    if mask.identity != tissue.identity:
        raise InputError(
            "the mask has changed since the run was planned",
            where=tissue.address,
            remedy="run again, so that the plan is made with this file",
        )
    used = tissue.box
    store.create(NAME, used.shape, _CHUNK, "uint8", INTEGER)
    for box in Grid(used.shape, zyx(min(a, n) for a, n in zip(_TOGETHER, used.shape, strict=True))):
        store.write(NAME, box, (mask.read(box.moved(used.start).slices) != 0).astype(np.uint8))


def read_tissue(plan: Plan, store: Store, box: Box) -> NDArray[np.bool_]:
    """Which voxels are tissue.

    Parameters
    ----------
    plan, store
        The plan and its store; a plan without a mask holds nothing but tissue.
    box
        A box of the region that is segmented.

    Returns
    -------
    (Z, Y, X) bool
    """
    tissue = plan.image.tissue
    if tissue is None or not box.size:
        return np.ones(box.shape, np.bool_)
    places = box.moved(plan.image.offset)
    index = [
        (2 * np.arange(a, b) + 1) * m // (2 * n) - first
        for a, b, m, n, first in zip(
            places.start, places.stop, tissue.shape, plan.image.whole, tissue.start, strict=True
        )
    ]
    seen = Box(zyx(int(i[0]) for i in index), zyx(int(i[-1]) + 1 for i in index))
    values = store.read(NAME, seen).astype(np.bool_)
    return np.asarray(values[np.ix_(*(i - i[0] for i in index))])


def needed_tissue(plan: Plan, store: Store, box: Box) -> NDArray[np.bool_] | None:
    """Which voxels of the network's grid have to be known for the tissue.

    Those are the ones that a voxel of tissue is interpolated from, and one more around them.

    Parameters
    ----------
    plan, store
        The plan and its store.
    box
        A box of the network's grid.

    Returns
    -------
    (Z, Y, X) bool, or None where there is no mask: then all are needed
    """
    if plan.image.tissue is None:
        return None
    grid, shape = plan.network_shape, plan.image.shape
    start = zyx(max((a - 2) * n // g, 0) for a, n, g in _axes(box.start, shape, grid))
    stop = zyx(min(-(-(b + 2) * n // g), n) for b, n, g in _axes(box.stop, shape, grid))
    values = read_tissue(plan, store, Box(start, stop))
    for axis in range(3):
        left, _, _ = taps(grid[axis], shape[axis], start[axis], stop[axis])
        wanted = np.arange(box.start[axis], box.stop[axis])
        first, last = np.searchsorted(left, wanted - 2), np.searchsorted(left, wanted + 2)
        counts = np.cumsum(np.moveaxis(values, axis, 0), axis=0, dtype=np.int32)
        counts = np.concatenate([np.zeros((1, *counts.shape[1:]), np.int32), counts])
        values = np.moveaxis(counts[last] > counts[first], 0, axis)
    return values
