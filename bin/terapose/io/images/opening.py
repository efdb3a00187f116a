"""Finds out what an address holds and opens it with the reader of that format."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from functools import partial

from terapose.core.errors import InputError
from terapose.core.region import box_text, parse_box
from terapose.core.selection import Selection
from terapose.io.images import address as addresses
from terapose.io.images import (
    bdv_xml,
    folders,
    hdf5,
    micromanager,
    n5,
    stacks,
    tiffs,
    vendors,
    zarr_nodes,
    zarrs,
    zips,
)
from terapose.io.images.model import READABLE, Image, check_type
from terapose.io.images.ome_xml import find_ome_xml
from terapose.io.images.series import find_series
from terapose.io.images.tiff_files import is_tiff

_XML = (b"<", b"\xef\xbb\xbf<")
_ROOT_WITHIN = 4096
_FORMATS = (
    "OME-Zarr, plain Zarr (folders and .zip), N5, TIFF, OME-TIFF, HDF5; CZI, LIF, ND2 and others "
    "with terapose[formats]"
)


def open_image(
    address: str | os.PathLike[str],
    *,
    level: int = 0,
    axes: str = "",
    series: str = "",
    time: int | None = None,
    stack: bool = False,
    region: str = "",
    voxel_size: tuple[float, float, float] | None = None,
    boolean: bool = False,
) -> Image:
    """Open an image without reading its pixels.

    Parameters
    ----------
    address
        A local path, or a URL that fsspec reads (s3://, gs://, http://, https://, file://). The
        path goes on inside a Zarr group, ZIP archive, N5 container or HDF5 file to choose an image
        there: `plate.zarr/A/1/0`, `image.zarr.zip/0`, `volume.n5/c0`, `volume.h5/raw`
        (without a name, an HDF5 file's `raw` or its only image is taken).
    level
        Pyramid level, 0 the finest.
    axes
        What the axes of the array are, in the order of the file (letters of T, C, Z, Y, X), where
        the file does not say it or is wrong; those of length 1 may be left out, all together.
    series
        Which image of a file with several, by its number from 1 or its name.
    time
        Which time point, from 1, of several.
    stack
        Whether the address is a folder with a file for each plane, or a pattern for such files
        (`img_*.tif`, or with names for axes `img_{z}_{c}.tif`).
    region
        Part of the image, as ``z0:z1,y0:y1,x0:x1`` in voxels of the level; what is returned is
        that part, with its own shape, and its place as origin.
    voxel_size
        (z, y, x) in micrometres at that level; overrides what the file says. A translation that
        the file gives in micrometres stays as it is, one in voxels the same in voxels.
    boolean
        Whether true and false are read, too: a mask.

    Returns
    -------
    Image
        Shape, channels, type, voxel size, and a `read` that gives any region as (Z, Y, X).

    Raises
    ------
    InputError
        If there is nothing at the address, it is no image, it is damaged, or it is one that cannot
        be segmented (colour, complex or boolean voxels, an empty axis), or if it does not say
        what its axes are, which of several images is meant, or which time point.
    """
    if not os.fspath(address):
        raise InputError("no image is named", where="image", remedy="give a path or a URL")
    place = addresses.localise(os.fspath(address))
    chosen = Selection(level, axes, series, time, stack=stack)
    image = _open(place, chosen)
    if not boolean:
        check_type(place, image.dtype, READABLE, done="read")
    if series and not image.series[0]:  # a format of one image
        find_series(place, [""], series)
    if region:
        box = parse_box(region, image.shape)
        image = replace(image, selection=replace(image.selection, region=box_text(box)))
    if voxel_size is None:
        return image
    finest = _open(place, replace(image.selection, level=0, region="")) if image.level else image
    return _with_voxel_size(image, finest, voxel_size)


def _with_voxel_size(image: Image, finest: Image, voxel_size: tuple[float, float, float]) -> Image:
    """The image with another voxel size; level 0 stays where it is, and levels over one another."""
    if len(voxel_size) != 3 or not all(math.isfinite(v) and v > 0 for v in voxel_size):
        raise InputError(
            "a voxel size has three positive lengths in micrometres, z, y and x",
            where="voxel_size",
            got=voxel_size,
            remedy="for example 2.0, 0.5, 0.5",
        )
    z, y, x = (float(v) for v in voxel_size)
    if image.translation is None:
        return replace(image, voxel_size=(z, y, x))
    before = image.voxel_size or image.factors
    # what is known in voxels only is so many voxels
    place = (finest.translation if image.voxel_size else None) or (0.0, 0.0, 0.0)
    a, b, c = (
        first + (t - first) * new / old
        for first, t, new, old in zip(place, image.translation, (z, y, x), before, strict=True)
    )
    return replace(image, voxel_size=(z, y, x), translation=(a, b, c))


def _open(place: str, chosen: Selection) -> Image:
    opener = _opener(place, chosen)
    return replace(opener(), reader=opener.func.__module__.removeprefix("terapose."))


def _opener(place: str, chosen: Selection) -> partial[Image]:
    """What opens an address: a function of the module that reads the format."""
    if chosen.stack:
        return partial(stacks.open_stack, place, chosen)
    documents = zarr_nodes.documents(place)
    if documents:
        return partial(zarrs.open_zarr, place, documents, chosen)
    if zips.split(place):
        raise zips.no_node(place)
    container = n5.container_of(place)
    if container:
        return partial(n5.open_n5, place, container, chosen)
    head = addresses.read_bytes(place, 0, 8)
    if head is None and micromanager.is_ndtiff_folder(place):
        return partial(tiffs.open_ndtiff, place, chosen)
    if head is None:
        file, inside = hdf5.split(place)
        if inside:
            return partial(hdf5.open_hdf5, place, file, inside, chosen)
        raise _nothing(place)
    maker = vendors.find_format(place, head)
    if maker is not None:
        return partial(vendors.open_vendor, place, maker, chosen)
    if is_tiff(head):
        return partial(tiffs.open_tiff, place, chosen)
    if head.startswith(_XML):
        start = addresses.read_bytes(place, 0, _ROOT_WITHIN) or b""
        if find_ome_xml(start.decode("utf-8", "replace")) is not None:
            return partial(tiffs.open_companion, place, chosen)
        if bdv_xml.is_bdv_xml(start):
            is_n5 = not addresses.is_url(place) and bdv_xml.pixels_of(place)[0] == bdv_xml.N5
            open_bdv_xml = n5.open_bdv_xml if is_n5 else hdf5.open_bdv_xml
            return partial(open_bdv_xml, place, chosen)
    if head[:4] == hdf5.SIGNATURE:
        return partial(hdf5.open_hdf5, place, place, "", chosen)
    raise InputError(
        "the file is empty" if not head else "this is not an image that can be read",
        where=place,
        got=None if not head else f"a file that starts with {head!r}",
        allowed=_FORMATS,
        remedy="convert it, for example with bioformats2raw",
    )


def _nothing(place: str) -> InputError:
    several = None if addresses.is_url(place) else folders.not_one_image(place)
    return several or InputError(
        "there is no such file", where=place, remedy="check the path, and that this machine sees it"
    )
