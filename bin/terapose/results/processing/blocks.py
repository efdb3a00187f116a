"""What is done in a block: objects are measured, the function is called, new objects are numbered.

The *core* of a block is the part that it writes; its *rim* is the core and the layer of voxels
around it, which it judges as well. New objects get *numbers* from 1 in each core, written to an
array whose chunks are the blocks, and a table of what their final IDs follow from (`Numbered`).
"""

from __future__ import annotations

import itertools
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.objects.boxes import box_table
from terapose.core.errors import InputError
from terapose.core.geometry import Box, Grid, zyx
from terapose.io.labels.values import check_signs
from terapose.results.processing.functions import Function

_MOST = 2**28
"""Voxels that are read at once: of a block with its halo, or of an object in its box."""
_WIDER = 8
"""How many times as large as a block may be what is read at once for the objects in it."""
FORWARD = [o for o in itertools.product((-1, 0, 1), repeat=3) if o > (0, 0, 0)]
"""Steps to half of the 26 neighbours of a voxel."""


@dataclass(frozen=True)
class Objects:
    """The objects of a label image, or of a part of it.

    Attributes
    ----------
    ids
        (N,) uint64, sorted.
    sizes
        (N,) int64 voxels.
    boxes
        (N, 6) int64 first voxel and the first one after the box (ZYX, ZYX).
    """

    ids: NDArray[np.uint64]
    sizes: NDArray[np.int64]
    boxes: NDArray[np.int64]

    def boxes_of(self, ids: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Boxes of objects that are here."""
        return self.boxes[np.searchsorted(self.ids, ids)]


@dataclass(frozen=True)
class Numbered:
    """New objects of a block.

    Attributes
    ----------
    numbers
        (Z, Y, X) uint32 of the core; 0 is background.
    keys
        (N, 2) uint64: what objects are, and what they are ordered by. By names (0, index of the
        first voxel); by IDs (0, ID); parts of objects (ID, name).
    verdicts
        By block that is met, a checksum of what this one thinks of the voxels at the border.
    edges
        By block that is met, numbers of objects and the index in the core of that block of a voxel
        that continues them, (M, 2) int64; only for blocks after this one.
    """

    numbers: NDArray[np.uint32]
    keys: NDArray[np.uint64]
    verdicts: dict[int, int]
    edges: dict[int, NDArray[np.int64]]


class Setting(ABC):
    """What the work on a block needs.

    Parameters
    ----------
    function
        What is applied.
    grid
        The blocks.
    voxel_size
        (z, y, x) in micrometres, or None.
    where
        Address of the labels, for messages.
    """

    def __init__(
        self,
        function: Function,
        grid: Grid,
        voxel_size: tuple[float, float, float] | None,
        where: str,
    ) -> None:
        self.function, self.grid, self.voxel_size, self.where = function, grid, voxel_size, where

    @abstractmethod
    def read_labels(self, box: Box) -> NDArray[Any]:
        """Labels of a box: (Z, Y, X), which nobody else has."""

    @abstractmethod
    def pixels(self, box: Box) -> NDArray[Any] | None:
        """The image of a box: (C, Z, Y, X), which nobody else has; None where there is none."""

    @cached_property
    def whole(self) -> Box:
        """The box of the image."""
        return Box.whole(self.grid.shape)

    def read(self, box: Box) -> NDArray[Any]:
        """Labels of a box, as an array of the caller's own."""
        found = self.read_labels(box)
        check_signs(found, self.where)
        return found

    def call(self, labels: NDArray[Any], pixels: NDArray[Any] | None, box: Box) -> NDArray[Any]:
        """What the function returns for labels of a box."""
        block = self.function.of(box, self.grid.shape, self.voxel_size)
        return self.function.process(labels, pixels, block)

    def around(self, number: int) -> list[int]:
        """Numbers of the blocks that meet a block."""
        return [n for n in self.grid.touching(self.grid[number].grow(1)) if n != number]


def measured(setting: Setting, number: int) -> Objects:
    """Objects of the core of a block."""
    core = setting.grid[number]
    labels = setting.read(core)
    ids, local, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    boxes = box_table(local.reshape(labels.shape) + 1, len(ids))
    boxes += np.array([*core.start, *core.start])
    kept = ids != 0
    return Objects(ids[kept].astype(np.uint64), sizes[kept].astype(np.int64), boxes[kept])


def joined(parts: Iterator[Objects]) -> Objects:
    """Objects of all blocks."""
    ids, sizes, boxes = (np.concatenate(c) for c in zip(*map(_columns, parts), strict=True))
    order = np.argsort(ids, kind="stable")
    ids, sizes, boxes = ids[order], sizes[order], boxes[order]
    first = np.flatnonzero(np.append(True, ids[1:] != ids[:-1])) if len(ids) else np.arange(0)
    if not len(first):
        return Objects(ids, sizes, boxes)
    low, high = (f.reduceat(b, first, axis=0) for f, b in
                 ((np.minimum, boxes[:, :3]), (np.maximum, boxes[:, 3:])))  # fmt: skip
    return Objects(ids[first], np.add.reduceat(sizes, first), np.hstack([low, high]))


def _columns(part: Objects) -> tuple[NDArray[Any], ...]:
    return part.ids, part.sizes, part.boxes


def by_block(setting: Setting, number: int) -> Numbered:
    """Call a function of blocks for a block."""
    core = setting.grid[number]
    rim = core.grow(1).intersect(setting.whole)
    halo = setting.function.halo
    box = core.grow(zyx(h + 1 for h in halo)).intersect(setting.whole)
    _refuse_large(box, "a block with its halo", "give smaller blocks (--block-shape)")
    names = setting.call(setting.read(box), setting.pixels(box), box)[rim.within(box)]
    names = names.astype(np.uint64)
    if setting.function.kind == "ids":
        numbers, ids = _ranked(names[core.within(rim)])
        keys = np.stack([np.zeros_like(ids), ids], 1)
        check = {n: zlib.crc32(names[_border(setting, number, n).within(rim)].tobytes())
                 for n in setting.around(number)}  # fmt: skip
        return Numbered(numbers, keys, check, {})
    numbers, keys = _components(names[core.within(rim)], core, setting.grid.shape)
    verdicts, edges = {}, {}
    for other in setting.around(number):
        border = _border(setting, number, other)
        verdicts[other] = _verdict(names[border.within(rim)])
        if other > number:
            edges[other] = _edges(names, numbers, rim, core, setting.grid[other], border)
    return Numbered(numbers, keys, verdicts, edges)


def _border(setting: Setting, one: int, other: int) -> Box:
    """The voxels that two blocks both judge."""
    rims = (setting.grid[n].grow(1).intersect(setting.whole) for n in (one, other))
    return next(rims).intersect(next(rims))


def _ranked(values: NDArray[np.uint64]) -> tuple[NDArray[np.uint32], NDArray[np.uint64]]:
    """Numbers of values from 1 in their order, 0 stays 0; and the values."""
    found, inverse = np.unique(values, return_inverse=True)
    has_zero = bool(len(found)) and found[0] == 0
    numbers = inverse.reshape(values.shape) + (0 if has_zero else 1)
    return numbers.astype(np.uint32), found[1:] if has_zero else found


def _components(
    names: NDArray[np.uint64], core: Box, shape: tuple[int, int, int]
) -> tuple[NDArray[np.uint32], NDArray[np.uint64]]:
    """Numbers of what neighbours of the same name join, and their first voxels."""
    from skimage.measure import label

    numbers = label(names.view(np.int64), background=0, connectivity=3).astype(np.uint32)
    found, places = np.unique(numbers, return_index=True)
    places = places[found != 0]
    inside = np.unravel_index(places, core.shape)
    whole = tuple(p + a for p, a in zip(inside, core.start, strict=True))
    first = np.ravel_multi_index(whole, shape).astype(np.uint64)
    return numbers, np.stack([np.zeros_like(first), first], 1)


def _pairs(shape: tuple[int, ...], step: tuple[int, ...]) -> tuple[Any, Any]:
    """Where the first and the second voxels of all pairs of neighbours in an array are."""
    first, second = [], []
    for n, s in zip(shape, step, strict=True):
        first.append(slice(max(0, -s), n - max(0, s)))
        second.append(slice(max(0, s), n - max(0, -s)))
    return tuple(first), tuple(second)


def _verdict(names: NDArray[np.uint64]) -> int:
    """Checksum of which voxels are background and which neighbours belong together."""
    crc = zlib.crc32(np.packbits(names > 0).tobytes())
    for step in FORWARD:
        one, other = _pairs(names.shape, step)
        same = (names[one] == names[other]) & (names[one] > 0)
        crc = zlib.crc32(np.packbits(same).tobytes(), crc)
    return crc


def _edges(
    names: NDArray[np.uint64],
    numbers: NDArray[np.uint32],
    rim: Box,
    core: Box,
    other: Box,
    border: Box,
) -> NDArray[np.int64]:
    """Objects of a block that voxels of another one continue."""
    near = names[border.within(rim)]
    index = np.arange(border.size).reshape(border.shape)
    mine, theirs = (np.zeros(border.shape, bool) for _ in range(2))
    mine[core.intersect(border).within(border)] = True
    theirs[other.intersect(border).within(border)] = True
    found = []
    for step in FORWARD:
        one, two = _pairs(border.shape, step)
        same = (near[one] == near[two]) & (near[one] > 0)
        for u, v in ((one, two), (two, one)):
            joins = same & mine[u] & theirs[v]
            found.append(np.stack([index[u][joins], index[v][joins]], 1))
    pairs = np.concatenate(found)
    here, there = (_inside(pairs[:, k], border, box) for k, box in enumerate((core, other)))
    objects = numbers.reshape(-1)[here].astype(np.int64)
    return np.unique(np.stack([objects, there], 1), axis=0)


def _inside(index: NDArray[Any], border: Box, box: Box) -> NDArray[np.int64]:
    """Indices of voxels of a border in a box."""
    places = np.unravel_index(index, border.shape)
    moved = tuple(p + a - b for p, a, b in zip(places, border.start, box.start, strict=True))
    return np.ravel_multi_index(moved, box.shape)


def by_number(setting: Setting, number: int) -> Numbered:
    """The objects of a block as they are, for a function of numbers."""
    numbers, ids = _ranked(setting.read(setting.grid[number]).astype(np.uint64))
    return Numbered(numbers, np.stack([np.zeros_like(ids), ids], 1), {}, {})


def by_object(
    setting: Setting, number: int, boxes_of: Callable[[NDArray[np.uint64]], NDArray[np.int64]]
) -> Numbered:
    """Call a function of objects for all objects of a block; ``boxes_of`` says where these are."""
    core = setting.grid[number]
    labels = setting.read(core)
    found = np.unique(labels[labels > 0])
    halo = setting.function.halo
    boxes = [
        Box(zyx(row[:3]), zyx(row[3:])).grow(halo).intersect(setting.whole)
        for row in boxes_of(found.astype(np.uint64)).tolist()
    ]
    window = _Window(setting, core, labels, boxes)
    result = np.zeros(core.shape, np.uint32)
    keys: list[tuple[int, int]] = []
    for value, box in zip(found.tolist(), boxes, strict=True):
        _refuse_large(box, f"the box of object {value}", "remove this object first")
        inside, pixels = window.read(box)
        mask = inside == value
        parts = setting.call(mask.astype(np.uint8), pixels, box)
        if np.any(parts[~mask]):
            raise InputError(
                "the function returns voxels outside the object",
                where=setting.function.name,
                got=f"for object {value}",
                remedy="set them to 0",
            )
        shared = box.intersect(core)
        here, names = _ranked(parts[shared.within(box)].astype(np.uint64))
        own = result[shared.within(core)]
        own[here > 0] = here[here > 0] + np.uint32(len(keys))
        keys += [(value, name) for name in names.tolist()]
    return Numbered(result, np.array(keys, np.uint64).reshape(-1, 2), {}, {})


class _Window:
    """What the boxes of the objects of a block cover, read at once unless that is too large."""

    def __init__(self, setting: Setting, core: Box, labels: NDArray[Any], boxes: list[Box]) -> None:
        self._setting = setting
        starts, stops = [core.start], [core.stop]
        for box in boxes:
            starts.append(box.start)
            stops.append(box.stop)
        cover = Box(
            zyx(map(min, zip(*starts, strict=True))), zyx(map(max, zip(*stops, strict=True)))
        )
        self._box, self._labels = core, labels
        if cover.size <= min(_MOST, _WIDER * core.size):
            self._box, self._labels = cover, setting.read(cover)
        self._pixels = setting.pixels(self._box) if boxes else None

    def read(self, box: Box) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Labels and image of a box; the image is the caller's own."""
        if box.intersect(self._box) != box:
            return self._setting.read(box), self._setting.pixels(box)
        place = box.within(self._box)
        pixels = None if self._pixels is None else self._pixels[(slice(None), *place)].copy()
        return self._labels[place], pixels


def _refuse_large(box: Box, what: str, remedy: str) -> None:
    if box.size > _MOST:
        raise InputError(
            f"{what} is too large",
            got=f"{' x '.join(map(str, box.shape))} voxels",
            allowed=f"{_MOST} voxels",
            remedy=remedy,
        )
