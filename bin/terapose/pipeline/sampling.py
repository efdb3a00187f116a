"""A fixed sample of an image: windows of planes, scaled and normalised for a network.

1. *Probes* are small boxes of single planes, on a regular grid: of at most 8 x 8 places in a plane,
   or 4 x 4 in each of up to `PLANES` planes of a volume. Their voxels give the intensities that
   become 0 and 1, and their spread says where there is something to see: windows are around the
   middles of the probes with the largest spread.
2. A *window* is what fits into one tile of the network when cells are scaled from the diameter that
   is assumed to that of the network; at the border of the image it is moved inside. Windows of a
   plane are at least half their edge apart: of a small image there is but one in each plane.
3. Windows that are scaled down are read from the coarsest level of the pyramid that is fine enough.

So what is read are tens of boxes, whatever the size of the image, and the same ones for every cut.
Intensities are percentiles of the sample, also where the run takes those of planes or tiles, or
what ``channel_merge: gmm`` finds: for the size of cells that is near enough. If an image cannot be
read by region, whole planes are decoded, each once; if its planes are large, only the middle one,
and none if that takes more than `MOST` bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.normalize.histogram import normalize
from terapose.algorithms.normalize.merge_channels import merge
from terapose.algorithms.resize import resize
from terapose.core.errors import InputError
from terapose.core.geometry import Box, zyx
from terapose.core.normalizing import NORMALIZATIONS, limits_of
from terapose.core.params import Parameters
from terapose.io.images.channels import channel_numbers
from terapose.io.images.model import Image
from terapose.io.images.opening import open_image

PLANES = 6
PROBE = 128
WINDOWS = 6
"""Windows at a scale, at most."""

MOST = 2**30
"""Bytes of a plane that is decoded as a whole, at most."""
_SMALL = 2**22
"""Pixels of a small plane."""

Place = tuple[int, int, int]
"""The middle of a probe or window, (Z, Y, X) in voxels of the image."""


@dataclass(frozen=True)
class Sample:
    """The sample of an image.

    Attributes
    ----------
    image
        The image, or the region that is segmented.
    params
        All parameters.
    edge
        Pixels of the network that a window has at most, along Y and X.
    """

    image: Image
    params: Parameters
    edge: int

    def windows(self, scale: float) -> list[NDArray[np.float32]]:
        """Windows at a scale, each (C, Y, X) float32 in pixels of the network.

        Parameters
        ----------
        scale
            Pixels of the network for one of the image.
        """
        _, height, width = self.image.shape
        edges = (min(height, int(self.edge / scale)), min(width, int(self.edge / scale)))
        grid = (min(self.edge, round(edges[0] * scale)), min(self.edge, round(edges[1] * scale)))
        if min(grid) < 2 or self.is_too_large:
            return []
        return [self._window(place, edges, grid) for place in self._chosen(edges)]

    @cached_property
    def is_too_large(self) -> bool:
        """Whether its planes would have to be decoded as a whole, and are too large for that."""
        pixels = self._pixels * self.image.dtype.itemsize * len(self._numbers)
        return not self.image.is_lazy and pixels > MOST

    @property
    def _pixels(self) -> int:
        """Of a plane that is decoded as a whole: all of it, whatever is segmented."""
        _, height, width = self.image.layout.shape
        return height * width

    @cached_property
    def _numbers(self) -> tuple[int, ...]:
        return channel_numbers(self.image, self.params.channels, self.params.markers)[0]

    @cached_property
    def _probes(self) -> list[tuple[Place, list[NDArray[np.floating]]]]:
        """Middles of probes, and the voxels of each channel in use."""
        depth, height, width = self.image.shape
        planes = min(PLANES, depth) if self._is_cheap else 1
        most = 8 if planes == 1 else 4
        counts = (planes, *(min(most, -(-n // PROBE)) for n in (height, width)))
        along = (
            [(2 * i + 1) * n // (2 * count) for i in range(count)]
            for n, count in zip(self.image.shape, counts, strict=True)
        )
        middles = [zyx(middle) for middle in product(*along)]
        edges = (min(PROBE, height), min(PROBE, width))
        return [(at, self._read(self._inside(at, edges), edges)) for at in middles]

    @cached_property
    def _ends(self) -> list[tuple[float, float]]:
        """The intensities that become 0 and 1 in each channel in use."""
        params = self.params
        if params.normalize == "none":
            return [(0.0, 1.0)] * len(self._numbers)
        if params.lowhigh is not None:
            return [limits_of(params.lowhigh, n) for n in range(len(self._numbers))]
        found = []
        for n in range(len(self._numbers)):
            values = np.concatenate([parts[n].ravel() for _, parts in self._probes])
            values = values[np.isfinite(values)]
            if params.foreground_min is not None:
                values = values[values >= params.foreground_min]
            low, high = np.percentile(values, params.percentiles) if len(values) else (0.0, 0.0)
            found.append((float(low), float(high)))
        return found

    @cached_property
    def _ranked(self) -> list[Place]:
        """Middles of probes, those with the most to see first."""
        spreads = [
            -float(np.clip(self._normalised(parts), 0, 1).std()) for _, parts in self._probes
        ]
        order = np.argsort(spreads, kind="stable")
        return [self._probes[n][0] for n in order]

    def _chosen(self, edges: tuple[int, int]) -> list[Place]:
        """First voxels of the windows with these edges, (Z, Y, X)."""
        chosen: list[Place] = []
        for middle in self._ranked:
            z, y, x = self._inside(middle, edges)
            apart = (
                z != other or abs(y - top) * 2 >= edges[0] or abs(x - left) * 2 >= edges[1]
                for other, top, left in chosen
            )
            if len(chosen) < WINDOWS and all(apart):
                chosen.append((z, y, x))
        return sorted(chosen)

    def _inside(self, middle: Place, edges: tuple[int, int]) -> Place:
        """The first voxel of what is around a place, moved into the image."""
        y, x = (
            min(max(0, at - edge // 2), n - edge)
            for at, edge, n in zip(middle[1:], edges, self.image.shape[1:], strict=True)
        )
        return middle[0], y, x

    @cached_property
    def _is_cheap(self) -> bool:
        """Whether several planes can be read: parts of them, or all of them if they are small."""
        return self.image.is_lazy or self._pixels <= _SMALL

    def _plane(self, z: int) -> list[NDArray[np.floating]]:
        """A plane of an image that cannot be read by region, decoded once."""
        if z not in self._decoded:
            _, height, width = self.image.shape
            region = (slice(z, z + 1), slice(0, height), slice(0, width))
            self._decoded[z] = [self.image.read(region, channel) for channel in self._numbers]
        return self._decoded[z]

    @cached_property
    def _decoded(self) -> dict[int, list[NDArray[np.floating]]]:
        return {}

    @cached_property
    def _levels(self) -> list[Image]:
        """The level that is segmented, and those that are coarser, as far as they can be opened."""
        image, levels = self.image.whole, [self.image.whole]
        for level in range(image.level + 1, image.levels):
            try:
                chosen = replace(image.selection, level=level)
                levels.append(open_image(image.address, **chosen.options))
            except InputError:  # the address names one level, or this one is not there
                break
        return levels

    def _read(
        self, first: Place, edges: tuple[int, int], shrunk: float = 1.0
    ) -> list[NDArray[np.floating]]:
        """Voxels of a part of a plane, (1, Y, X) of each channel in use.

        Parameters
        ----------
        first, edges
            First voxel and edges (Y, X) in voxels of the image.
        shrunk
            By how much it will be scaled down: what is coarser by less will do.
        """
        if not self.image.is_lazy:
            z, y, x = first
            place = (slice(None), slice(y, y + edges[0]), slice(x, x + edges[1]))
            return [plane[place] for plane in self._plane(z)]
        whole = self.image.layout.shape
        start = [a + b for a, b in zip(first, self.image.region.start, strict=True)]
        stop = [a + n for a, n in zip(start, (1, *edges), strict=True)]
        fine = [
            level
            for level in self._levels
            if max(n / m for n, m in zip(whole[1:], level.layout.shape[1:], strict=True))
            <= max(1.0, shrunk)
        ]
        level = fine[-1] if shrunk > 1 else self._levels[0]
        sizes = list(zip(level.layout.shape, whole, strict=True))
        low = [min(a * m // n, m - 1) for a, (m, n) in zip(start, sizes, strict=True)]
        high = [max(b * m // n, a + 1) for a, b, (m, n) in zip(low, stop, sizes, strict=True)]
        box = Box(zyx(low), zyx((low[0] + 1, *high[1:])))
        return [level.read(box.slices, channel) for channel in self._numbers]

    def _window(
        self, first: Place, edges: tuple[int, int], grid: tuple[int, int]
    ) -> NDArray[np.float32]:
        """A window, read and scaled."""
        values = self._normalised(self._read(first, edges, edges[0] / grid[0]))
        old, new = zyx((1, *values.shape[2:])), zyx((1, *grid))
        scaled = resize(values, Box.whole(new), old, new, len(values))
        return np.asarray(scaled[:, 0])

    def _normalised(self, parts: Sequence[NDArray[np.floating]]) -> NDArray[np.float32]:
        """Voxels of a plane as the network takes them, (C, 1, Y, X), of channels in use.

        What is no finite number is 0: it would spread where it is scaled. The run refuses it.
        """
        params = self.params
        given = not NORMALIZATIONS[params.normalize].measures
        # also what is too large for float32
        with np.errstate(over="ignore", invalid="ignore"):
            if params.normalize == "none":
                scaled = [np.asarray(values, np.float32) for values in parts]
            else:
                scaled = [
                    normalize(values, low, high, invert=params.invert, given=given)
                    for values, (low, high) in zip(parts, self._ends, strict=True)
                ]
        scaled = [np.nan_to_num(values, posinf=0, neginf=0) for values in scaled]
        if params.channel_merge != "none":
            return merge(scaled, params.channel_merge)[np.newaxis]
        return np.stack(scaled)
