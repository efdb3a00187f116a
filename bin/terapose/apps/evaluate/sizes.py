"""Scores by the size of the reference instance."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.apps.evaluate.agreement import volume_ratios
from terapose.apps.evaluate.counts import Overlap
from terapose.apps.evaluate.groups import Found, Matches
from terapose.apps.evaluate.numbers import quartiles
from terapose.core.errors import InputError

_SHARES = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Scale:
    """How sizes are given.

    Attributes
    ----------
    edges
        Where one range ends and the next begins, ascending: a size equal to an edge belongs to the
        range above it. None: the quartiles of the reference instances.
    diameter
        Whether these are diameters of the ball, or disc, of the same size.
    length
        Edge of the cube with the volume of a voxel; in a plane, of the square with its area.
    unit
        Of that length: "um", or "voxels" where it is not known.
    """

    edges: tuple[float, ...] | None = None
    diameter: bool = False
    length: float = 1.0
    unit: str = "voxels"

    def __post_init__(self) -> None:
        """Check the edges."""
        edges = self.edges or ()
        if any(edge <= 0 for edge in edges) or list(edges) != sorted(set(edges)):
            raise InputError(
                "edges of sizes must be above 0 and ascending",
                where="diameters" if self.diameter else "sizes",
                got=", ".join(f"{edge:g}" for edge in edges),
                remedy=f"for example {'10,20' if self.diameter else '500,2000'}",
            )

    @property
    def unit_of_edges(self) -> str:
        """Unit of what is compared with the edges."""
        return self.unit if self.diameter else "voxels"

    def of(self, voxels: NDArray[np.int64], *, is_plane: bool) -> NDArray[np.float64]:
        """Sizes, or diameters, of instances."""
        if not self.diameter:
            return voxels.astype(np.float64)
        if is_plane:
            return np.asarray(2 * np.sqrt(voxels / math.pi) * self.length)
        return np.asarray(np.cbrt(6 * voxels / math.pi) * self.length)


@dataclass(frozen=True)
class Spread:
    """Sizes, or diameters, of all instances of both images."""

    reference: NDArray[np.float64]
    predicted: NDArray[np.float64]


@dataclass(frozen=True)
class Range:
    """Scores of instances of similar sizes.

    Attributes
    ----------
    low, high
        From the first up to, and without, the second.
    found
        Counts at an IoU of 0.5.
    volume_ratio
        Quartiles of predicted by reference size of the matched instances.
    """

    low: float
    high: float
    found: Found
    volume_ratio: tuple[float, float, float]

    def as_dict(self) -> dict[str, Any]:
        """Range, counts and scores."""
        return {
            "low": self.low,
            "high": self.high,
            **self.found.as_dict(),
            "volume_ratio": self.volume_ratio,
        }


def spread_of(overlap: Overlap, scale: Scale, *, is_plane: bool) -> Spread:
    """Sizes, or diameters, of the instances of two images, which may be single planes."""
    return Spread(
        scale.of(overlap.reference_size, is_plane=is_plane),
        scale.of(overlap.predicted_size, is_plane=is_plane),
    )


def by_size(overlap: Overlap, scale: Scale, spread: Spread) -> list[Range]:
    """Score ranges of sizes separately.

    Parameters
    ----------
    overlap
        Instances and pairs of two images.
    scale
        Ranges.
    spread
        Sizes of the instances.
    """
    reference, predicted = spread.reference, spread.predicted
    edges = scale.edges
    if edges is None:
        edges = tuple(np.unique(np.quantile(reference, _SHARES))) if len(reference) else ()
    matches, (row, ratios) = Matches(overlap), volume_ratios(overlap)
    bounds = [0.0, *map(float, edges), math.inf]
    return [
        Range(
            low,
            high,
            matches.found(
                (reference >= low) & (reference < high), (predicted >= low) & (predicted < high)
            ),
            quartiles(ratios[(reference[row] >= low) & (reference[row] < high)]),
        )
        for low, high in itertools.pairwise(bounds)
    ]
