"""A store on a local disk: what is no regular file in a real folder is damage, and is replaced."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from terapose.core.errors import InputError, StoreError
from terapose.core.geometry import Box
from terapose.io.own_files import OwnFiles
from terapose.io.store.store import Store

SHAPE, CHUNK = (4, 5, 6), (2, 5, 6)
WHOLE = Box.whole(SHAPE)
VALUES = np.arange(120, dtype=np.uint32).reshape(SHAPE)
FILES = ("done/a/1.json", "table.npz", "labels/zarr.json", "labels/c/0/0/0")
FOLDERS = ("done", "done/a", "labels", "labels/c", "labels/c/0/0")


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        here = Path.cwd()
        os.chdir(path.parent)  # such an address is short
        try:
            made.bind(path.name)
        finally:
            os.chdir(here)


ODD: dict[str, Callable[[Path], None]] = {
    "a pipe": os.mkfifo,
    "a device or socket": a_socket,
    "a folder": lambda path: (path / "b").mkdir(parents=True),
    "a symbolic link": lambda path: path.symlink_to(path.parent / "kept"),
}


def write(store: Store) -> None:
    store.put_json("done/a/1.json", {"done": 1})
    store.put_table("table.npz", {"id": np.arange(3)})
    store.create("labels", SHAPE, CHUNK, "uint32")
    store.write("labels", WHOLE, VALUES)


def read(store: Store, name: str) -> None:
    """Read what a file or folder belongs to, and compare."""
    if name.startswith("done"):
        assert store.get_json("done/a/1.json") == {"done": 1}
        assert store.names("done/a") == ["done/a/1.json"]
    elif name == "table.npz":
        np.testing.assert_array_equal(store.get_table(name)["id"], [0, 1, 2])
    else:
        np.testing.assert_array_equal(store.read("labels", WHOLE), VALUES)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A store, and a folder of somebody else."""
    write(Store(str(tmp_path / "store")))
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "1.json").write_text("kept")
    return tmp_path / "store"


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("name", FILES)
def test_what_has_the_name_of_a_file(place: Path, name: str, kind: str) -> None:
    (place / name).unlink()
    ODD[kind](place / name)
    with pytest.raises(StoreError, match=f"{name}: is damaged; got {kind} in place of a file"):
        read(Store(str(place)), name)
    assert not Store(str(place)).has(name) and Store(str(place)).checksum(name) is None
    write(Store(str(place)))
    read(Store(str(place)), name)


@pytest.mark.parametrize("kind", ["a file", "a pipe", "a device or socket"])
@pytest.mark.parametrize("name", FOLDERS)
def test_what_has_the_name_of_a_folder(place: Path, name: str, kind: str) -> None:
    shutil.rmtree(place / name)
    {**ODD, "a file": Path.touch}[kind](place / name)
    store = Store(str(place))
    with pytest.raises(StoreError, match=f"is damaged; got {kind} in place of the folder .*{name}"):
        read(store, name)
    assert store.names(name) == [] and not store.has(f"{name}/1.json")
    store.drop(f"{name}/1.json")
    write(Store(str(place)))
    read(Store(str(place)), name)


@pytest.mark.parametrize("kind", ["a file", "a pipe", "a symbolic link"])
def test_nothing_is_removed_in_place_of_the_store_itself(tmp_path: Path, kind: str) -> None:
    """Whoever names a store may name a file of theirs by mistake."""
    {**ODD, "a file": Path.touch}[kind](tmp_path / "mine")
    refused = f"mine: cannot be a store: it is not a folder; got {kind}"
    uses: list[Callable[[Store], object]] = [
        write,
        lambda store: store.put("a", b""),
        lambda store: store.put_plain("a", b""),
    ]
    for use in uses:
        with pytest.raises(InputError, match=refused):
            use(Store(str(tmp_path / "mine")))
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("to", ["victim", "nowhere", "itself"])
@pytest.mark.parametrize("name", FOLDERS)
def test_nothing_is_done_behind_a_link(place: Path, name: str, to: str) -> None:
    shutil.rmtree(place / name)
    (place / name).symlink_to({"itself": place / name}.get(to, place.parent / to))
    refused = f"{name}: is a symbolic link, which is not followed within a store"
    uses: list[Callable[[Store], object]] = [
        lambda store: store.put_json(f"{name}/1.json", {}),
        lambda store: store.find_json(f"{name}/1.json"),
        lambda store: store.has(f"{name}/1.json"),
        lambda store: store.names(name),
        lambda store: store.drop(f"{name}/1.json"),
    ]
    for use in uses:
        with pytest.raises(InputError, match=refused):
            use(Store(str(place)))
    kept = place.parent / "victim"
    assert [path.read_text() for path in kept.iterdir()] == ["kept"]
    Store(str(place)).drop(name)
    assert not os.path.lexists(place / name) and kept.exists()


def test_a_link_among_the_folders_of_chunks_is_damage_and_refused(place: Path) -> None:
    """An array that is open already."""
    store = Store(str(place))
    store.open("labels")
    shutil.rmtree(place / "labels" / "c")
    (place / "labels" / "c").symlink_to(place.parent / "victim")
    with pytest.raises(StoreError, match=r"labels/c/0/0/0: is damaged; got .* symbolic link"):
        store.read("labels", WHOLE)
    with pytest.raises(InputError, match="labels/c: is a symbolic link"):
        store.write("labels", WHOLE, VALUES)
    assert len([*(place.parent / "victim").iterdir()]) == 1


def test_the_top_of_a_store_may_be_a_link(place: Path) -> None:
    link = place.parent / "link"
    link.symlink_to(place)
    write(Store(str(link)))
    for name in FILES:
        read(Store(str(link)), name)


@pytest.mark.parametrize("kind", ["document", "table", "blob", "metadata"])
def test_what_was_swapped_is_damaged(place: Path, kind: str) -> None:
    store = Store(str(place))
    one, other = ("b/a", "b/b") if kind != "metadata" else ("b/a/zarr.json", "b/b/zarr.json")
    for number, name in enumerate(("b/a", "b/b")):
        if kind == "document":
            store.put_json(name, {"done": number})
        elif kind == "table":
            store.put_table(name, {"id": np.arange(number)})
        elif kind == "blob":
            store.put(name, bytes([number]))
        else:
            store.create(name, (4, 4, 4), (2, 2, 2 + number), "uint8")
    files = [place / one, place / other]
    swapped = [file.read_bytes() for file in files[::-1]]
    for file, content in zip(files, swapped, strict=True):
        file.write_bytes(content)
    get = {"document": store.get_json, "table": store.get_table, "blob": store.get}
    for name in ("b/a", "b/b"):
        with pytest.raises(
            StoreError, match="is damaged; got a different checksum from the one recorded"
        ):
            get.get(kind, Store(str(place)).open)(name)


def test_a_twin_that_makes_the_store_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes between the look for a folder and the look for anything else."""
    real = os.path.isdir
    looked: list[bool] = []

    def isdir(path: str) -> bool:
        found = real(path)
        if not looked:
            os.mkdir(path)
        looked.append(found)
        return found

    monkeypatch.setattr(os.path, "isdir", isdir)
    OwnFiles(str(tmp_path / "store")).make_way(str(tmp_path / "store/a/b"))
    assert looked[0] is False and (tmp_path / "store/a").is_dir()
