"""Part of an image: ``z0:z1,y0:y1,x0:x1`` in voxels of the level that is opened.

Bounds count from 0 and end before the second number; an empty one means the start or the end.
Two ranges are those of Y and X, with all planes.
"""

from __future__ import annotations

import re

from terapose.core.errors import InputError
from terapose.core.geometry import ZYX, Box, zyx

_RANGE = r"\s*\d*\s*:\s*\d*\s*"
_BOX = re.compile(rf"{_RANGE}(,{_RANGE}){{1,2}}", re.ASCII)


def is_box(text: str) -> bool:
    """Whether a text has the form of a region; anything else names a mask image."""
    return bool(_BOX.fullmatch(text))


def parse_box(text: str, shape: ZYX) -> Box:
    """Make a box of a text.

    Parameters
    ----------
    text
        As ``z0:z1,y0:y1,x0:x1``.
    shape
        (Z, Y, X) of the image.

    Raises
    ------
    InputError
        If it has another form, is empty, or is not within the image.
    """
    parts = "".join(text.split()).split(",") if is_box(text) else []
    bounds = [part.split(":") for part in parts]
    if len(bounds) == 2:
        bounds = [["", ""], *bounds]
    start = [int(first or 0) for first, _ in bounds]
    stop = [int(last or n) for (_, last), n in zip(bounds, shape, strict=False)]
    fits = all(a < b <= n for a, b, n in zip(start, stop, shape, strict=False))
    if len(bounds) != 3 or not fits:
        whole = ",".join(f"0:{n}" for n in shape)
        raise InputError(
            "is not within the image" if bounds else "is not a region",
            where="region",
            got=text,
            allowed=f"z0:z1,y0:y1,x0:x1 within {whole}, each start before its end",
            remedy="count voxels from 0, at the level that is segmented",
        )
    return Box(zyx(start), zyx(stop))


def box_text(box: Box) -> str:
    """A box as text that `parse_box` reads."""
    return ",".join(f"{a}:{b}" for a, b in zip(box.start, box.stop, strict=True))
