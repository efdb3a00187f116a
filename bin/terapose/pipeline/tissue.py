"""The part of an image that a mask shows, such as the tissue of a slide.

A mask is an image of any resolution that covers all of the image. What is above 0 in it is
*tissue*; negative numbers and NaN are background, as in training labels. Voxel ``i`` of an axis of
``n`` voxels is looked up in the mask's voxel ``floor((i + 0.5) * m / n)`` of ``m``: the one under
its centre. A mask of one plane holds for all planes.

1. The plan finds the box that holds all tissue; only that is segmented. Intensities are measured
   as ever, in the whole image.
2. The part of the mask under what is segmented, that box or a part of it, is copied into the store
   (`prepare`), at its own resolution.
3. Voxels outside of the tissue belong to no cell (**follow**), and tiles that hold no tissue are
   not sent through the network (**gradients**). Tiles belong to the grid of the whole plane, and a
   tile is left out only where no voxel of tissue reads a pixel of it, so the cells in the tissue
   are those that would be found if every tile were run, however the work is cut. Its flows count
   as 0 where `flow3d_smooth` mixes them into those of the tissue's border.

What looks at an image without a run reads the mask as `Tissue`.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.resize import taps
from terapose.core.errors import InputError
from terapose.core.geometry import ZYX, Box, Grid, zyx
from terapose.io.store.arrays import INTEGER
from terapose.io.store.store import Store
from terapose.pipeline.image_plan import ImagePlan, TissuePlan, identity_of, reader_of
from terapose.pipeline.plan import Plan

if TYPE_CHECKING:
    from terapose.io.images.array_like import Lazy
    from terapose.io.images.model import Image
    from terapose.io.images.units import VoxelSize

NAME = "tissue"
_TOGETHER = (16, 2048, 2048)
_CHUNK = (16, 512, 512)


def find_tissue(address: str, shape: ZYX, by: str = "stat") -> tuple[Box, TissuePlan]:
    """The box of an image that holds all tissue, and the part of the mask that covers it.

    Parameters
    ----------
    address
        Path or URL of the mask image.
    shape
        (Z, Y, X) of the image at the level that is segmented.
    by
        What the mask's identity is made of, as in `terapose.pipeline.image_plan.identity_of`.

    Raises
    ------
    InputError
        If the mask cannot be opened, has other proportions than the image, or shows nothing.
    """
    mask = _open(address)
    _check_proportions(address, mask.shape, shape)
    used, _ = _extent(address, mask.identity)
    if used is None:
        raise InputError(
            "the mask shows no tissue",
            where=address,
            got="nothing above 0",
            allowed="a mask that is above 0 where cells are to be segmented",
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
        identity=identity_of(mask, by),
        reader=reader_of(mask),
        shape=mask.shape,
        start=used.start,
        stop=used.stop,
    )
    return box, known


def under(tissue: TissuePlan, image: Image) -> TissuePlan:
    """Of the mask only what is under an image that was opened with it, or under a part of that."""
    seen, _ = _looked_up(image.region, image.layout.shape, tissue.shape)
    return tissue.model_copy(update={"start": seen.start, "stop": seen.stop})


def shown(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Which values of a mask are tissue.

    Parameters
    ----------
    values
        Of any type.
    """
    return np.asarray(values > 0)


def check_place(address: str, image: Image) -> None:
    """Refuse a mask that says itself that it covers another part than all of the image.

    Labels of an earlier run on a region are such: stretched over the image, they would show tissue
    where there is none. Only an OME-Zarr says where it ends, as well as where it begins: sizes in
    other files are often those of another resolution.

    Parameters
    ----------
    address
        Path or URL of the mask image.
    image
        All of the image, at the level that is segmented.

    Raises
    ------
    InputError
        If it begins or ends elsewhere, by more than its voxels or those of the image explain.
    """
    mask = _open(address)
    if mask.translation is None:
        return
    (own, own_step), (wanted, step) = _reach(mask), _reach(image)
    alike = (mask.voxel_size is None) == (image.voxel_size is None)
    # a mask of one plane holds for all planes
    axes = range(1 if mask.shape[0] == 1 else 0, 3)
    # coarser levels lie half a voxel from where they are said to, and leave out part of one
    far = [1.5 * max(a, b) for a, b in zip(own_step, step, strict=True)]
    starts = all(abs(own[a][0] - wanted[a][0]) <= far[a] for a in axes)
    stops = all(abs(own[a][1] - wanted[a][1]) <= far[a] for a in axes)
    if not alike:  # lengths in voxels and in micrometres: only 0 is the same
        fits = starts or any(image.translation or ())
    else:
        fits = starts and (stops or not mask.format.startswith("ome-zarr"))
    if not fits:
        unit = "" if mask.voxel_size is None else " micrometres"
        raise InputError(
            "according to the translations and voxel sizes, the mask does not cover the image",
            where=address,
            got=_reach_text(own, axes) + unit,
            allowed=_reach_text(wanted, axes) + ("" if image.voxel_size is None else unit),
            remedy="give a mask of the whole image (for labels of a region, the file "
            "written by mask_tiff), or the region as ranges",
        )


