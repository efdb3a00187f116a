"""What the machine lacks is not said of the file: no thread, no more open files."""

from __future__ import annotations

import errno
import resource
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from tests.command import EXECUTABLE
from tests.io.test_n5 import write_n5
from tests.synthetic import write_ome_zarr, write_tiff

from terapose.core.errors import InputError, lacks_memory, pass_on
from terapose.core.geometry import Box
from terapose.io.images.opening import open_image
from terapose.io.store.arrays import INTEGER
from terapose.io.store.store import Store

VOXELS = np.arange(4 * 300 * 310, dtype=np.uint16).reshape(4, 300, 310)


@contextmanager
def no_more_files() -> Iterator[None]:
    """No file more can be opened."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # not the lowest number that is free: other threads may close files
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def no_more_threads() -> Iterator[None]:
    """No thread can be started: its stack would be larger than any memory."""
    before = threading.stack_size(1 << 46)
    try:
        yield
    finally:
        threading.stack_size(before)


def _hdf5(folder: Path) -> str:
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("raw", data=VOXELS, chunks=(1, 100, 100), compression="gzip")
    return str(folder / "a.h5")


def _stack(folder: Path) -> str:
    (folder / "planes").mkdir()
    for z, plane in enumerate(VOXELS):
        tifffile.imwrite(folder / f"planes/p_{z}.tif", plane)
    return str(folder / "planes")


def _zip(folder: Path) -> str:
    made = write_ome_zarr(folder / "a.zarr", VOXELS)
    with zipfile.ZipFile(folder / "b.zarr.zip", "w") as archive:
        for path in sorted(made.rglob("*")):
            archive.write(path, path.relative_to(made))
    return str(folder / "b.zarr.zip")


WRITERS: dict[str, Callable[[Path], str]] = {
    "TIFF": lambda folder: str(write_tiff(folder / "a.tif", VOXELS)),
    "Zarr": lambda folder: str(write_ome_zarr(folder / "a.zarr", VOXELS)),
    "N5": lambda folder: str(write_n5(folder / "a.n5", VOXELS)),
    "HDF5": _hdf5,
    "stack": _stack,
    "ZIP": _zip,
}


@pytest.mark.parametrize("kind", WRITERS)
def test_too_many_open_files_are_no_damage(tmp_path: Path, kind: str) -> None:
    address = WRITERS[kind](tmp_path)
    opened = open_image(address, stack=kind == "stack")
    z, y, x = (slice(0, n) for n in opened.shape)
    with no_more_files(), pytest.raises(OSError) as caught:
        open_image(address, stack=kind == "stack")
    assert caught.value.errno == errno.EMFILE
    with no_more_files(), pytest.raises(OSError) as caught:
        opened.read((z, y, x))
    assert caught.value.errno == errno.EMFILE
    np.testing.assert_array_equal(opened.read((z, y, x)), VOXELS)


def test_too_many_open_files_do_not_make_the_store_look_damaged(tmp_path: Path) -> None:
    store, shape = Store(str(tmp_path)), (4, 300, 310)
    store.create("a", shape, (1, 100, 100), "int32", INTEGER, ((2,), (100,), (100,)))
    store.write("a", Box.whole(shape), VOXELS.astype(np.int32))
    store.put_table("t.npz", {"a": np.arange(3)})
    with no_more_files(), pytest.raises(OSError) as caught:
        store.read("a", Box.whole(shape))
    assert caught.value.errno == errno.EMFILE
    with no_more_files(), pytest.raises(OSError) as caught:
        store.get_table("t.npz")
    assert caught.value.errno == errno.EMFILE


def test_a_thread_that_cannot_be_started_does_not_make_the_store_look_damaged(
    tmp_path: Path,
) -> None:
    store, shape = Store(str(tmp_path)), (40, 300, 310)
    store.create("a", shape, (1, 100, 100), "int32", INTEGER, ((2,), (100,), (100,)))
    values = np.arange(40 * 300 * 310, dtype=np.int32).reshape(shape)
    store.write("a", Box.whole(shape), values)
    with no_more_threads(), pytest.raises(RuntimeError, match="can't start new thread"):
        store.read("a", Box.whole(shape))
    np.testing.assert_array_equal(store.read("a", Box.whole(shape)), values)


def test_a_thread_that_cannot_be_started_is_no_damage_to_an_image(tmp_path: Path) -> None:
    """In a process in which Zarr has none yet."""
    image = write_ome_zarr(tmp_path / "a.zarr", VOXELS)
    code = "import threading; from terapose import cli; threading.stack_size(1 << 46); cli.main()"
    words = [sys.executable, "-c", code, "evaluate", str(image), str(image)]
    done = subprocess.run(words, cwd=EXECUTABLE.parent, capture_output=True, text=True)
    # Zarr itself fails at the end, to wait for the thread
    said = done.stderr.partition("Exception ignored in atexit callback")[0].splitlines()
    assert done.returncode == 2 and len(said) == 1, done.stderr
    assert said[0].startswith("terapose: there is not enough memory for this; got can't start new")


def test_what_is_passed_on() -> None:
    thread = RuntimeError("can't start new thread")
    for error in (MemoryError(), OSError(errno.ENFILE, "x"), thread):
        with pytest.raises(type(error)):
            pass_on(error)
    for harmless in (ValueError("bad"), OSError(errno.EIO, "x"), InputError("wrong")):
        assert not lacks_memory(harmless)
        pass_on(harmless)


def test_memory_that_an_error_before_it_lacked() -> None:
    # as llvmlite says it: in words of its own, without those of what loads libraries
    with pytest.raises(OSError) as caught:
        try:
            raise OSError("libllvmlite.so: failed to map segment from shared object")
        except OSError:
            raise OSError("could not find libllvmlite.so")  # noqa: B904
    assert lacks_memory(caught.value)
