"""Which cells are cut out, and the window that holds each: the table, the boxes, the size.

All positions are ZYX; a single plane is a volume of one plane.
"""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terapose.algorithms.windows import grow_boxes
from terapose.core.errors import InputError
from terapose.core.geometry import ZYX, Box, zyx
from terapose.core.near import columns_of, nearest
from terapose.io.documents import refuse_special
from terapose.io.homes import expanded
from terapose.io.images.array_like import Voxels
from terapose.io.images.read_ahead import blocks_of, read_ahead
from terapose.io.text_tables import Dialect, dialect_of

log = logging.getLogger(__name__)

_GIANT = 3
"""A largest cell of more than so many medians is named."""
_SHOWN = 10


@dataclass(frozen=True)
class Cells:
    """The cells of a table, in its order.

    Attributes
    ----------
    ids
        (N,) int64, from 1, each once.
    centers
        (N, 3) int64 voxel of each cell's centroid.
    boxes
        (N, 6) int64 first voxel of each cell's box and the first after it, or None where the table
        has no boxes.
    """

    ids: NDArray[np.int64]
    centers: NDArray[np.int64]
    boxes: NDArray[np.int64] | None

    def __len__(self) -> int:
        return len(self.ids)

    def starts(self, window: ZYX) -> NDArray[np.int64]:
        """(N, 3) first voxel of each window; it may be outside the image."""
        return self.centers - np.array(window, np.int64) // 2


def read_cells(
    table: str | os.PathLike[str] | pd.DataFrame, shape: ZYX, origin: ZYX = (0, 0, 0)
) -> Cells:
    """Read and check a table of cells.

    Parameters
    ----------
    table
        CSV (see `terapose.io.text_tables`) or Parquet file (by its end), or a data frame. Columns,
        whatever their case: CellID, X_centroid, Y_centroid
        and, of a volume, Z_centroid; used where they are there: BoundingBox_y0, BoundingBox_y1 and
        the like of x and z.
    shape
        (Z, Y, X) of the image.
    origin
        (Z, Y, X) of the first voxel in the table's positions: where a region begins.

    Raises
    ------
    InputError
        If the file cannot be read, a column is missing, an ID is no whole number from 1 or occurs
        twice, or a centroid is no number or is outside the image.
    """
    where = "the table" if isinstance(table, pd.DataFrame) else os.fspath(table)
    axes = "zyx" if shape[0] > 1 else "yx"
    needed = ["CellID", *(f"{axis.upper()}_centroid" for axis in reversed(axes))]
    box = [f"BoundingBox_{axis}{end}" for end in (0, 1) for axis in axes]
    frame, present = _read(table, [*needed, *box])
    missing = [name for name in needed if name not in frame]
    if missing:
        raise _lacking(missing, present, needed, where)
    ids = _ids(frame["CellID"], where)
    centers = _centers(frame, ids, axes, shape, origin, where)
    has_boxes = set(box) <= set(frame)
    return Cells(ids, centers, _boxes(frame, box, origin, where) if has_boxes else None)


def find_boxes(
    labels: Voxels,
    chunks: ZYX,
    ids: NDArray[np.int64],
    pool: Executor,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.int64]:
    """Boxes of labels, in one pass over the label image, block by block.

    Parameters
    ----------
    labels
        (Z, Y, X) label image.
    chunks
        What is decoded in one piece.
    ids
        (N,) labels that are looked for.
    pool, jobs
        Who reads ahead, and how many blocks.
    progress
        Called with the number of blocks done and of all.

    Returns
    -------
    (N, 6) int64
        In the order of ``ids``; zeros for a label that occurs nowhere.
    """
    grid = blocks_of(zyx(labels.shape), chunks)
    order = np.argsort(ids)
    boxes = np.zeros((len(ids), 6), np.int64)
    wanted = ids[order]

    def requests() -> Iterator[tuple[Box, Callable[[], NDArray[Any]]]]:
        for box in grid:
            yield box, lambda box=box: labels[box.slices]  # type: ignore[misc]

    for done, (box, block) in enumerate(read_ahead(requests(), pool, jobs), 1):
        grow_boxes(block, box.start, wanted, boxes)
        if progress is not None:
            progress(done, len(grid))
    found = np.empty_like(boxes)
    found[order] = boxes
    return found


