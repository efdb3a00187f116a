"""A volume segmented by cellpose's `contrib.distributed_segmentation`, and by Terapose.

1. Nuclei of 17 voxels are simulated, with a seed, and written as a Zarr array.
2. Cellpose on the whole array, in memory, says which cells are right (`benchmarks.growth`).
3. `distributed_eval` segments the array in blocks, with one worker of Dask; its model is Cellpose's
   own around the network that Terapose loads, because it offers no other than Cellpose 4's. It was
   written for Zarr 2, whose `open` took the mode as its second argument: here it does so, too.
4. Terapose segments it as `terapose segment` does, with one process, in blocks of the same shape.

Each has a process of its own, with one thread, after a smaller volume, so that compiling is not
counted. Processor time and peak memory are those of the process. "As on the whole" are cells of
the whole array with exactly the same voxels.

It needs packages that Terapose does not, in an environment of their own: `pip install distributed
dask-jobqueue dask-image imagecodecs pyyaml`.

    python -m benchmarks.distributed_eval
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import zarr
from benchmarks.growth import DIAMETER, simulate
from benchmarks.oracle import model_of, stable_sort
from numpy.typing import NDArray

from terapose.networks.loading import load
from terapose.networks.weights import resolve

Shape = tuple[int, int, int]
SMALL: Shape = (24, 48, 96)
HALF: Shape = (24, 48, 48)
"""Of what is run before: `distributed_eval` fails if there is one block only, or no cell in any."""
OPTIONS: dict[str, Any] = {"do_3D": True, "z_axis": 0, "flow_threshold": 0.0}


def evaluated(image: NDArray[Any], **_given: object) -> Any:
    """What Cellpose finds in an array with the shipped network.

    It is made for nuclei of this size. `distributed_eval` passes a diameter on, which says how much
    blocks overlap; `eval` would take it for one of another network, and resize the image.
    """
    network = load(resolve("auto"))
    options = {**OPTIONS, "bsize": network.tile, "channel_axis": -1}
    return model_of(network).eval(np.asarray(image, np.float32)[..., None], **options)


def whole(folder: Path, _block: Shape) -> NDArray[Any]:
    """Cellpose on the whole array."""
    labels: NDArray[Any] = evaluated(np.asarray(zarr.open_array(folder / "image.zarr")))[0]
    return labels


class _Model:
    """Stands for ``CellposeModel`` in a worker."""

    def __init__(self, **_given: object) -> None:
        self.eval = evaluated


def distributed(folder: Path, block: Shape) -> NDArray[Any]:
    """`distributed_eval` with a worker in this process."""
    from cellpose.contrib import distributed_segmentation as contrib

    opened = zarr.open
    workers = {"ncpus": 1, "n_workers": 1, "threads_per_worker": 1, "processes": False}
    # it leaves logs and its configuration in the folder in which it runs
    os.chdir(folder)
    with (
        patch("cellpose.models.CellposeModel", _Model),
        patch("zarr.open", lambda path, mode="a", **given: opened(path, mode=mode, **given)),
        contrib.myLocalCluster(**workers, dashboard_address=None) as cluster,
    ):
        contrib.distributed_eval(
            zarr.open_array(folder / "image.zarr", mode="r"),
            block,
            str(folder / "distributed.zarr"),
            eval_kwargs={"diameter": int(DIAMETER)},
            cluster=cluster,
        )
    return np.asarray(zarr.open_array(folder / "distributed.zarr", mode="r"))


def ours(folder: Path, block: Shape) -> NDArray[Any]:
    """Terapose."""
    from terapose.api.runner import segment_file
    from terapose.core.params import check
    from terapose.io.labels.ome_zarr import open_level

    given = {"diameter": DIAMETER, "anisotropy": 1.0, "percentile_sampling": "cellpose"}
    params = check({**given, "measure": "none", "table": "csv", "block_shape": block})
    segment_file(str(folder / "image.zarr"), folder / "out", params)
    return np.asarray(open_level(str(folder / "out" / "labels.zarr"), 0)[:])


SIDES: dict[str, Callable[[Path, Shape], NDArray[Any]]] = {
    "Cellpose, whole": whole,
    "distributed_eval": distributed,
    "Terapose": ours,
}


def timed(name: str, shape: Shape, block: Shape, folder: Path) -> tuple[float, int]:
    """Run one side; leaves its labels. Returns processor time and peak memory."""
    from terapose.pipeline.peak import forget_peak, peak_memory

    folder.mkdir()
    simulate(shape, folder / "image.zarr")
    forget_peak()
    begun = time.process_time()
    with stable_sort():
        labels = SIDES[name](folder, block)
    seconds = time.process_time() - begun
    np.save(folder / "labels.npy", labels)
    return seconds, peak_memory()


def same(labels: NDArray[Any], right: NDArray[Any]) -> int:
    """How many of the right cells are there with exactly the same voxels."""
    pairs, counts = np.unique(np.stack([right.ravel(), labels.ravel()]), axis=1, return_counts=True)
    sizes = np.bincount(right.ravel()), np.bincount(labels.ravel())
    is_cell = (pairs > 0).all(axis=0)
    equal = (counts == sizes[0][pairs[0]]) & (counts == sizes[1][pairs[1]])
    return int((is_cell & equal).sum())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all sides and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", type=int, nargs=3, default=[96, 160, 160], help="Z Y X.")
    parser.add_argument("--block", type=int, nargs=3, default=[96, 96, 96], help="Z Y X.")
    given = parser.parse_args(arguments)
    shape, block = tuple(given.shape), tuple(given.block)
    columns = ("processor time", "peak memory", "cells", "as on the whole")
    print(f"| {' | '.join(('', *columns))} |\n| --- |{' ---: |' * len(columns)}", flush=True)
    right: NDArray[Any] | None = None
    for name in SIDES:
        with (
            tempfile.TemporaryDirectory(prefix="distributed-") as place,
            ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool,
        ):
            pool.submit(timed, name, SMALL, HALF, Path(place, "small")).result()
            run = pool.submit(timed, name, shape, block, Path(place, "run")).result()
            labels = np.load(Path(place, "run", "labels.npy"))
        right = labels if right is None else right
        cells = len(np.unique(labels[labels > 0]))
        figures = (f"{run[0]:.1f} s", f"{run[1] / 1e9:.2f} GB", f"{cells:,}")
        print(f"| {name} | {' | '.join(figures)} | {same(labels, right):,} |", flush=True)


if __name__ == "__main__":
    main()
