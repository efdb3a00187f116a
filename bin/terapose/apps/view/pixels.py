"""One channel of an image as a volume, whatever its format.

Where the image has no coarser levels, they take every n-th voxel, as long as that does not read
more for a chunk than `_MOST` voxels: beyond this a viewer has to do with the finer levels.

Planes that are stored in one piece, or cannot be read in parts, are decoded once and kept for a
while: a chunk takes a small part of several of them.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.apps.view.volumes import Level, chunk_voxels
from terapose.core.geometry import ZYX, Box, zyx
from terapose.io.images.model import Image
from terapose.io.labels.ome_zarr import level_shape, pyramid_factors

_MOST = 1 << 26
_KEPT = 1 << 28
"""Bytes of planes that are kept."""
_SERVED = {"bool": "uint8", "float16": "float32", "float64": "float32", "int64": "float32"}
"""Types that the viewer does not know, by what they are served as."""


class Pixels:
    """One channel of an image.

    Parameters
    ----------
    images
        The levels of the image, without a region, the finest first.
    channel
        From 1.
    dimensions
        3, or 2 to leave out Z of a single plane.
    """

    def __init__(self, images: Sequence[Image], channel: int, dimensions: int) -> None:
        first = images[0]
        self.dimensions = dimensions
        self.dtype = np.dtype(_SERVED.get(first.dtype.name, first.dtype.name))
        self.fill = 0.0
        self.unit = first.voxel_size is not None
        self._images, self._channel = images, channel
        self._steps: list[ZYX] = [(1, 1, 1)] * len(images)
        self.levels: Sequence[Level] = [_level(image) for image in images]
        if len(images) == 1:
            self._thin(self.levels[0])
        self._planes = _Planes(first)

    def read(self, level: int, box: Box) -> NDArray[Any]:
        """Voxels of a box."""
        step = self._steps[level]
        image = self._images[min(level, len(self._images) - 1)]
        if step == (1, 1, 1):
            return self._planes.read(image, box, self._channel).astype(self.dtype, copy=False)
        fine = Box(
            zyx(n * f for n, f in zip(box.start, step, strict=True)),
            zyx(n * f for n, f in zip(box.stop, step, strict=True)),
        ).clip(image.shape)
        found = np.empty(box.shape, self.dtype)
        for number, z in enumerate(range(fine.start[0], fine.stop[0], step[0])):
            plane = Box((z, *fine.start[1:]), (z + 1, *fine.stop[1:]))
            part = self._planes.read(image, plane, self._channel)[0]
            found[number] = part[:: step[1], :: step[2]]
        return found

    def _thin(self, finest: Level) -> None:
        """Levels of every n-th voxel."""
        levels = [finest]
        for step in pyramid_factors(finest.shape, finest.scale)[1:]:
            if step[1] * step[2] * chunk_voxels(finest.shape) > _MOST:
                break
            z, y, x = (n * s for n, s in zip(step, finest.scale, strict=True))
            shape = zyx(level_shape(finest.shape, step))
            levels.append(Level(shape, (z, y, x), finest.origin))
            self._steps.append(step)
        self.levels = levels


class _Planes:
    """Reads boxes, and keeps planes that are decoded as a whole.

    Images are read by several threads at a time, in whatever format they are, as `crop` and `cut`
    do: the lock is that of the planes.
    """

    def __init__(self, image: Image) -> None:
        spans = all(c >= n for c, n in zip(image.chunks[1:], image.shape[1:], strict=True))
        several = chunk_voxels(image.shape) < image.shape[1] * image.shape[2]
        self._whole = several and (spans or not image.is_lazy)
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, int], NDArray[Any]] = OrderedDict()
        self._bytes = 0

    def read(self, image: Image, box: Box, channel: int) -> NDArray[Any]:
        """Voxels of a box."""
        size = image.shape[1] * image.shape[2] * image.dtype.itemsize
        if not self._whole or size > _KEPT // 4:
            return image.read(box.slices, channel)
        y, x = box.slices[1:]
        planes = [self._plane(image, z, channel)[y, x] for z in range(box.start[0], box.stop[0])]
        return np.stack(planes)

    def _plane(self, image: Image, z: int, channel: int) -> NDArray[Any]:
        key = (image.level, z)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        whole = Box((z, 0, 0), (z + 1, *image.shape[1:]))
        plane: NDArray[Any] = image.read(whole.slices, channel)[0]
        with self._lock:
            if key not in self._kept:
                self._kept[key] = plane
                self._bytes += plane.nbytes
            while self._bytes > _KEPT:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return plane


def _level(image: Image) -> Level:
    return Level(image.shape, image.voxel_size or image.factors, image.origin)
