"""What other systems get wrong in whole runs, each fault as a test of ours.

The list is in test_known_failures.py. The network is small and its weights are random: what it
finds are no cells, but flows that differ everywhere.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from cellpose import core, transforms
from numpy.typing import NDArray
from tests.command import Terapose, finished
from tests.fields import prepared
from tests.synthetic import nuclei, write_zarr

from terapose.api.runner import run_all, segment_file
from terapose.core.errors import StoreError
from terapose.core.geometry import Box, zyx
from terapose.core.params import check
from terapose.io.store.store import Store
from terapose.networks.loading import load
from terapose.pipeline.arguments import as_option
from terapose.pipeline.graph import SCATTERED
from terapose.pipeline.job import Receipt
from terapose.pipeline.local import Runner
from terapose.pipeline.plan import Plan
from terapose.pipeline.running import run
from terapose.pipeline.state import State


def whole(store: Store, name: str) -> NDArray[Any]:
    """All of an array of a store."""
    return store.read(name, Box.whole(zyx(store.info(name).shape[-3:])))


def test_the_last_planes_of_each_axis_are_predicted(tmp_path: Path, tiny_model: Path) -> None:
    """aind runs ``L // n`` slabs: the last ``L mod n`` planes of each axis stay empty."""
    image = np.random.default_rng(1).integers(0, 900, (13, 17, 16)).astype(np.uint16)
    write_zarr(tmp_path / "image.zarr", image)
    params = check(
        {
            **{"model": str(tiny_model), "slab_planes": 5, "block_shape": (6, 7, 5)},
            **{"keep_intermediates": "all", "min_size": 1},
        }
    )
    assert all(n % 5 for n in image.shape)
    segment_file(str(tmp_path / "image.zarr"), tmp_path / "out", params)
    (store,) = (tmp_path / "out" / ".terapose").iterdir()
    network = load(tiny_model)
    x = transforms.normalize_img(image[..., np.newaxis].astype(np.float32))
    flows, _ = core.run_3D(network.module, x, bsize=network.tile)
    expected = np.ascontiguousarray(np.moveaxis(flows, -1, 0))
    found = whole(Store(str(store), store.name), "gradients-zy")
    for axis in (1, 2, 3):
        last = found.shape[axis] - found.shape[axis] % 5
        planes = np.moveaxis(found, axis, 0)[last:]
        assert planes.std() > 0
        np.testing.assert_array_equal(planes, np.moveaxis(expected, axis, 0)[last:])


@pytest.fixture(scope="module")
def image() -> NDArray[np.uint16]:
    return nuclei((10, 30, 34), spacing=11)[0]


PLANNED: dict[str, Any] = {"block_shape": (6, 16, 13), "slab_planes": 7}
# few steps leave many cells of the random network's flows
CUT = {**PLANNED, "niter": 10, "min_size": 1}


def files(folder: Path) -> dict[str, bytes]:
    """All results but the record, which tells times."""
    found = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    results = ("labels.zarr/", "cells.")
    return {name: p.read_bytes() for name, p in found.items() if name.startswith(results)}