def check_found(cells: Cells, boxes: NDArray[np.int64], where: str) -> None:
    """Raise InputError unless every cell of the table has a voxel in the label image."""
    missing = cells.ids[boxes[:, 5] == 0]
    if len(missing):
        raise InputError(
            f"{len(missing)} of {len(cells)} CellIDs are not in the label image",
            where=where,
            got=_some(missing),
            remedy="give the label image and the table of one segmentation",
        )


def largest_window(cells: Cells, boxes: NDArray[np.int64]) -> ZYX:
    """The window that holds the largest box: a square, in volumes as deep as the deepest box.

    A cell that is much larger than the others is named in a warning.
    """
    edges = boxes[:, 3:] - boxes[:, :3]
    widths = edges[:, 1:].max(1)
    giant, width, median = int(widths.argmax()), int(widths.max()), float(np.median(widths))
    if width > _GIANT * median:
        log.warning(
            "the window is %d pixels wide because of cell %d, which is %d x %d; the median is %g. "
            "--window-size gives a smaller one",
            width,
            cells.ids[giant],
            edges[giant, 1],
            edges[giant, 2],
            median,
        )
    return (int(edges[:, 0].max()), width, width)


def _lacking(
    missing: Sequence[str], present: Sequence[str], needed: Sequence[str], where: str
) -> InputError:
    near = {name: nearest(name, present) for name in missing}
    names = [f"{other} to {name}" for name, other in near.items() if other]
    return InputError(
        f"has no column {', '.join(missing)}",
        where=where,
        got=f"columns {_listed(present)}",
        allowed=f"a table with {', '.join(needed)}",
        remedy=f"if it contains these values, rename {', '.join(names)}"
        if names
        else "name the table of cells that belongs to the label image",
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "") or "none"


def _read(
    table: str | os.PathLike[str] | pd.DataFrame, names: Sequence[str]
) -> tuple[pd.DataFrame, list[str]]:
    """The columns of these names that there are, and the names of all columns."""
    if isinstance(table, pd.DataFrame):
        return _named(table, columns_of(table.columns, names)), [str(c) for c in table.columns]
    path = expanded(table)
    refuse_special(path)
    try:
        if path.suffix.lower() == ".parquet":
            import pyarrow.parquet as pq

            # an open file: of ``run:1/cells.parquet`` the beginning may be taken for a scheme
            with path.open("rb") as file:
                present = pq.read_schema(file).names
                found = columns_of(present, names)
                frame = pd.read_parquet(file, columns=[*found.values()])
            return _named(frame, found), present
        form = dialect_of(path, names)
        options: dict[str, Any] = {"sep": form.separator, "encoding": form.encoding}
        options |= {"skiprows": form.skipped, "decimal": "," if form.separator == ";" else "."}
        present = [str(c) for c in pd.read_csv(path, nrows=0, **options).columns]
        found = columns_of(present, names)
        _refuse_nameless(path, len(present), form)
        # else the first fields of rows that end in a separator would be an index
        options["index_col"] = False
        return _named(pd.read_csv(path, usecols=[*found.values()], **options), found), present
    except OSError as error:
        raise InputError(
            "the table cannot be read", where=path, got=error.strerror or str(error)
        ) from error
    except InputError:
        raise
    # of pandas' and pyarrow's readers, errors of decoding among them
    except (ValueError, csv.Error) as error:
        raise InputError(
            "is not a table of cells",
            where=path,
            got=f"{type(error).__name__}: {error}".splitlines()[0],
            allowed="CSV, or Parquet with a name that ends in .parquet",
        ) from error


