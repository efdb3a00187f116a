"""Time and memory of `terapose evaluate`: `python benchmarks/scores.py`.

Balls of 4 to 9 voxels (seeded) in a tile are repeated, with new labels, to a label image of the
given shape; the prediction is the same, each tile moved by a voxel along X. Both are compared by a
command of its own, on one thread: processor seconds and peak memory.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
from importlib.metadata import version
from itertools import product
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
TILE, COUNT, SEED = (64, 128, 128), 300, 1


def tile() -> NDArray[np.uint32]:
    """Balls that may touch, and do not overlap: a later one takes what is free."""
    rng = np.random.default_rng(SEED)
    labels = np.zeros(TILE, np.uint32)
    for number in range(1, COUNT + 1):
        center, radius = rng.uniform(9, np.array(TILE) - 9), rng.uniform(4, 9)
        low = np.maximum(center - radius, 0).astype(int)
        box = tuple(slice(a, a + 20) for a in low)
        part = labels[box]
        grid = np.indices(part.shape).T + low - center
        distance = np.linalg.norm(grid, axis=-1).T
        part[(distance < radius) & (part == 0)] = number
    return labels


def write(path: Path, repeats: tuple[int, int, int], shift: int) -> int:
    """Write a label image; returns the number of cells."""
    one = np.roll(tile(), shift, 2)
    shape = tuple(n * side for n, side in zip(repeats, TILE, strict=True))
    image = zarr.create_array(
        str(path), shape=shape, chunks=TILE, dtype=np.uint32, dimension_names=("z", "y", "x")
    )
    for number, place in enumerate(product(*map(range, repeats))):
        region = tuple(slice(n * s, (n + 1) * s) for n, s in zip(place, TILE, strict=True))
        image[region] = np.where(one > 0, one + np.uint32(number * COUNT), 0)
    return int(np.count_nonzero(np.unique(one))) * int(np.prod(repeats))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, nargs=3, default=(8, 6, 6), help="tiles, Z Y X")
    given = parser.parse_args()
    repeats = tuple(given.repeats)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, name) for name in ("reference.zarr", "predicted.zarr")]
        cells = write(paths[0], repeats, 0)
        write(paths[1], repeats, 1)
        words = [sys.executable, str(ROOT / "bin" / "terapose.py"), "--threads", "1", "evaluate"]
        subprocess.run([*words, *map(str, paths)], check=True, stdout=subprocess.DEVNULL)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    shape = " x ".join(str(n * side) for n, side in zip(repeats, TILE, strict=True))
    print(
        f"{shape} voxels, {cells} cells: {used.ru_utime + used.ru_stime:.1f} processor seconds, "
        f"{used.ru_maxrss / 2**20:.2f} GiB; {platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, NumPy {version('numpy')}, SciPy {version('scipy')}"
    )


if __name__ == "__main__":
    main()
