"""The store: nothing half-written, nothing missing that reads as zeros."""

from __future__ import annotations

import shutil
import threading
from contextlib import nullcontext, suppress
from pathlib import Path

import fsspec
import numpy as np
import pytest
import zarr

from terapose.core.errors import StoreError
from terapose.core.geometry import Box
from terapose.io.files import written
from terapose.io.store.arrays import INTEGER
from terapose.io.store.store import Store

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
    with pytest.raises(StoreError, match=r"flows/c/0/1/1/0: is no longer in the store") as caught:
        filled.read("flows", Box((7, 9, 3), (8, 10, 4)))
    assert "run again" in str(caught.value)
    assert (caught.value.name, caught.value.start) == ("flows", (4, 5, 0))


def test_a_chunk_never_written_is_a_fault(store: Store) -> None:
    store.create("flows", SHAPE, CHUNK, "float32")
    with pytest.raises(StoreError, match="is no longer in the store"):
        store.read("flows", Box((0, 0, 0), (1, 1, 1)))


def test_chunks_of_zeros_are_written(store: Store) -> None:
    store.create("labels", SHAPE, CHUNK, "uint32", INTEGER)
    store.write("labels", Box.whole(SHAPE), np.zeros(SHAPE, np.uint32))
    assert not store.read("labels", Box.whole(SHAPE)).any()


def test_a_damaged_chunk_is_named(store: Store) -> None:
    store.create("flows", SHAPE, CHUNK, "float32")
    store.write("flows", Box.whole(SHAPE), values()[0])
    files, path = fsspec.url_to_fs(f"{store.address}/flows/c/0/0/0")
    whole = files.cat_file(path)
    # in the head of what is compressed, which has signs of its own, and all over what follows
    flipped = (bytes([*whole[:n], whole[n] ^ 4, *whole[n + 1 :]]) for n in (9, *range(40, 900, 45)))
    assert len(whole) > 900
    for content in (
        b"not what was written",
        *flipped,
        whole[:-1],
        whole[:3],
        b"",
        bytes(len(whole)),
    ):
        files.pipe_file(path, content)
        with pytest.raises(StoreError, match="flows/c/0/0/0: is damaged") as caught:
            store.read("flows", Box.whole(SHAPE))
        assert (caught.value.start, caught.value.stop) == ((0, 0, 0), CHUNK)


