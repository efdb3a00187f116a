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
