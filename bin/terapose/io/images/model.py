"""What an opened image is, and how a region of it is read."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from terapose.core.errors import InputError, pass_on
from terapose.core.geometry import Box
from terapose.core.levels import factor_between
from terapose.core.param_types import in_utf8
from terapose.core.region import parse_box
from terapose.core.selection import Selection
from terapose.io.images import address as addresses
from terapose.io.images.axes import Layout, Shape, understand
from terapose.io.images.identity import Identity, State, states_of
from terapose.io.images.units import VoxelSize

Region = tuple[slice, slice, slice]

DTYPES = (
    "uint8",
    "uint16",
    "uint32",
    "int8",
    "int16",
    "int32",
    "float16",
    "float32",
    "float64",
)
"""Types of voxels that can be segmented."""
READABLE = (*DTYPES, "int64", "uint64")
"""Types that can be read: labels may have 64 bits."""

# A chunk of whole planes up to this size costs little, even if most of it is not wanted.
_SMALL_CHUNK = 4 * 2**20


class Source(Protocol):
    """An array in the file's axes, read by indexing: zarr, HDF5, memory map, TIFF pages."""

    def __getitem__(self, index: Any, /) -> Any:
        """Read a region."""
        ...


@dataclass(frozen=True)
class Image:
    """An image of which nothing has been read yet but its metadata.

    An image may be sent to another process: each process opens the file for itself, because
    processes that share a file handle share its position too.

    Attributes
    ----------
    address
        Path or URL, as given: all of it, with what it names inside a file or group.
    format
        "ome-zarr-0.4", "ome-zarr-0.5", "zarr", "n5", "tiff", "ome-tiff", "stack of tiff", "hdf5",
        "bdv-hdf5", "imaris" and others.
    layout
        Axes as found and as read, their lengths at this level, and the time point.
    channel_names
        One name a channel; "channel 1" and so on where the file has none.
    dtype
        Type of the voxels, in native byte order.
    voxel_size
        (z, y, x) in micrometres at this level, or None where the file does not say.
    selection
        What was chosen of the address: with it, it opens as the same image again.
    series
        Names of all images in the file, and which of them this is, from 0.
    levels_shape
        (Z, Y, X) of every level.
    chunks
        (Z, Y, X) of what is stored and decoded in one piece.
    is_lazy
        Whether a region can be read without decoding much more than it.
    translation
        (z, y, x) of the centre of the level's first voxel, in micrometres, or where the voxel size
        is not known in voxels of level 0; None where the file says nothing of it (see `origin`).
    check_files
        Opens all files of an image that has one for each plane, and raises InputError for one that
        does not fit; None where opening the image has checked all.
    touched
        Of an image with many files those that were read, chunks that are not there too; sources
        note them here. None where all are looked at (`files_read`).
    reader
        The module that reads the format, without ``terapose.``.
    known
        Its identity, where that was found when it was opened (`terapose.io.images.watch`).
    """

    address: str
    format: str
    layout: Layout
    channel_names: tuple[str, ...]
    dtype: np.dtype[Any]
    voxel_size: VoxelSize | None
    selection: Selection
    levels_shape: tuple[Shape, ...]
    chunks: Shape
    is_lazy: bool
    open_source: Callable[[], Source] = field(repr=False, compare=False)
    find_identity: Callable[[], Identity] = field(repr=False, compare=False)
    check_files: Callable[[], None] | None = field(default=None, repr=False, compare=False)
    translation: VoxelSize | None = None
    series: tuple[tuple[str, ...], int] = ((), 0)
    touched: set[str] | None = field(default=None, repr=False, compare=False)
    reader: str = field(default="", repr=False, compare=False)
    known: str = field(default="", repr=False, compare=False)

    @cached_property
    def region(self) -> Box:
        """The part of the level that this image is; all of it where none was chosen."""
        text = self.selection.region
        return parse_box(text, self.layout.shape) if text else Box.whole(self.layout.shape)

    @property
    def whole(self) -> Image:
        """The image without a region."""
        return replace(self, selection=replace(self.selection, region=""))

    @property
    def shape(self) -> Shape:
        """(Z, Y, X) at this level, or of the region; Z is 1 for a single plane."""
        return self.region.shape

    @property
    def axes(self) -> str:
        """Axes as found, upper case, in file order ("TCZYX")."""
        return self.layout.found

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.layout.length("C")

    @property
    def times(self) -> int:
        """Number of time points in the file."""
        return self.layout.length("T")

    @property
    def level(self) -> int:
        """Pyramid level, 0 the finest."""
        return self.selection.level

    @property
    def levels(self) -> int:
        """Number of pyramid levels."""
        return len(self.levels_shape)

    @property
    def factors(self) -> VoxelSize:
        """(z, y, x) voxels of level 0 that one of this level covers."""
        z, y, x = (
            factor_between(fine, coarse)
            for fine, coarse in zip(self.levels_shape[0], self.layout.shape, strict=True)
        )
        return z, y, x

    @property
    def origin(self) -> VoxelSize:
        """Where the centre of the first voxel (of the region) is, in the units of `translation`.

        Where the file does not say, level 0 begins at 0, and a voxel of a coarser level is in
        the middle of those that it covers.
        """
        size = self.voxel_size or self.factors
        first = self.translation or tuple(
            s * (f - 1) / (2 * f) for s, f in zip(size, self.factors, strict=True)
        )
        z, y, x = (t + n * s for t, n, s in zip(first, self.region.start, size, strict=True))
        return z, y, x

    @cached_property
    def identity(self) -> str:
        """Hex SHA-256 of what identifies the content (see `terapose.io.images.identity`).

        It is that of the level: of all files or chunks that can be read, and of the metadata.
        """
        return self.known or self.find_identity().digest

    def files_read(self) -> dict[str, State]:
        """What is known now of the files that this image was read from, by address."""
        if self.touched is None:
            return dict(self.find_identity().files)
        return states_of(set(self.touched))

    def read(self, region: Region, channel: int = 1) -> np.ndarray:
        """Read a region of one channel.

        Parameters
        ----------
        region
            Slices of step 1 in (Z, Y, X), within `shape`.
        channel
            Number of the channel, from 1.

        Returns
        -------
        numpy.ndarray
            (Z, Y, X) in the image's own dtype.

        Raises
        ------
        InputError
            If there is no such channel, or the region cannot be read or decoded.
        ValueError
            If the region is not within the image.
        """
        check_channels(self, [channel])
        wanted = _bounds(region, self.shape)
        shape = tuple(s.stop - s.start for s in wanted)
        if 0 in shape:
            return np.zeros(shape, self.dtype)
        z, y, x = (
            slice(s.start + first, s.stop + first)
            for s, first in zip(wanted, self.region.start, strict=True)
        )
        index = self.layout.index((z, y, x), channel - 1)
        try:
            block = np.asarray(self._source[index])
        except (MemoryError, InputError):
            raise
        except Exception as error:  # each codec raises a kind of its own
            pass_on(error)
            places = zip("zyx", wanted, strict=True)
            place = ", ".join(f"{axis} {s.start}:{s.stop}" for axis, s in places)
            raise InputError(
                f"the region {place} of channel {channel} cannot be read",
                where=self.address,
                got=f"{type(error).__name__}: {error}",
                remedy=addresses.remedy_of(
                    self.address, "the file is damaged or incomplete, write or copy it again"
                ),
            ) from error
        block = block.transpose(self.layout.order).reshape(shape)
        return np.ascontiguousarray(block, dtype=self.dtype)

    @cached_property
    def _opened(self) -> dict[int, Source]:
        return {}

    @property
    def _source(self) -> Source:
        process = os.getpid()
        opened = self._opened.get(process)
        if opened is None:
            # threads that come here together open it several times, which does no harm
            opened = self.open_source()
            self._opened.clear()
            self._opened[process] = opened
        return opened

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_opened"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def check_channels(image: Image, channels: Sequence[int]) -> None:
    """Raise InputError unless every channel number (from 1) is one of the image's.

    Parameters
    ----------
    image
        The image.
    channels
        Channel numbers, from 1.
    """
    wrong = [channel for channel in channels if not 1 <= channel <= image.channels]
    if wrong:
        raise InputError(
            "there is no such channel",
            where=image.address,
            got=", ".join(map(str, wrong)),
            allowed="1" if image.channels == 1 else f"1 to {image.channels}",
            remedy="channels are counted from 1",
        )


