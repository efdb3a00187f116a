"""Image pyramids as OME-Zarr, written unit by unit.

Bytes depend on the content alone: chunks have a fixed shape, those of nothing but 0 are not
written, and Zstandard without shuffle is deterministic. A *unit* is a box of whole chunks of one
channel, so that units write no file together and can be in any order.

Computed levels are made from the next finer one, in units whose voxels cover whole groups of it:
``nearest`` takes the first voxel of each group, as Terapose does with labels; ``mean`` the mean of
all that there are, whole numbers rounded, halves up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from terapose.core.geometry import ZYX, Box, Grid, zyx
from terapose.io import files
from terapose.io.labels.ome_zarr import FLAT_CHUNKS
from terapose.io.zarr_files import Noted, open_sparse

How = Literal["nearest", "mean"]
Place = tuple[float, float, float]

VOLUME_CHUNKS = (64, 256, 256)
_FEW, _MANY = 2**16, 2**24
"""Bytes of chunks of a source that are taken over."""
_UNIT, _LARGEST = 2**24, 2**28
"""Bytes of a unit, and of one that has to be as large as the chunks that it is read from."""
_LEVEL = 5


@dataclass(frozen=True)
class Level:
    """A level of a pyramid.

    Attributes
    ----------
    shape, chunks
        (Z, Y, X) of the level and of a chunk.
    scale, translation
        (z, y, x) of a voxel, and of the centre of the first one.
    unit
        (Z, Y, X) of a unit.
    """

    shape: ZYX
    chunks: ZYX
    scale: Place
    translation: Place
    unit: ZYX

    @property
    def grid(self) -> Grid:
        """The units of a channel."""
        return Grid(self.shape, self.unit)


@dataclass(frozen=True)
class Pyramid:
    """An image in a folder.

    Attributes
    ----------
    axes
        Of the arrays: zyx or yx, with c in front of them where there are channels.
    channels
        How many, 1 without a channel axis.
    dtype
        Of the voxels.
    levels
        The finest first.
    has_unit
        Whether lengths are in micrometres.
    version
        Of OME-Zarr: "0.4" or "0.5".
    """

    axes: str
    channels: int
    dtype: np.dtype[Any]
    levels: tuple[Level, ...]
    has_unit: bool
    version: str

    def units(self, level: int) -> int:
        """Number of units of a level, of all channels."""
        return self.channels * len(self.levels[level].grid)

    def unit(self, level: int, number: int) -> tuple[int, Box]:
        """Channel (from 0) and box of a unit."""
        grid = self.levels[level].grid
        return number // len(grid), grid[number % len(grid)]

    def index(self, channel: int, box: Box) -> tuple[int | slice, ...]:
        """Index of the array for a box of a channel."""
        space = box.slices[-self._space :]
        return (channel, *space) if "c" in self.axes else space

    @property
    def _space(self) -> int:
        return 3 if "z" in self.axes else 2

    def create(self, folder: Path, name: str, about: dict[str, Any], own: dict[str, Any]) -> None:
        """Write the metadata of the image, unless the folder is there.

        Parameters
        ----------
        folder
            The image's group.
        name
            Of the image.
        about
            Further metadata of OME-Zarr.
        own
            What Terapose says of it, under the attribute ``terapose``.
        """
        if folder.exists():
            return
        content = {"multiscales": [self._multiscale(name)], **about}
        if self.version == "0.5":
            content = {"ome": {"version": self.version, **content}}
        else:
            content["multiscales"][0]["version"] = self.version
        with files.made(folder, "image") as place:
            group = zarr.create_group(
                place,
                zarr_format=3 if self.version == "0.5" else 2,
                attributes={**content, "terapose": own},
            )
            for number, level in enumerate(self.levels):
                self._create_level(group, number, level)

    def _create_level(self, group: zarr.Group, number: int, level: Level) -> None:
        is_v3 = group.metadata.zarr_format == 3
        codec: Any = ZstdCodec(level=_LEVEL, checksum=True)
        if not is_v3:
            codec = {"id": "zstd", "level": _LEVEL, "checksum": True}
        lead = "c" in self.axes
        group.create_array(
            str(number),
            shape=((self.channels,) if lead else ()) + level.shape[-self._space :],
            dtype=self.dtype,
            chunks=((1,) if lead else ()) + level.chunks[-self._space :],
            fill_value=0,
            compressors=codec,
            dimension_names=list(self.axes) if is_v3 else None,
            chunk_key_encoding={"name": "default" if is_v3 else "v2", "separator": "/"},
        )

    def _multiscale(self, name: str) -> dict[str, Any]:
        unit = {"unit": "micrometer"} if self.has_unit else {}
        lead = 1 if "c" in self.axes else 0
        datasets = []
        for number, level in enumerate(self.levels):
            scale = [1.0] * lead + list(level.scale[-self._space :])
            shift = [0.0] * lead + list(level.translation[-self._space :])
            transforms: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
            if any(shift):
                transforms.append({"type": "translation", "translation": shift})
            datasets.append({"path": str(number), "coordinateTransformations": transforms})
        space: list[dict[str, str]] = [
            {"name": axis, "type": "space", **unit} for axis in self.axes.lstrip("c")
        ]
        axes = [{"name": "c", "type": "channel"}, *space] if lead else space
        return {"name": name, "axes": axes, "datasets": datasets}

    def write(self, root: Path, name: str, level: int, number: int, voxels: NDArray[Any]) -> Noted:
        """Write a unit; returns checksums of what it wrote by paths below `root`.

        Parameters
        ----------
        root
            A folder above the image.
        name
            Path of the image below it.
        level, number
            Of the unit.
        voxels
            (Z, Y, X).
        """
        noted: Noted = {}
        array = open_sparse(f"{root / name}/{level}", noted)
        channel, box = self.unit(level, number)
        array[self.index(channel, box)] = voxels if "z" in self.axes else voxels[0]
        return {f"{name}/{level}/{key}": crc for key, crc in noted.items()}

    def reduce(self, root: Path, name: str, level: int, number: int, how: How) -> Noted:
        """Make a unit of a level from the next finer one, which is complete; see `write`."""
        fine, coarse = self.levels[level - 1], self.levels[level]
        ratio = zyx(-(-a // b) for a, b in zip(fine.shape, coarse.shape, strict=True))
        channel, box = self.unit(level, number)
        start = zyx(a * r for a, r in zip(box.start, ratio, strict=True))
        stop = zyx(b * r for b, r in zip(box.stop, ratio, strict=True))
        source = open_sparse(f"{root / name}/{level - 1}")
        found = np.asarray(source[self.index(channel, Box(start, stop).clip(fine.shape))])
        voxels = found.reshape((*(1,) * (3 - found.ndim), *found.shape))
        return self.write(root, name, level, number, reduced(voxels, ratio, how))


def reduced(voxels: NDArray[Any], ratio: Sequence[int], how: How) -> NDArray[Any]:
    """One voxel of each group: the first, or the mean.

    Parameters
    ----------
    voxels
        (Z, Y, X), beginning with a whole group.
    ratio
        (Z, Y, X) of a group; the last ones may be cut off.
    how
        See the module.
    """
    if how == "nearest":
        return voxels[tuple(slice(None, None, r) for r in ratio)]
    is_whole = voxels.dtype.kind in "iu"
    total: NDArray[Any] = voxels.astype(np.int64 if is_whole else np.float64)
    count = np.ones((1, 1, 1), np.int64)
    for axis, (n, r) in enumerate(zip(voxels.shape, ratio, strict=True)):
        starts = np.arange(0, n, r)
        total = np.add.reduceat(total, starts, axis)
        lengths = np.diff(np.append(starts, n))
        count = count * lengths.reshape([-1 if a == axis else 1 for a in range(3)])
    if is_whole:
        return ((2 * total + count) // (2 * count)).astype(voxels.dtype)
    return (total / count).astype(voxels.dtype)


def chunks_for(shape: ZYX, source: ZYX, itemsize: int) -> ZYX:
    """Chunks of a level: those of the source, unless they are very small or large."""
    edges = zyx(map(min, source, shape))
    whole = math.prod(source) * itemsize
    if not _FEW <= whole <= _MANY:
        usual = VOLUME_CHUNKS if shape[0] > 1 else FLAT_CHUNKS
        edges = zyx(map(min, usual, shape))
    return edges


def unit_for(shape: ZYX, chunks: ZYX, source: ZYX, itemsize: int) -> ZYX:
    """Whole chunks that are worth a task of their own, and read few chunks of the source twice."""
    edges = list(chunks)
    while True:
        longer = [a for a in range(3) if edges[a] < shape[a]]
        short = [a for a in longer if edges[a] < source[a]]
        if not longer or math.prod(edges) * itemsize >= (_LARGEST if short else _UNIT):
            return zyx(edges)
        axis = min(short or longer, key=lambda a: (edges[a] / source[a], -a))
        edges[axis] *= 2
