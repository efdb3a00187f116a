"""One file of a stack: TIFF, PNG or JPEG 2000, with one plane, or with the planes of a volume.

A file is opened to be read and closed at once: a stack may have more files than a process may
have open. OME-XML and the indices of microscopes are left aside: they may describe the whole set,
and the stack is known by the names of the files. Only what the pages of a file are, if there are
several, is taken from its OME-XML: channels or times are no planes.
"""

from __future__ import annotations

import os
import struct
from typing import Any, NamedTuple

import numpy as np

from terapose.core.errors import InputError, pass_on
from terapose.io.images import ome_xml
from terapose.io.images.joined import Index
from terapose.io.images.ome_sets import description_of
from terapose.io.images.pictures import PNG, jpeg_2000_header
from terapose.io.images.tiff_checks import check_stored
from terapose.io.images.tiff_files import damage, damaged, is_tiff, said_by_tifffile
from terapose.io.images.tiff_pictures import tiff_file

SUFFIXES = (".tif", ".tiff", ".btf", ".png", ".jp2", ".j2k", ".jpx", ".jpf", ".j2c", ".jpc")
_JP2 = (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")
_HEAD = 4096
_UNKNOWN = "QYX"
_PLANE = ("YX", "ZYX", _UNKNOWN)


class Header(NamedTuple):
    """What a file holds.

    Attributes
    ----------
    shape
        (Y, X) of a plane, (Z, Y, X) of a volume.
    dtype
        Type of the voxels, in native byte order.
    kind
        "tiff", "png" or "jpeg2000".
    path
        The file.
    axes
        What the file says of the axes: "QYX" for planes of which it says nothing. There may be more
        than of ``shape``, where they are no volume.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    kind: str
    path: str
    axes: str = "YX"


def header_of(path: str) -> Header:
    """Find out what a file holds without decoding it.

    Raises
    ------
    InputError
        If it is no TIFF, PNG or JPEG 2000, is damaged, or holds colours or several images.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD)
        if is_tiff(head):
            return _of_tiff(path)
        if head.startswith(PNG):
            return _of_png(path, head)
        if head.startswith(_JP2):
            return _of_jpeg2000(path, head)
    except InputError:
        raise
    except Exception as error:  # tifffile and struct raise whatever the bytes lead to
        pass_on(error)
        raise _damaged(path, error) from error
    raise InputError(
        "cannot be part of a stack",
        where=path,
        got=f"a file that starts with {head[:8]!r}" if head else "an empty file",
        allowed="TIFF, PNG, JPEG 2000",
        remedy="name only the planes, with a pattern such as img_*.tif",
    )


def read(path: str, expected: Header, index: Index) -> np.ndarray[Any, Any]:
    """Read a region of a file.

    Parameters
    ----------
    path
        The file.
    expected
        What the other files of the stack hold.
    index
        Region in its axes, Y and X or Z, Y and X.

    Raises
    ------
    InputError
        If it holds something else, or is damaged.
    """
    try:
        check_alike(header_of(path), expected)
        if expected.kind == "tiff":
            return _read_tiff(path, index)
        import imagecodecs

        decode = imagecodecs.png_decode if expected.kind == "png" else imagecodecs.jpeg2k_decode
        with open(path, "rb") as file:
            content = file.read()
        # a decoder that is given where to write takes no image of another shape
        decoded = np.asarray(decode(content, out=np.empty(expected.shape, expected.dtype)))
    except (InputError, MemoryError):
        raise
    except Exception as error:  # each codec raises a kind of its own
        pass_on(error)
        raise _damaged(path, error) from error
    check_alike(Header(decoded.shape, decoded.dtype, expected.kind, path), expected)
    block: np.ndarray[Any, Any] = decoded[index]
    return block


def check_axes(header: Header, *, are_given: bool) -> Header:
    """Refuse a file that holds channels or times, unless the user says what its axes are.

    Parameters
    ----------
    header
        What the first file of a stack holds.
    are_given
        Whether the user says it.

    Returns
    -------
    Header
        What all files have to hold.
    """
    if are_given:
        return header._replace(axes="")
    if header.axes not in _PLANE:
        raise InputError(
            "holds more than a plane, or the planes of a volume",
            where=header.path,
            got=_shown(header),
            allowed="Y, X or Z, Y, X",
            remedy="open it without stack, write a file for each plane, or give axes, if they are "
            "other ones",
        )
    return header


def check_alike(found: Header, expected: Header) -> None:
    """Refuse a file that holds something else than the first of the stack."""
    axes = {found.axes, expected.axes}
    if found[:3] == expected[:3] and (
        len(axes) == 1 or not expected.axes or axes == {"ZYX", _UNKNOWN}
    ):
        return
    raise InputError(
        f"has another shape or type than {os.path.basename(expected.path)}",
        where=found.path,
        got=_shown(found),
        allowed=_shown(expected),
        remedy="write it again, or name only files that belong together",
    )


