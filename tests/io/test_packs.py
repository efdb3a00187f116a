"""Packs: several chunks in a file, written by one box and dropped by one, whole or not at all."""

from __future__ import annotations

import itertools
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from terapose.core.errors import StoreError
from terapose.core.geometry import Box, Grid, cut, zyx
from terapose.io.store.arrays import INTEGER
from terapose.io.store.chunks import files_of, is_aligned
from terapose.io.store.store import Store
from terapose.pipeline.layout import (
    choose_block,
    choose_flat_slabs,
    choose_passes,
    choose_slabs,
)
from terapose.pipeline.packs import choose_packs
from terapose.pipeline.sizes import MOST_PACK

SHAPE, CHUNK = (11, 20, 30), (2, 4, 5)
PACKS = ((4,), (8, 12), (10, 15))


def numbers(*shape: int) -> NDArray[Any]:
    return np.random.default_rng(3).integers(1, 900, shape).astype(np.int32)


@pytest.fixture
def values() -> NDArray[Any]:
    return numbers(3, *SHAPE)


@pytest.fixture
def store(tmp_path: Path, values: NDArray[Any]) -> Store:
    """An array of which each file is written by itself."""
    made = Store(str(tmp_path), "run")
    made.create("a", values.shape, (3, *CHUNK), "int32", INTEGER, PACKS)
    for box in cut(Box.whole(SHAPE), PACKS):
        made.write("a", box, values[(slice(None), *box.slices)])
    return made


def files(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "a/c").rglob("*") if path.is_file())


def test_any_box_is_read_from_whole_files(store: Store, values: NDArray[Any]) -> None:
    assert len(files(Path(store.address))) == 3 * 4 * 4 < math.prod((6, 5, 6))
    random = np.random.default_rng(5)
    for _ in range(60):
        ends = [sorted(random.choice(n + 1, 2, replace=False).tolist()) for n in SHAPE]
        box = Box(zyx(a for a, _ in ends), zyx(b for _, b in ends))
        np.testing.assert_array_equal(store.read("a", box), values[(slice(None), *box.slices)])


def test_how_much_is_written_at_once_does_not_show(
    store: Store, values: NDArray[Any], tmp_path: Path
) -> None:
    other = Store(str(tmp_path / "other"), "run")
    other.create("a", values.shape, (3, *CHUNK), "int32", INTEGER, PACKS)
    other.write("a", Box.whole(SHAPE), np.asfortranarray(values))
    for one, two in zip(files(tmp_path), files(tmp_path / "other"), strict=True):
        assert one.read_bytes() == two.read_bytes()


def test_no_part_of_a_file_is_written_or_dropped(store: Store, values: NDArray[Any]) -> None:
    part = Box((0, 0, 0), (2, 8, 10))
    with pytest.raises(ValueError, match="not aligned"):
        store.write("a", part, values[(slice(None), *part.slices)])
    store.drop_box("a", part)
    store.drop_box("a", Box((1, 0, 0), (11, 20, 30)))
    np.testing.assert_array_equal(store.read("a", part), values[(slice(None), *part.slices)])
    assert store.missing("a", Box.whole(SHAPE)) == [
        box for box in cut(Box.whole(SHAPE), PACKS) if box.start[0]
    ]
    store.drop_box("a", Box((0, 0, 0), (4, 8, 10)))
    with pytest.raises(StoreError, match=r"a/c/0/0/0/0: is no longer in the store") as gone:
        store.read("a", part)
    assert gone.value.start == (0, 0, 0)


@pytest.mark.parametrize("place", [0, 0.3, 0.7, "last chunk", "places", "end"])
def test_one_changed_bit_is_found(store: Store, place: float | str) -> None:
    path = Path(store.address) / "a/c/0/2/2/2"
    (file,) = (f for f in files_of(store.info("a"), Box.whole(SHAPE)) if f.key == "c/0/2/2/2")
    assert len(file.chunks) == 2
    content = bytearray(path.read_bytes())
    size = len(content)
    where = {"last chunk": size - 21, "places": size - 10, "end": size - 1}
    at = where[place] if isinstance(place, str) else int(place * (size - 20))
    content[at] ^= 4
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"a/c/0/2/2/2: is damaged") as damaged:
        store.read("a", file.box)
    assert damaged.value.start is not None and damaged.value.stop is not None
    assert file.box.intersect(Box(zyx(damaged.value.start), zyx(damaged.value.stop))).size


