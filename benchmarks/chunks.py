"""How fast the store writes and reads chunks of several sizes, beside other libraries for Zarr.

Flows and cell probability of a volume, float32, compressed as in a run, written as a whole and read
as a whole, by the store's own code for folders, and on the same disk by Zarr-Python, by it with the
codecs of zarrs, and by TensorStore, as far as these are installed. Each has the same chunks, a file
a chunk; only the store's own code and the first of the others check what they read. MB a second of
processor time, of what is in memory; the best of three.

    python -m benchmarks.chunks
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from scipy.ndimage import gaussian_filter

from terapose.core.geometry import ZYX, Box
from terapose.io.store.arrays import FLOAT, document_of
from terapose.io.store.store import Store

SHAPE: ZYX = (64, 300, 300)
CHUNKS: tuple[ZYX, ...] = ((32, 25, 25), (32, 32, 32), (32, 60, 60), (32, 150, 150))

Works = tuple[Callable[[], object], Callable[[], object]]
"""To write and to read."""


def megabytes(work: Callable[[], object], size: int) -> float:
    """Of so many bytes, how many MB a second of processor time; the best of three."""
    took = []
    for _ in range(3):
        begun = time.process_time()
        work()
        took.append(time.process_time() - begun)
    return size / 1e6 / min(took)


def by_store(store: Store, values: np.ndarray, chunk: ZYX) -> Works:
    """With the store's own code."""
    box = Box.whole(SHAPE)
    store.create("ours", values.shape, (4, *chunk), "float32", FLOAT)
    return partial(store.write, "ours", box, values), partial(store.read, "ours", box)


def by_zarr(store: Store, values: np.ndarray, chunk: ZYX) -> Works:
    """With Zarr-Python, and the checksums of the store."""
    store.create("theirs", values.shape, (4, *chunk), "float32", FLOAT)
    array = store.open("theirs")
    return partial(array.set_basic_selection, ..., values), partial(array.get_basic_selection, ...)


def by_zarrs(store: Store, values: np.ndarray, chunk: ZYX) -> Works:
    """With Zarr-Python and the codecs of zarrs, which need files without checksums."""
    document = document_of(values.shape, (4, *chunk), "float32", FLOAT)
    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
        array = zarr.Array.from_dict(_place(store.where("zarrs")), document)
    return partial(array.set_basic_selection, ..., values), partial(array.get_basic_selection, ...)


def _place(folder: str) -> Any:
    from zarr.storage import LocalStore, StorePath

    return StorePath(LocalStore(folder))


def by_tensorstore(store: Store, values: np.ndarray, chunk: ZYX) -> Works:
    """With TensorStore, on one thread."""
    document = document_of(values.shape, (4, *chunk), "float32", FLOAT)
    spec = {
        "driver": "zarr3",
        "kvstore": {"driver": "file", "path": store.where("tensorstore")},
        "metadata": {k: v for k, v in document.items() if k != "storage_transformers"},
        "context": {"data_copy_concurrency": {"limit": 1}},
    }
    array = import_module("tensorstore").open(spec, create=True).result()
    return lambda: array.write(values).result(), lambda: array.read().result()


MAKERS = {
    "": by_store,
    " by Zarr": by_zarr,
    " by zarrs": by_zarrs,
    " by TensorStore": by_tensorstore,
}
"""By what follows the head of a column."""


def measured(folder: Path, values: np.ndarray, chunk: ZYX, ways: Sequence[str]) -> list[float]:
    """MB a second of each way, written and then read."""
    store = Store(str(folder / "store"))
    works = [MAKERS[way](store, values, chunk) for way in ways]
    found = [megabytes(work, values.nbytes) for step in zip(*works, strict=True) for work in step]
    for _, read in works:
        np.testing.assert_array_equal(read(), values)
    chunks = [sorted(folder.glob(f"**/{name}/c/0/0/0/0")) for name in ("ours", "tensorstore")]
    if all(chunks):
        ours, theirs = (paths[0].read_bytes() for paths in chunks)
        print(f"<!-- TensorStore's bytes are the same: {ours.startswith(theirs)} -->")
    return found


def main() -> None:
    """Print the table."""
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(4, *SHAPE)).astype(np.float32)
    values = np.stack([gaussian_filter(one, 4) for one in noise])
    ways = [way for way in MAKERS if find_spec(way.removeprefix(" by ").lower() or "numpy")]
    names = ["chunk", "MiB", *(f"{step}{way}" for step in ("written", "read") for way in ways)]
    print(f"| {' | '.join(names)} |\n| --- |{' ---: |' * (len(names) - 1)}")
    for chunk in CHUNKS:
        with tempfile.TemporaryDirectory(prefix="chunks-") as folder:
            rates = [f"{rate:,.0f}" for rate in measured(Path(folder), values, chunk, ways)]
        size = 16 * np.prod(chunk) / 2**20
        print(f"| {' x '.join(map(str, chunk))} | {size:.2f} | {' | '.join(rates)} |", flush=True)


if __name__ == "__main__":
    main()