def _shown(header: Header) -> str:
    is_plain = header.axes in ("", *_PLANE)
    axes = "" if is_plain else f", axes {header.axes}"
    return f"{' x '.join(map(str, header.shape))} {header.dtype} {header.kind}{axes}"


def _of_tiff(path: str) -> Header:
    with said_by_tifffile() as complaints, _tiff(path) as file:
        image = _only_image(path, file)
        if reason := damage(complaints):
            raise damaged(path, reason)
        kept = [(a, n) for a, n in zip(image.axes, image.shape, strict=True) if n > 1 or a in "YX"]
        axes = "".join(a for a, _ in kept)
        photometric = getattr(image.keyframe.photometric, "name", "")
        if "S" in axes or (photometric == "PALETTE" and not file.is_imagej):
            raise _colour(path, f"{photometric} {image.axes} {image.shape}")
        if axes[0] in "QI" and len(axes) > 2:
            axes = _said_of_pages(path, file, len(image)) + axes[1:]
        shape = tuple(n for _, n in kept)
        return Header(shape, image.dtype.newbyteorder("="), "tiff", path, axes)


def _said_of_pages(path: str, file: Any, pages: int) -> str:
    """What OME-XML says that the pages of a file are: "Z", other axes, or "Q" if it says nothing.

    It may describe a whole set. Then they are planes if they are as many as its planes.
    """
    page = file.pages.first
    text = description_of(page)
    if text is None:
        return "U" if page.is_micromanager else "Q"
    try:
        root = ome_xml.parse(path, text)
        if ome_xml.metadata_file(root) is not None:
            return "Q"
        (image,) = ome_xml.images_of(path, root)
    except ValueError:  # more images than one, or of another form
        return "U"
    lengths = dict(zip(image.axes, image.shape, strict=True))
    across = image.axes.replace("Y", "").replace("X", "")
    is_volume = len(image.files) > 1 and lengths.get("Z") == pages
    return "Z" if is_volume else across or "U"


def _read_tiff(path: str, index: Index) -> np.ndarray[Any, Any]:
    import zarr

    with said_by_tifffile(), _tiff(path) as file:
        image = _only_image(path, file)
        # axes of length 1 that the header leaves out
        places = iter(index)
        full = tuple(
            next(places) if n > 1 or a in "YX" else 0
            for a, n in zip(image.axes, image.shape, strict=True)
        )
        block = np.asarray(zarr.open_array(image.aszarr(level=0), mode="r")[full])
        return block.astype(image.dtype.newbyteorder("="), copy=False)


def _tiff(path: str) -> Any:
    return tiff_file(path, is_ome=False, is_mmstack=False, is_ndtiff=False)


def _only_image(path: str, file: Any) -> Any:
    images = file.series
    if not images:
        raise ValueError("no image in it")
    if len(images) != 1:
        raise InputError(
            "holds several images",
            where=path,
            got=", ".join(f"{image.axes} {image.shape}" for image in images),
            allowed="one image in each file of a stack",
            remedy="open it without stack",
        )
    check_stored(path, images[0])
    return images[0]


def _of_png(path: str, head: bytes) -> Header:
    width, height, bits, colour = struct.unpack_from(">IIBB", head, 16)
    if colour != 0:
        raise _colour(path, f"a PNG of colour type {colour}")
    if bits not in (8, 16):
        raise _bits(path, f"{bits} bits")
    return Header((height, width), np.dtype(f"uint{bits}"), "png", path)


def _of_jpeg2000(path: str, head: bytes) -> Header:
    found = jpeg_2000_header(head)
    if found.components != 1:
        raise _colour(path, f"{found.components} components")
    if found.bits not in (8, 16) or found.signed:
        raise _bits(path, f"{found.bits} bits{', signed' if found.signed else ''}")
    return Header((found.rows, found.columns), np.dtype(f"uint{found.bits}"), "jpeg2000", path)


def _colour(path: str, got: str) -> InputError:
    return InputError(
        "contains colours, which are not separate channels",
        where=path,
        got=got,
        allowed="one grey value per pixel",
        remedy="write each colour to a separate file (and name it with {c})",
    )


def _bits(path: str, got: str) -> InputError:
    return InputError(
        "has pixels of a type that cannot be read",
        where=path,
        got=got,
        allowed="8 or 16 bits",
        remedy="write it again, for example as TIFF",
    )


def _damaged(path: str, error: Exception) -> InputError:
    return InputError(
        "a file of the stack is damaged or incomplete",
        where=path,
        got=f"{type(error).__name__}: {error}",
        remedy="write or copy it again",
    )