def _refuse_nameless(path: Path, columns: int, form: Dialect) -> None:
    """Refuse rows with fields that have no column, which are those of the first ones moved on."""
    with path.open(encoding=form.encoding, newline="") as file:
        for _ in range(form.skipped):
            file.readline()
        rows = filter(any, csv.reader(file, delimiter=form.separator))
        _, row = next(rows, []), next(rows, [])
    if any(field.strip() for field in row[columns:]):
        raise InputError(
            "has more fields in its rows than columns in its header",
            where=path,
            got=f"{len(row)} fields, {columns} columns",
            remedy="name all columns, including the one with row names",
        )


def _named(frame: pd.DataFrame, found: Mapping[str, str]) -> pd.DataFrame:
    return frame[[*found.values()]].rename(columns={there: name for name, there in found.items()})


def _numbers(column: pd.Series, where: str) -> NDArray[Any]:
    values = pd.to_numeric(column, errors="coerce")
    wrong = np.flatnonzero(~np.isfinite(values.to_numpy(np.float64, na_value=np.nan)))
    if len(wrong):
        raise InputError(
            f"{len(wrong)} values of {column.name} are not numbers",
            where=where,
            got=f"{column.iloc[wrong[0]]} in row {wrong[0] + 1}",
            remedy="write the table again, or leave out these rows",
        )
    found: NDArray[Any] = values.to_numpy()
    return found


def _ids(column: pd.Series, where: str) -> NDArray[np.int64]:
    values = _numbers(column, where)
    wrong = values[(values < 1) | (values > 2**62) | (values % 1 != 0)]
    if len(wrong):
        raise InputError(
            f"{len(wrong)} CellIDs are not numbers of cells",
            where=where,
            got=_some(wrong),
            allowed="whole numbers from 1",
        )
    ids: NDArray[np.int64] = values.astype(np.int64)
    found, counts = np.unique(ids, return_counts=True)
    if len(found) < len(ids):
        raise InputError(
            f"{int((counts > 1).sum())} CellIDs occur several times",
            where=where,
            got=_some(found[counts > 1]),
            remedy="give the table of one image, with one row for each cell",
        )
    return ids


def _centers(
    frame: pd.DataFrame, ids: NDArray[np.int64], axes: str, shape: ZYX, origin: ZYX, where: str
) -> NDArray[np.int64]:
    centers = np.zeros((len(ids), 3), np.int64)
    for axis in axes:
        number, name = "zyx".index(axis), f"{axis.upper()}_centroid"
        given = _numbers(frame[name], where).astype(np.float64)
        # towards zero, as cellcutter cuts
        values = np.trunc(given - origin[number])
        outside = (values < 0) | (values >= shape[number])
        if outside.any():
            first = int(np.flatnonzero(outside)[0])
            raise InputError(
                f"{int(outside.sum())} cells are outside the image",
                where=where,
                got=f"{name} {given[first]:g} of cell {ids[first]}",
                allowed=f"{origin[number]} to {origin[number] + shape[number] - 1}, in pixels",
                remedy="give the table of this image; centroids are in pixels, not in micrometres",
            )
        centers[:, number] = values
    return centers


def _boxes(frame: pd.DataFrame, names: Sequence[str], origin: ZYX, where: str) -> NDArray[np.int64]:
    flat = len(names) == 4
    columns = [_numbers(frame[name], where).astype(np.int64) for name in names]
    if flat:
        ones = np.ones(len(frame), np.int64)
        columns = [0 * ones, *columns[:2], ones, *columns[2:]]
    boxes: NDArray[np.int64] = np.stack(columns, axis=1) - np.tile(origin, 2)
    wrong = np.flatnonzero((boxes[:, 3:] <= boxes[:, :3]).any(1))
    if len(wrong):
        raise InputError(
            f"{len(wrong)} boxes of cells are empty",
            where=where,
            got=f"row {wrong[0] + 1}",
            allowed="BoundingBox_x1 above BoundingBox_x0, and so on",
        )
    return boxes


def _some(values: NDArray[Any]) -> str:
    shown = ", ".join(f"{v:g}" if v % 1 else str(int(v)) for v in values[:_SHOWN])
    return shown + (", ..." if len(values) > _SHOWN else "")
