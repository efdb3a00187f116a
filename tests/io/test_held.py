"""What a `HeldStore` holds is read as it would be from a store, and is nowhere on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from terapose.core.errors import StoreError
from terapose.core.geometry import Box
from terapose.io.store.held import STAGES, HeldStore
from terapose.io.store.store import Store

SHAPE, CHUNK = (5, 14, 20), (3, 8, 8)
ENDS = "follow-0/ends"
BLOCKS = [
    Box((z, y, x), (min(z + 3, 5), min(y + 8, 14), min(x + 8, 20)))
    for z in (0, 3)
    for y in (0, 8)
    for x in (0, 8, 16)
]


@pytest.fixture
def both(tmp_path: Path) -> tuple[Store, HeldStore]:
    """A store and one that holds, in which all stages have left the same."""
    made = Store(str(tmp_path / "written"), "run"), HeldStore(str(tmp_path / "held"), "run")
    values = np.random.default_rng(0).integers(-90, 90, (3, *SHAPE), np.int16)
    for store in made:
        store.create(ENDS, (3, *SHAPE), (3, *CHUNK), "int16")
        store.create(ENDS, (3, *SHAPE), (3, *CHUNK), "int16")  # as each task does
        sums = [store.write(ENDS, box, values[(..., *box.slices)]) for box in BLOCKS]
        store.put_json("done/follow-0/task-0.json", {"checksums": sums})
        for stage in STAGES:
            store.put_table(f"{stage}-0/0.npz", {"id": np.arange(3)})
            store.put_table(f"{stage}-0/windows/1.npz", {"id": np.arange(4)})
    return made


@pytest.mark.parametrize(
    "asked",
    [
        lambda store: store.read(ENDS, Box((1, 2, 3), (5, 13, 20))),
        lambda store: store.get_json("done/follow-0/task-0.json")["checksums"],
        lambda store: store.get_table("masks-0/0.npz")["id"],
        lambda store: store.names("masks-0"),
        lambda store: store.names("masks-0/windows"),
        lambda store: store.names("done/follow-0"),
        lambda store: store.names("none-0"),
        lambda store: [store.has(f"peaks-0/{n}.npz") for n in range(2)],
        lambda store: store.missing(ENDS, Box.whole(SHAPE)),
        lambda store: (store.info(ENDS).shape, store.info(ENDS).dtype),
        lambda store: store.find_json("done/masks-0/task-0.json"),
    ],
)
def test_answers_are_those_of_a_store(
    both: tuple[Store, HeldStore], asked: Callable[[Store], object]
) -> None:
    np.testing.assert_equal(asked(both[1]), asked(both[0]))


def test_nothing_of_it_is_on_disk(both: tuple[Store, HeldStore], tmp_path: Path) -> None:
    assert not (tmp_path / "held").exists()
    both[1].put_json("done/seeds-0/task-0.json", {})
    both[1].put_table("seeds-0/0.npz", {"id": np.arange(3)})
    files = [path for path in (tmp_path / "held").rglob("*") if path.is_file()]
    assert sorted(path.parent.name for path in files) == ["seeds-0", "seeds-0"]
    # another process
    assert not HeldStore(both[1].address, "run").has("done/follow-0/task-0.json")


def test_what_was_read_can_be_changed(both: tuple[Store, HeldStore]) -> None:
    everything = Box.whole(SHAPE)
    both[1].read(ENDS, everything)[:] = 0
    assert both[1].read(ENDS, everything).any()


@pytest.mark.parametrize("name", [ENDS, "follow-0"])
def test_what_was_dropped_is_gone(both: tuple[Store, HeldStore], name: str) -> None:
    for store in both:
        store.drop(name)
        with pytest.raises(StoreError):
            store.read(ENDS, BLOCKS[0])
        assert store.has("follow-0/0.npz") == (name == ENDS)
        store.create(ENDS, (3, *SHAPE), (3, *CHUNK), "int16")
        store.write(ENDS, BLOCKS[0], np.ones((3, *BLOCKS[0].shape), np.int16))
        assert store.read(ENDS, BLOCKS[0]).all()


FLOWS = "gradients-zx"


@pytest.fixture
def flows(tmp_path: Path) -> tuple[HeldStore, np.ndarray]:
    """A store in which this process and another one have each written a part of flows."""
    values = np.random.default_rng(1).normal(size=(4, *SHAPE)).astype(np.float32)
    other, store = Store(str(tmp_path / "s"), "run"), HeldStore(str(tmp_path / "s"), "run")
    other.create(FLOWS, (4, *SHAPE), (4, *CHUNK), "float16")
    for number, box in enumerate(BLOCKS):
        (other if number < 3 else store).write(FLOWS, box, values[(..., *box.slices)])
    return store, values.astype(np.float16)


def spoil(store: Store) -> None:
    """Damage all files of an array."""
    for path in Path(store.where(FLOWS)).rglob("*"):
        if path.is_file() and path.name != "zarr.json":
            path.write_bytes(b"damaged")


def test_flows_are_in_memory_and_in_the_store(flows: tuple[HeldStore, np.ndarray]) -> None:
    store, values = flows
    for box in (*BLOCKS, Box.whole(SHAPE), Box((1, 2, 3), (5, 13, 20)), Box((3, 9, 1), (5, 14, 2))):
        expected = values[(..., *box.slices)]
        for one in (store, Store(store.address, "run")):
            found = one.read(FLOWS, box)
            np.testing.assert_array_equal(found, expected)
            assert found.dtype == np.float16
            found[:] = 0
    spoil(store)
    for number, box in enumerate(BLOCKS):
        if number < 3:
            with pytest.raises(StoreError):
                store.read(FLOWS, box)
        else:
            np.testing.assert_array_equal(store.read(FLOWS, box), values[(..., *box.slices)])


@pytest.mark.parametrize("name", [FLOWS, f"{FLOWS}/c/0/1/1/2", "combine-0/flows"])
def test_flows_that_are_gone_or_old_are_not(flows: tuple[HeldStore, np.ndarray], name: str) -> None:
    """Others that are written take their place: those before were read for the last time."""
    store, values = flows
    if name.startswith("combine"):
        store.create(name, (4, *SHAPE), (4, *CHUNK), "float32")
        store.write(name, BLOCKS[0], values[(..., *BLOCKS[0].slices)])
    else:
        store.drop(name)
    spoil(store)
    with pytest.raises(StoreError):
        store.read(FLOWS, BLOCKS[-1])
