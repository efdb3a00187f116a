"""Compile every kernel once, where the environment is made, so that no task pays for it.

numba keeps its code in NUMBA_CACHE_DIR, or beside the package where that is not set.
"""

from __future__ import annotations

import numpy as np

from terapose.kernels.follow import follow, scale_flows
from terapose.kernels.objects import measure
from terapose.kernels.seeds import assign, count_ends, find_seeds, grow_seeds
from terapose.tiles import run_planes


def main() -> None:
    """Run each kernel on a few voxels, with the types that the stages use."""
    shape = (4, 4, 4)
    flows = scale_flows(np.zeros((3, *shape), np.float32), np.ones(shape, bool), shape)
    starts = np.argwhere(np.ones(shape)).astype(np.int32)
    ends, _, _ = follow(flows, (0, 0, 0), shape, starts, 2)
    counts = count_ends(ends, (0, 0, 0), shape) + np.int32(20)
    seeds = find_seeds(counts)
    owner = grow_seeds(counts, seeds, np.arange(len(seeds)))
    for dtype in (np.uint32, np.uint64):
        labels = np.zeros(shape, dtype)
        assign(
            starts, ends, owner, (0, 0, 0), np.arange(len(seeds), dtype=dtype), labels, (0, 0, 0)
        )
    measure(np.ones(shape, np.int32), 1, (0, 0, 0), shape, np.zeros(shape, np.float32))
    run_planes(lambda tiles: np.zeros((len(tiles), 3, 224, 224), np.float32),
               np.zeros((1, 1, 8, 8), np.float32), tile=224)  # fmt: skip


if __name__ == "__main__":
    main()
