"""Pixels of a page: grey sections, outlines of cells over them, and both as PNG.

The grey picture has the pixels of the image, no more; the outlines are drawn on a finer grid, so
that they are thin, and cover none of the cell that they surround.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_OUTLINE, _CHOSEN, _FILL = 1, 2, 3
_COLOURS = ((0, 0, 0, 0), (255, 176, 0, 255), (64, 224, 255, 255), (255, 176, 0, 150))
"""Of nothing, outlines, the outline of the cell that is shown, and cells too small for outlines."""
_GAMMA = 0.7
_LEAST = 0.15
"""Part of the whole range of intensities that a picture covers at least: noise stays dark."""


class Contrast(NamedTuple):
    """Intensities of the image that are dark and bright, by which each picture is scaled."""

    low: float
    high: float


def contrast_of(planes: Sequence[NDArray[Any]]) -> Contrast:
    """The intensities between which those of several sections are."""
    values = [part.ravel()[:: max(1, part.size // 65_536)] for part in planes if part.size]
    if not values:
        return Contrast(0.0, 1.0)
    finite = np.concatenate(values).astype(np.float64)
    finite = finite[np.isfinite(finite)]
    if not len(finite):
        return Contrast(0.0, 1.0)
    low, high = np.percentile(finite, [1, 99.8])
    return Contrast(float(low), float(high))


def as_grey(plane: NDArray[Any], contrast: Contrast) -> NDArray[np.uint8]:
    """Scale a section by its own bright and dark pixels, so that neither are lost.

    Parameters
    ----------
    plane
        (down, right) of the image.
    contrast
        Of all sections: a section of noise alone is not stretched to all greys.
    """
    values = np.nan_to_num(plane.astype(np.float64), posinf=0, neginf=0)
    low, high = np.percentile(values, [1, 99.9])
    least = max(_LEAST * (contrast.high - contrast.low), 1e-12)
    scaled = np.clip((values - low) / max(high - low, least), 0, 1) ** _GAMMA
    # fewer greys than anybody can tell apart, and files of half the size
    grey: NDArray[np.uint8] = (np.round(scaled * 63) * (255 / 63)).astype(np.uint8)
    return grey


def outlined(
    labels: NDArray[Any], factors: tuple[int, int], chosen: int = 0, *, filled: bool = False
) -> NDArray[np.uint8]:
    """The outlines of the cells in a section.

    Parameters
    ----------
    labels
        (down, right) section of the label image.
    factors
        Pixels of the outlines for one of the section, down and right.
    chosen
        Number of the cell that is drawn in its own colour.
    filled
        Whether cells are filled, because outlines would hide them.

    Returns
    -------
    (down, right) uint8
        0 where nothing is drawn, else the number of a colour.
    """
    if filled:
        return np.where(labels != 0, np.uint8(_FILL), np.uint8(0))
    fine = labels.repeat(factors[0], 0).repeat(factors[1], 1)
    inner = np.ones(fine.shape, bool)
    for step in (1, 2) if max(factors) > 1 else (1,):
        if step < fine.shape[0]:
            same = fine[step:] == fine[:-step]
            inner[step:] &= same
            inner[:-step] &= same
        if step < fine.shape[1]:
            same = fine[:, step:] == fine[:, :-step]
            inner[:, step:] &= same
            inner[:, :-step] &= same
    drawn = np.where((fine != 0) & ~inner, np.uint8(_OUTLINE), np.uint8(0))
    if chosen:
        drawn[(drawn != 0) & (fine == chosen)] = _CHOSEN
    return drawn


def grey_png(pixels: NDArray[np.uint8]) -> str:
    """A grey picture (down, right) as the address of a PNG that holds it."""
    return _address(pixels, 0, b"")


def outline_png(pixels: NDArray[np.uint8]) -> str:
    """Numbers of colours (down, right) as the address of a PNG that holds them."""
    palette = bytes(part for colour in _COLOURS for part in colour[:3])
    alpha = bytes(colour[3] for colour in _COLOURS)
    return _address(pixels, 3, _chunk(b"PLTE", palette) + _chunk(b"tRNS", alpha))


def overlay_png(grey: NDArray[np.uint8], outlines: NDArray[np.uint8]) -> str:
    """A grey picture with outlines over it (`outlined`), as the address of a PNG that holds it."""
    last = 255
    colours = [(n, n, n) for n in range(last)] + [_COLOURS[_OUTLINE][:3]]
    pixels = np.where(outlines != 0, np.uint8(last), np.minimum(grey, np.uint8(last - 1)))
    return _address(
        pixels, 3, _chunk(b"PLTE", bytes(part for colour in colours for part in colour))
    )


def _address(pixels: NDArray[np.uint8], kind: int, between: bytes) -> str:
    height, width = pixels.shape
    rows = np.zeros((height, width + 1), np.uint8)
    rows[:, 1:] = pixels
    if kind == 0:
        # each row as its difference from the one above
        rows[:, 0] = 2
        rows[1:, 1:] -= pixels[:-1]
    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + between
    data += _chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)) + _chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(data).decode()


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
