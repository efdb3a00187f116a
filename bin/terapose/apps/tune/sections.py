"""Sections of label images, as sheets show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FINE = 384
"""Pixels of the side of a section, at least, so that outlines are thin."""


def enlarged(shape: Sequence[int]) -> int:
    """By how much a section is enlarged."""
    return max(1, -(-_FINE // max(shape)))


def cells_in(labels: NDArray[Any]) -> int:
    """Number of cells in a section."""
    return int(np.count_nonzero(np.unique(labels)))
