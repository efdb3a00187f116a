"""Reads regions of a TIFF image, each layout of the file in its own way.

- One array without compression and without gaps is mapped into memory (`_mapped`).
- Planes without compression, wherever they are in one or many files, are mapped one by one
  (`MappedPlanes`): stacks of Micro-Manager, and what was written plane by plane.
- Of planes in compressed strips those strips are decoded that hold requested rows (`StripPlanes`).
- All else (tiles, samples side by side, sets of compressed files) is read through tifffile's Zarr
  store, chunk by chunk.

A strip spans the whole width, so passes across X would decode all of a file in strips: `is_lazy`
is false for them, and the image is converted once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from terapose.io.images import address as addresses
from terapose.io.images.axes import Shape
from terapose.io.images.model import Source
from terapose.io.images.tiff_files import TiffAddress, open_file, said_by_tifffile
from terapose.io.images.tiff_images import images_of

if TYPE_CHECKING:
    from tifffile import TiffFrame, TiffPage, TiffPageSeries

    Page = TiffPage | TiffFrame

Index = tuple[int | slice, ...]


def open_source(file: TiffAddress, number: int, level: int) -> Source:
    """Open a level of an image for reading.

    Parameters
    ----------
    file
        The file.
    number, level
        Which image of it (from 0), which level of the pyramid.
    """
    tiff = open_file(file)
    with said_by_tifffile():
        image = images_of(tiff)[number]
    series = image.levels[level]
    is_local = not addresses.is_url(file.path)
    if is_local and is_mapped(series):
        tiff.close()
        return _mapped(series)
    if is_local and has_plain_planes(series):
        tiff.close()
        return MappedPlanes(series)
    page = series.keyframe
    if not page.is_tiled and page.samplesperpixel == 1 and _is_of_planes(series):
        # threads share the position in the file
        tiff.filehandle.set_lock(True)
        return StripPlanes(series)
    import zarr

    # a level has to be named: the finest one alone stands for the whole pyramid
    return cast(Source, zarr.open_array(image.aszarr(level=level), mode="r"))


def is_lazy(file: TiffAddress, series: TiffPageSeries) -> bool:
    """Whether a region can be read without decoding much more than it."""
    if series.keyframe.is_tiled:
        return True
    return not addresses.is_url(file.path) and (is_mapped(series) or has_plain_planes(series))


def is_mapped(series: TiffPageSeries) -> bool:
    """Whether the image is one array without gaps in one file."""
    return series.dataoffset is not None and len(files_of(series)) == 1


def files_of(series: TiffPageSeries) -> list[str]:
    """The files that hold the planes, each once."""
    if not series.is_multifile:  # its other pages need not be read for this
        return [str(series.keyframe.parent.filehandle.path)]
    return sorted({str(page.parent.filehandle.path) for page in _pages(series)})


def chunks_of(series: TiffPageSeries, shape: Shape) -> Shape:
    """(Z, Y, X) of what is stored in one piece."""
    page = series.keyframe
    if page.is_tiled:
        return page.tiledepth, page.tilelength, page.tilewidth
    return 1, min(page.rowsperstrip, shape[1]), shape[2]


def leading(series: TiffPageSeries) -> tuple[int, ...] | None:
    """Lengths of the axes across pages; None where pages are not planes of the image."""
    own = series.keyframe.shape
    lead = series.shape[: series.ndim - len(own)]
    fits = series.shape[len(lead) :] == own and math.prod(lead) == len(series)
    return tuple(map(int, lead)) if fits else None


def has_plain_planes(series: TiffPageSeries) -> bool:
    """Whether pages are planes without compression, each in one piece.

    Each page is asked: files of a set may be stored in different ways.
    """
    return leading(series) is not None and all(map(_is_plain, _pages(series)))


class _Planes:
    """Pages indexed like the array that they make, one read at a time."""

    def __init__(self, series: TiffPageSeries) -> None:
        self._lead = leading(series) or ()
        self._dtype = series.dtype

    def __getitem__(self, index: Index) -> np.ndarray:
        """Read a region; a number in place of a slice drops its axis."""
        number, within = len(self._lead), index[len(self._lead) :]
        # numbers of the pages wanted, in an array of the result's leading axes
        every = np.arange(math.prod(self._lead)).reshape(self._lead)
        pages = np.asarray(every[index[:number]])
        planes = [self.read_plane(int(page), within) for page in pages.ravel()]
        return np.stack(planes).reshape(*pages.shape, *planes[0].shape)

    def read_plane(self, number: int, index: Index) -> np.ndarray:
        """A region of one page."""
        raise NotImplementedError


class MappedPlanes(_Planes):
    """Planes without compression, mapped into memory one by one."""

    def __init__(self, series: TiffPageSeries) -> None:
        super().__init__(series)
        self._shape = series.keyframe.shape
        self._places = [
            None
            if page is None
            else (
                str(page.parent.filehandle.path),
                _stored_type(page, series),
                int(page.dataoffsets[0]),
            )
            for page in series
        ]

    def read_plane(self, number: int, index: Index) -> np.ndarray:
        """A region of one page."""
        place = self._places[number]
        if place is None:
            return np.zeros(self._shape, self._dtype)[index]
        path, stored, offset = place
        plane = np.array(np.memmap(path, stored, "r", offset, self._shape)[index])
        return plane.astype(self._dtype, copy=False)


class StripPlanes(_Planes):
    """Planes in strips; decodes only the strips that it needs."""

    def __init__(self, series: TiffPageSeries) -> None:
        super().__init__(series)
        self._series = series

    def read_plane(self, number: int, index: Index) -> np.ndarray:
        """A region of one page."""
        rows, columns = (slice(n, n + 1) if isinstance(n, int) else n for n in index)
        out = np.zeros((rows.stop - rows.start, columns.stop - columns.start), self._dtype)
        for first, last, part in self._strips(number, rows):
            out[first - rows.start : last - rows.start] = part[:, columns]
        return out[tuple(0 if isinstance(n, int) else slice(None) for n in index)]

    def _strips(self, number: int, rows: slice) -> Iterator[tuple[int, int, np.ndarray]]:
        """Decoded strips, cut to the requested rows: first row, last row and pixels."""
        page = self._series[number]
        if page is None or rows.start == rows.stop:
            return
        keyframe = self._series.keyframe
        high = keyframe.rowsperstrip
        strips = range(rows.start // high, -(-rows.stop // high))
        handle = page.parent.filehandle
        segments = handle.read_segments(
            page.dataoffsets[strips.start : strips.stop],
            page.databytecounts[strips.start : strips.stop],
            indices=strips,
            lock=handle.lock,
            flat=True,
        )
        shared = {"jpegtables": page.jpegtables, "jpegheader": keyframe.jpegheader}
        for encoded, strip in cast("Iterator[tuple[bytes | None, int]]", segments):
            data, _, _ = keyframe.decode(encoded, strip, **shared)
            if data is None:  # a strip of length 0: a sparse file, zeros
                continue
            top = strip * high
            first, last = max(rows.start, top), min(rows.stop, top + high)
            plane = data.reshape(-1, keyframe.imagewidth)
            yield first, last, plane[first - top : last - top]


def _mapped(series: TiffPageSeries) -> Source:
    path, offset = files_of(series)[0], int(series.dataoffset or 0)
    shape = tuple(map(int, series.shape))
    stored = _stored_type(series.keyframe, series)
    return cast(Source, np.memmap(path, stored, "r", offset, shape))


def _stored_type(page: Page, series: TiffPageSeries) -> np.dtype[Any]:
    """Type of a page's bytes: each file of a set has its own byte order."""
    return np.dtype(page.parent.byteorder + series.dtype.char)


def _pages(series: TiffPageSeries) -> list[Page]:
    return [page for page in series if page is not None]


def _is_of_planes(series: TiffPageSeries) -> bool:
    """Whether each page is one plane of one file."""
    page = series.keyframe
    return leading(series) is not None and page.imagedepth == 1 and len(files_of(series)) == 1


def _is_plain(page: Page) -> bool:
    """Whether a page is stored without compression, in one piece."""
    if page.keyframe is None or not page.keyframe.is_final:
        return False
    offsets, counts = page.dataoffsets, page.databytecounts
    if len(offsets) == 1:
        return counts[0] >= page.nbytes
    starts, lengths = np.asarray(offsets), np.asarray(counts)
    return bool((starts[1:] == starts[:-1] + lengths[:-1]).all()) and sum(counts) >= page.nbytes
