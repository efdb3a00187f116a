"""Formats of microscope makers, through the plug-ins of bioio (`pip install 'terapose[formats]'`).

The file is opened by the plug-in for its format, and read plane by plane, never as a whole. A plane
is what such readers decode in one piece, so large planes count as not lazy: the plan has them
copied once (**convert**). Axes, scenes, channels and voxel sizes are those that the plug-in finds.

Which formats these are is known by their first bytes and their names, so that a file is called by
its own name where the plug-in is missing.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from terapose.core.errors import InputError, pass_on
from terapose.core.selection import Selection
from terapose.io.images import address as addresses
from terapose.io.images.identity import files_identity
from terapose.io.images.model import Image, check_level, is_cut_in_planes, layout_of, names_of
from terapose.io.images.series import pick
from terapose.io.images.units import voxel_size_of

AXES = "TCZYX"
"""Axes that bioio gives to every image."""


class Format(NamedTuple):
    """A maker's format: its name, and the bioio plug-in that reads it."""

    name: str
    plugin: str


_CZI = Format("Zeiss CZI", "bioio-czi")
_LIF = Format("Leica LIF", "bioio-lif")
_ND2 = Format("Nikon ND2", "bioio-nd2")
_OTHER = "bioio-bioformats"

SUFFIXES: dict[str, Format] = {
    ".czi": _CZI,
    ".lif": _LIF,
    ".nd2": _ND2,
    ".dv": Format("DeltaVision", "bioio-dv"),
    ".r3d": Format("DeltaVision", "bioio-dv"),
    ".sldy": Format("3i SlideBook", "bioio-sldy"),
    ".oib": Format("Olympus OIB", _OTHER),
    ".oif": Format("Olympus OIF", _OTHER),
    ".oir": Format("Olympus OIR", _OTHER),
    ".vsi": Format("Olympus VSI", _OTHER),
    ".xlef": Format("Leica XLEF", _OTHER),
    ".mrxs": Format("3DHISTECH MRXS", _OTHER),
    ".zvi": Format("Zeiss ZVI", _OTHER),
    ".ics": Format("ICS", _OTHER),
    ".ids": Format("ICS", _OTHER),
}
"""Formats by the end of a file's name."""

SHIPPED = ("bioio-czi", "bioio-lif", "bioio-nd2")
"""Plug-ins that the extra ``formats`` brings; others are used where they are installed."""

_HEAD = 8  # bytes that are looked at
_MAGIC = {
    b"ZISRAWFILE": _CZI,
    b"\xda\xce\xbe\x0a": _ND2,
    b"\x70\x00\x00\x00": _LIF,
}


def find_format(place: str, head: bytes) -> Format | None:
    """The maker's format of a file, by its first bytes or its name; None where it is none.

    Parameters
    ----------
    place
        Path or URL.
    head
        Its first bytes.
    """
    for magic, known in _MAGIC.items():
        if head.startswith(magic[:_HEAD]):
            return known
    return SUFFIXES.get(PurePosixPath(place).suffix.lower())


