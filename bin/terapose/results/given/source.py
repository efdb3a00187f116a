"""Label images that others have made: voxels of a file, or polygons, read box by box."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.objects.polygons import bounds, filled
from terapose.core.errors import InputError, few
from terapose.core.geometry import ZYX, Box
from terapose.io.checksums import of_file
from terapose.io.documents import refuse_special
from terapose.io.images.address import is_url
from terapose.io.images.array_like import Lazy
from terapose.io.images.opening import open_image
from terapose.io.images.watch import Watch
from terapose.io.labels.values import check_type
from terapose.io.tables.polygons import ENDS, Outline, read_outlines
from terapose.pipeline.plan import Plan

_LAYER = 2**30
"""Bytes of whole planes that are kept while blocks are read out of them."""
LARGEST = 2**32 - 1
"""Of the numbers that a label image may have."""


class Source(Protocol):
    """Labels of an image."""

    @property
    def about(self) -> dict[str, Any]:
        """Address, format and identity, for the record."""
        ...

    def read(self, box: Box) -> NDArray[np.int64]:
        """Labels of a box, (Z, Y, X); 0 is background."""
        ...

    def confirm(self) -> None:
        """Refuse a file that has changed since it was opened."""
        ...


class Voxels:
    """Labels as an image: OME-Zarr, Zarr, TIFF, HDF5 and so on.

    Parameters
    ----------
    address
        Path or URL, also of a labels group.
    shape
        (Z, Y, X) that it must have.
    renumber
        Whether numbers of more than 32 bits are taken, because they do not stay.
    """

    def __init__(self, address: str, shape: ZYX, *, renumber: bool) -> None:
        self._watch = Watch()
        self._labels = self._opened(address, shape)
        self._address, self._renumber = address, renumber
        self._kept: tuple[tuple[int, int], NDArray[Any]] | None = None
        image = self._labels.image
        check_type(image.dtype, address)
        if image.shape != shape:
            raise InputError(
                "the label image does not have the shape of the image",
                where=address,
                got=f"{image.shape} (Z, Y, X)",
                allowed=f"{shape}",
                remedy="give the level and region of the image that it fits (--level, --region)",
            )
        self.about = {
            "address": image.address,
            "format": image.format,
            "identity": image.known,
        }

    def _opened(self, address: str, shape: ZYX) -> Lazy:
        """The label image; without names of axes it is a volume, if it has the shape of it."""
        try:
            return self._watch.labels(address)
        except InputError:
            # what napari writes says nothing of axes
            with suppress(InputError):
                image = self._watch.open(partial(open_image, address, axes="ZYX"))
                if image.shape == shape:
                    return Lazy(image)
            raise

    def read(self, box: Box) -> NDArray[np.int64]:
        """Labels of a box."""
        labels = self._voxels(box)
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or (high > LARGEST and not self._renumber) or high >= 2**63:
            wrong = low if low < 0 else high
            at = np.argwhere(labels == labels.dtype.type(wrong))[0] + box.start
            raise InputError(
                "a label image must have numbers from 0 to 2^32 - 1",
                where=self._address,
                got=f"{wrong} at z, y, x = {tuple(at.tolist())}",
                remedy="write 0 where there is no cell"
                if low < 0
                else "give --renumber, which numbers the cells by position",
            )
        return labels.astype(np.int64)

    def _voxels(self, box: Box) -> NDArray[Any]:
        """Voxels of a box; where only whole planes can be decoded, they are for several boxes."""
        image, planes = self._labels.image, (box.start[0], box.stop[0])
        size = (planes[1] - planes[0]) * math.prod(image.shape[1:]) * image.dtype.itemsize
        if image.is_lazy or size > _LAYER:
            return self._labels[box.slices]
        if self._kept is None or self._kept[0] != planes:
            self._kept = planes, self._labels[slice(*planes), slice(None), slice(None)]
        return self._kept[1][:, box.slices[1], box.slices[2]]

    def confirm(self) -> None:
        """Refuse a file that has changed since it was opened."""
        self._watch.confirm()


class Polygons:
    """Outlines as GeoJSON, in pixels of level 0 of the whole image.

    Parameters
    ----------
    path
        The file.
    plan
        Of the image.
    renumber
        Whether cells need no numbers, because they get others.
    """

    def __init__(self, path: Path, plan: Plan, *, renumber: bool) -> None:
        if not path.is_file():
            refuse_special(path)
            raise InputError("there is no such file", where=path, remedy="check the path")
        self._path, self._digest = path, of_file(path)
        if plan.mode != "2d":
            raise InputError(
                "polygons are cells of planes",
                where=path,
                got=f"mode {plan.mode}",
                allowed="mode 2d",
                remedy="give mode 2d, or the labels as an image",
            )
        if plan.image.level:
            raise InputError(
                "polygons are in pixels of level 0",
                where=path,
                got=f"level {plan.image.level}",
                remedy="leave out the level",
            )
        self._outlines = read_outlines(path)
        self._numbers = _numbers(self._outlines, path, renumber=renumber)
        self._offset = plan.image.offset
        self._boxes = self._found(plan.image.shape)
        identity = f"crc32c {self._digest:08x}"
        self.about = {"address": str(path), "format": "geojson", "identity": identity}

    def _found(self, shape: ZYX) -> NDArray[np.int64]:
        """(N, 6) box of each outline, ZYX, in voxels of the region; those outside are refused."""
        boxes, outside = np.zeros((len(self._outlines), 6), np.int64), []
        z, y, x = self._offset
        for n, one in enumerate(self._outlines):
            y0, x0, y1, x1 = bounds(one.polygons)
            boxes[n] = one.plane - z, y0 - y, x0 - x, one.plane - z + 1, y1 - y, x1 - x
            if (boxes[n, 3:] <= 0).any() or (boxes[n, :3] >= shape).any():
                outside.append(one.name)
        if outside:
            raise InputError(
                "has polygons outside of the image, or of the region",
                where=self._path,
                got=few(outside, 10),
                allowed=f"{shape} (Z, Y, X)",
                remedy="remove them, or give the image that they belong to",
            )
        return boxes

    def read(self, box: Box) -> NDArray[np.int64]:
        """Labels of a box."""
        labels = np.zeros(box.shape, np.int64)
        start, stop = np.array(box.start), np.array(box.stop)
        there = (self._boxes[:, 3:] > start).all(axis=1) & (self._boxes[:, :3] < stop).all(axis=1)
        doubled: set[tuple[int, int]] = set()
        for n in np.flatnonzero(there).tolist():
            for pair in self._draw(n, box, labels):
                doubled.add(pair)
        if doubled:
            names = {number: one.name for number, one in self._named()}
            pairs = [f"{names[a]} and {names[b]}" for a, b in sorted(doubled)]
            raise InputError(
                "has polygons that overlap",
                where=self._path,
                got=few(pairs, 10),
                remedy="move their outlines, or remove one of each pair",
            )
        return labels

    def _named(self) -> Iterator[tuple[int, Outline]]:
        return zip(self._numbers.tolist(), self._outlines, strict=True)

    def _draw(self, n: int, box: Box, labels: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
        """Draw a cell into the labels of a box; yields pairs of cells that overlap."""
        low = np.maximum(self._boxes[n, :3], box.start)
        high = np.minimum(self._boxes[n, 3:], box.stop)
        z, y, x = (low - box.start).tolist()
        _, y1, x1 = (high - box.start).tolist()
        corner, end = (
            (int(at[1] + self._offset[1]), int(at[2] + self._offset[2])) for at in (low, high)
        )
        inside = filled(self._outlines[n].polygons, corner, end)
        window = labels[z, y:y1, x:x1]
        mine = int(self._numbers[n])
        for other in np.unique(window[inside]).tolist():
            if other:
                yield min(mine, other), max(mine, other)
        window[inside] = mine

    def confirm(self) -> None:
        """Refuse a file that has changed since it was opened."""
        if of_file(self._path) != self._digest:
            raise InputError("has changed since it was opened", where=self._path)

    def lost(self, found: NDArray[np.int64]) -> list[str]:
        """Names of cells that have no voxel, given the numbers of those that have one."""
        there = set(found.tolist())
        return [one.name for number, one in self._named() if number not in there]


def _numbers(outlines: Sequence[Outline], path: Path, *, renumber: bool) -> NDArray[np.int64]:
    """Numbers of cells: their names, or their positions in the file where others follow."""
    if renumber:
        return np.arange(1, len(outlines) + 1)
    without = [one.name for one in outlines if not one.number or one.number > LARGEST]
    numbers = [one.number for one in outlines if one.number]
    values, times = np.unique(np.array(numbers, np.int64), return_counts=True)
    doubled = [str(number) for number in values[times > 1].tolist()]
    for what, names in (
        ("has cells whose name is not a number from 1 to 2^32 - 1", without),
        ("has several cells with the same number", doubled),
    ):
        if names:
            raise InputError(
                what,
                where=path,
                got=few(names, 10),
                remedy="give --renumber, which numbers the cells by position",
            )
    return np.array(numbers, np.int64)


def open_given(address: str, plan: Plan, *, renumber: bool) -> Source:
    """Open labels: GeoJSON where the name ends so, an image otherwise."""
    if not is_url(address) and address.lower().endswith(ENDS):
        return Polygons(Path(address), plan, renumber=renumber)
    return Voxels(address, plan.image.shape, renumber=renumber)