@pytest.fixture(scope="module")
def undisturbed(
    image: NDArray[np.uint16], tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """Results of a run from start to end."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_zarr(folder / "image.zarr", image)
    params = check({"model": str(tiny_model), **CUT})
    record = segment_file(str(folder / "image.zarr"), folder / "out", params)
    assert record["cells"] >= 10
    return files(folder / "out")


class Shuffled(Runner):
    """Runs the tasks of each stage in random order, and gathers them in another."""

    def scatter(self, stage: str, params: Mapping[str, Any], before: State) -> list[Receipt]:
        rng = random.Random(stage)
        tasks = list(range(len(self.plan.tasks[stage])))
        rng.shuffle(tasks)
        receipts = [run(self.job(stage, params, before, task)) for task in tasks]
        rng.shuffle(receipts)
        return receipts


def test_ids_do_not_depend_on_the_order_of_tasks_and_receipts(
    tmp_path: Path, tiny_model: Path, image: NDArray[np.uint16], undisturbed: dict[str, bytes]
) -> None:
    """aind numbers cells in the order in which the file system lists its blocks."""
    plan, store = prepared(tmp_path, tiny_model, image, max_tasks=9, **PLANNED)
    assert len(plan.tasks["peaks"]) == 9
    params = check({"model": str(tiny_model), **CUT})
    run_all(Shuffled(plan, store), params, [tiny_model], tmp_path / "out")
    assert files(tmp_path / "out") == undisturbed


class StoppedError(Exception):
    """The run was stopped."""


def stopped_at(stage: str, done: int) -> Callable[[str, int, int], None]:
    """A report that stops the run once a stage has done so many tasks."""

    def report(now: str, tasks: int, total: int) -> None:
        if (now, tasks) == (stage, done):
            raise StoppedError

    return report


@pytest.mark.parametrize(("stage", "done"), [("gradients-zx", 2), ("masks", 1)])
def test_a_stopped_run_goes_on_where_it_was(
    tmp_path: Path,
    tiny_model: Path,
    image: NDArray[np.uint16],
    undisturbed: dict[str, bytes],
    stage: str,
    done: int,
) -> None:
    """aind and cellpose begin again. (Runs killed at random moments: workflow/test_kill.py.)"""
    address = str(write_zarr(tmp_path / "image.zarr", image))
    out = tmp_path / "out"
    params = check({"model": str(tiny_model), "max_tasks": 3, **CUT})
    with pytest.raises(StoppedError):
        segment_file(address, out, params, report=stopped_at(stage, done))
    assert not finished(out)
    tasks = [p for p in out.rglob("done/*/task-*.json") if p.is_file()]
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in tasks}
    assert sum(p.parent.name.startswith(f"{stage}-") for p in tasks) == done
    assert len({p.parent.name for p in tasks}) >= 3
    segment_file(address, out, params)
    assert {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in tasks} == before
    assert files(out) == undisturbed


def test_no_tile_of_the_network_wins_at_a_seam(tmp_path: Path, tiny_model: Path) -> None:
    """The same where planes are cut into rectangles: all tiles over a pixel count, in order."""
    image = np.random.default_rng(2).integers(0, 900, (1, 600, 40)).astype(np.uint16)
    address = str(write_zarr(tmp_path / "image.zarr", image))
    planned = {"mode": "2d", "rectangle": 512, "max_tasks": 2}
    params = check({"model": str(tiny_model), **planned})
    segment_file(address, tmp_path / "out", params)
    (store,) = (tmp_path / "out" / ".terapose").iterdir()
    plan = Plan.model_validate(Store(str(store)).get_json("plan.json"))
    assert len(plan.tasks["gradients-yx"]) == 2
    network = load(tiny_model)
    x = transforms.normalize_img(image[..., np.newaxis].astype(np.float32))
    expected, _ = core.run_net(network.module, x, bsize=network.tile)
    found = whole(Store(str(store), store.name), "gradients-yx")
    np.testing.assert_array_equal(np.moveaxis(found, 0, -1), expected)


def test_ids_are_the_same_in_every_run(
    tmp_path: Path, tiny_model: Path, image: NDArray[np.uint16], undisturbed: dict[str, bytes]
) -> None:
    """mccellpose numbers cells as its processes finish."""
    address = str(write_zarr(tmp_path / "image.zarr", image))
    params = check({"model": str(tiny_model), "max_tasks": 4, **CUT})
    # the network runs here: its processes would take ten seconds to start
    with pytest.raises(StoppedError):
        segment_file(address, tmp_path / "out", params, report=stopped_at("combine", 0))
    segment_file(address, tmp_path / "out", params, workers=2)
    assert files(tmp_path / "out") == undisturbed


@dataclass
class Lossy(Runner):
    """Loses the receipt of a failed task of one stage."""

    lost: str = ""

    def scatter(self, stage: str, params: Mapping[str, Any], before: State) -> list[Receipt]:
        receipts = super().scatter(stage, params, before)
        return receipts[:-1] if stage == self.lost else receipts


def test_a_task_without_a_receipt_stops_the_run(
    tmp_path: Path, tiny_model: Path, image: NDArray[np.uint16]
) -> None:
    """nf-cellpose logs a failed block and goes on: the result has a hole."""
    plan, store = prepared(tmp_path, tiny_model, image, max_tasks=3, **PLANNED)
    params = check({"model": str(tiny_model), **CUT})
    out = tmp_path / "out"
    asked_for = ("flow_errors", "cell_overlaps", "process_cells", "outlines")
    stages = [s for s in SCATTERED if len(plan.tasks[s]) > 1 and s not in asked_for]
    assert len(stages) == 10 - (len(plan.output.regions) == 1)
    for stage in stages:
        with pytest.raises(StoreError, match=f"stage {stage}: no receipt for .* run again"):
            run_all(Lossy(plan, store, lost=stage), params, [tiny_model], out)
        assert not finished(out)


@pytest.mark.parametrize("damaged", ["image", "flows", "ends", "labels"])
def test_a_damaged_chunk_is_never_skipped(
    tmp_path: Path,
    tiny_model: Path,
    image: NDArray[np.uint16],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    damaged: str,
) -> None:
    """nf-cellpose skips a block that cannot be read. Ours of the store is made again."""
    address = write_zarr(tmp_path / "image.zarr", image, chunks=(5, 30, 34))
    out = tmp_path / "out"
    params = check({"model": str(tiny_model), "max_tasks": 2, **CUT})
    array, stage = {
        "image": ("image.zarr", "intensities"),
        "flows": ("out/.terapose/*/gradients-zy", "follow"),
        "ends": ("out/.terapose/*/follow-*/ends", "peaks"),
        "labels": ("out/.terapose/*/masks-*/labels", "export"),
    }[damaged]
    with pytest.raises(StoppedError):
        segment_file(str(address), out, params, report=stopped_at(stage, 0))
    chunks = sorted(p for p in tmp_path.glob(f"{array}/c/**/*") if p.is_file())
    chunks[-1].write_bytes(b"not what was written")
    if damaged == "image":
        words = [str(w) for name, value in CUT.items() for w in as_option(name, value)]
        command = Terapose(monkeypatch, capsys)
        sentence = command.refuses(
            "segment", address, out, "--jobs", 1, "--model", tiny_model, "--max-tasks", 2, *words
        )
        assert "cannot be read" in sentence
        assert not finished(out)
        return
    segment_file(str(address), out, params)
    segment_file(str(address), tmp_path / "undisturbed", params)
    found, wanted = (
        np.asarray(zarr.open_array(f"{folder}/labels.zarr/cells/0", mode="r")[:])
        for folder in (out, tmp_path / "undisturbed")
    )
    np.testing.assert_array_equal(found, wanted)
