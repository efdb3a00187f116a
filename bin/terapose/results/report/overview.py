"""A small picture of results: one plane of the image with the outlines of cells."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.core.errors import InputError
from terapose.results.report.pixels import as_grey, contrast_of, outlined, overlay_png
from terapose.results.report.source import Source, open_source

_EDGE = 360
"""Pixels of the longer side, at most."""
_ZOOM = 4
"""Pixels for one of a small image, at most."""


def overview(results: Path, record: Mapping[str, Any]) -> str:
    """The middle plane of an image with the outlines of cells, as the address of a PNG.

    Parameters
    ----------
    results
        Their folder.
    record
        Of the run.

    Returns
    -------
    str
        Empty where the plane is too large to be read, and there is no pyramid.

    Raises
    ------
    InputError
        If the image cannot be opened, or does not belong to the results.
    """
    source = open_source(results, record)
    z = source.shape[0] // 2
    grey, cells = source.coarse_image(z), source.coarse_labels(z)
    source.watch.confirm()
    if grey is None or cells is None:
        return ""
    shape = _shape(source)
    grey, cells = _resized(grey, shape), _resized(cells, shape)
    return overlay_png(as_grey(grey, contrast_of([grey])), outlined(cells, (1, 1)))


def overview_or_why(results: Path, record: Mapping[str, Any]) -> tuple[str, str]:
    """The address of the picture, and why there is none; one of them is empty."""
    try:
        address = overview(results, record)
    except InputError as error:
        return "", str(error)
    return address, "" if address else "the image is large and has no pyramid"


def _shape(source: Source) -> tuple[int, int]:
    """Height and width of the picture, in which pixels are square."""
    _, y, x = source.voxel_size or (1.0, 1.0, 1.0)
    height, width = source.shape[1] * y, source.shape[2] * x
    edge = min(_EDGE, _ZOOM * max(source.shape[1:]))
    scale = edge / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _resized(plane: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    """The nearest pixels of a plane."""
    rows, columns = (
        ((np.arange(n) + 0.5) * old / n).astype(int)
        for n, old in zip(shape, plane.shape, strict=True)
    )
    resized: NDArray[Any] = plane[rows][:, columns]
    return resized
