"""The image and the label image of results, as far as a report reads them.

Both are read by windows of a bounded size. The coarse picture of a whole plane is read from a level
of the pyramid; where there is none that is small enough, it is left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from terapose.core.errors import InputError
from terapose.core.geometry import ZYX, zyx
from terapose.core.selection import Selection
from terapose.io.images.array_like import Lazy
from terapose.io.images.opening import open_image
from terapose.io.images.watch import Watch
from terapose.results.outputs import LABELS

_PLANE = 1 << 26
"""Voxels of a plane that are read for a coarse picture."""
_BAND = 1 << 23
"""Voxels that are read at once."""
COARSE = 1024
"""Pixels of the longer side of a coarse picture, at most."""


@dataclass
class Saturation:
    """Voxels with the highest intensity among those that were read."""

    highest: float = -math.inf
    there: int = 0
    read: int = 0

    def add(self, block: NDArray[Any]) -> None:
        """Count the voxels of a block."""
        if not block.size:
            return
        high = float(block.max())
        if high > self.highest:
            self.highest, self.there = high, 0
        if high == self.highest:
            self.there += int(np.count_nonzero(block == high))
        self.read += block.size

    @property
    def share(self) -> float:
        """Share of the voxels."""
        return self.there / max(self.read, 1)


@dataclass
class Source:
    """An image and the label image of the cells in it, of one shape.

    Attributes
    ----------
    image, labels
        Both at the resolution of the label image.
    voxel_size
        (z, y, x) in micrometres, if known.
    block
        (Z, Y, X) of the blocks of the run, in voxels of the label image; None if cells do not come
        from blocks, or that is not recorded.
    """

    image: Lazy
    labels: Lazy
    voxel_size: tuple[float, float, float] | None
    block: tuple[float, float, float] | None
    watch: Watch
    saturation: Saturation = field(default_factory=Saturation)

    @property
    def shape(self) -> ZYX:
        """(Z, Y, X) of both."""
        return zyx(self.labels.shape)

    def window(
        self, start: ZYX, stop: ZYX, axis: int
    ) -> tuple[NDArray[Any], NDArray[np.unsignedinteger[Any]]]:
        """A section of one voxel along an axis, of the image and of the labels: (down, right)."""
        region = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        z, y, x = region
        grey, cells = self.image[z, y, x], self.labels[z, y, x]
        self.saturation.add(grey)
        return grey.squeeze(axis), cells.squeeze(axis)

    def coarse_image(self, z: int) -> NDArray[Any] | None:
        """A whole plane of the image, thinned; None where that would be too much to read."""
        image = self.image.image
        found = self.image
        if not image.selection.region and max(image.shape[1:]) > COARSE:
            level = _level(image.levels_shape, image.level)
            opened = replace(image.selection, level=level)
            if level != image.level:
                chosen = open_image(image.address, **opened.options)
                found = Lazy(chosen, self.image.channel)
        return _thinned(found, z * found.shape[0] // self.shape[0], self.saturation)

    def coarse_labels(self, z: int) -> NDArray[Any] | None:
        """A whole plane of the label image, thinned; None where that would be too much to read."""
        image = self.labels.image
        level = _level(image.levels_shape, 0)
        found = Lazy(open_image(image.address, level=level))
        return _thinned(found, min(z * found.shape[0] // self.shape[0], found.shape[0] - 1), None)


def open_source(results: Path, record: Mapping[str, Any], address: str = "") -> Source:
    """Open the image and the label image of results.

    Parameters
    ----------
    results
        Their folder.
    record
        Of the run.
    address
        Of the image, if it is not that of the record.

    Raises
    ------
    InputError
        If one cannot be opened, or they do not have the shapes of the record.
    """
    output, about = record["output"], record["image"]
    watch, size = Watch(), output["voxel_size"]
    chosen: Selection = TypeAdapter(Selection).validate_python(output["selection"])
    opening = partial(open_image, address or about["address"], **chosen.options, voxel_size=size)
    try:
        image = watch.open(opening)
    except InputError as error:
        if address:
            raise
        raise InputError(
            "the image of these results cannot be opened",
            where=about["address"],
            got=error,
            remedy="if it was moved, give its address: terapose report RESULTS IMAGE",
        ) from error
    labels = watch.labels(results / LABELS)
    for name, found in ((image.address, image.shape), (results / LABELS, labels.shape)):
        if list(found) != output["shape"]:
            raise InputError(
                "does not have the shape of these results",
                where=name,
                got=found,
                allowed=tuple(output["shape"]),
                remedy="give the image that was segmented, and its results",
            )
    return Source(Lazy(image, about["channels"][0]), labels, size, block_of(record), watch)


def block_of(record: Mapping[str, Any]) -> tuple[float, float, float] | None:
    """Shape of the blocks in voxels of the label image, which may be at another level.

    None where it is not recorded, and of cells that were given: no run has divided them.
    """
    if record.get("block") is None or "given_labels" in record:
        return None
    there, here = record["image"]["shape"], record["output"]["shape"]
    z, y, x = (b * h / t for b, t, h in zip(record["block"], there, here, strict=True))
    # a record of others: every voxel would be a seam
    return (z, y, x) if min(z, y, x) >= 1 else None


def _level(shapes: tuple[tuple[int, ...], ...], finest: int) -> int:
    """The coarsest level that still has as many pixels as a coarse picture."""
    enough = [n for n in range(finest, len(shapes)) if max(shapes[n][1:]) >= COARSE]
    return max(enough, default=finest)


def _thinned(source: Lazy, z: int, saturation: Saturation | None) -> NDArray[Any] | None:
    """Every n-th pixel of a plane, read band by band."""
    height, width = source.shape[1:]
    if height * width > _PLANE:
        return None
    step = -(-max(height, width) // COARSE)
    band = max(step, _BAND // width // step * step)
    parts = []
    for top in range(0, height, band):
        part = source[slice(z, z + 1), slice(top, min(top + band, height)), slice(0, width)][0]
        if saturation is not None:
            saturation.add(part)
        # a copy, or all of each band would stay in memory
        parts.append(part[::step, ::step].copy())
    return np.concatenate(parts)