def open_vendor(address: str, known: Format, chosen: Selection) -> Image:
    """Open a file of a maker's format (see `open_image`).

    Raises
    ------
    InputError
        If the plug-in is missing or cannot read the file, or what was chosen is not in it.
    """
    if addresses.is_url(address):
        raise addresses.local_only(known.name, address)
    opened = _opened(address, known)
    scenes = [str(name) for name in opened.scenes]
    number = pick(address, scenes, chosen.series)
    try:
        opened.set_scene(number)
        levels = tuple(opened.resolution_levels)
        check_level(address, chosen.level, len(levels))
        shapes = [_at(opened, level).shape for level in levels]
        opened.set_resolution_level(levels[chosen.level])
        axes = str(opened.dims.order)
        dtype = np.dtype(opened.dtype).newbyteorder("=")
        names = [str(name) for name in opened.channel_names or ()]
        sizes = opened.physical_pixel_sizes
    except InputError:
        raise
    except Exception as error:  # every plug-in has kinds of its own
        pass_on(error)
        raise _unreadable(address, known, error) from error
    if axes != AXES:
        raise InputError(
            "colour images and tiles of a mosaic that are not stitched cannot be read",
            where=address,
            got=f"axes {axes} {shapes[0]}",
            allowed=f"axes {AXES}",
            remedy="export it as an image with a channel for each colour, stitched",
        )
    finest = layout_of(address, AXES, shapes[0], dtype, chosen)
    layout = finest.at(shapes[chosen.level])
    chunks = (1, *layout.shape[1:])
    z, y, x = (float(size) if size else None for size in (sizes.Z, sizes.Y, sizes.X))
    return Image(
        address=address,
        format=known.name,
        layout=layout,
        channel_names=names_of(names, layout.length("C")),
        dtype=dtype,
        voxel_size=voxel_size_of(z, y, x, layout.shape[0]),
        selection=chosen,
        levels_shape=tuple(finest.at(shape).shape for shape in shapes),
        chunks=chunks,
        is_lazy=not is_cut_in_planes(chunks, layout.shape, dtype),
        open_source=partial(_open_source, address, known, number, levels[chosen.level]),
        find_identity=partial(files_identity, address),
        series=(tuple(scenes), number),
    )


class Planes:
    """A scene of a file, indexed as (T, C, Z, Y, X); decodes the planes it needs."""

    def __init__(self, opened: Any) -> None:
        self._array = opened.dask_data

    def __getitem__(self, index: tuple[int | slice, ...]) -> np.ndarray:
        """Read a region; a number in place of a slice drops its axis."""
        # threads of our own read ahead; the plug-ins' files have one position for all
        return np.asarray(self._array[index].compute(scheduler="synchronous"))


def _open_source(address: str, known: Format, scene: int, level: int) -> Planes:
    opened = _opened(address, known)
    opened.set_scene(scene)
    opened.set_resolution_level(level)
    return Planes(opened)


def _opened(address: str, known: Format) -> Any:
    """The file, opened by its plug-in, with planes as the pieces that are read."""
    try:
        from bioio import BioImage
        from bioio_base.exceptions import UnsupportedFileFormatError
    except ImportError as error:
        raise _missing(address, known) from error
    if not os.path.exists(address):
        raise InputError(
            "there is no such file",
            where=address,
            remedy="check the path, and that this machine sees it",
        )
    try:
        return BioImage(address, chunk_dims=["Y", "X"])
    except UnsupportedFileFormatError as error:
        if known.plugin not in str(error) and _has(known.plugin):
            raise _unreadable(address, known, error) from error
        raise _missing(address, known) from error
    except Exception as error:  # every plug-in has kinds of its own
        pass_on(error)
        raise _unreadable(address, known, error) from error


def _has(plugin: str) -> bool:
    from importlib.util import find_spec

    return find_spec(plugin.replace("-", "_")) is not None


def _at(opened: Any, level: int) -> Any:
    opened.set_resolution_level(level)
    return opened


def _missing(address: str, known: Format) -> InputError:
    shipped = known.plugin in SHIPPED
    return InputError(
        f"{known.name} is read by an optional package that is not installed",
        where=address,
        got=f"no {known.plugin}",
        remedy="install Terapose from its folder with pip install '/path/to/terapose[formats]'"
        if shipped
        else f"pip install bioio {known.plugin}, or convert the image with bioformats2raw",
    )


def _unreadable(address: str, known: Format, error: Exception) -> InputError:
    return InputError(
        f"the {known.name} file cannot be read",
        where=address,
        got=f"{type(error).__name__}: {error}".splitlines()[0][:300],
        remedy="the file is damaged or of another version: copy it again, or convert it with "
        "bioformats2raw",
    )
