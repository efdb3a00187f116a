"""OME-XML and OME-TIFFs in many files, written by hand as microscopes write them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

_SPACE = 'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'
_UUID = "urn:uuid:11111111-0000-0000-0000-00000000000{}"
SIZES = 'PhysicalSizeX="0.25" PhysicalSizeY="0.5" PhysicalSizeZ="2"'
VOXEL_SIZE = (2.0, 0.5, 0.25)


def identifier(number: int) -> str:
    """Identifier of a file."""
    return _UUID.format(number)


def document(*images: str, uuid: str = "", more: str = "") -> str:
    """A whole document."""
    own = f' UUID="{uuid}"' if uuid else ""
    body = "".join(images) + more
    return f'<?xml version="1.0" encoding="UTF-8"?><OME {_SPACE}{own}>{body}</OME>'


def pointer(file: str, uuid: str, to: str) -> str:
    """A document that says where the metadata is."""
    return document(uuid=uuid, more=f'<BinaryOnly MetadataFile="{file}" UUID="{to}"/>')


def image(
    array: np.ndarray,
    planes: str,
    *,
    name: str = "",
    order: str = "XYZCT",
    channels: Sequence[str] = (),
    sizes: str = SIZES,
    number: int = 0,
    samples: int = 1,
) -> str:
    """An image.

    Parameters
    ----------
    array
        (T, C, Z, Y, X).
    planes
        Elements TiffData.
    """
    t, c, z, y, x = array.shape
    told = "".join(
        f'<Channel ID="Channel:{number}:{n}" SamplesPerPixel="{samples}"'
        + (f' Name="{channels[n]}"/>' if channels else "/>")
        for n in range(c // samples)
    )
    called = f' Name="{name}"' if name else ""
    return (
        f'<Image ID="Image:{number}"{called}><Pixels ID="Pixels:{number}" DimensionOrder="{order}" '
        f'Type="{array.dtype}" SizeX="{x}" SizeY="{y}" SizeZ="{z}" SizeC="{c}" SizeT="{t}" '
        f"{sizes}>{told}{planes}</Pixels></Image>"
    )


def plane(t: int, c: int, z: int, ifd: int, file: str = "", uuid: str = "") -> str:
    """Where a plane is."""
    where = f'<UUID FileName="{file}">{uuid}</UUID>' if file else ""
    return (
        f'<TiffData FirstT="{t}" FirstC="{c}" FirstZ="{z}" IFD="{ifd}" PlaneCount="1">'
        f"{where}</TiffData>"
    )


def write(path: Path, planes: Iterable[np.ndarray], xml: str, **options: Any) -> Path:
    """A TIFF of planes with a description."""
    written = np.stack(list(planes))
    tifffile.imwrite(
        path, written, description=xml, metadata=None, photometric="minisblack", **options
    )
    return path


def write_set(
    folder: Path,
    array: np.ndarray,
    across: str,
    *,
    companion: str = "set.companion.ome",
    channels: Sequence[str] = ("DNA", "Actin"),
    **options: Any,
) -> list[Path]:
    """An image in several files.

    Parameters
    ----------
    folder
        Where to.
    array
        (T, C, Z, Y, X).
    across
        Axes of which each index has a file of its own, letters of T, C, Z.
    companion
        Name of the file with the metadata; empty: each file has all metadata; the name of one of
        the TIFFs (0.ome.tif and so on): that one has.
    """
    places: dict[tuple[int, ...], list[tuple[int, int, int]]] = {}
    for place in np.ndindex(array.shape[:3]):
        key = tuple(place["TCZ".index(axis)] for axis in across)
        places.setdefault(key, []).append((place[0], place[1], place[2]))
    names = [f"{n}.ome.tif" for n in range(len(places))]
    planes = "".join(
        plane(t, c, z, ifd, name, identifier(n))
        for n, (name, inside) in enumerate(zip(names, places.values(), strict=True))
        for ifd, (t, c, z) in enumerate(inside)
    )
    told = image(array, planes, channels=channels[: array.shape[1]])
    paths = []
    for n, (name, inside) in enumerate(zip(names, places.values(), strict=True)):
        holder = identifier(names.index(companion) if companion in names else 9)
        whole = document(told, uuid=identifier(n))
        xml = pointer(companion, identifier(n), holder) if companion not in ("", name) else whole
        paths.append(write(folder / name, [array[place] for place in inside], xml, **options))
    if companion and companion not in names:
        (folder / companion).write_text(document(told, uuid=identifier(9)))
        paths.append(folder / companion)
    return paths
