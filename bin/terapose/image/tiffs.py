"""TIFF, BigTIFF, ImageJ and OME-TIFF, read by region.

How a region is read depends on how the file is laid out: tiles are decoded one by one, one
contiguous uncompressed array is mapped into memory, and of planes in strips only those strips
are decoded that hold wanted rows (`is_lazy` is False: a strip spans the whole width).

Of several images in one file the one that ``series`` names is taken; without it the largest, if
the others are clearly smaller (thumbnail, label, macro).
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from terapose.errors import InputError
from terapose.image import address as addresses
from terapose.image.axes import Shape
from terapose.image.model import Image, Source, check_level, layout_of, names_of
from terapose.image.series import find_series, listed
from terapose.image.tiff_metadata import channel_names, voxel_size
from terapose.selection import Selection

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPageSeries

_COMPARABLE = 0.25

# Bytes fetched beyond what is asked for: enough for a run of directories, not many tiles.
_AHEAD = 2**18
_COLOUR = ("RGB", "YCBCR", "PALETTE", "CIELAB", "SEPARATED")

# What tifffile logs where it goes on with less than the file should hold. Its other warnings are
# about tags and descriptions that do no harm.
_MISSING = re.compile(
    r"invalid page offset|corrupted file|[Mm]issing|expected \d+ frames|index out of range"
    r"|incompletely written|level \d+ is empty|failed to reshape"
)


def open_tiff(address: str, chosen: Selection) -> Image:
    """Open a TIFF file (see `open_image`)."""
    with _said_by_tifffile() as complaints, _opened(address) as file:
        try:
            return _describe(address, file, chosen, complaints)
        except InputError:
            raise
        except Exception as error:  # tifffile raises whatever the damaged bytes lead to
            raise _damaged(address, f"{type(error).__name__}: {error}") from error


def _describe(address: str, file: TiffFile, chosen: Selection, complaints: list[str]) -> Image:
    number = _choose(address, file, chosen.series)
    series = file.series[number]
    pyramid = list(series.levels)
    check_level(address, chosen.level, len(pyramid))
    level = pyramid[chosen.level]
    _check_complete(address, file, level, complaints)
    _check_compression(address, level)
    _refuse_colour(address, level, has_display_colours=file.is_imagej or file.is_ome)
    finest = layout_of(address, series.axes, pyramid[0].shape, level.dtype, chosen)
    layout = finest.at(level.shape)
    return Image(
        address=address,
        format="ome-tiff" if series.kind == "ome" else "tiff",
        layout=layout,
        channel_names=names_of(channel_names(file, number), layout.length("C")),
        dtype=level.dtype.newbyteorder("="),
        voxel_size=voxel_size(file, number, finest.shape, layout.shape),
        selection=chosen,
        levels_shape=tuple(finest.at(entry.shape).shape for entry in pyramid),
        chunks=_chunks(level, layout.shape),
        is_lazy=level.keyframe.is_tiled or _is_mappable(address, level),
        open_source=partial(_open_source, address, number, chosen.level),
        find_identity=partial(addresses.file_identity, address, *_files(level)),
        series=(tuple(str(entry.name or "") for entry in file.series), number),
    )


class StripPages:
    """Planes of strips, indexed like the array they make; decodes only the strips it needs."""

    def __init__(self, series: TiffPageSeries) -> None:
        self._series = series
        self._lead = series.shape[:-2]

    def __getitem__(self, index: tuple[int | slice, ...]) -> np.ndarray:
        """Read a region; a number in place of a slice drops its axis."""
        rows, columns = (slice(n, n + 1) if isinstance(n, int) else n for n in index[-2:])
        # Numbers of the pages wanted, in an array of the result's leading axes.
        count = math.prod(self._lead)
        pages = np.asarray(np.arange(count).reshape(self._lead)[index[:-2]])
        height, width = rows.stop - rows.start, columns.stop - columns.start
        block = np.zeros((pages.size, height, width), self._series.dtype)
        for plane, page in zip(block, pages.ravel(), strict=True):
            self._read_plane(int(page), rows, columns, plane)
        kept = [slice(None)] * pages.ndim
        within = (0 if isinstance(n, int) else slice(None) for n in index[-2:])
        return block.reshape((*pages.shape, height, width))[(*kept, *within)]

    def _read_plane(self, number: int, rows: slice, columns: slice, out: np.ndarray) -> None:
        page = self._series.pages[number]
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
        for encoded, strip in cast("Iterator[tuple[bytes | None, int]]", segments):
            data, _, _ = keyframe.decode(encoded, strip)
            if data is None:  # a strip of length 0: a sparse file, zeros
                continue
            top = strip * high
            first, last = max(rows.start, top), min(rows.stop, top + high)
            part = data.reshape(-1, keyframe.imagewidth)[first - top : last - top, columns]
            out[first - rows.start : last - rows.start] = part


@contextmanager
def _said_by_tifffile() -> Iterator[list[str]]:
    """Collect what tifffile logs of a damaged file, in place of printing it."""
    logger = logging.getLogger("tifffile")
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield said
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate


@contextmanager
def _opened(address: str) -> Iterator[TiffFile]:
    file = _open_file(address)
    try:
        yield file
    finally:
        file.close()


def _open_file(address: str) -> TiffFile:
    import tifffile

    with _said_by_tifffile():
        try:
            if not addresses.is_url(address):
                return tifffile.TiffFile(address)
            fs, path = addresses.filesystem(address)
            return tifffile.TiffFile(fs.open(path, "rb", block_size=_AHEAD), name=path)
        except Exception as error:  # struct, value, key and tifffile's own errors
            raise _damaged(address, f"{type(error).__name__}: {error}") from error


def _open_source(address: str, series: int, level: int) -> Source:
    file = _open_file(address)
    chosen = file.series[series].levels[level]
    page = chosen.keyframe
    if _is_mappable(address, chosen):
        file.close()
        return _mapped(address, chosen, file.byteorder)
    in_planes = len(chosen.pages) == math.prod(chosen.shape[:-2]) and not chosen.is_multifile
    if not page.is_tiled and in_planes and page.samplesperpixel == 1 and page.imagedepth == 1:
        # threads share the position in the file
        file.filehandle.set_lock(True)
        return StripPages(chosen)
    import zarr

    # a level has to be named: the finest one alone stands for the whole pyramid
    store = file.series[series].aszarr(level=level)
    return cast(Source, zarr.open_array(store, mode="r"))


def _mapped(address: str, series: TiffPageSeries, byteorder: str) -> Source:
    dtype: np.dtype[Any] = np.dtype(byteorder + series.dtype.char)
    offset = int(series.dataoffset or 0)
    shape = tuple(map(int, series.shape))
    return cast(Source, np.memmap(address, dtype, mode="r", offset=offset, shape=shape))


def _is_mappable(address: str, series: TiffPageSeries) -> bool:
    return series.dataoffset is not None and not addresses.is_url(address)


def _choose(address: str, file: TiffFile, wanted: str) -> int:
    """The number of the image that is wanted; else of the largest, if others are much smaller."""
    if not file.series:
        raise _damaged(address, "no image in it")
    if wanted:
        return find_series(address, [str(series.name or "") for series in file.series], wanted)
    sizes = [series.size for series in file.series]
    number = sizes.index(max(sizes))
    if sum(size > _COMPARABLE * sizes[number] for size in sizes) > 1:
        raise InputError(
            "the file holds several images",
            where=address,
            got=listed([_shown(series) for series in file.series]),
            allowed="one image (and smaller ones, such as a thumbnail)",
            remedy="choose one by its number or name (series)",
        )
    return number


def _shown(series: TiffPageSeries) -> str:
    shape = " x ".join(map(str, series.shape))
    return f"{series.name}: {series.axes} {shape}" if series.name else f"{series.axes} {shape}"


def _refuse_colour(address: str, series: TiffPageSeries, *, has_display_colours: bool) -> None:
    """Refuse colours, but for tags that only say how to show the values (such as ImageJ's LUT)."""
    photometric = getattr(series.keyframe.photometric, "name", "")
    if photometric == "PALETTE" and has_display_colours:
        return
    # three or four planes are often tagged RGB by who wrote them; axes say what they are
    if photometric == "RGB" and "S" not in series.axes:
        return
    if photometric in _COLOUR:
        raise InputError(
            "this is a colour image, whose colours are no channels of their own",
            where=address,
            got=f"{photometric} {series.axes} {series.shape}",
            allowed="grey channels of one value a voxel",
            remedy="split the colours into channels (in ImageJ: Image > Color > Split Channels); "
            "planes that are no colours have to be written as such (photometric minisblack)",
        )


def _check_complete(
    address: str, file: TiffFile, series: TiffPageSeries, complaints: list[str]
) -> None:
    """Refuse a file that ends before the data of the image does."""
    if series.dataoffset is not None:
        end = int(series.dataoffset) + int(series.nbytes)
    else:
        page = next(page for page in reversed(series.pages) if page is not None)
        ends = (a + b for a, b in zip(page.dataoffsets, page.databytecounts, strict=True))
        end = max(ends, default=0)
    size = int(file.filehandle.size)
    if end > size and not series.is_multifile:
        raise _damaged(address, f"{size} bytes where its image ends at byte {end}")
    if file.is_ome and series.kind != "ome":
        raise _damaged(address, "OME-XML that does not fit its pages")
    missing = next((said for said in complaints if _MISSING.search(said)), None)
    if missing:
        raise _damaged(address, missing)


def _check_compression(address: str, series: TiffPageSeries) -> None:
    """Refuse what nothing here can decode, before anything is computed."""
    from tifffile import TIFF

    compression = series.keyframe.compression
    try:
        TIFF.DECOMPRESSORS[compression]
    except (KeyError, ValueError, ImportError) as error:
        raise InputError(
            "is compressed in a way that cannot be read",
            where=address,
            got=f"compression {int(compression)} {getattr(compression, 'name', '')}".rstrip(),
            allowed="none, deflate, LZW, Zstandard, JPEG 2000 and others that imagecodecs decodes",
            remedy="write it again with one of these",
        ) from error


def _damaged(address: str, reason: str) -> InputError:
    return InputError(
        "the TIFF file is damaged or incomplete",
        where=address,
        got=reason,
        remedy="write or copy the file again",
    )


def _files(series: TiffPageSeries) -> list[str]:
    """The other files of an OME-TIFF that is spread over several; none for the usual one."""
    if not series.is_multifile:
        return []
    return sorted({page.parent.filehandle.path for page in series.pages if page is not None})


def _chunks(series: TiffPageSeries, shape: Shape) -> Shape:
    page = series.keyframe
    if page.is_tiled:
        return page.tiledepth, page.tilelength, page.tilewidth
    return 1, min(page.rowsperstrip, shape[1]), shape[2]
