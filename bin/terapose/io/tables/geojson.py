"""Outlines of cells as GeoJSON, the form in which QuPath imports objects.

One feature a cell, a line each: `Polygon`, or `MultiPolygon` for a cell in pieces, in pixels with
the origin at the corner of the first pixel (Y points down), as QuPath counts them. Where nuclei
became cells, the nucleus is QuPath's ``nucleusGeometry``. Measurements are the table's columns.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from gzip import GzipFile
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import numpy as np

from terapose.core.tables import Table, select

PACKED = ".gz"
_LEVEL = 6
_encode = json.JSONEncoder(separators=(",", ":")).encode
_NOT_MEASURED = ("CellID", "BoundingBox")
_POSITION = "_centroid"
"""In names of columns: of a large image, six digits of a position would be whole pixels."""


def write_geojson(
    path: Path, batches: Iterable[tuple[Table, Table]], sample: str, *, planes: int
) -> None:
    """Write outlines with their measurements.

    Parameters
    ----------
    path
        File to write, packed if it ends in `PACKED`.
    batches
        The table of cells, some rows at a time, and the rings of these cells, as ``outlines`` has
        them: ``id`` (rising), ``kind`` (0 cell, 1 nucleus), ``plane``, ``polygon``, ``end`` and
        ``corner``.
    sample
        Name of the image, of which the features' identifiers are made.
    planes
        Planes of the image; where there are several, each outline names its own.
    """
    with ExitStack() as stack:
        opened: Any = stack.enter_context(path.open("wb"))
        if path.name.endswith(PACKED):
            # no name and no time, so that the same outlines are the same bytes
            opened = stack.enter_context(GzipFile("", "wb", _LEVEL, opened, mtime=0))
        file = stack.enter_context(TextIOWrapper(opened, encoding="utf-8"))
        file.write('{"type": "FeatureCollection", "features": [')
        separator = "\n"
        for batch, outlines in batches:
            for feature in _features(batch, outlines, sample, planes):
                file.write(separator + _encode(feature))
                separator = ",\n"
        file.write("\n]}\n")


def _features(batch: Table, rings: Table, sample: str, planes: int) -> Iterator[dict[str, Any]]:
    """Features of the cells of a batch that have an outline."""
    # lists, because a number of an array takes several times as long to get
    columns = {n: v.tolist() for n, v in batch.items() if not n.startswith(_NOT_MEASURED)}
    kinds, polygons_of, plane_of = (rings[n].tolist() for n in ("kind", "polygon", "plane"))
    ends = [0, *rings["end"].tolist()]
    first = np.searchsorted(rings["id"], batch["CellID"]).tolist()
    stop = np.searchsorted(rings["id"], batch["CellID"], side="right").tolist()
    for row, number in enumerate(batch["CellID"].tolist()):
        geometry: dict[int, dict[str, Any]] = {}
        for kind in (0, 1):
            mine = [n for n in range(first[row], stop[row]) if kinds[n] == kind]
            polygons: dict[int, list[list[list[int]]]] = {}
            for n in mine:
                ring = rings["corner"][ends[n] : ends[n + 1], ::-1].tolist()
                polygons.setdefault(polygons_of[n], []).append([*ring, ring[0]])
            if polygons:
                plane = plane_of[mine[0]] if planes > 1 else None
                geometry[kind] = _geometry(list(polygons.values()), plane)
        if 0 not in geometry:
            continue
        values = ((name, _number(column[row], name)) for name, column in columns.items())
        yield {
            "type": "Feature",
            "id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{sample} {number}")),
            "geometry": geometry[0],
            **({"nucleusGeometry": geometry[1]} if 1 in geometry else {}),
            "properties": {
                "objectType": "cell",
                "isLocked": False,
                "classification": {"name": "Cell"},
                "name": str(number),
                "measurements": {name: value for name, value in values if value is not None},
            },
        }


def _geometry(polygons: list[list[list[list[int]]]], plane: int | None) -> dict[str, Any]:
    where = {} if plane is None else {"plane": {"c": -1, "z": plane, "t": 0}}
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0], **where}
    return {"type": "MultiPolygon", "coordinates": polygons, **where}


def _number(value: float, name: str) -> float | int | None:
    """A measurement to six digits, a position to four decimals at least; None for what is none."""
    if isinstance(value, int):
        return int(value)  # true and false, too
    if not math.isfinite(value):
        return None
    # of 100 on, six digits are fewer decimals
    is_far = _POSITION in name and abs(value) >= 100
    return round(value, 4) if is_far else float(f"{value:.6g}")


def rings_in(table: Table, first: int, stop: int) -> Table:
    """Rings of the cells ``first`` to ``stop`` - 1 of a table of ``outlines``."""
    low, high = np.searchsorted(table["id"], [first, stop])
    ends = np.concatenate([[0], table["end"]])
    return {
        **{c: table[c][low:high] for c in ("id", "kind", "plane", "polygon")},
        "end": table["end"][low:high] - ends[low],
        "corner": table["corner"][ends[low] : ends[high]],
    }


_NO_RINGS: Table = {
    **{c: np.zeros(0, np.int64) for c in ("id", "kind", "plane", "polygon", "end")},
    "corner": np.zeros((0, 2), np.int32),
}


def joined_rings(tables: list[Table]) -> Table:
    """Tables of rings as one, by rising number of cell; none where no cell was found."""
    tables = tables or [_NO_RINGS]
    lengths = np.concatenate([np.diff(t["end"], prepend=0) for t in tables])
    columns = {
        c: np.concatenate([t[c] for t in tables]) for c in ("id", "kind", "plane", "polygon")
    }
    corner = np.concatenate([t["corner"] for t in tables])
    order = np.argsort(columns["id"], kind="stable")
    starts = np.cumsum(lengths) - lengths
    pick = [np.arange(starts[n], starts[n] + lengths[n]) for n in order.tolist()]
    return {
        **select(columns, order),
        "end": np.cumsum(lengths[order]),
        "corner": corner[np.concatenate([np.zeros(0, np.int64), *pick])],
    }
