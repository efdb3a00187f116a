"""Files as Micro-Manager writes them."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tests.raw_tiff import RawTiff, Tag, text

Place = tuple[int, int, int, int]
"""(channel, slice, frame, position)."""


def summary(array: np.ndarray, **changed: Any) -> dict[str, Any]:
    """The summary of an acquisition of (P, T, C, Z, Y, X)."""
    positions, frames, channels, slices, high, wide = array.shape
    told = {
        "MicroManagerVersion": "1.4.23",
        "Prefix": "run",
        "Channels": channels,
        "ChNames": ["DAPI", "GFP", "Cy5"][:channels],
        "Slices": slices,
        "Frames": frames,
        "Positions": positions,
        "Width": wide,
        "Height": high,
        "PixelSize_um": 0.5,
        "z-step_um": 2.0,
        "SlicesFirst": False,
        "TimeFirst": False,
    }
    told |= changed
    return {key: value for key, value in told.items() if value is not None}


def write_stack(
    path: Path,
    planes: Mapping[Place, np.ndarray],
    told: Mapping[str, Any],
    *,
    description: str = "",
    plane: Mapping[str, Any] | None = None,
    shift: int = 0,
) -> Path:
    """A stack with its index.

    Parameters
    ----------
    path
        File to write.
    planes
        Planes in the order of the file.
    told
        The summary.
    description
        OME-XML.
    plane
        What each plane says of itself.
    shift
        Bytes between the directory of a plane and its data; Micro-Manager leaves none.
    """
    content = json.dumps(told).encode()
    header = struct.pack("<8I", 54773648, 0, 483765892, 0, 99384722, 0, 2355492, len(content))
    file = RawTiff(header + content)
    own = text(51123, json.dumps({"PixelSizeUm": 0.5} if plane is None else dict(plane)))
    index = b""
    for n, (place, pixels) in enumerate(planes.items()):
        tags = [own]
        tags += [text(270, description)] if description and n == 0 else []
        tags += [Tag(65000 + k, 3, 1, 0) for k in range(shift)]
        offset, _ = file.page(pixels, tags)
        index += struct.pack("<5I", *place, offset)
    struct.pack_into("<I", file.content, 12, len(file.content))
    file.content += struct.pack("<II", 3453623, len(planes)) + index
    path.write_bytes(file.content)
    return path


def places(array: np.ndarray, order: str = "PTZC") -> dict[Place, np.ndarray]:
    """Planes of (P, T, C, Z, Y, X) by their place, the first axis of the order the slowest."""
    lengths = dict(zip("PTCZ", array.shape, strict=False))
    found = {}
    for index in np.ndindex(*(lengths[axis] for axis in order)):
        at = dict(zip(order, index, strict=True))
        found[at["C"], at["Z"], at["T"], at["P"]] = array[at["P"], at["T"], at["C"], at["Z"]]
    return found


def write_ndtiff(
    folder: Path,
    planes: Sequence[tuple[dict[str, Any], np.ndarray]],
    *,
    told: Mapping[str, Any],
    files: Sequence[int] = (),
    version: int = 3,
) -> list[Path]:
    """An NDTiff dataset.

    Parameters
    ----------
    folder
        Where to.
    planes
        The place of each plane by the names of its axes, and its pixels.
    told
        The summary.
    files
        For each plane the number of its file; all in one if empty.
    version
        Of the format, 2 or 3.
    """
    content = json.dumps(told).encode()
    numbers = (version, 0) if version == 3 else (version,)
    header = struct.pack("<I", 483729) + struct.pack(f"<{len(numbers)}I", *numbers)
    header += struct.pack("<II", 2355492, len(content)) + content
    written = [RawTiff(header) for _ in range(max(files, default=0) + 1)]
    index = b""
    for n, (axes, pixels) in enumerate(planes):
        number = files[n] if files else 0
        _, offset = written[number].page(pixels, [text(51123, '{"PixelSizeUm": 0.25}')])
        where, name = json.dumps(axes).encode(), f"run_NDTiffStack_{number}.tif".encode()
        index += struct.pack("<I", len(where)) + where + struct.pack("<I", len(name)) + name
        high, wide = pixels.shape
        index += struct.pack("<IiiiiIii", offset, wide, high, 1, 0, 0, 0, 0)
    (folder / "NDTiff.index").write_bytes(index)
    paths = [folder / f"run_NDTiffStack_{n}.tif" for n in range(len(written))]
    for path, file in zip(paths, written, strict=True):
        path.write_bytes(file.content)
    return paths
