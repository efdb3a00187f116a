"""The store: nothing half-written, nothing missing that reads as zeros."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from terapose.errors import StoreError
from terapose.geometry import Box
from terapose.store import INTEGER, Store

SHAPE, CHUNK = (10, 12, 14), (4, 5, 14)


@pytest.fixture(params=["folder", "object store"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return Store(str(tmp_path / "store"))
    return Store(f"memory://{tmp_path.name}")


@pytest.fixture
def filled(store: Store) -> Store:
    store.create("flows", (2, *SHAPE), (2, *CHUNK), "float32")
    store.write("flows", Box.whole(SHAPE), values())
    return store


def values() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 1, (2, *SHAPE)).astype(np.float32)


def test_boxes_come_back_as_written(filled: Store) -> None:
    box = Box((3, 0, 2), (9, 7, 5))
    found = filled.read("flows", box)
    np.testing.assert_array_equal(found, values()[(slice(None), *box.slices)])


def test_a_missing_chunk_is_a_fault_not_zeros(filled: Store) -> None:
    filled.drop("flows/c/0/1/1/0")
    away = Box((0, 0, 0), (4, 12, 14))
    np.testing.assert_array_equal(filled.read("flows", away), values()[:, :4])
    with pytest.raises(
        StoreError, match=r"flows/c/0/1/1/0: is not in the store any more"
    ) as caught:
        filled.read("flows", Box((7, 9, 3), (8, 10, 4)))
    assert "run again without -resume" in str(caught.value)


def test_a_chunk_never_written_is_a_fault(store: Store) -> None:
    store.create("flows", SHAPE, CHUNK, "float32")
    with pytest.raises(StoreError, match="is not in the store any more"):
        store.read("flows", Box((0, 0, 0), (1, 1, 1)))


def test_chunks_of_zeros_are_written(store: Store) -> None:
    store.create("labels", SHAPE, CHUNK, "uint32", INTEGER)
    store.write("labels", Box.whole(SHAPE), np.zeros(SHAPE, np.uint32))
    assert not store.read("labels", Box.whole(SHAPE)).any()


def test_a_damaged_chunk_is_named(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.create("flows", SHAPE, CHUNK, "float32")
    store.write("flows", Box.whole(SHAPE), values()[0])
    (tmp_path / "flows/c/0/0/0").write_bytes(b"not what was written")
    with pytest.raises(StoreError, match="flows: cannot be decoded"):
        store.read("flows", Box((0, 0, 0), (1, 1, 1)))


@pytest.mark.parametrize(
    "box",
    [
        Box((0, 0, 0), (3, 5, 14)),  # ends within a chunk
        Box((2, 0, 0), (4, 5, 14)),  # starts within one
        Box((8, 10, 0), (10, 11, 14)),  # ends before the image does
    ],
)
def test_a_write_that_cuts_a_chunk_is_refused(filled: Store, box: Box) -> None:
    with pytest.raises(ValueError, match="is not aligned to chunks"):
        filled.write("flows", box, np.ones((2, *box.shape), np.float32))
    np.testing.assert_array_equal(filled.read("flows", Box.whole(SHAPE)), values())


def test_a_thin_last_chunk_can_be_written(filled: Store) -> None:
    box = Box((8, 10, 0), SHAPE)
    filled.write("flows", box, np.ones((2, *box.shape), np.float32))
    assert (filled.read("flows", box) == 1).all()


def test_the_checksum_tells_values_apart(filled: Store) -> None:
    one = filled.write("flows", Box.whole(SHAPE), values())
    assert filled.write("flows", Box.whole(SHAPE), values()) == one
    changed = values()
    changed[1, 9, 11, 13] += 1
    assert filled.write("flows", Box.whole(SHAPE), changed) != one


def test_making_an_array_again_keeps_what_it_holds(filled: Store) -> None:
    filled.create("flows", (2, *SHAPE), (2, *CHUNK), "float32")
    np.testing.assert_array_equal(filled.read("flows", Box.whole(SHAPE)), values())


def test_dropping_a_box_drops_its_chunks_alone(filled: Store) -> None:
    filled.drop_box("flows", Box((0, 0, 0), (4, 12, 14)))
    left = Box((4, 0, 0), SHAPE)
    np.testing.assert_array_equal(filled.read("flows", left), values()[:, 4:])
    with pytest.raises(StoreError):
        filled.read("flows", Box((3, 11, 0), (4, 12, 1)))
    filled.drop_box("flows", Box((0, 0, 0), (4, 12, 14)))  # a second time is no fault


def test_what_is_not_there(store: Store) -> None:
    assert not store.has("a/b.json")
    with pytest.raises(StoreError, match=r"b\.json: is not in the store"):
        store.get("a/b.json")
    with pytest.raises(StoreError, match="flows: is not in the store"):
        store.open("flows")
    store.drop("a")
    store.drop_box("flows", Box((0, 0, 0), (1, 1, 1)))


def test_tables_and_documents(store: Store) -> None:
    store.put_table("t/objects.npz", {"id": np.arange(3), "x": np.zeros(0, np.float32)})
    table = store.get_table("t/objects.npz")
    np.testing.assert_array_equal(table["id"], [0, 1, 2])
    assert table["x"].dtype == np.float32
    store.put_json("t/a.json", {"b": [1, 2]})
    assert store.get_json("t/a.json") == {"b": [1, 2]}
    store.drop("t")
    assert not store.has("t/a.json")


def test_a_blob_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    one, other = b"a" * 3_000_000, b"b" * 3_000_000
    store.put("blob", one)
    seen: set[bytes] = set()
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            seen.add(store.get("blob"))

    thread = threading.Thread(target=watch)
    thread.start()
    for _ in range(15):
        store.put("blob", other)
        store.put("blob", one)
    stop.set()
    thread.join()
    assert seen <= {one, other}
    assert [p.name for p in tmp_path.iterdir()] == ["blob"]
