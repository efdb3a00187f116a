"""Drivers and chunks of object stores, into docs/cloud.md.

An array is written to a server of S3 on this machine (moto), read, and read again in blocks of one
chunk, in these ways:

- by the store of this package (s3fs, one request a chunk), that of zarr as it is (`FsspecStore`),
  and that of zarr with obstore, which is not among the packages of `make setup` (`pip install
  obstore`);
- in chunks of one size, in larger ones, and in shards of these (Zarr's `sharding_indexed`);
- at once, or with a gateway before the server that keeps each request waiting, as a network does:
  chunks of the largest size that stores have, too.

What the server was asked for is counted; each time is the smallest of three.

    PYTHONPATH=bin:. python -m benchmarks.object_stores --output docs/cloud.md
"""

from __future__ import annotations

import argparse
import importlib.metadata
import itertools
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from benchmarks.pages import into
from tests.object_store import SECRET, Server, before, client_of, serving
from zarr.abc.store import Store
from zarr.storage import FsspecStore, ObjectStore

from terapose.io.zarr_files import zarr_store

BEGIN, END = "<!-- stores: begin -->", "<!-- stores: end -->"
SHAPE = (32, 128, 128)
SMALL, LARGE = (8, 32, 32), (32, 64, 64)
STORES = (128, 128, 128)
"""Chunks that blocks write, at most (`terapose.pipeline.sizes`)."""
VOLUME = (256, 256, 256)
DELAY = 0.03
"""Seconds: what it takes to the first byte of an object, in the region of its bucket."""
REPEATS = 3


@dataclass(frozen=True)
class Case:
    """A driver, and what it writes."""

    driver: str
    chunks: tuple[int, int, int]
    shards: tuple[int, int, int] | None = None
    shape: tuple[int, int, int] = SHAPE
    delay: float = 0.0

    @property
    def name(self) -> str:
        """What the table calls it."""
        edges = " x ".join(map(str, self.chunks))
        return f"{edges} in {' x '.join(map(str, self.shards))}" if self.shards else edges


CASES = (
    Case("Terapose", SMALL),
    Case("zarr, fsspec", SMALL),
    Case("zarr, obstore", SMALL),
    Case("Terapose", LARGE),
    Case("zarr, obstore", LARGE),
    Case("Terapose", SMALL, LARGE),
    Case("zarr, obstore", SMALL, LARGE),
    Case("Terapose", SMALL, delay=DELAY),
    Case("zarr, obstore", SMALL, delay=DELAY),
    Case("Terapose", STORES, shape=VOLUME, delay=DELAY),
    Case("zarr, obstore", STORES, shape=VOLUME, delay=DELAY),
)


def opened(driver: str, server: Server, key: str) -> Store:
    """The store of a driver, at a folder of the server's bucket."""
    address = f"s3://cells/{key}"
    if driver == "Terapose":
        return zarr_store(address)
    if driver == "zarr, fsspec":
        return FsspecStore.from_url(address, storage_options={"endpoint_url": server.address})
    from obstore.store import S3Store

    return ObjectStore(
        S3Store(
            "cells",
            prefix=key,
            endpoint=server.address,
            access_key_id="testing",
            secret_access_key=SECRET,
            region="us-east-1",
            client_options={"allow_http": True},
        )
    )


@contextmanager
def at_a_distance(server: Server, log: Path, delay: float) -> Iterator[Server]:
    """The server, which writes a log, with each answer so many seconds later."""
    with before(server) as gateway:
        gateway.before = lambda method, path: time.sleep(delay)
        yield Server(gateway.address, log)


def measured(case: Case, server: Server, number: int) -> list[tuple[int, float]]:
    """Requests and seconds of writing, of reading, and of reading in blocks."""
    voxels = np.random.default_rng(0).integers(0, 1000, case.shape, dtype=np.uint16)
    found: list[list[tuple[int, float]]] = []
    for repeat in range(REPEATS):
        array: zarr.Array[Any] = zarr.create_array(
            opened(case.driver, server, f"{number}-{repeat}"),
            shape=case.shape,
            chunks=case.chunks,
            shards=case.shards,
            dtype="uint16",
        )

        def write(array: zarr.Array[Any] = array) -> None:
            array[:] = voxels

        def read(array: zarr.Array[Any] = array) -> None:
            assert np.array_equal(np.asarray(array[:]), voxels)

        def read_blocks(array: zarr.Array[Any] = array) -> None:
            starts = (range(0, n, c) for n, c in zip(case.shape, case.chunks, strict=True))
            for corner in itertools.product(*starts):
                at = tuple(slice(s, s + c) for s, c in zip(corner, case.chunks, strict=True))
                assert np.array_equal(np.asarray(array[at]), voxels[at])

        found.append([timed(work, server) for work in (write, read, read_blocks)])
    return [
        (max(n for n, _ in runs), min(seconds for _, seconds in runs))
        for runs in zip(*found, strict=True)
    ]


def timed(work: Callable[[], None], server: Server) -> tuple[int, float]:
    """Requests and seconds of some work."""
    server.asked()
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    return len(server.asked()), seconds


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all cases."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, help="The page that has the table.")
    given = parser.parse_args(arguments)
    lines = [
        "| engine | chunks, in shards | objects | delay | write | read | read block by block |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as server:
        client_of(server).create_bucket(Bucket="cells")
        for number, case in enumerate(CASES):
            log = Path(folder) / "requests.log"
            far = at_a_distance(server, log, case.delay) if case.delay else nullcontext(server)
            with far as asked:
                cells = [f"{n:,} / {s:.2f} s" for n, s in measured(case, asked, number)]
            objects = int(np.prod(np.divide(case.shape, case.shards or case.chunks)))
            delay = f"{1000 * case.delay:.0f} ms"
            line = (case.driver, case.name, objects, delay, *cells)
            lines.append(f"| {' | '.join(map(str, line))} |")
            print(lines[-1], flush=True)
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("zarr", "s3fs", "moto")]
    about = f"Python {platform.python_version()}, {', '.join(versions)}, obstore "
    text = "\n".join([*lines, "", f"{about}{importlib.metadata.version('obstore')}."])
    if given.output is not None:
        into(given.output, text, BEGIN, END)


if __name__ == "__main__":
    main()
