"""Where neighbouring voxels of a label image differ."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def edges(labels: NDArray[Any], axis: int) -> NDArray[np.bool_]:
    """Voxels that differ from a neighbour along an axis, those of the background too.

    Parameters
    ----------
    labels
        Of any shape; what is beyond it does not count.
    axis
        Number of the axis.
    """
    found = np.zeros(labels.shape, bool)
    before = (slice(None),) * axis + (slice(None, -1),)
    after = (slice(None),) * axis + (slice(1, None),)
    differ = labels[before] != labels[after]
    found[before] |= differ
    found[after] |= differ
    return found
