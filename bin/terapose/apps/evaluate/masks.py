"""Masks that are taken for label images: one number for all cells, which then count as one cell.

1. Blocks are looked at until one has a second number; in most label images that is the first.
2. A piece of the mask that does not reach into a neighbouring block is whole. If it has fewer
   voxels than the mask, the mask is in pieces that do not touch.
3. So every voxel is read once. A mask whose pieces all reach into other blocks is not noticed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from terapose.apps.evaluate.components import pieces_of
from terapose.core.errors import shown

_SPECK = 10
"""Voxels below which a piece is no cell."""


class Mask:
    """What blocks show of an image that may be a mask."""

    def __init__(self) -> None:
        self._number = self._whole = 0
        self._is_done = False

    def add(
        self, labels: NDArray[np.generic], region: Sequence[slice], shape: Sequence[int]
    ) -> None:
        """Look at a block.

        Parameters
        ----------
        labels
            (Z, Y, X).
        region
            The block in the image.
        shape
            Of the image.
        """
        number = int(labels.max()) if labels.size and not self._is_done else 0
        if not number:
            return
        inside = labels != 0
        # signs are checked elsewhere
        if self._number not in (0, number) or (inside & (labels != number)).any():
            self._is_done = True
            return
        self._number, self._whole = number, _largest_whole(inside, region, shape)
        self._is_done = self._whole >= _SPECK

    def is_in_pieces(self, sizes: NDArray[np.int64]) -> bool:
        """Whether the image is a mask in pieces that do not touch, by the sizes of all labels."""
        rest = int(sizes[0]) - self._whole if len(sizes) == 1 else 0
        return min(self._whole, rest) >= _SPECK


def note(address: str) -> str:
    """What to say of a mask in pieces."""
    return (
        f"{shown(address)}: one number for all cells, which count as one cell, although there are "
        "pieces that do not touch (terapose process --with components gives each its own number)"
    )


def _largest_whole(mask: NDArray[np.bool_], region: Sequence[slice], shape: Sequence[int]) -> int:
    """Voxels of the largest piece that does not reach a side where the image goes on."""
    pieces, _ = pieces_of(mask)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    for axis, (part, length) in enumerate(zip(region, shape, strict=True)):
        for side, goes_on in ((0, part.start > 0), (-1, part.stop < length)):
            if goes_on:
                sizes[np.take(pieces, side, axis)] = 0
    return int(sizes.max())
