"""What a run takes: bytes of the store at its peak, memory of a task against what was projected."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from scipy.spatial import cKDTree
from tests.fields import checkerboard, prepared, segment_field, to_centres
from tests.synthetic import write_zarr

from terapose.api.runner import segment_file
from terapose.core.geometry import Box, cut
from terapose.core.params import check
from terapose.intermediates.flows import sums
from terapose.io.labels.ome_zarr import open_level
from terapose.io.store.store import Store
from terapose.pipeline.graph import STAGES, memory_of
from terapose.pipeline.plan import Plan

SHAPE = (72, 72, 72)
BOUND = 20
"""Bytes a voxel of the network's grid."""


def bytes_of(folder: str | Path) -> int:
    """What all files take; files come and go while they are looked at."""
    total = 0
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return 0
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            total += bytes_of(entry.path)
            continue
        try:
            total += entry.stat().st_size
        except FileNotFoundError:
            continue
    return total


@contextmanager
def watched(folder: Path) -> Iterator[dict[str, int]]:
    """Look at a folder every 20 ms: the largest size seen, and how often it looked."""
    largest = {"peak": 0, "looks": 0}
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            # what goes and what comes while one looks is never there together
            largest["peak"] = max(largest["peak"], min(bytes_of(folder), bytes_of(folder)))
            largest["looks"] += 1
            time.sleep(0.02)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield largest
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("kind", ["zarr", "tiff"])
def test_peak_size_of_the_store(kind: str, tmp_path: Path, tiny_model: Path) -> None:
    """Noise is what compresses worst, as image and as flows."""
    image = np.random.default_rng(0).integers(0, 60_000, SHAPE).astype(np.uint16)
    address = tmp_path / f"image.{kind}"
    if kind == "zarr":
        write_zarr(Path(address), image)
    else:
        tifffile.imwrite(address, image, compression="zlib", rowsperstrip=16)
    # in volumes of less than 352 voxels along an axis slabs are a larger part of it, and so is what
    # two passes hold at the same time
    params = check({"model": str(tiny_model), "slab_planes": 8})
    with watched(tmp_path / "out" / ".terapose") as seen:
        record = segment_file(str(address), tmp_path / "out", params)
    assert seen["looks"] > 20
    print(f"{kind}: {seen['peak'] / math.prod(SHAPE):.1f} bytes a voxel")
    voxels = math.prod(SHAPE)
    # were it not noise, or not seen, the sum of the passes would be missing from the peak
    assert 12 * voxels < seen["peak"] <= BOUND * voxels
    assert seen["peak"] <= record["projection"]["store"] * 1.02


def test_all_arrays_after_the_network(tmp_path: Path, tiny_model: Path) -> None:
    """Flows that do not compress, and every voxel in a cell that its end point lies away from."""
    shape = (60, 66, 72)
    centres = np.random.default_rng(0).uniform(0, shape, (220, 3))
    labels = cKDTree(centres).query(np.argwhere(np.ones(shape, bool)))[1].reshape(shape) + 1
    field = to_centres(labels, noise=0.5)
    result = segment_field(tmp_path, tiny_model, field, slab_planes=8, keep_intermediates="all")
    folders = [p for p in Path(result.store.address).iterdir() if p.is_dir()]
    sizes = {path.name: bytes_of(path) for path in folders}
    voxels = math.prod(shape)
    assert sizes["gradients-zy"] > 13 * voxels
    assert len(result.cells["CellID"]) >= 150
    print({name: round(size / voxels, 2) for name, size in sizes.items()})
    # nothing was dropped, so no moment of the run held more
    assert sum(sizes.values()) <= BOUND * voxels


