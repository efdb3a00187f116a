"""Pieces of cells in a label image that is gone through by blocks.

1. A block is divided into pieces: voxels of one label that touch, also by an edge or a corner
   (`pieces_of`);
2. pieces on both sides of a face between blocks are of one cell's piece where voxels of the same
   label touch (`across`). Voxels of two blocks that touch at an edge or a corner alone are next to
   a face of the later one, too, if what is read of the other side is one voxel wider;
3. pieces that touch, directly or not, are one (`joined`).

So the pieces of a cell are those of the whole image, whatever the blocks are. Where planes are
independent, nothing is joined along Z.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray


def pieces_of(
    labels: NDArray[np.int64], *, flat: bool
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Divide a block into pieces.

    Parameters
    ----------
    labels
        (Z, Y, X); 0 is background.
    flat
        Whether planes are independent.

    Returns
    -------
    local : (Z, Y, X) int32
        Pieces from 1, 0 for the background.
    ids : (N,) int64
        Label of each.
    """
    from skimage.measure import label  # slow to import

    local = np.zeros(labels.shape, np.int32)
    count = 0
    for part in range(len(labels)) if flat else [slice(None)]:
        found, more = label(labels[part], background=0, return_num=True, connectivity=None)
        local[part] = np.where(found, found + count, 0)
        count += more
    ids = np.zeros(count + 1, np.int64)
    ids[local.ravel()] = labels.ravel()
    return local, ids[1:]


def across(slab: NDArray[np.int64], ids: NDArray[np.int64], *, flat: bool) -> NDArray[np.int64]:
    """Pairs of pieces that touch across a face between blocks.

    Parameters
    ----------
    slab
        Pieces, (2, A, B): a layer on either side, in the order of the other two axes.
    ids
        Label of each piece, 0 of the background first.
    flat
        Whether planes are independent; A is Z then.

    Returns
    -------
    (N, 2) int64
        Each pair once.
    """
    one, other = slab
    height, width = one.shape
    pairs = [np.zeros((0, 2), np.int64)]
    for down, right in itertools.product((0,) if flat else (-1, 0, 1), (-1, 0, 1)):
        a = one[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)]
        b = other[max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)]
        same = (a != 0) & (ids[a] == ids[b])
        if same.any():
            pairs.append(np.unique(np.stack([a[same], b[same]], axis=1), axis=0))
    return np.unique(np.concatenate(pairs), axis=0)


def joined(count: int, pairs: NDArray[np.int64]) -> NDArray[Any]:
    """Which pieces are one: a number for each piece from 0 to ``count``."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    ones = np.ones(len(pairs), np.int8)
    graph = csr_matrix((ones, (pairs[:, 0], pairs[:, 1])), shape=(count + 1, count + 1))
    return np.asarray(connected_components(graph, directed=False)[1])