@pytest.mark.parametrize("left", [0, 1, 3, 19, 20, 21, 0.5, -1])
def test_a_file_that_is_cut_off_is_found(store: Store, left: float) -> None:
    path = Path(store.address) / "a/c/0/2/2/2"
    size = path.stat().st_size
    os.truncate(path, int(left * size) if isinstance(left, float) else left % size)
    for box in (Box((4, 8, 10), (6, 12, 15)), Box((6, 8, 10), (8, 12, 15)), Box.whole(SHAPE)):
        with pytest.raises(StoreError, match=r"a/c/0/2/2/2: is damaged"):
            store.read("a", box)
    path.write_bytes(path.read_bytes() + bytes(64))
    with pytest.raises(StoreError, match="is damaged"):
        store.read("a", Box.whole(SHAPE))


def test_no_file_and_no_chunk_takes_the_place_of_another(store: Store) -> None:
    one, two = (Path(store.address) / f"a/c/0/{n}/2/2" for n in (0, 2))
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    with pytest.raises(StoreError, match=r"a/c/0/0/2/2: is damaged"):
        store.read("a", Box((0, 8, 10), (2, 12, 15)))
    # chunks of the same length in another order, with the right numbers behind them
    middle = int.from_bytes(first[-20:-12], "little")
    end = int.from_bytes(first[-12:-4], "little")
    if middle * 2 == end:
        one.write_bytes(first[middle:end] + first[:middle] + first[end:])
        with pytest.raises(StoreError, match="is damaged"):
            store.read("a", Box((0, 8, 10), (2, 12, 15)))


def test_few_files_are_open_at_a_time(tmp_path: Path) -> None:
    import resource

    store, shape = Store(str(tmp_path)), (400, 2, 2)
    store.create("a", shape, (1, 2, 2), "int32", INTEGER, ((1,), (2,), (2,)))
    store.write("a", Box.whole(shape), numbers(*shape))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/dev/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 80, hard))
    try:
        found = store.read("a", Box.whole(shape))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    np.testing.assert_array_equal(found, numbers(*shape))


def test_object_stores_have_a_file_for_each_chunk() -> None:
    store = Store("memory://packs/run")
    store.create("a", SHAPE, CHUNK, "int32", INTEGER, PACKS)
    assert store.info("a").packs is None and is_aligned(store.info("a"), Box((0,) * 3, CHUNK))


@settings(max_examples=150, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 5000)] * 3),
    block=st.none() | st.tuples(*[st.integers(1, 300)] * 3),
    rectangle=st.none() | st.integers(224, 900),
    ratio=st.floats(0.3, 2),
    flat=st.booleans(),
)
def test_boxes_of_passes_and_blocks_are_whole_files(
    shape: tuple[int, int, int],
    block: tuple[int, int, int] | None,
    rectangle: int | None,
    ratio: float,
    flat: bool,
) -> None:
    slabs = (choose_flat_slabs if flat else choose_slabs)(shape, None, rectangle)
    passes = choose_passes(shape, slabs, 1 if flat else 3, rectangle)
    last = zyx(max(1, int(n * ratio)) for n in choose_block(shape, block, flat=flat))
    for writer, reader in itertools.pairwise([*passes, None]):
        assert writer is not None
        packs = choose_packs(shape, slabs, 16, writer, reader or last)
        for edges, chunk in zip(packs, slabs, strict=True):
            assert all(n % chunk == 0 for n in edges)
        most = 16 * math.prod(min(n, min(e)) for n, e in zip(shape, packs, strict=True))
        assert most <= MOST_PACK or all(min(e) == c for e, c in zip(packs, slabs, strict=True))
        for boxes in [writer] if reader is None else [writer, reader]:
            for n, size, edges in zip(shape, boxes, packs, strict=True):
                if size < n:
                    assert size in edges, (writer, reader, packs)


def test_files_of_a_terabyte() -> None:
    """A file of 16 MB or more each on average, at 16 bytes a voxel."""
    shape = (4000, 8000, 16000)
    slabs = choose_slabs(shape, None)
    passes = choose_passes(shape, slabs, 3, None)
    readers = (*passes[1:], choose_block(shape, None))
    for writer, reader in zip(passes, readers, strict=True):
        packs = choose_packs(shape, slabs, 16, writer, reader)
        sides = zip(shape, packs, strict=True)
        counts = [len(cut(Box((0, 0, 0), (n, 1, 1)), (ends, (1,), (1,)))) for n, ends in sides]
        assert math.prod(shape) * 16 / math.prod(counts) > 14e6
    assert len(Grid(shape, slabs)) > 3_900_000