def test_no_file_takes_the_place_of_another(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    for name in ("flows", "other"):
        store.create(name, SHAPE, CHUNK, "float32")
        store.write(name, Box.whole(SHAPE), values()[0])
    for name in ("a", "b"):
        store.put_table(f"{name}.npz", {"id": np.arange(3)})
        store.put_json(f"{name}.json", {"id": 3})
    box = Box.whole(SHAPE)
    for one, other, read in (
        ("flows/c/0/0/0", "flows/c/1/0/0", lambda: store.read("flows", box)),
        ("flows/c/0/0/0", "other/c/0/0/0", lambda: store.read("flows", box)),
        ("flows/zarr.json", "other/zarr.json", lambda: Store(str(tmp_path)).read("flows", box)),
        ("a.npz", "b.npz", lambda: store.get_table("a.npz")),
        ("a.json", "b.json", lambda: store.get_json("a.json")),
        ("a.json", "a.npz", lambda: store.get_json("a.json")),
        ("a.npz", "flows/c/0/0/0", lambda: store.get_table("a.npz")),
    ):
        read()
        files = [tmp_path / name for name in (one, other)]
        contents = [file.read_bytes() for file in files]
        for file, content in zip(files, reversed(contents), strict=True):
            file.write_bytes(content)
        with pytest.raises(StoreError, match=f"{one}: is damaged"):
            read()
        for file, content in zip(files, contents, strict=True):
            file.write_bytes(content)
        read()


def test_no_file_of_another_run_is_taken(tmp_path: Path) -> None:
    stores = [Store(str(tmp_path / run), run) for run in ("one", "other")]
    box = Box.whole(SHAPE)
    for store in stores:
        store.create("flows", SHAPE, CHUNK, "float32")
        store.write("flows", box, values()[0])
        store.put_table("a.npz", {"id": np.arange(3)})
        store.put_json("a.json", {"id": 3})
        store.put("a", b"3")
    shutil.rmtree(tmp_path / "one")
    shutil.copytree(tmp_path / "other", tmp_path / "one")
    for one, damage in ((stores[1], False), (Store(str(tmp_path / "one"), "one"), True)):
        for read, name in ((one.get_table, "a.npz"), (one.get_json, "a.json"), (one.get, "a")):
            with pytest.raises(StoreError, match="is damaged") if damage else nullcontext():
                read(name)
        with pytest.raises(StoreError, match="is damaged") if damage else nullcontext():
            one.read("flows", box)
    # chunks under metadata of its own
    stores[0].create("flows", SHAPE, CHUNK, "float32")
    with pytest.raises(StoreError, match="flows/c/0/0/0: is damaged"):
        Store(str(tmp_path / "one"), "one").read("flows", box)


def test_damaged_metadata_are_made_again_by_who_writes(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.create("flows", SHAPE, CHUNK, "float32")
    store.write("flows", Box.whole(SHAPE), values()[0])
    path = tmp_path / "flows/zarr.json"
    whole = path.read_bytes()
    for content in (whole.replace(b"float32", b"float64"), whole[:-5], b"", b"\0" * 40, b"[]"):
        path.write_bytes(content)
        with pytest.raises(StoreError, match=r"flows/zarr\.json: is damaged"):
            Store(str(tmp_path)).read("flows", Box.whole(SHAPE))
        again = Store(str(tmp_path))
        again.create("flows", SHAPE, CHUNK, "float32")
        np.testing.assert_array_equal(again.read("flows", Box.whole(SHAPE)), values()[0])
    assert zarr.open_array(str(tmp_path / "flows"), mode="r").dtype == np.float32


@pytest.mark.parametrize("kind", ["table", "document", "bytes"])
def test_damaged_blobs_are_faults(tmp_path: Path, kind: str) -> None:
    store = Store(str(tmp_path))
    if kind == "table":
        store.put_table("a", {"id": np.arange(300)})
    elif kind == "document":
        store.put_json("a", {"id": list(range(30)), "x": 0.1, "none": None})
    else:
        store.put("a", b"")
    read = {"table": store.get_table, "document": store.get_json, "bytes": store.get}[kind]
    read("a")
    whole = (tmp_path / "a").read_bytes()
    for place in range(len(whole)):
        (tmp_path / "a").write_bytes(bytes([*whole[:place], whole[place] ^ 1, *whole[place + 1 :]]))
        try:
            read("a")
        except StoreError as fault:
            assert (fault.name, fault.what) == ("a", "is damaged")
        else:  # blanks of JSON and the case of hexadecimal figures say nothing
            assert kind == "document" and store.get_json("a")["x"] == 0.1
    for content in (b"", whole[:-1], bytes(len(whole)), whole * 2):
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(StoreError, match="is damaged"):
            read("a")


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


@pytest.mark.parametrize("content", [b"", b"{", b"[]", None])
def test_of_an_array_with_damaged_metadata_nothing_is_dropped(
    tmp_path: Path, content: bytes | None
) -> None:
    """Nor does dropping fail: it comes after everything that was wanted has been read."""
    store = Store(str(tmp_path))
    store.create("flows", SHAPE, CHUNK, "float32")
    store.write("flows", Box.whole(SHAPE), values()[0])
    path = tmp_path / "flows/zarr.json"
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    Store(str(tmp_path)).drop_box("flows", Box.whole(SHAPE))
    store.create("flows", SHAPE, CHUNK, "float32")
    np.testing.assert_array_equal(store.read("flows", Box.whole(SHAPE)), values()[0])


def test_what_is_not_there(store: Store) -> None:
    assert not store.has("a/b.json")
    with pytest.raises(StoreError, match=r"b\.json: is no longer in the store"):
        store.get("a/b.json")
    with pytest.raises(StoreError, match=r"flows/zarr\.json: is no longer in the store"):
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
    seen: set[bytes | str] = set()
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            try:
                seen.add(store.get("blob"))
            except StoreError as fault:  # in a thread it would be lost
                seen.add(str(fault))

    thread = threading.Thread(target=watch)
    thread.start()
    for _ in range(15):
        store.put("blob", other)
        store.put("blob", one)
    stop.set()
    thread.join()
    assert seen <= {one, other}
    assert [p.name for p in tmp_path.iterdir()] == ["blob"]


def test_what_is_written_aside_is_not_listed(tmp_path: Path) -> None:
    """A process that was killed leaves what it had begun to write."""
    store = Store(str(tmp_path))
    store.put_json("done/a.json", {})
    with suppress(KeyboardInterrupt), written(tmp_path / "done/b.json") as place:
        place.write_bytes(b"{")
        assert store.names("done") == ["done/a.json"]
        raise KeyboardInterrupt
    assert [path.name for path in (tmp_path / "done").iterdir()] == ["a.json"]


def test_only_the_last_word_of_an_address_is_left_out(tmp_path: Path) -> None:
    """A folder of the user's may be named as the workflow's renewed addresses are."""
    folder = tmp_path / "o?again=1" / "store"
    for address in (str(folder), f"{folder}?again=12"):
        assert Store(address).address == str(folder)
    Store(str(folder)).put_json("a.json", {"b": 1})
    assert (folder / "a.json").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["o?again=1"]
