"""How often a server is asked for each chunk, by the methods that stages call."""

from __future__ import annotations

import uuid
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import zarr
from tests.object_store import Server
from tests.synthetic import write_zarr

from terapose.core.errors import StoreError
from terapose.core.geometry import Box
from terapose.io.images.opening import open_image
from terapose.io.remote import Remote
from terapose.io.store.store import Store
from terapose.io.zarr_files import open_sparse

WHOLE = Box((0, 0, 0), (5, 32, 32))
FIRST = Box((0, 0, 0), (2, 16, 16))
CHUNKS = 3 * 2 * 2
VOXELS = 5 * 32 * 32


_MARK = "mark-"


def _asked(server: Server, there: Remote) -> Counter[str]:
    """How often the server was asked for what, since the last call, with lists of folders."""
    mark = f"{_MARK}{uuid.uuid4().hex}"
    there.modified(mark)
    found: list[str] = []
    # a server may answer before it writes into its log
    while not any(mark in path for path in found):
        found += [unquote(path) for _, path in server.asked()]
    return Counter(path.partition("?")[0] for path in found if _MARK not in path)


def _once(asked: Counter[str], chunks: int) -> None:
    """As often as there are chunks, so once for each, and for nothing else."""
    # the names of those that are written to Google are not in the paths
    assert asked.total() == chunks, asked


def of_an_array(server: Server, there: Remote) -> None:
    """Arrays of stores: a chunk at the edge of the array is whole, too."""
    store = Store(f"{there}-store")
    store.create("a", WHOLE.stop, (2, 16, 16), "uint8")
    store.open("a")
    _asked(server, there)
    store.write("a", WHOLE, np.ones(WHOLE.stop, np.uint8))
    _once(_asked(server, there), CHUNKS)
    store.write("a", FIRST, np.zeros((2, 16, 16), np.uint8))
    _once(_asked(server, there), 1)
    assert store.read("a", WHOLE).sum() == VOXELS - 2 * 16 * 16
    _once(_asked(server, there), CHUNKS)
    store.drop_box("a", FIRST)
    _once(_asked(server, there), 1)
    with pytest.raises(StoreError, match="is no longer in the store"):
        store.read("a", FIRST)
    _once(_asked(server, there), 2)  # once more, to say which one is missing


def of_labels(server: Server, there: Remote) -> None:
    """Label images, of which chunks of zeros are not written."""
    address = f"{there}-labels"
    zarr.create_array(
        address, shape=WHOLE.stop, chunks=(2, 16, 16), dtype="uint32", fill_value=0, zarr_format=3
    )
    array = open_sparse(address)
    _asked(server, there)
    array[:] = np.ones(WHOLE.stop, np.uint32)
    _once(_asked(server, there), CHUNKS)
    array[:2] = 0
    _once(_asked(server, there), 4)
    array[:2] = 0  # they are not there any more
    _once(_asked(server, there), 4)
    assert np.asarray(array[:]).sum() == VOXELS - 2 * 32 * 32
    _once(_asked(server, there), CHUNKS)


def of_an_image(server: Server, there: Remote, folder: Path) -> None:
    """Images, of which chunks may be missing; their tags are asked for by whoever notes them."""
    path = write_zarr(folder / "image.zarr", np.ones(WHOLE.stop, np.uint16), chunks=(2, 16, 16))
    for one in sorted(filter(Path.is_file, path.rglob("*"))):
        if one.name != "0" or one.parent.name != "0":  # the first of each row is missing
            there.send(f"image/{one.relative_to(path)}", one)
    image = open_image(f"{there}/image")
    image.read(FIRST.slices)
    _asked(server, there)
    image.read(WHOLE.slices)
    _once(_asked(server, there), CHUNKS)
