"""Views of results: sections of the image with the outlines of cells, ready to be drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from terapose.core.geometry import ZYX
from terapose.results.report.pixels import (
    as_grey,
    contrast_of,
    grey_png,
    outline_png,
    outlined,
)
from terapose.results.report.places import Place
from terapose.results.report.source import COARSE, Source

_SECTION = 640
"""Voxels of the sides of the three sections, at most."""
_FINE = 512
"""Pixels of the outlines of a window."""
_SMALLEST, _LARGEST = 48, 320
_THIN = 7
"""Pixels of a cell's diameter below which cells are filled, not outlined."""


@dataclass(frozen=True)
class View:
    """A section to be drawn.

    Attributes
    ----------
    kind
        "overview", "detail" of a large plane, "YX", "ZX", "ZY", or the kind of a place.
    size
        Down and right, in micrometres or voxels.
    grey, outlines
        Addresses of the pictures; "" where there is none.
    is_sharp
        Whether the pixels of the image are shown as such.
    marks
        Lines across, as (axis, position): 0 down and 1 right, in parts of the side.
    place
        What is shown.
    """

    kind: str
    size: tuple[float, float]
    grey: str
    outlines: str
    is_sharp: bool
    marks: tuple[tuple[int, float], ...]
    place: Place | None = None


class _Read(NamedTuple):
    """A section that was read."""

    kind: str
    grey: NDArray[Any] | None
    cells: NDArray[Any] | None
    size: tuple[float, float]
    marks: tuple[tuple[int, float], ...] = ()
    place: Place | None = None


def views(source: Source, center: ZYX, some: Sequence[Place], diameter: float) -> list[View]:
    """Read and draw all views of a report.

    Parameters
    ----------
    source
        What is read.
    center
        Voxel through which the overview and the three sections go.
    some
        Places that windows are shown of.
    diameter
        Of a typical cell, in pixels.

    Returns
    -------
    list of View
        The overview first, then a detail of a large plane, or the three sections of a volume, then
        the windows.
    """
    read = []
    flat = source.shape[0] == 1
    if flat or max(source.shape[1:]) > _SECTION:
        read.append(_overview(source, center[0]))
    # of a large image without a pyramid there is nothing to show
    read = [one for one in read if one.grey is not None or one.cells is not None]
    if not flat:
        read += [_section(source, center, axis) for axis in range(3)]
    elif max(source.shape[1:]) > COARSE:
        # in which cells can be seen, too
        read.append(_section(source, center, 0)._replace(kind="detail", marks=()))
    read += [_window(source, place, diameter) for place in some]
    contrast = contrast_of([one.grey for one in read if one.grey is not None])
    step = max(source.shape[1:]) / COARSE
    drawn = []
    for one in read:
        filled = one.kind == "overview" and diameter / max(step, 1) < _THIN
        grey = "" if one.grey is None else grey_png(as_grey(one.grey, contrast))
        outlines = "" if one.cells is None else outline_png(_outlines(one, filled=filled))
        is_sharp = one.place is not None
        drawn.append(View(one.kind, one.size, grey, outlines, is_sharp, one.marks, one.place))
    return drawn


def _outlines(one: _Read, *, filled: bool) -> NDArray[np.uint8]:
    """The outlines of a section, on a grid fine enough for thin lines, with square pixels."""
    assert one.cells is not None
    height, width = one.cells.shape
    most = 2 * COARSE if one.place is None else _FINE
    spacing = one.size[0] / height, one.size[1] / width
    finest = min(spacing)
    factors = [max(1, round(s / finest)) for s in spacing]
    more = max(1, most // max(height * factors[0], width * factors[1]))
    chosen = one.place.cell.number if one.place and one.place.cell else 0
    return outlined(one.cells, (factors[0] * more, factors[1] * more), chosen, filled=filled)


def _sizes(source: Source) -> tuple[float, float, float]:
    return source.voxel_size or (1.0, 1.0, 1.0)


def _overview(source: Source, z: int) -> _Read:
    sizes = _sizes(source)
    extent = source.shape[1] * sizes[1], source.shape[2] * sizes[2]
    return _Read("overview", source.coarse_image(z), source.coarse_labels(z), extent)


def _section(source: Source, center: ZYX, axis: int) -> _Read:
    """A section across an axis, through a voxel."""
    start, stop = [0, 0, 0], [0, 0, 0]
    for a, (n, at) in enumerate(zip(source.shape, center, strict=True)):
        width = 1 if a == axis else min(n, _SECTION)
        start[a] = min(max(at - width // 2, 0), n - width)
        stop[a] = start[a] + width
    grey, cells = source.window((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]), axis)
    if axis == 2:
        grey, cells = grey.T, cells.T  # Z runs to the right, beside YX
    down, right = ((1, 2), (0, 2), (1, 0))[axis]
    sizes = _sizes(source)
    extent = (stop[down] - start[down]) * sizes[down], (stop[right] - start[right]) * sizes[right]
    marks = tuple(
        (n, (center[a] - start[a] + 0.5) / (stop[a] - start[a]))
        for n, a in enumerate((down, right))
    )
    return _Read(("YX", "ZX", "ZY")[axis], grey, cells, extent, marks)


def _window(source: Source, place: Place, diameter: float) -> _Read:
    """A window of a plane around a place, wide enough for its cell and some of those around it."""
    wide = max(6 * diameter, 0 if place.cell is None else 1.6 * place.cell.edge)
    wide = int(min(max(wide, _SMALLEST), _LARGEST))
    start, stop = [place.center[0]], [place.center[0] + 1]
    for n, at in zip(source.shape[1:], place.center[1:], strict=True):
        start.append(min(max(at - wide // 2, 0), max(n - wide, 0)))
        stop.append(min(start[-1] + wide, n))
    grey, cells = source.window((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]), 0)
    sizes = _sizes(source)
    marks: list[tuple[int, float]] = []
    if source.block is not None and place.kind == "corner":
        for axis in (1, 2):
            first, end, block = start[axis], stop[axis], source.block[axis]
            number = int(first // block) + 1
            while round(number * block) < min(end, source.shape[axis]):
                marks.append((axis - 1, (round(number * block) - first) / (end - first)))
                number += 1
    extent = grey.shape[0] * sizes[1], grey.shape[1] * sizes[2]
    return _Read(place.kind, grey, cells, extent, tuple(marks), place)
