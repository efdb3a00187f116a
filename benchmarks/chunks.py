"""How fast the store writes and reads chunks of several sizes, beside Zarr.

Flows and cell probability of a volume, float32, compressed as in a run, written as a whole and read
as a whole, once by the store's own code for folders and once by Zarr, on the same disk. MB a second
of processor time, of what is in memory; the best of three.

    python -m benchmarks.chunks
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from terapose.core.geometry import ZYX, Box
from terapose.io.store.arrays import FLOAT
from terapose.io.store.store import Store

SHAPE: ZYX = (64, 300, 300)
CHUNKS: tuple[ZYX, ...] = ((32, 25, 25), (32, 32, 32), (32, 60, 60), (32, 150, 150))


def megabytes(work: Callable[[], object], size: int) -> float:
    """Of so many bytes, how many MB a second of processor time; the best of three."""
    took = []
    for _ in range(3):
        begun = time.process_time()
        work()
        took.append(time.process_time() - begun)
    return size / 1e6 / min(took)


def main() -> None:
    """Print the table."""
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(4, *SHAPE)).astype(np.float32)
    values = np.stack([gaussian_filter(one, 4) for one in noise])
    box = Box.whole(SHAPE)
    names = ("chunk", "MiB", "written", "by Zarr", "read", "by Zarr")
    print(f"| {' | '.join(names)} |\n| --- |{' ---: |' * (len(names) - 1)}")
    for chunk in CHUNKS:
        with tempfile.TemporaryDirectory(prefix="chunks-") as name:
            store = Store(str(Path(name) / "store"))
            for array in ("ours", "theirs"):
                store.create(array, values.shape, (4, *chunk), "float32", FLOAT)
            theirs = store.open("theirs")
            works: tuple[Callable[[], object], ...] = (
                partial(store.write, "ours", box, values),
                partial(theirs.set_basic_selection, ..., values),
                partial(store.read, "ours", box),
                partial(theirs.get_basic_selection, ...),
            )
            rates = [f"{megabytes(work, values.nbytes):,.0f}" for work in works]
        size = 16 * np.prod(chunk) / 2**20
        print(f"| {' x '.join(map(str, chunk))} | {size:.2f} | {' | '.join(rates)} |", flush=True)


if __name__ == "__main__":
    main()