def check_type(
    address: str, dtype: np.dtype[Any], allowed: Sequence[str] = DTYPES, *, done: str = "segmented"
) -> None:
    """Refuse voxels of other types than those that are allowed.

    Parameters
    ----------
    address
        For the message.
    dtype
        Type of the voxels.
    allowed
        Names of types.
    done
        What cannot be done with other ones.

    Raises
    ------
    InputError
        If the type is another one.
    """
    if dtype.newbyteorder("=").name not in allowed:
        raise InputError(
            f"voxels of this type cannot be {done}",
            where=address,
            got=str(dtype),
            allowed=", ".join(allowed),
            remedy="convert the image to one of these types",
        )


def layout_of(
    address: str, axes: str, shape: Sequence[int], dtype: np.dtype[Any], chosen: Selection
) -> Layout:
    """Check the type of an array and find out what its axes mean (see `understand`).

    Raises
    ------
    InputError
        If the type is not a real number of 8 to 64 bits, or the axes are refused.
    """
    if dtype.kind != "b":  # masks may have it, which `open_image` decides
        check_type(address, dtype, READABLE, done="read")
    return understand(address, axes, shape, chosen)


def check_level(address: str, level: int, levels: int) -> None:
    """Raise InputError unless the pyramid has the level."""
    if not 0 <= level < levels:
        raise InputError(
            "there is no such pyramid level",
            where=address,
            got=level,
            allowed="0" if levels == 1 else f"0 to {levels - 1}",
            remedy="level 0 is the full resolution",
        )


