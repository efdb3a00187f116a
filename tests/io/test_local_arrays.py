"""Chunks that are read and written without Zarr are those that Zarr reads and writes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore

from terapose.core.errors import StoreError
from terapose.core.geometry import Box, zyx
from terapose.io.files import ASIDE
from terapose.io.store.arrays import FLOAT, INTEGER, Codec, document_of
from terapose.io.store.store import Store

SHAPE, CHUNK = (40, 70, 33), (16, 32, 33)
LARGE, LARGE_CHUNK = (33, 300, 300), (32, 128, 128)


@pytest.mark.parametrize(
    "dtype", ["uint8", "int16", "uint32", "uint64", "int64", "float32", "float16"]
)
@pytest.mark.parametrize("codec", [FLOAT, INTEGER])
@pytest.mark.parametrize("lead", [(), (3,)])
def test_metadata_are_those_of_zarr(dtype: str, codec: Codec, lead: tuple[int, ...]) -> None:
    made: dict[str, Buffer] = {}
    zarr.create_array(
        MemoryStore(made),
        shape=(*lead, *SHAPE),
        chunks=(*lead, *CHUNK),
        dtype=dtype,
        compressors=BloscCodec(
            cname=cast(Any, codec.name), clevel=codec.level, shuffle=cast(Any, codec.shuffle)
        ),
        fill_value=0,
    )
    theirs = json.loads(made["zarr.json"].to_bytes())
    del theirs["attributes"]
    assert document_of((*lead, *SHAPE), (*lead, *CHUNK), dtype, codec) == theirs


@pytest.mark.parametrize("lead", [(), (4,)])
@pytest.mark.parametrize(("shape", "chunk"), [(SHAPE, CHUNK), (LARGE, LARGE_CHUNK)])
@pytest.mark.parametrize(("dtype", "codec"), [("float32", FLOAT), ("uint32", INTEGER)])
def test_files_are_those_of_zarr(
    lead: tuple[int, ...],
    shape: tuple[int, int, int],
    chunk: tuple[int, int, int],
    dtype: str,
    codec: Codec,
    tmp_path: Path,
) -> None:
    values = np.random.default_rng(1).integers(0, 900, (*lead, *shape)).astype(dtype)
    folders = []
    for name in ("ours", "theirs"):
        store = Store(str(tmp_path / name), "run")
        store.create("a/b", values.shape, (*lead, *chunk), dtype, codec)
        if name == "ours":
            # any order in memory
            store.write("a/b", Box.whole(shape), np.asfortranarray(values))
        else:
            store.open("a/b")[:] = values
        folders.append(tmp_path / name / "a/b")
        box = Box((3, 5, 7), zyx(n - 2 for n in shape))
        read = store.read("a/b", box)
        assert np.array_equal(read, values[(Ellipsis, *box.slices)]) and read.dtype == dtype
        assert np.array_equal(store.open("a/b")[:], values)
    ours, theirs = (
        {
            path.relative_to(folder): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }
        for folder in folders
    )
    assert ours == theirs and len(ours) > 4


def test_errors_of_threads_are_raised(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.create("large", LARGE, LARGE_CHUNK, "float32")
    values = np.random.default_rng(1).random(LARGE).astype(np.float32)
    store.write("large", Box.whole(LARGE), values)
    place = tmp_path / "large/c/1/2/1"
    place.write_bytes(place.read_bytes()[:-9])
    with pytest.raises(StoreError, match="is damaged") as damaged:
        store.read("large", Box.whole(LARGE))
    assert damaged.value.start == (32, 256, 128) and str(place) in str(damaged.value)
    place.unlink()
    with pytest.raises(StoreError, match="is no longer in the store") as gone:
        store.read("large", Box.whole(LARGE))
    assert gone.value.start == (32, 256, 128)
    with pytest.raises(ValueError, match="broadcast"):
        store.write("large", Box.whole(LARGE), values[:20])
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(ASIDE)]


def test_stages_that_read_no_zarr_start_without_it() -> None:
    """It takes longer to import than many tasks do."""
    code = (
        "import sys, terapose.stages.follow, terapose.stages.masks, terapose.pipeline.running; "
        "sys.exit('zarr' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
