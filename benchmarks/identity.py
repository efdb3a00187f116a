"""What it costs to tell an image of many chunks from others.

    python -m benchmarks.identity --folder FOLDER

makes a Zarr of 102,000 chunks of random bytes (seed 0) and prints a line for each step. The chunks
are small: what is measured is the cost of a file, not of its bytes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import zarr

from terapose.io.images.identity import compare, table_of
from terapose.io.images.opening import open_image
from terapose.io.store.store import Store
from terapose.pipeline.peak import peak_memory

COUNTS = (40, 50, 51)
"""Chunks along Z, Y and X, of one voxel each."""
READ = (slice(0, 1), slice(0, 20), slice(0, 50))
"""What a task reads: 1,000 chunks."""


def make(path: Path) -> None:
    """Write the image; chunk by chunk, without Zarr, which would take minutes."""
    zarr.create_array(path, shape=COUNTS, chunks=(1, 1, 1), dtype="uint16", compressors=None)
    random = np.random.default_rng(0)
    for z, y in np.ndindex(COUNTS[:2]):
        folder = path / "c" / str(z) / str(y)
        folder.mkdir(parents=True)
        for x in range(COUNTS[2]):
            (folder / str(x)).write_bytes(random.bytes(2))


def measure(folder: Path) -> None:
    """Print what each step takes."""
    path = folder / "image.zarr"
    make(path)
    image, store = open_image(path), Store(str(folder / "store"))
    begin = time.perf_counter()

    def say(what: str) -> None:
        nonlocal begin
        seconds = time.perf_counter() - begin
        print(f"{what}: {seconds:.3f} s, peak of memory {peak_memory() / 1e6:.0f} MB", flush=True)
        begin = time.perf_counter()

    known = image.find_identity()
    assert known.digest
    say(f"identity of {len(known.files)} files")
    store.put_table("table.npz", table_of(known))
    say(f"table, {(folder / 'store' / 'table.npz').stat().st_size / 1e6:.2f} MB on disk")
    table = store.get_table("table.npz")
    say("a task reads the table")
    image.read(READ)
    say("a task reads its chunks")
    files = image.files_read()
    compare(str(path), files, table)
    say(f"a task compares {len(files)} files")
    content = known.by_content()
    assert content.digest
    say("identity by content, beside the other")
    store.put_table("content.npz", table_of(known, content))
    say(f"table, {(folder / 'store' / 'content.npz').stat().st_size / 1e6:.2f} MB on disk")


def main() -> None:
    """Measure in a folder that is removed afterwards."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, help="where; default that of temporary files")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        measure(Path(folder))


if __name__ == "__main__":
    main()
