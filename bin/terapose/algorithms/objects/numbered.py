"""Rows of labels in a table: what is called by an ID becomes a number from 1."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.io.compiled import njit


@njit
def _fill(labels, ids, rows):  # type: ignore[no-untyped-def]
    last, row = ids[0], 1
    for i in range(len(labels)):
        label = labels[i]
        if label == 0:
            continue
        if label != last:
            at = np.searchsorted(ids, label)
            last, row = label, at + 1 if at < len(ids) and ids[at] == label else 0
        rows[i] = row


def numbered(labels: NDArray[Any], ids: NDArray[np.integer]) -> NDArray[np.int32]:
    """Rows (from 1) of the given IDs in a label image, 0 for all other labels.

    Parameters
    ----------
    labels
        Labels of any integer type and shape; 0 is background.
    ids
        (N,) sorted, none of them 0.
    """
    rows = np.zeros(labels.shape, np.int32)
    if len(ids):
        # of the labels' type: numba compares signed with unsigned numbers as floats
        own = np.ascontiguousarray(labels).reshape(-1)
        _fill(own, ids.astype(labels.dtype), rows.reshape(-1))
    return rows
