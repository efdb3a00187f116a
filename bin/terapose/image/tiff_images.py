"""The images in a TIFF file: what tifffile calls series, and each position of a stage by itself.

Micro-Manager, NDTiff, FluoView and LSM keep positions as an axis of one array. A position is an
image of its own, chosen by ``series``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPageSeries

# Letters that tifffile has for positions: R in general; in LSM, P and M (of a mosaic).
_POSITIONS = {"lsm": "PM", "mmstack": "R", "ndtiff": "R", "fluoview": "R"}


def images_of(file: TiffFile) -> list[TiffPageSeries]:
    """All images of an opened file, in a fixed order.

    Parameters
    ----------
    file
        The file.

    Returns
    -------
    list of TiffPageSeries
        None of them has an axis of positions.
    """
    found = []
    for series in file.series:
        found += _by_position(series, _POSITIONS.get(series.kind, ""))
    return found


def _by_position(series: TiffPageSeries, letters: str) -> list[TiffPageSeries]:
    """The series, or one for each position."""
    from tifffile import TiffPageSeries

    own = series.keyframe.ndim
    lead, axes = series.shape[: series.ndim - own], series.axes[: series.ndim - own]
    across = [n for n, axis in enumerate(axes) if axis in letters]
    # pages of samples side by side, or one page for many, have no page for each position
    if not across or math.prod(lead) != len(series) or len(series.levels) > 1:
        return [series]
    pages = np.arange(len(series)).reshape(lead)
    pages = np.moveaxis(pages, across, range(len(across)))
    kept = [n for n in range(series.ndim) if n not in across]
    pages = pages.reshape(-1, math.prod(pages.shape[len(across) :]))
    return [
        TiffPageSeries(
            [series[int(page)] for page in chosen],
            [series.shape[n] for n in kept],
            series.dtype,
            "".join(series.axes[n] for n in kept),
            parent=series.parent,
            name=" ".join(filter(None, [series.name, f"position {number}"])),
            kind=series.kind,
            multifile=series.is_multifile,
        )
        for number, chosen in enumerate(pages, 1)
    ]
