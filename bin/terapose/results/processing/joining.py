"""What new objects of blocks become: joined where blocks meet, and numbered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.objects.pieces import joined
from terapose.core.errors import InputError
from terapose.results.processing.functions import Function


def not_local(function: Function, one: int, other: int, remedy: str) -> InputError:
    """What to say where two blocks disagree of the voxels at their border."""
    return InputError(
        "the function is not local within its halo: two blocks disagree at their border",
        where=function.name,
        got=f"halo {', '.join(map(str, function.halo))}, blocks {one} and {other}",
        remedy=remedy,
    )


def pairs_of(other: int, theirs: NDArray[Any], number: int, own: NDArray[Any]) -> NDArray[np.int64]:
    """Pairs of objects that continue one another, each once, with the columns that `final_ids` has.

    Parameters
    ----------
    other, number
        The blocks.
    theirs, own
        (N,) whole numbers of the objects in them of each pair of voxels.
    """
    found = np.unique(np.stack([theirs, own], axis=1).astype(np.int64), axis=0)
    column = np.ones((len(found), 1), np.int64)
    return np.hstack([other * column, found[:, :1], number * column, found[:, 1:]])


def final_ids(
    keys: Sequence[NDArray[np.uint64]], pairs: NDArray[np.int64]
) -> tuple[int, list[NDArray[np.uint64]]]:
    """Final IDs: what is joined, or has the same key, in the order of keys.

    Parameters
    ----------
    keys
        Of the new objects of each block (`terapose.results.processing.blocks.Numbered`).
    pairs
        (N, 4) int64: block, number, block, number of what continues across a border.

    Returns
    -------
    count : int
        Of objects.
    ids : list of (n + 1,) uint64
        By block and number, with 0 in front.
    """
    counts = [len(part) for part in keys]
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    every = np.concatenate([np.zeros((0, 2), np.uint64), *keys])
    one, other = (starts[pairs[:, k]] + pairs[:, k + 1] - 1 for k in (0, 2))
    last = len(every) - 1
    group = joined(last, np.stack([one, other], axis=1)) if len(every) else np.arange(0)
    order = np.lexsort((every[:, 1], every[:, 0]))
    _, first = np.unique(group[order], return_index=True)
    least = every[order][first]  # the smallest key of each group
    ranked, rank = np.unique(least, axis=0, return_inverse=True)
    ids = (rank.reshape(-1)[group] + 1).astype(np.uint64)
    split = np.split(ids, starts[1:-1])
    return len(ranked), [np.concatenate([[np.uint64(0)], part]) for part in split]


def dense_ids(new: NDArray[np.uint64]) -> tuple[int, NDArray[np.uint64]]:
    """Number of different IDs above 0, and these from 1 in their order; 0 stays 0."""
    kept, rank = np.unique(new, return_inverse=True)
    has_zero = bool(len(kept) and kept[0] == 0)
    return len(kept) - int(has_zero), rank.astype(np.uint64) + np.uint64(0 if has_zero else 1)
