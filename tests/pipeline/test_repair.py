"""What is looked for once a task has missed something."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.fields import prepared

from terapose.core.errors import StoreError
from terapose.core.geometry import Box
from terapose.pipeline.job import Job
from terapose.pipeline.repair import forgetting
from terapose.pipeline.running import run
from terapose.pipeline.state import State

IMAGE = np.random.default_rng(0).integers(0, 500, (8, 8, 600)).astype(np.uint16)


def test_more_regions_than_blocks(tmp_path: Path, tiny_model: Path) -> None:
    """Export's regions are not the blocks that wrote what it reads."""
    plan, store = prepared(tmp_path, tiny_model, IMAGE, block_shape=(8, 8, 600))
    assert plan.items("export") > len(plan.grid) == 1
    labels = "masks-0/labels"
    store.create(labels, plan.image.shape, plan.chunk, "uint32")
    job = Job(plan, store, "export", 0, {}, State())
    gone = pytest.raises(StoreError, match="is no longer in the store")
    with gone as caught, forgetting(plan, store, job):
        store.read(labels, Box.whole(plan.image.shape))
    assert caught.value.is_forgotten
    assert store.of("").get_json("again/masks.0")["times"] == 1


@pytest.mark.parametrize("marker", ["whole", "damaged", "missing"])
def test_only_items_that_are_not_done_will_read(
    marker: str, tmp_path: Path, tiny_model: Path
) -> None:
    """A damaged marker is none: its item reads again, and what it lacks is made with the rest."""
    plan, store = prepared(tmp_path, tiny_model, IMAGE, block_shape=(8, 8, 200), max_tasks=3)
    labels = "masks-0/labels"
    store.create(labels, plan.image.shape, plan.chunk, "uint32")
    store.put_json("done/masks-0/2.json", {"done": 0})
    job = Job(plan, store, "measure", 0, {}, State())
    other = Job(plan, store, "measure", 2, {}, State())
    store.put_json(other.marker, {"result": 0})
    path = Path(store.where(other.marker))
    if marker == "damaged":
        path.write_bytes(path.read_bytes()[:-1])
    elif marker == "missing":
        path.unlink()
    with pytest.raises(StoreError, match="is no longer in"), forgetting(plan, store, job):
        store.read(labels, plan.grid[0])
    assert (store.find_json("done/masks-0/2.json") is not None) == (marker == "whole")


@pytest.mark.parametrize("kept", [False, True], ids=["sums are dropped", "they are there"])
def test_sums_of_all_passes_are_made_again_at_once(
    kept: bool, tmp_path: Path, tiny_model: Path
) -> None:
    """Where flows of a block are missing: each pass has dropped what it took of the one before."""
    image = IMAGE[:, :, :96].repeat(3, axis=0)
    cut = {"block_shape": (24, 8, 48), "slab_planes": 8, "diameter": 60, "max_tasks": 9}
    plan, store = prepared(tmp_path, tiny_model, image, **cut)
    passes = [f"gradients-{axis}" for axis in ("yx", "zx", "zy")]
    for name in passes:
        for item in range(plan.items(name)):
            store.put_json(f"done/{name}-0/{item}.json", {"done": 0})
            box = plan.pass_grid(passes.index(name))[item]
            if kept:
                components = store.info(name).shape[0]
                store.write(name, box, np.zeros((components, *box.shape), np.float32))
    flows = "combine-0/flows"
    store.create(flows, (4, *plan.image.shape), (4, *plan.chunk), "float32")
    with pytest.raises(StoreError, match="is no longer in"), forgetting(plan, store):
        store.read(flows, plan.grid[0])
    gone = {
        name: [n for n in range(plan.items(name)) if not store.has(f"done/{name}-0/{n}.json")]
        for name in passes
    }
    if kept:
        assert gone == {name: [] for name in passes}
        return
    # the passes across planes need all of these; the one along X the half that is under the block
    half = [n for n, box in enumerate(plan.pass_grid(2)) if box.start[2] <= 24]
    assert half == gone["gradients-zy"] and len(half) < plan.items("gradients-zy")
    assert all(gone[name] == list(range(plan.items(name))) for name in passes[:2])
    # of several tasks that miss it at the same time one counts; made again, it is counted again
    with pytest.raises(StoreError), forgetting(plan, store):
        store.read(flows, plan.grid[0])
    assert store.of("").get_json("again/gradients-zx.0")["times"] == 1
    store.put_json("done/gradients-zx-0/task-0.json", {"done": 0})
    with pytest.raises(StoreError), forgetting(plan, store):
        store.read(flows, plan.grid[0])
    assert store.of("").get_json("again/gradients-zx.0")["times"] == 2


@pytest.mark.parametrize("fault", ["damaged", "missing"])
def test_what_is_known_of_the_images_files_is_made_again(
    fault: str, tmp_path: Path, tiny_model: Path
) -> None:
    """Each task that opens the image compares its files with it; only the plan has written it."""
    plan, store = prepared(tmp_path, tiny_model, IMAGE)
    path = Path(store.where("image/level-0.npz"))
    whole = path.read_bytes()
    if fault == "damaged":
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    else:
        path.unlink()
    job = Job(plan, store, "intensities", 0, {}, State())
    with pytest.raises(StoreError) as caught, forgetting(plan, store, job):
        run(job)
    assert caught.value.is_forgotten
    assert path.read_bytes() == whole
    assert run(job)["result"]["extremes"]
