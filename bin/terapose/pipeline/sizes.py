"""How much is worked on at a time, whatever the plan: edges of chunks and runs of planes."""

from __future__ import annotations

import math

CONVERT_PLANES = 16
"""Planes of a converted image that one item writes, and edge of the chunks along Z."""
CONVERT_EDGE = 64
"""Edge of these chunks along Y and X."""
LEAST_HALO, MOST_HALO = 24, 96
"""Voxels that ``follow`` reads around a block at first, at least and at most."""
STATISTICS_PLANES = 8
"""Planes of which an item of ``intensities`` finds the percentiles, with normalize plane."""
CHUNK = 128
FLAT_CHUNK = 512
"""Largest edge of the chunks of arrays that are written by blocks, of volumes and of planes."""
MOST_PACK = 2**26
"""Bytes of a pack of chunks, uncompressed: who adds up sums holds the old one and the new one."""
BAND = 2**22
"""Most voxels that ``measure`` reads at a time, where a plane or a row has no more."""
COUNTED = ((256, 256, 256), (8, 1024, 1024))
"""Least edges of the blocks in which intensities are counted around a region (Z, Y, X), of volumes
and of planes."""


def first_halo(diameter: float) -> int:
    """Voxels that ``follow`` reads around a block at first: about as far as any point travels.

    Where they do not suffice it reads twice as many.

    Parameters
    ----------
    diameter
        Of cells, in pixels of the image.
    """
    return min(max(LEAST_HALO, math.ceil(diameter)), MOST_HALO)
