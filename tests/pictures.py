"""TIFFs with one tile or strip that was compressed elsewhere, and what is read of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from terapose.io.images.opening import open_image

NOISE = np.random.default_rng(1).integers(0, 200, (100, 90), dtype=np.uint16)


def write_picture(
    path: Path, packed: bytes, compression: str, samples: int, **settings: Any
) -> Path:
    """Write 64 x 64 pixels, whose only tile or strip is given."""
    more = (samples,) if samples > 1 else ()
    tifffile.imwrite(
        path,
        iter([packed]),
        shape=(64, 64, *more),
        dtype="u1",
        compression=compression,
        photometric="minisblack",
        planarconfig="contig" if more else None,
        **settings,
    )
    return path


def read_picture(path: Path, *, axes: str = "", channel: int = 1) -> np.ndarray[Any, Any]:
    """The only plane of a channel."""
    image = open_image(path, axes=axes)
    z, y, x = image.shape
    plane: np.ndarray[Any, Any] = image.read((slice(0, z), slice(0, y), slice(0, x)), channel)[0]
    return plane