def _reach(image: Image) -> tuple[list[tuple[float, float]], VoxelSize]:
    """Where an image begins and ends along Z, Y and X, and its step."""
    step = image.voxel_size or image.factors
    ends = [
        (first - s / 2, first + (n - 0.5) * s)
        for first, n, s in zip(image.origin, image.shape, step, strict=True)
    ]
    return ends, step


def _reach_text(ends: list[tuple[float, float]], axes: range) -> str:
    return ", ".join(f"{'ZYX'[a]} {ends[a][0]:g} to {ends[a][1]:g}" for a in axes)


def _axes(values: ZYX, shape: ZYX, mask: ZYX) -> list[tuple[int, int, int]]:
    return list(zip(values, shape, mask, strict=True))


def _open(address: str) -> Image:
    from terapose.io.images.array_like import open_labels

    return open_labels(address).image


def _check_proportions(address: str, mask: ZYX, shape: ZYX) -> None:
    """Refuse a mask that cannot cover the image: levels round each axis by less than a voxel."""
    factors = [n / m for n, m in zip(shape, mask, strict=True)]
    fits = mask[0] in (1, shape[0]) or abs(mask[0] * factors[1] - shape[0]) <= factors[1]
    fits = fits and abs(mask[1] * factors[2] - shape[1]) <= max(factors[1], factors[2])
    if not fits:
        raise InputError(
            "the mask does not have the proportions of the image",
            where=address,
            got=f"shape {mask} (Z, Y, X)",
            allowed=f"those of {shape}, at any resolution, or one plane for all planes",
            remedy="give a mask of the whole image",
        )


@lru_cache(maxsize=4)  # one run asks several times, and all of the mask has to be decoded
def _extent(address: str, _identity: str) -> tuple[Box | None, int]:
    """The box of the tissue, None where there is none, and the number of voxels in it."""
    mask = _open(address)
    count = 0
    first, last = [*mask.shape], [0, 0, 0]
    for box in Grid(mask.shape, zyx(min(a, n) for a, n in zip(_TOGETHER, mask.shape, strict=True))):
        found = shown(mask.read(box.slices))
        count += int(found.sum())
        for axis in range(3):
            along = np.flatnonzero(found.any(axis=tuple(a for a in range(3) if a != axis)))
            if len(along):
                first[axis] = min(first[axis], box.start[axis] + int(along[0]))
                last[axis] = max(last[axis], box.start[axis] + int(along[-1]) + 1)
    return (Box(zyx(first), zyx(last)) if max(last) else None), count


def share_of(address: str) -> float:
    """Which part of a mask is tissue, 0 to 1.

    Parameters
    ----------
    address
        Path or URL of the mask image.
    """
    mask = _open(address)
    _, count = _extent(address, mask.identity)
    return count / math.prod(mask.shape)


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
    _check_same(mask, plan.image)
    used = tissue.box
    store.create(NAME, used.shape, _CHUNK, "uint8", INTEGER)
    for box in Grid(used.shape, zyx(min(a, n) for a, n in zip(_TOGETHER, used.shape, strict=True))):
        store.write(NAME, box, shown(mask.read(box.moved(used.start).slices)).astype(np.uint8))
    # it may have changed while it was copied
    _check_same(_open(tissue.address), plan.image)


def _check_same(mask: Image, planned: ImagePlan) -> None:
    tissue = planned.tissue
    if tissue is not None and identity_of(mask, planned.identified_by) != tissue.identity:
        raise InputError(
            "the mask has changed since the run was planned",
            where=tissue.address,
            remedy="run again, so that the plan is made with this file",
        )


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
    seen, index = _looked_up(places, plan.image.whole, tissue.shape)
    values = store.read(NAME, seen.moved(zyx(-n for n in tissue.start)))
    return np.asarray(values.astype(np.bool_)[index])


class Tissue:
    """What of an opened image is tissue, read by slices like the image; without a mask all of it.

    Parameters
    ----------
    image
        From `terapose.pipeline.checked.open_checked`.
    mask
        The mask it was opened with, if there is one (`terapose.io.images.array_like.open_labels`).
    """

    def __init__(self, image: Image, mask: Lazy | None) -> None:
        self._image = image
        self._mask = mask
        self.shape: tuple[int, ...] = image.shape
        self.dtype: Any = np.dtype(np.bool_)

    def __getitem__(self, region: tuple[slice, slice, slice]) -> NDArray[np.bool_]:
        """Read a region."""
        box = Box(zyx(part.start for part in region), zyx(part.stop for part in region))
        if self._mask is None or not box.size:
            return np.ones(box.shape, np.bool_)
        places = box.moved(self._image.region.start)
        seen, index = _looked_up(places, self._image.layout.shape, zyx(self._mask.shape))
        return np.asarray(shown(self._mask[seen.slices])[index])


def _looked_up(box: Box, shape: ZYX, mask: ZYX) -> tuple[Box, tuple[NDArray[np.int64], ...]]:
    """The part of a mask that is under a box of the image, and where in it each voxel is found."""
    found = [
        (2 * np.arange(a, b) + 1) * m // (2 * n)
        for a, b, n, m in zip(box.start, box.stop, shape, mask, strict=True)
    ]
    seen = Box(zyx(int(i[0]) for i in found), zyx(int(i[-1]) + 1 for i in found))
    return seen, np.ix_(*(i - i[0] for i in found))


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
