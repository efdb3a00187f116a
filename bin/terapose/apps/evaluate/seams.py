"""Cells at the seams of a run, where its blocks meet, against the others.

An instance is at a seam if its bounding box touches the plane between two blocks. Large instances
touch one more often than small ones, and may be easier or harder to find. So there is a second
comparison: instances that touch seams, and none of the planes halfway between them, against those
that touch such a plane and no seam. Their sizes are alike, so that what differs comes from the
seams alone.

Differences are those of recall and of average precision at an IoU of 0.5, with Newcombe's interval
of 95 %, which takes instances as independent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.apps.evaluate.counts import Whole
from terapose.apps.evaluate.groups import Found, Matches
from terapose.core.errors import InputError

Corners = tuple[Whole, Whole]
"""(N, 3) first and last corner of the boxes of instances."""


@dataclass(frozen=True)
class Planes:
    """Planes across an image.

    Attributes
    ----------
    seams
        For each axis, where blocks meet, between voxels: 5.0 is between the voxels 4 and 5.
    halfway
        For each axis, the middle of each two neighbouring seams or borders.
    """

    seams: tuple[NDArray[np.float64], ...]
    halfway: tuple[NDArray[np.float64], ...]


def planes_of(
    shape: Sequence[int], block: Sequence[float], scale: Sequence[float], first: Sequence[float]
) -> Planes:
    """The seams of an image that was divided into blocks.

    Parameters
    ----------
    shape
        (Z, Y, X) of that image.
    block
        (Z, Y, X) of the blocks in voxels of that image; the first begins at the first voxel.
    scale, first
        Its voxels are at `first` + `scale` times their position, along each axis, in the voxels of
        the images that are compared.

    Raises
    ------
    InputError
        If a block has no length, or there is a single one.
    """
    if not all(math.isfinite(b) and b > 0 for b in block):
        raise InputError("block lengths must be above 0", where="block", got=tuple(block))
    seams, halfway = [], []
    for length, size, step, start in zip(shape, block, scale, first, strict=True):
        inside = np.array([round(n * size) for n in range(1, math.ceil(length / size))], float)
        bounds = np.concatenate([[0.0], inside, [length]])
        seams.append(start + step * inside)
        # along an axis that is not divided there is nothing to compare with, either
        middle = (bounds[:-1] + bounds[1:]) / 2 if len(inside) else inside
        halfway.append(start + step * middle)
    if not any(len(axis) for axis in seams):
        raise InputError(
            "there are no seams: the image is one block",
            where="block",
            got=" x ".join(f"{b:g}" for b in block),
            remedy="leave the comparison out",
        )
    return Planes(tuple(seams), tuple(halfway))


def touching(boxes: Corners, planes: Sequence[NDArray[np.float64]]) -> NDArray[np.bool_]:
    """Which boxes touch one of the planes."""
    found = np.zeros(len(boxes[0]), np.bool_)
    for axis, places in enumerate(planes):
        if len(places):
            low, high = boxes[0][:, axis], boxes[1][:, axis]
            after = np.searchsorted(places, low, side="left")
            found |= (after < len(places)) & (places[np.minimum(after, len(places) - 1)] <= high)
    return found


@dataclass(frozen=True)
class Seams:
    """Scores at seams, elsewhere, and halfway between seams.

    Attributes
    ----------
    at_seams, elsewhere
        Instances that touch a seam, and all others.
    only_seams, only_halfway
        Instances that touch a seam and no plane halfway between seams, and those that touch such a
        plane and no seam.
    """

    at_seams: Found
    elsewhere: Found
    only_seams: Found
    only_halfway: Found

    def __add__(self, other: Seams) -> Seams:
        """Both together."""
        return Seams(
            self.at_seams + other.at_seams,
            self.elsewhere + other.elsewhere,
            self.only_seams + other.only_seams,
            self.only_halfway + other.only_halfway,
        )

    def as_dict(self) -> dict[str, Any]:
        """Counts, scores, and their differences."""
        return {
            **{name: found.as_dict() for name, found in vars(self).items()},
            "difference": self.at_seams.minus(self.elsewhere),
            "difference_from_halfway": self.only_seams.minus(self.only_halfway),
        }


def at_seams(matches: Matches, reference: Corners, predicted: Corners, planes: Planes) -> Seams:
    """Compare instances at seams with the others.

    Parameters
    ----------
    matches
        Which instances have a match.
    reference, predicted
        Boxes of all instances.
    planes
        Where seams are.
    """
    boxes = (reference, predicted)
    seam = [touching(box, planes.seams) for box in boxes]
    between = [touching(box, planes.halfway) for box in boxes]
    return Seams(
        matches.found(seam[0], seam[1]),
        matches.found(~seam[0], ~seam[1]),
        matches.found(seam[0] & ~between[0], seam[1] & ~between[1]),
        matches.found(between[0] & ~seam[0], between[1] & ~seam[1]),
    )
