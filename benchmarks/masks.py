"""From flows to masks: the stages after the network beside Cellpose's own functions.

1. Nuclei are simulated, with a seed, and the shipped network is run over them as in any run, on
   the image's own grid. Its sum in the store is what both sides start from; nothing up to there is
   timed.
2. Terapose: the stages from **combine** to **export**, with the blocks and tasks of the plan, in
   one process. They read from the store and write to it, but for what a run of this size holds in
   memory (`terapose.io.store.held`).
3. Cellpose: `dynamics.resize_and_compute_masks` on the whole array, in memory.

Each side has a process of its own, with one thread, that has run the same on a small image before,
so compiling is not counted. Seconds are processor time, and with several threads (``--threads``)
wall time; memory is the largest above what the process had before. Both sides have to find the same
cells, unless `follow_tolerance` is given: then voxels that differ are counted.

    python -m benchmarks.masks
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numba
import numpy as np
import torch
import zarr
from benchmarks.oracle import differing, stable_sort
from cellpose import dynamics

from terapose.apps.simulate.scene import slide, volume
from terapose.core.geometry import ZYX, Box, zyx
from terapose.core.params import Parameters, check
from terapose.intermediates import label_store
from terapose.intermediates.flows import sums
from terapose.io.labels.ome_zarr import open_level
from terapose.io.store.held import HeldStore, _Flows
from terapose.io.store.store import Store
from terapose.networks.ensemble import identify_all, resolve_all
from terapose.pipeline.checked import open_checked
from terapose.pipeline.graph import GRAPH
from terapose.pipeline.job import Job
from terapose.pipeline.local import Runner, for_one_process, run_stages
from terapose.pipeline.needs import fits_one_task
from terapose.pipeline.peak import forget_peak, peak_memory
from terapose.pipeline.plan import load
from terapose.pipeline.planning import make_plan
from terapose.pipeline.stage import Stage
from terapose.pipeline.state import read_state
from terapose.stages import plan as plan_stage

DIAMETER = 17.0
"""That of the shipped network, in voxels, so that its grid is the image's."""
VOXEL = 0.5
"""Edge of a voxel, in um."""
TOLERANCE = 3e-5
"""Of steps, in voxels, where one is given: a few voxels may then be in other cells."""
PARTS = {
    "follow": ("combine", "follow"),
    "the rest": ("peaks", "relabel"),
    "export": ("export",) * 2,
}
"""First and last stage of what is timed together."""


@dataclass(frozen=True)
class Case:
    """An image, the threshold of flow errors (0: none, as in volumes), and `follow_tolerance`.

    Blocks are those of the plan, unless others are given. What leads from flows to labels is in
    memory, where that is as in any run of this size, unless it is not to be held there.
    """

    shape: ZYX
    flow_threshold: float = 0.0
    tolerance: float = 0.0
    block: ZYX | None = None
    precision: str = "float32"
    held: bool = True
    threads: int = 1

    @property
    def is_flat(self) -> bool:
        """Whether it is a plane."""
        return self.shape[0] == 1

    def clock(self) -> float:
        """Seconds since some time: of the processor, or of all where several threads share it."""
        return time.process_time() if self.threads == 1 else time.perf_counter()

    @property
    def name(self) -> str:
        """As tables call it."""
        text = " x ".join(map(str, self.shape[self.is_flat :]))
        threshold = f", threshold {self.flow_threshold:g}" if self.is_flat else ""
        return text + threshold + (f", tolerance {self.tolerance:g}" if self.tolerance else "")


CASES = (
    Case((1, 4096, 4096), 0.4),
    Case((1, 4096, 4096)),
    Case((1, 2048, 2048), 0.4),
    Case((1, 2048, 2048)),
    Case((1, 1024, 1024), 0.4),
    Case((96, 96, 96)),
    Case((160, 160, 160)),
    Case((256, 256, 256)),
    Case((1, 2048, 2048), tolerance=TOLERANCE),
    Case((160, 160, 160), tolerance=TOLERANCE),
    Case((256, 256, 256), tolerance=TOLERANCE),
)
SMALL: dict[bool, ZYX] = {True: (1, 256, 256), False: (48, 48, 48)}
"""Of a plane and of a volume."""


@dataclass(frozen=True)
class Side:
    """What one side took: seconds by part, and bytes above what was held before."""

    seconds: dict[str, float]
    memory: int

    @property
    def total(self) -> float:
        """Seconds of all parts."""
        return sum(self.seconds.values())


def parameters(case: Case) -> Parameters:
    """Those of a run."""
    given = {
        "diameter": DIAMETER,
        "flow_threshold": case.flow_threshold,
        "follow_tolerance": case.tolerance,
        "anisotropy": 1.0,
        "block_shape": case.block,
        "flow_precision": case.precision,
    }
    return check({"model": "auto", "mode": "2d" if case.is_flat else "3d", **given})


