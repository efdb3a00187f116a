"""How tifffile opens a TIFF file, and what it says of damage.

tifffile goes on with less than a file should hold and logs that it did. These messages are
collected: some of them mean that the file is damaged, or that its OME-XML does not fit.
"""

from __future__ import annotations

import logging
import math
import re
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from terapose.core.errors import InputError, pass_on
from terapose.io.images import address as addresses
from terapose.io.images.tiff_pictures import tiff_file

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

_HEADS = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")

# Bytes fetched beyond what is asked for: enough for a run of directories, not many tiles.
_AHEAD = 2**18
_FOLLOWED, _FOLLOWED_AFAR = 2**16, 1000
_MOST_TILE = 2**26
"""Directories that are followed to find a circle, on a disk and on a server."""

# What tifffile logs of a file that ends too soon. Its other warnings are about tags and
# descriptions that do no harm, or about planes of a set that are missing: those are counted.
_DAMAGED = re.compile(
    r"invalid page offset|corrupted file|[Mm]issing"
    r"|incompletely written|level \d+ is empty"
)
_PLANES = re.compile(r"Missing data are zeroed|is missing files")
_UNFIT = re.compile(
    r"OME series (expected|cannot|contains invalid)|ImageJ series metadata invalid|shaped series"
)
_heard = threading.local()
_SPEAKER = re.compile(r"^<tifffile[^>]*> ")


@dataclass(frozen=True)
class TiffAddress:
    """A file as tifffile is asked to open it.

    Attributes
    ----------
    path
        The file.
    omexml
        OME-XML to use instead; empty: its own, if it has any.
    plain
        Whether its OME-XML and what ImageJ wrote are left aside.
    """

    path: str
    omexml: str = ""
    plain: bool = False


def is_tiff(head: bytes) -> bool:
    """Whether the first bytes of a file are those of a TIFF or BigTIFF."""
    return head[:4] in _HEADS


@contextmanager
def said_by_tifffile() -> Iterator[list[str]]:
    """Collect what tifffile logs of a damaged file in this thread, in place of printing it."""
    said: list[str] = []
    listeners = _listeners()
    listeners.append(said)
    try:
        yield said
    finally:
        listeners.pop()


def _listeners() -> list[list[str]]:
    """Lists of this thread that take what tifffile says, inner ones last."""
    _hear()
    if not hasattr(_heard, "listeners"):
        _heard.listeners = []
    found: list[list[str]] = _heard.listeners
    return found


@cache
def _hear() -> None:
    """Filter what tifffile logs, once for the process: a logger is shared by all threads."""

    def take(record: logging.LogRecord) -> bool:
        listeners: list[list[str]] = getattr(_heard, "listeners", [])
        if record.levelno >= logging.WARNING:
            for said in listeners:
                said.append(record.getMessage())
        return not listeners

    logging.getLogger("tifffile").addFilter(take)


@contextmanager
def opened(file: TiffAddress) -> Iterator[TiffFile]:
    """Open a file and close it.

    Raises
    ------
    InputError
        If it is damaged: tifffile raises whatever the bytes lead to.
    """
    tiff = open_file(file)
    try:
        yield tiff
    except (InputError, MemoryError):
        raise
    except Exception as error:
        pass_on(error)
        if "incompatible keyframe" in str(error):
            raise InputError(
                "the first pages of the TIFF file have different sizes or types",
                where=file.path,
                got=str(error),
                remedy="write pages of one size to a file of their own",
            ) from error
        raise damaged(file.path, f"{type(error).__name__}: {error}") from error
    finally:
        tiff.close()


def open_file(file: TiffAddress) -> TiffFile:
    """Open a file.

    Raises
    ------
    InputError
        If it is damaged.
    """
    options: dict[str, Any] = {"omexml": file.omexml or None}
    if file.plain:
        options |= {"is_ome": False, "is_imagej": False, "is_shaped": False}
    with said_by_tifffile():
        try:
            if addresses.is_url(file.path):
                fs, path = addresses.filesystem(file.path)
                handle = fs.open(path, "rb", block_size=_AHEAD)
                tiff = tiff_file(handle, name=path, **options)
            else:
                tiff = tiff_file(file.path, **options)
            _refuse_circle(file.path, tiff)
            check_tiles(file.path, tiff.pages.first)
            return tiff
        except InputError:
            raise
        except Exception as error:  # struct, value, key and tifffile's own errors
            pass_on(error)
            raise damaged(file.path, f"{type(error).__name__}: {error}") from error


def check_tiles(address: str, page: TiffPage) -> None:
    """Refuse tiles that are far larger than the plane that they hold: each is decoded as a whole.

    Raises
    ------
    InputError
        If they are.
    """
    if not page.is_tiled or page.dtype is None:
        return
    tile, plane = (math.prod(s) * page.dtype.itemsize for s in (page.chunks, page.shape))
    if tile > max(_MOST_TILE, 16 * plane):
        shapes = (" x ".join(map(str, shape)) for shape in (page.chunks, page.shape))
        raise damaged(address, "tiles of {} pixels in planes of {}".format(*shapes))


def _refuse_circle(address: str, tiff: TiffFile) -> None:
    """Raise InputError where directories follow each other in a circle: tifffile goes on for ever.

    Only so many are looked at, fewer on a server: images of more of them have an index, mostly.
    """
    form, handle = tiff.tiff, tiff.filehandle
    if form.is_ndpi or not len(tiff.pages.first.tags):
        return
    offset, seen = tiff.pages.first.offset, set[int]()
    for _ in range(_FOLLOWED_AFAR if addresses.is_url(address) else _FOLLOWED):
        if offset in seen:
            raise damaged(address, "directories that follow each other in a circle")
        seen.add(offset)
        try:
            handle.seek(offset)
            (tags,) = struct.unpack(form.tagnoformat, handle.read(form.tagnosize))
            handle.seek(offset + form.tagnosize + tags * form.tagsize)
            (offset,) = struct.unpack(form.offsetformat, handle.read(form.offsetsize))
        except (struct.error, OSError, ValueError, OverflowError):
            return  # it ends too soon: tifffile says so
        if not offset:
            return


class DescriptionError(InputError):
    """What a file says of the planes cannot be used; with ``axes`` it is read as a plain TIFF.

    Parameters
    ----------
    address
        The file.
    subject
        What cannot be used ("its OME-XML").
    reason
        Why.
    remedy
        How it may be corrected, as the start of a sentence that goes on with "or give axes".
    """

    def __init__(
        self, address: str, subject: str, reason: str, remedy: str = "write the file again"
    ) -> None:
        self.subject = subject
        super().__init__(
            f"{subject} cannot be used",
            where=address,
            got=reason,
            remedy=f"{remedy}, or give axes: the file is then read as a plain TIFF, without its "
            "metadata",
        )


def damaged(address: str, reason: str) -> InputError:
    """A file that ends too soon or holds nonsense."""
    return InputError(
        "the TIFF file is damaged or incomplete",
        where=address,
        got=reason,
        remedy="write or copy the file again",
    )


def damage(complaints: Sequence[str]) -> str | None:
    """The first message of tifffile that means damage."""
    others = (said for said in complaints if not (_PLANES.search(said) or _UNFIT.search(said)))
    return next(filter(_DAMAGED.search, others), None)


def misfit(complaints: Sequence[str]) -> str | None:
    """The first message of tifffile that means a description of other planes than there are."""
    found = next(filter(_UNFIT.search, complaints), None)
    return found and _SPEAKER.sub("", found)
