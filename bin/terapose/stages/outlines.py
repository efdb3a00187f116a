"""outlines: the cells of planes as polygons, for QuPath (`table` with geojson).

Cells are shared out and read as in ``measure``: by the block in which the first corner of a cell's
box is, with all of the box. Each is traced by itself (`terapose.algorithms.objects.outlines`), so
what comes out depends on nothing but the cell. A cell in several pieces has several polygons;
pieces that touch only at corners are separate ones.

Viewers draw outlines on level 0, so that is where they are put (`terapose.core.levels`) if another
level was segmented: along the edges of the pixels of that level.

Each task writes a table: the corners of all rings one after another, and for each ring the
compartment and number of the cell, its polygon, and where it ends.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.objects.boxes import object_boxes
from terapose.algorithms.objects.filters import box_of
from terapose.algorithms.objects.numbered import numbered
from terapose.algorithms.objects.outlines import polygons
from terapose.core.levels import Cover
from terapose.core.tables import Table, merged
from terapose.intermediates import compartments
from terapose.intermediates.cells import groups
from terapose.io.store.long_tables import span
from terapose.pipeline.job import Job


def run(job: Job) -> dict[str, Any]:
    """Trace the cells of one task."""
    # the cytoplasm is what lies between the other two
    names = compartments.compartments(job.before)[:2]
    # a list of rings takes several times as much memory as their columns
    parts, ids = [_columns([])], [np.zeros(0, np.int64)]
    for cells in groups(job):
        ids.append(cells["id"])
        parts.append(_columns(_rings(job, cells, names)))
    name, rings = job.name(f"{job.task}.npz"), _sorted(merged(parts))
    parts.clear()
    job.store.put_table(name, rings)
    return {"rings": name, **span(np.concatenate(ids))}


def _rings(
    job: Job, cells: Table, names: tuple[str, ...]
) -> list[tuple[int, int, int, int, NDArray[np.int64]]]:
    """Number, compartment, plane, polygon and corners of each ring.

    Corners are (Y, X) of level 0, of the whole image where a region is segmented.
    """
    box, cover = box_of(cells), job.plan.cover
    shift = np.array(job.plan.result(upscale=True).offset)
    found, rings = compartments.read_level(job, box), []
    for kind, name in enumerate(names):
        local = numbered(found[name], cells["id"])
        for n, place in enumerate(object_boxes(local)):
            if place is None:
                continue
            origin = np.array([s.start + b for s, b in zip(place, box.start, strict=True)])
            for number, polygon in enumerate(polygons((local[place] == n + 1)[0])):
                for ring in polygon:
                    plane, at = int(origin[0]), ring + origin[1:]
                    if cover is not None:
                        plane, at = _on_level_0(cover, plane, at)
                    plane, at = plane + int(shift[0]), at + shift[1:]
                    rings.append((int(cells["id"][n]), kind, plane, number, at))
    return rings


def _on_level_0(
    cover: Cover, plane: int, corners: NDArray[np.int64]
) -> tuple[int, NDArray[np.int64]]:
    """A plane, the middle one of several, and corners of pixels of the level on level 0."""
    first, stop = cover.edges(0)[plane : plane + 2]
    at = np.stack([cover.edges(n + 1)[corners[:, n]] for n in range(2)], axis=1)
    return int(first + stop - 1) // 2, at


def _columns(rings: list[tuple[int, int, int, int, NDArray[np.int64]]]) -> Table:
    """Rings as columns, with the number of corners of each."""
    columns = np.array([ring[:4] for ring in rings], np.int64).reshape(-1, 4)
    corners = [ring[4] for ring in rings]
    return {
        **dict(zip(("id", "kind", "plane", "polygon"), columns.T, strict=True)),
        "corners": np.array([len(c) for c in corners], np.int64),
        "corner": np.concatenate([np.zeros((0, 2), np.int64), *corners]).astype(np.int32),
    }


def _sorted(rings: Table) -> Table:
    """Rings by number and compartment, with the end of each among all corners."""
    order = np.lexsort((rings["kind"], rings["id"]))
    corners = rings["corners"][order]
    end = np.cumsum(corners)
    first = (np.cumsum(rings["corners"]) - rings["corners"])[order]
    # corners of the n-th ring follow those of the one before
    source = np.arange(end[-1] if len(end) else 0) + np.repeat(first - (end - corners), corners)
    return {
        **{name: rings[name][order] for name in ("id", "kind", "plane", "polygon")},
        "end": end,
        "corner": rings["corner"][source],
    }
