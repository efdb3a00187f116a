"""What of an address is the image: which level, series and time point, and what its axes are.

An address alone does not say it. Whoever opens an image again, in another process or another
stage, has to open it with the same selection, so the two travel together: in the opened image, in
the plan and in the record of the run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Selection:
    """What a user chose of an address.

    Attributes
    ----------
    level
        Pyramid level, 0 the finest.
    axes
        Axes of the array in the order of the file, letters of T, C, Z, Y, X; empty: as the file
        says.
    series
        Which image of a file with several: its number from 1, or its name; empty: the only one.
    time
        Which time point, from 1; None: the only one.
    stack
        Whether the address is a folder or pattern of files that are one image, a plane each.
    region
        Part of it, as ``z0:z1,y0:y1,x0:x1`` in voxels of the level; empty: all of it.
    """

    level: int = 0
    axes: str = ""
    series: str = ""
    time: int | None = None
    stack: bool = False
    region: str = ""

    @property
    def options(self) -> dict[str, Any]:
        """As keyword arguments of `terapose.io.images.opening.open_image`."""
        return dict(vars(self))
