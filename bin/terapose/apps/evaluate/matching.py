"""The largest one-to-one matching of instances: the number that Cellpose's assignment finds,
because a match always outweighs IoU there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from terapose.apps.evaluate.counts import Overlap

MATCHED = 0.5
"""IoU from which a pair is a match where only one threshold is used."""


def matched(overlap: Overlap, threshold: float) -> NDArray[np.int64]:
    """Pairs of a largest one-to-one matching among those that reach a threshold.

    Above an IoU of 0.5 all do not share an instance; at 0.5 exactly and below, two can.

    Parameters
    ----------
    overlap
        Instances and pairs.
    threshold
        IoU from which two instances match.

    Returns
    -------
    numpy.ndarray
        Positions in the list of pairs.
    """
    good = np.flatnonzero(overlap.iou >= threshold)
    row, column = overlap.row[good], overlap.column[good]
    if len(np.unique(row)) == len(row) and len(np.unique(column)) == len(column):
        return good
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import maximum_bipartite_matching

    graph = csr_matrix((np.ones(len(row), np.int8), (row, column)))
    partner = maximum_bipartite_matching(graph, perm_type="column")
    chosen: NDArray[np.int64] = good[partner[row] == column]
    return chosen