def prepare(case: Case, folder: Path) -> None:
    """Simulate the image, run the network over it, and keep plan, state and flows."""
    if case.is_flat:
        image, _ = slide(case.shape[1:], seed=1, pixel_size=VOXEL, diameter=DIAMETER * VOXEL)
    else:
        image, _ = volume(case.shape, seed=1, voxel_size=(VOXEL,) * 3, diameter=DIAMETER * VOXEL)
    zarr.create_array(
        str(folder / "image.zarr"),
        data=image[:1] if case.is_flat else image,
        chunks=tuple(min(n, 256) for n in case.shape),
        dimension_names=list("zyx"),
    )
    params = parameters(case)
    files = resolve_all(params.model)
    opened = open_checked(str(folder / "image.zarr"), params)
    plan = make_plan(opened, identify_all(files), params)
    assert not plan.resized
    store = Store(str(folder / "store"), plan.digest)
    plan_stage.run(plan, store)
    (folder / "plan.json").write_text(plan.dump())
    network = {"gradients": {"model_files": tuple(map(str, files))}}
    done = run_stages(Runner(plan, store), params, network, stages_until("combine"))
    (folder / "state.json").write_text(json.dumps(done.state.document()))
    whole = Box.whole(plan.network_shape)
    np.save(folder / "flows.npy", store.read(sums(plan.axes[-1]), whole))


def stages_until(name: str) -> list[Stage]:
    """The stages before one."""
    return list(GRAPH[: [stage.name for stage in GRAPH].index(name)])


def ours(case: Case, folder: Path) -> Side:
    """Run the stages."""
    numba.set_num_threads(case.threads)
    params, plan = parameters(case), load(folder / "plan.json")
    state = read_state(json.loads((folder / "state.json").read_text()), folder)
    store = Store(str(folder / "store"), plan.digest)
    held = case.held and fits_one_task(plan, params)
    runner = Runner(plan, for_one_process(store, params) if held else store)
    if isinstance(runner.store, HeldStore):
        # the process that has run the network has its sum in memory, as Cellpose does
        whole, name = Box.whole(plan.network_shape), sums(plan.axes[-1])
        values = store.read(name, whole)
        runner.store._flows = _Flows(name, store.info(name))
        runner.store._flows.write(whole, values)
    names, seconds = [stage.name for stage in GRAPH], dict[str, float]()
    forget_peak()
    before = peak_memory()
    for part, (first, last) in PARTS.items():
        begun = case.clock()
        stages = GRAPH[names.index(first) : names.index(last) + 1]
        done = run_stages(runner, params, {}, stages, state)
        seconds[part], state = case.clock() - begun, done.state
    memory = peak_memory() - before
    job = Job(plan, runner.store, "export", 0, {}, state)
    np.save(folder / "ours.npy", np.asarray(open_level(label_store.address(job), 0)[:]))
    return Side(seconds, memory)


def cellposes(case: Case, folder: Path) -> Side:
    """Run Cellpose's functions."""
    torch.set_num_threads(case.threads)
    flows = np.load(folder / "flows.npy")
    flows = flows[:, 0] if case.is_flat else flows
    forget_peak()
    before, begun = peak_memory(), case.clock()
    with stable_sort():
        labels = dynamics.resize_and_compute_masks(
            flows[:-1], flows[-1], flow_threshold=case.flow_threshold, do_3D=not case.is_flat
        )
    seconds = case.clock() - begun
    memory = peak_memory() - before
    np.save(folder / "cellpose.npy", np.asarray(labels).reshape(case.shape))
    return Side({"all": seconds}, memory)


def alone(side: Callable[[Case, Path], Side], case: Case, folder: Path, small: Path) -> Side:
    """Run one side in a process of its own, on a small image before, which compiles and imports."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        pool.submit(side, replace(case, shape=SMALL[case.is_flat]), small).result()
        return pool.submit(side, case, folder).result()


def measure(case: Case) -> str:
    """A row of the table.

    Raises
    ------
    RuntimeError
        If the two sides find different cells.
    """
    with tempfile.TemporaryDirectory(prefix="masks-") as name:
        folder, small = Path(name, "whole"), Path(name, "small")
        for place, shape in ((folder, case.shape), (small, SMALL[case.is_flat])):
            place.mkdir()
            prepare(replace(case, shape=shape), place)
        mine, theirs = (alone(side, case, folder, small) for side in (ours, cellposes))
        labels = np.load(folder / "ours.npy").reshape(case.shape)
        differ = differing(labels, np.load(folder / "cellpose.npy"))
        if differ and not case.tolerance:
            raise RuntimeError(f"{case.name}: the two sides find different cells")
    parts = [f"{mine.seconds[part]:.2f} s" for part in PARTS]
    memory = [f"{side.memory / 1e6:,.0f} MB" for side in (mine, theirs)]
    faster, smaller = f"{theirs.total / mine.total:.1f}", f"{theirs.memory / mine.memory:.1f}"
    found = (str(labels.max()), f"{differ:,}")
    cells = (case.name, *found, *parts, f"{theirs.total:.2f} s", faster, *memory, smaller)
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, of all cases or of those with one of these words in their names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[""], help="Words in the names of cases.")
    parser.add_argument("--block", type=int, nargs=3, help="Z Y X of blocks, not the plan's.")
    parser.add_argument("--threads", type=int, default=1, help="Of each side; above 1: wall time.")
    given = parser.parse_args(arguments)
    block = None if given.block is None else zyx(given.block)
    sides = ("Cellpose", "ratio", "memory", "Cellpose's memory", "ratio")
    names = ("image", "cells", "voxels that differ", *PARTS, *sides)
    print(f"| {' | '.join(names)} |\n| --- |{' ---: |' * (len(names) - 1)}", flush=True)
    for case in CASES:
        if any(word in case.name for word in given.only):
            print(measure(replace(case, block=block, threads=given.threads)), flush=True)


if __name__ == "__main__":
    main()
