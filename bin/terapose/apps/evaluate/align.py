"""Two label images with voxels of other sizes or at other places, brought to one grid.

The grid is that of the reference, as far as both images reach: a voxel of the reference is compared
with the voxel of the prediction whose centre is nearest to its own; of two that are equally near,
with the one that has the larger position. Voxels whose centres are in only one of the images are
left out, so cells there are cut off in both.

Where voxels are follows from voxel size and translation of each image (`Image.origin`: of OME-Zarr
scale and translation, of a level of a pyramid without one the middle of what it covers).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.core.errors import InputError, shown
from terapose.io.images.array_like import Lazy, Voxels

Size = tuple[float, float, float]
_EXACT = 6
"""Decimals of a position in voxels: sizes in files are rounded, and half a voxel is common."""


@dataclass(frozen=True)
class Grid:
    """Where the voxels of an image are.

    Attributes
    ----------
    shape
        (Z, Y, X).
    voxel_size
        (z, y, x) of a voxel.
    origin
        (z, y, x) of the centre of the first voxel, in the same unit.
    """

    shape: tuple[int, ...]
    voxel_size: Size
    origin: Size


class Moved:
    """An image in the voxels of another one; reads the nearest voxel.

    Parameters
    ----------
    source
        The image.
    places
        For each axis, the position in the source of each voxel of the other image, ascending.
    """

    def __init__(self, source: Voxels, places: Sequence[NDArray[np.int64]]) -> None:
        self._source, self._places = source, places
        self.shape = tuple(len(axis) for axis in places)
        self.dtype = source.dtype

    def __getitem__(self, region: Any) -> Any:
        """Read a region."""
        wanted = [axis[part] for axis, part in zip(self._places, region, strict=True)]
        if not all(len(axis) for axis in wanted):
            return np.zeros([len(axis) for axis in wanted], self.dtype)
        read = tuple(slice(int(axis[0]), int(axis[-1]) + 1) for axis in wanted)
        block = np.asarray(self._source[read])
        return block[np.ix_(*(axis - axis[0] for axis in wanted))]


@dataclass(frozen=True)
class Aligned:
    """Two images on one grid.

    Attributes
    ----------
    reference, predicted
        (Z, Y, X) of one shape.
    scale, first
        A voxel of the prediction is at `first` + `scale` times its position, between voxels, along
        each axis of the grid.
    start, stop
        Part of the reference that is compared.
    """

    reference: Voxels
    predicted: Voxels
    scale: Size = (1.0, 1.0, 1.0)
    first: Size = (0.0, 0.0, 0.0)
    start: tuple[int, ...] = ()
    stop: tuple[int, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """How the prediction was resampled."""
        return {
            "method": "nearest",
            "voxels_of_reference_for_one": self.scale,
            "start": self.start,
            "stop": self.stop,
        }


def grid_of(labels: Lazy, voxel_size: Size | None = None) -> Grid:
    """Where the voxels of a label image are.

    Parameters
    ----------
    labels
        An opened label image.
    voxel_size
        (z, y, x) in micrometres, if the file does not say it.

    Raises
    ------
    InputError
        If its voxel size is not known.
    """
    image = labels.image
    size = image.voxel_size or voxel_size
    if size is None:
        raise InputError(
            "images are compared by position, but the voxel size of this one is not known",
            where=image.address,
            remedy="give voxel_size if it is that of the reference; otherwise write it into the "
            "file, or compare images of the same shape",
        )
    origin = image.origin
    if image.voxel_size is None:  # the place is in voxels of level 0
        z, y, x = (o * s / f for o, s, f in zip(origin, size, image.factors, strict=True))
        origin = (z, y, x)
    return Grid(tuple(labels.shape), size, origin)


def aligned(reference: Voxels, predicted: Voxels, here: Grid, there: Grid) -> Aligned:
    """Bring the prediction to the grid of the reference.

    Parameters
    ----------
    reference, predicted
        Label images.
    here, there
        Their grids.

    Raises
    ------
    InputError
        If they have no voxel in common.
    """
    places, starts, stops, scale, first = [], [], [], [], []
    for n, m, a, b, p, q in zip(
        here.shape,
        there.shape,
        here.voxel_size,
        there.voxel_size,
        here.origin,
        there.origin,
        strict=True,
    ):
        at = np.round((p + np.arange(n) * a - q) / b, _EXACT)
        nearest = np.floor(at + 0.5).astype(np.int64)
        inside = np.flatnonzero((nearest >= 0) & (nearest < m))
        start, stop = (int(inside[0]), int(inside[-1]) + 1) if len(inside) else (0, 0)
        places.append(nearest[start:stop])
        starts.append(start)
        stops.append(stop)
        scale.append(b / a)
        first.append((q - b / 2 - (p - a / 2)) / a - start)
    if any(start == stop for start, stop in zip(starts, stops, strict=True)):
        raise InputError(
            "the two label images are at different positions and do not overlap",
            where="predicted",
            got=_extent(there),
            allowed=_extent(here),
            remedy="check the translations of both files",
        )
    cut = Moved(
        reference, [np.arange(a, b, dtype=np.int64) for a, b in zip(starts, stops, strict=True)]
    )
    z, y, x = scale
    moved = Moved(predicted, places)
    return Aligned(
        cut, moved, (z, y, x), (first[0], first[1], first[2]), tuple(starts), tuple(stops)
    )


def disagreement(reference: Lazy, predicted: Lazy) -> str:
    """What speaks against comparing voxel by voxel; nothing if the files agree or do not say.

    Parameters
    ----------
    reference, predicted
        Opened label images of one shape.
    """
    here, there = reference.image, predicted.image
    if here.voxel_size is None or there.voxel_size is None:
        return ""
    if not np.allclose(here.voxel_size, there.voxel_size, rtol=1e-3):
        return (
            f"voxels of {shown(there.address)} have another size than those of "
            f"{shown(here.address)}"
        )
    places = zip(here.origin, there.origin, here.voxel_size, strict=True)
    if any(abs(a - b) > step / 2 for a, b, step in places):
        return f"{shown(there.address)} is at another place than {shown(here.address)}"
    return ""


def fitting(block: tuple[int, int, int], scale: Size) -> tuple[int, int, int]:
    """A block of which no more voxels are read of the prediction than it has."""
    z, y, x = (max(int(b * min(s, 1.0)), 1) for b, s in zip(block, scale, strict=True))
    return z, y, x


def _extent(grid: Grid) -> str:
    ends = (
        f"{axis} {o - s / 2:g} to {o + (n - 0.5) * s:g}"
        for axis, o, s, n in zip("zyx", grid.origin, grid.voxel_size, grid.shape, strict=True)
    )
    return f"{', '.join(ends)} um"


def length_of(voxel_size: Size | None, *, is_plane: bool) -> float:
    """Edge of the cube with the volume of a voxel; in a plane, of the square with its area."""
    if voxel_size is None:
        return 1.0
    z, y, x = voxel_size
    return math.sqrt(y * x) if is_plane else math.cbrt(z * y * x)
