"""What the table of cells says of all of them, in one pass over it, some rows at a time.

Memory does not grow with the number of cells: distributions are counts in classes
(`terapose.results.report.spread`), places are counts in a grid of at most 32 x 32 x 32 parts of the
image, each with one real cell in it, and of the worst cells only a few are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.core.errors import InputError
from terapose.core.geometry import ZYX
from terapose.io.tables.reading import Columns, column_names, numbers_of
from terapose.results.report.spread import Spread, even_edges, size_edges

_PARTS, _PART = 32, 8
"""Parts of an axis at most, and voxels of a part at least."""
WORST = 6
"""Cells of each kind that are kept."""
_PLANES = 100_000


@dataclass(frozen=True, order=True)
class Cell:
    """A cell to look at.

    Attributes
    ----------
    rank
        By which it was chosen: the smallest come first.
    number
        Its number in the label image.
    center
        (Z, Y, X) voxel of the label image that its centroid is in.
    edge
        Longest side of the bounding box in Y and X, in pixels.
    size
        Voxels.
    error
        Flow error, if it was measured.
    """

    rank: float
    number: int
    center: ZYX
    edge: int
    size: int
    error: float | None


@dataclass
class Summary:
    """What the table says.

    Attributes
    ----------
    shape
        (Z, Y, X) of the label image.
    size, probability, error
        Distributions; what was not measured is empty.
    border
        Number of cells that touch the border.
    planes
        (Z,) cells by the plane of their centroid, or by groups of planes of very many.
    density
        (z, y, x) cells in each part of the image, int64.
    samples
        (z, y, x, 3) int64: the first cell in each part, by its voxel.
    kinds
        Cells to look at: "error", "probability", "largest" and "smallest".
    """

    shape: ZYX
    size: Spread = field(default_factory=lambda: Spread(size_edges()))
    probability: Spread = field(default_factory=lambda: Spread(even_edges(-50, 50, 0.01)))
    error: Spread = field(default_factory=lambda: Spread(even_edges(0, 8, 0.001)))
    border: int = 0
    planes: NDArray[np.int64] = field(init=False)
    density: NDArray[np.int64] = field(init=False)
    samples: NDArray[np.int64] = field(init=False)
    kinds: dict[str, list[Cell]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.planes = np.zeros(min(self.shape[0], _PLANES), np.int64)
        parts = tuple(min(max(n // _PART, 1), _PARTS) for n in self.shape)
        self.density = np.zeros(parts, np.int64)
        self.samples = np.full((*parts, 3), -1, np.int64)

    def add(self, rows: Columns, offset: ZYX) -> None:
        """Count some rows of the table.

        Parameters
        ----------
        rows
            Columns by name, as `_names` has them.
        offset
            (Z, Y, X) of the label image's first voxel in the positions of the table.
        """
        number = len(rows["CellID"])
        center = np.zeros((number, 3), np.int64)
        for axis, name in enumerate("ZYX"):
            if f"{name}_centroid" in rows:
                place = np.floor(rows[f"{name}_centroid"] + 0.5).astype(np.int64) - offset[axis]
                center[:, axis] = place.clip(0, self.shape[axis] - 1)
        size = rows["size"]
        self.size.add(size)
        self.probability.add(rows.get("CellProbability", np.zeros(0)))
        self.error.add(rows.get("FlowError", np.zeros(0)))
        if "TouchesBorder" in rows:
            self.border += int(np.count_nonzero(rows["TouchesBorder"].astype(bool)))
        depth = len(self.planes)
        planes = center[:, 0] * depth // self.shape[0]
        self.planes += np.bincount(planes, minlength=depth)
        self._place(center)
        error = rows.get("FlowError")
        if error is not None:
            self._keep("error", -np.where(np.isfinite(error), error, -np.inf), rows, center)
        if "CellProbability" in rows:
            self._keep("probability", rows["CellProbability"].astype(np.float64), rows, center)
        self._keep("largest", -size.astype(np.float64), rows, center)
        self._keep("smallest", size.astype(np.float64), rows, center)

    def is_empty(self, voxel: ZYX) -> bool:
        """Whether there are no cells in the part of the image that a voxel is in."""
        z, y, x = (
            n * parts // whole
            for n, parts, whole in zip(voxel, self.density.shape, self.shape, strict=True)
        )
        return not self.density[z, y, x]

    def _place(self, center: NDArray[np.int64]) -> None:
        """Count cells by the parts of the image that they are in."""
        parts = self.density.shape
        found = [center[:, a] * parts[a] // self.shape[a] for a in range(3)]
        flat = np.ravel_multi_index((found[0], found[1], found[2]), parts)
        self.density += np.bincount(flat, minlength=self.density.size).reshape(parts)
        which, first = np.unique(flat, return_index=True)
        samples = self.samples.reshape(-1, 3)
        new = samples[which, 0] < 0
        samples[which[new]] = center[first[new]]

    def _keep(
        self, kind: str, rank: NDArray[np.float64], rows: Columns, center: NDArray[np.int64]
    ) -> None:
        """Keep the cells with the smallest ranks; of equal ones, those with smaller numbers."""
        best = np.lexsort((rows["CellID"], rank))[:WORST]
        best = best[np.isfinite(rank[best])]
        edges = _edges(rows)
        error = rows.get("FlowError")
        found = [
            Cell(
                float(rank[n]),
                int(rows["CellID"][n]),
                (int(center[n, 0]), int(center[n, 1]), int(center[n, 2])),
                int(edges[n]),
                int(rows["size"][n]),
                None if error is None or not np.isfinite(error[n]) else float(error[n]),
            )
            for n in best
        ]
        self.kinds[kind] = sorted([*self.kinds.get(kind, []), *found])[:WORST]


def summarise(
    folder: Path,
    record: Mapping[str, Any],
    shape: ZYX,
    offset: ZYX,
    *,
    planar: bool,
    name: str = "cells",
) -> Summary | None:
    """Go through the table of cells once.

    Parameters
    ----------
    folder
        Of the results.
    record
        Of the run.
    shape, offset
        (Z, Y, X) of the label image, and where it begins in the positions of the table.
    planar
        Whether sizes are areas.
    name
        Compartment; each has as many rows as there are cells.

    Returns
    -------
    Summary or None
        None if there is no table of rows and columns.

    Raises
    ------
    InputError
        If the table cannot be read, or has another number of cells than the record.
    """
    files = (f"{name}.parquet", f"{name}.csv")
    tables = [file for file in files if file in record["tables"]]
    if not tables:
        return None
    path, found, rows = folder / tables[0], Summary(shape), 0
    try:
        for part in _rows(path, "Area" if planar else "Volume"):
            rows += len(part["CellID"])
            found.add(part, offset)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            "the table of cells cannot be read",
            where=path,
            got=f"{type(error).__name__}: {error}".splitlines()[0],
            remedy="terapose verify lists what has changed since the run",
        ) from error
    if rows != record["cells"]:
        raise InputError(
            "the table does not have the cells of the run",
            where=path,
            got=f"{rows} rows",
            allowed=f"{record['cells']}, as in provenance.json",
            remedy="terapose verify lists what has changed since the run",
        )
    return found


def _names(present: Sequence[str], size: str) -> list[str]:
    """The columns that are read, of those that there are."""
    wanted = ["CellID", *(f"{a}_centroid" for a in "ZYX"), size, "CellProbability", "FlowError"]
    wanted += ["TouchesBorder", *(f"BoundingBox_{a}{end}" for a in "yx" for end in "01")]
    return [name for name in wanted if name in present]


def _rows(path: Path, size: str) -> Iterator[Columns]:
    """The columns that are read, some rows at a time; sizes also as ``size``."""
    names = _names(column_names(path), size)
    for rows in numbers_of(path, names):
        yield {**rows, "size": rows[size]}


def _edges(rows: Columns) -> NDArray[np.int64]:
    """(N,) longest side of each bounding box in Y and X; 0 where there are none."""
    if "BoundingBox_y0" not in rows:
        return np.zeros(len(rows["CellID"]), np.int64)
    sides = [rows[f"BoundingBox_{a}1"] - rows[f"BoundingBox_{a}0"] for a in "yx"]
    longest: NDArray[np.int64] = np.maximum(*sides).astype(np.int64)
    return longest