def test_what_is_kept(tmp_path: Path, tiny_model: Path) -> None:
    image = np.random.default_rng(0).integers(0, 900, (12, 13, 14)).astype(np.uint16)
    write_zarr(tmp_path / "image.zarr", image)
    left = {}
    for keep in ("all", "flows", "none"):
        params = check({"model": str(tiny_model), "keep_intermediates": keep, "slab_planes": 5})
        segment_file(str(tmp_path / "image.zarr"), tmp_path / keep, params)
        folder = tmp_path / keep / ".terapose"
        chunks = {p.relative_to(folder).parts[1] for p in folder.rglob("c/**/*") if p.is_file()}
        left[keep] = {name.split("-")[0] + name[-3:] * (name[:4] == "grad") for name in chunks}
    networks = {"gradients-yx", "gradients-zx", "gradients-zy"}
    assert left["none"] == set()
    assert left["flows"] & networks == {"gradients-zy"}
    assert not left["flows"] & {"follow", "peaks"}
    assert left["all"] >= networks | {"follow", "peaks", "masks"}
    labels = [np.asarray(open_level(str(tmp_path / k / "labels.zarr"), 0)[:]) for k in left]
    assert all((a == labels[0]).all() for a in labels)


TASK = """
import json, sys
import numpy as np
from terapose.pipeline.job import Job
from terapose.pipeline.running import run
from terapose.pipeline.plan import Plan
from terapose.io.store.store import Store
from terapose.pipeline.state import State
plan, address, name, stage, params, before = json.loads(sys.stdin.read())
plan = Plan.model_validate_json(plan)
before = {"low": [0.0], "high": [60000.0]} | before
before = State.model_validate(before)
print(run(Job(plan, Store(address, name), stage, 0, params, before))["peak_memory"])
"""
"""One task in a process of its own: its receipt says the largest memory it has had (VmHWM)."""


def peak_of(
    plan: Plan, store: Store, stage: str, params: dict[str, Any], before: dict[str, Any]
) -> int:
    """The largest memory of a stage's first task, given its parameters and the state before it."""
    root = Path(__file__).parents[2] / "bin"
    done = subprocess.run(
        [sys.executable, "-c", TASK],
        input=json.dumps([plan.dump(), store.address, store.run, stage, params, before]),
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.parametrize("edge", [40, 90])
def test_memory_stays_below_what_was_projected(edge: int, tmp_path: Path, tiny_model: Path) -> None:
    shape = (edge, edge, edge)
    field = to_centres(checkerboard(shape, 12), noise=0.5)
    planned = {"block_shape": shape, "keep_intermediates": "all", "flow_threshold": 0.9}
    result = segment_field(tmp_path, tiny_model, field, **planned)
    plan, store = result.plan, result.store
    everything = {**check({}).model_dump(mode="json"), "model_files": (str(tiny_model),)}
    names = {
        "intensities": ((), {}),
        "follow": (
            ("cellprob_threshold", "niter", "follow_tolerance", "use_gpu"),
            result.states["combine"].document(),
        ),
        "peaks": ((), result.states["follow"].document()),
        "masks": ((), result.states["seeds"].document()),
        "flow_errors": ((), result.states["objects"].document()),
        "export": (("keep_intermediates",), result.states["relabel"].document()),
    }
    for stage, (params, before) in names.items():
        given = {name: everything[name] for name in params}
        store.drop("done")
        measured = peak_of(plan, store, stage, given, before)
        projected = memory_of(plan)[stage]
        assert measured <= projected, stage
        # a bound that nothing comes near says nothing
        assert projected < 8 * measured, stage


@pytest.mark.parametrize(
    "given",
    [{}, {"flow3d_smooth": (2, 2, 2)}, {"diameter": 19, "anisotropy": 4}],
    ids=["nothing", "smoothed", "resized"],
)
def test_memory_of_combine_is_that_of_what_it_does(
    given: dict[str, Any], tmp_path: Path, tiny_model: Path
) -> None:
    shape = (60, 64, 64)
    params = check({"block_shape": shape, "keep_intermediates": "all", **given})
    plan, store = prepared(
        tmp_path, tiny_model, np.ones(shape, np.uint16), **params.model_dump(exclude_defaults=True)
    )
    assert plan.resized == ("diameter" in given)
    last = len(plan.axes) - 1
    for box in cut(Box((0, 0, 0), plan.network_shape), plan.sum_packs(last)):
        noise = np.random.default_rng(0).normal(size=(plan.components, *box.shape))
        store.write(sums(plan.axes[last]), box, noise.astype(np.float32))
    own = {name: params.model_dump(mode="json")[name] for name in STAGES["combine"].parameters}
    measured = peak_of(plan, store, "combine", own, {})
    projected = STAGES["combine"].projected(plan, params)
    assert measured <= projected < 2 * measured