def named_level(address: str, named: int, chosen: Selection) -> Selection:
    """The selection of an address that names a level itself.

    Raises
    ------
    InputError
        If another level was chosen.
    """
    if chosen.level not in (0, named):
        raise InputError(
            "the address names a level of the image already",
            where=address,
            got=f"level {chosen.level}",
            allowed=f"level {named}, or the address of the image",
            remedy="leave level out",
        )
    return replace(chosen, level=named)


def is_cut_in_planes(chunks: Shape, shape: Shape, dtype: np.dtype[Any]) -> bool:
    """Whether chunks of one or more whole planes make passes across Y and X decode everything."""
    spans = chunks[1] >= shape[1] and chunks[2] >= shape[2]
    return spans and math.prod(chunks) * dtype.itemsize > _SMALL_CHUNK


def names_of(found: Sequence[str | None], channels: int) -> tuple[str, ...]:
    """Name every channel, with "channel N" where the file has no name for it.

    What is not UTF-8 in a name becomes a question mark: tables and documents could not hold it.
    """
    padded = [*found, *[None] * channels][:channels]
    names = [name or f"channel {number}" for number, name in enumerate(padded, 1)]
    return tuple(map(in_utf8, names))


def _bounds(region: Region, shape: Shape) -> Region:
    bounds = []
    for part, size in zip(region, shape, strict=True):
        start = 0 if part.start is None else int(part.start)
        stop = size if part.stop is None else int(part.stop)
        if part.step not in (None, 1) or not 0 <= start <= stop <= size:
            raise ValueError(f"region {region} is not within the image's shape {shape}")
        bounds.append(slice(start, stop))
    z, y, x = bounds
    return z, y, x
