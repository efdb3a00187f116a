"""How well the boundaries of two label images agree: boundary F, as Csurka et al. 2013 define it.

A voxel is on a boundary if it belongs to an instance and one of the voxels that share a face with
it does not. Precision is the share of predicted boundary voxels that are within a tolerance of a
reference boundary voxel, recall the same the other way round, F their harmonic mean. Distances are
Euclidean, between the centres of voxels. The border of the image is no boundary.

A block is read with a halo: the tolerance, and one voxel more, of whose neighbours the boundary
depends. So the counts are those of the whole image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.objects.edges import edges
from terapose.apps.evaluate.numbers import ratio
from terapose.core.errors import InputError

TOLERANCE = 2.0
LARGEST = 20.0
"""Tolerances beyond this would take too long, and say nothing of boundaries."""
_MOST = 100
"""Voxels that a tolerance may span: blocks are read with as many around them."""
_ANY, _TINY = 2**31, 1e-30

Shape = tuple[int, int, int]
Region = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Reach:
    """How far boundaries may be apart.

    Attributes
    ----------
    tolerance
        In units of the spacing.
    spacing
        (z, y, x) of voxels.
    shape
        (Z, Y, X) of the image, beyond which there is nothing to look for; once it is known.
    """

    tolerance: float = TOLERANCE
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        """Check the tolerance, and how many voxels it is."""
        if not 0 <= self.tolerance <= LARGEST:
            raise InputError(
                "out of range",
                where="boundary tolerance",
                got=self.tolerance,
                allowed=f"0 to {LARGEST:g}",
            )
        if self.shape is not None and max(self.voxels) > _MOST:
            raise InputError(
                "spans too many voxels",
                where="boundary tolerance",
                got=f"{max(self.voxels)} along one axis",
                allowed=f"up to {_MOST}",
                remedy="check the voxel size of the reference, or give a smaller tolerance",
            )

    @property
    def voxels(self) -> Shape:
        """Voxels within the tolerance along each axis."""
        most = [n - 1 for n in self.shape] if self.shape else [_ANY] * 3
        z, y, x = (
            int(min(self.tolerance / max(step, _TINY) + 1e-9, n))
            for step, n in zip(self.spacing, most, strict=True)
        )
        return z, y, x

    @property
    def halo(self) -> Shape:
        """Voxels read beyond a block."""
        z, y, x = self.voxels
        return z + 1, y + 1, x + 1

    def offsets(self) -> NDArray[np.int64]:
        """(N, 3) steps to all voxels within the tolerance, the nearest first."""
        axes = [np.arange(-n, n + 1) for n in self.voxels]
        steps = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        far = np.sqrt(((steps * self.spacing) ** 2).sum(axis=1))
        order = np.argsort(far, kind="stable")
        near: NDArray[np.int64] = steps[order[far[order] <= self.tolerance * (1 + 1e-9)]]
        return near


@dataclass(frozen=True)
class Boundary:
    """Boundary voxels of both images, and those near a boundary of the other one."""

    reference: int = 0
    reference_near: int = 0
    predicted: int = 0
    predicted_near: int = 0

    def __add__(self, other: Boundary) -> Boundary:
        """Both together."""
        return replace(
            self, **{name: value + getattr(other, name) for name, value in vars(self).items()}
        )

    @property
    def precision(self) -> float:
        """Share of predicted boundary voxels near a reference one."""
        return ratio(self.predicted_near, self.predicted)

    @property
    def recall(self) -> float:
        """Share of reference boundary voxels near a predicted one."""
        return ratio(self.reference_near, self.reference)

    @property
    def f(self) -> float:
        """Harmonic mean of precision and recall; NaN if neither image has a boundary."""
        if not self.predicted or not self.reference:
            return 0.0 if self.predicted or self.reference else math.nan
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


def with_halo(region: Region, shape: Sequence[int], halo: Shape) -> Region:
    """A region and what is around it in the image."""
    z, y, x = (
        slice(max(part.start - h, 0), min(part.stop + h, n))
        for part, h, n in zip(region, halo, shape, strict=True)
    )
    return z, y, x


def inner(region: Region, around: Region) -> Region:
    """A region in the coordinates of the one around it."""
    z, y, x = (
        slice(part.start - outer.start, part.stop - outer.start)
        for part, outer in zip(region, around, strict=True)
    )
    return z, y, x


def boundary_of(
    reference: NDArray[np.generic], predicted: NDArray[np.generic], inside: Region, reach: Reach
) -> Boundary:
    """Count boundary voxels of a block.

    Parameters
    ----------
    reference, predicted
        (Z, Y, X) labels of the block with its halo.
    inside
        The block in them.
    reach
        Tolerance.
    """
    edges = [_edges(labels) for labels in (reference, predicted)]
    sought = [np.argwhere(edge[inside]) + [part.start for part in inside] for edge in edges]
    return Boundary(
        len(sought[0]),
        _near(sought[0], edges[1], reach),
        len(sought[1]),
        _near(sought[1], edges[0], reach),
    )


def _edges(labels: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Voxels of instances next to a voxel that is not of the same one."""
    found = np.zeros(labels.shape, np.bool_)
    for axis in range(labels.ndim):
        found |= edges(labels, axis)
    found &= labels != 0
    return found


def _near(voxels: NDArray[np.int64], edges: NDArray[np.bool_], reach: Reach) -> int:
    """How many voxels have an edge voxel within the tolerance."""
    padded = np.pad(edges, [(n, n) for n in reach.voxels])
    strides = np.array([padded.shape[1] * padded.shape[2], padded.shape[2], 1])
    flat = padded.reshape(-1)
    left = (voxels + reach.voxels) @ strides
    for step in reach.offsets() @ strides:
        if not len(left):
            break
        left = left[~flat[left + step]]
    return len(voxels) - len(left)
