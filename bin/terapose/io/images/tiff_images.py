"""The images in a TIFF file: what tifffile calls series, and each position of a stage by itself.

Micro-Manager, NDTiff, FluoView and LSM keep positions as an axis of one array. A position is an
separate image, chosen by ``series``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

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
    return _of_one_page(file, found) if file.is_imagej else found


def _of_one_page(file: TiffFile, found: list[TiffPageSeries]) -> list[TiffPageSeries]:
    """What ImageJ wrote as one page with all planes after it, and only the number of planes."""
    from tifffile import TiffPageSeries

    told = (file.imagej_metadata or {}).get("images", 1)
    if len(found) != 1 or found[0].kind != "imagej" or len(file.pages) != 1:
        return found
    page = file.pages.first
    if found[0].shape != page.shape or not isinstance(told, int) or told < 2:
        return found
    shape, axes = (told, *page.shape), f"I{page.axes}"
    options: dict[str, Any] = {"parent": file, "kind": "imagej", "truncated": True}
    return [TiffPageSeries([page], shape, page.dtype, axes, **options)]


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
