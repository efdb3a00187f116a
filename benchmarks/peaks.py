"""Tasks of all stages, each in a process of its own, and what their plans projected for them.

1. An image is made that is empty but for a corner, so that the network has little to compute (what
   it holds does not depend on that), and planned as it would be by default, with a task a stage;
2. the stages up to the network's last pass run, each in a process of its own, as in the workflow,
   or all in one, as a small image is done there;
3. their sum is replaced by flows to the middles of cells 16 voxels wide that touch each other,
   more than there are in any real image, and the other stages run on that. Some cells are 32 long:
   from their ends points travel as far as in real images. In planes by themselves cells are 16
   planes deep.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from benchmarks.speed import random_cellpose4
from numpy.typing import NDArray
from zarr.core.common import JSON

from terapose.core.geometry import ZYX, Box, cut
from terapose.core.params import Parameters, check
from terapose.intermediates.flows import sums
from terapose.io.store.store import Store
from terapose.networks.ensemble import identify_all, resolve_all
from terapose.pipeline.checked import open_checked
from terapose.pipeline.graph import GRAPH, WHOLE, memory_of
from terapose.pipeline.job import Receipt
from terapose.pipeline.local import Pool, Runner, run_stages
from terapose.pipeline.needs import needs_of_whole
from terapose.pipeline.plan import Plan
from terapose.pipeline.planning import make_plan
from terapose.stages import plan as plan_stage

CELL = 16
"""Edge of the cells, in voxels of the network's grid."""
LONG, EVERY = 2 * CELL, 8
"""Length along X of the cells of every eighth row, of every eighth plane of cells in volumes."""
CORNER = 12
"""Edge of the part of the image that is not empty."""
RANDOM = "cellpose4"
"""As a model: Cellpose-SAM with random weights, in a file that is made for it."""


@dataclass(frozen=True)
class Case:
    """An image and how it is segmented.

    Attributes
    ----------
    name
        As the table calls it.
    shape
        (Z, Y, X), uint16.
    params
        All but the defaults.
    strips
        Whether it is a TIFF that has to be converted.
    levels
        How many levels it has, each half as fine as the one before along Y and X.
    whole
        Whether one task runs all stages.
    """

    name: str
    shape: ZYX
    params: dict[str, Any] = field(default_factory=dict)
    strips: bool = False
    levels: int = 1
    whole: bool = False


CASES = (
    Case("volume, small", (64, 192, 192)),
    Case("volume, middle", (128, 320, 320)),
    Case("volume, large", (256, 512, 512)),
    Case("volume, wide", (16, 2048, 2048)),
    Case("volume, deep", (300, 640, 640)),
    Case("volume, resized", (96, 256, 256), {"diameter": 11.0, "anisotropy": 2.0}),
    Case("volume, shrunk", (160, 1024, 1024), {"diameter": 40.0}),
    Case("volume, converted", (48, 1024, 1024), {"mode": "stitch"}, strips=True),
    Case("stitch, small", (8, 512, 512), {"mode": "stitch"}),
    Case("stitch, middle", (16, 1024, 1024), {"mode": "stitch"}),
    Case("stitch, large", (32, 1536, 1536), {"mode": "stitch"}),
    Case("slide, small", (1, 1024, 1024), {"table": "csv,geojson"}),
    Case("slide, middle", (1, 3072, 3072), {"table": "csv,geojson"}),
    Case("slide, large", (1, 6144, 6144), {"table": "csv,geojson"}),
    Case("slide, resized", (1, 2048, 2048), {"diameter": 10.0, "table": "csv,geojson"}),
    Case("slide, upscaled", (1, 6144, 6144), {"level": 1, "upscale": True}, levels=2),
    Case("volume, smoothed", (128, 320, 320), {"flow3d_smooth": 1.0}),
    Case("volume, processed", (64, 192, 192), {"process": "components"}),
    Case("slide, processed", (1, 2048, 2048), {"process": "components"}),
    Case("slide, two networks", (1, 1024, 1024), {"model": "nuclei-large,nuclei-small"}),
    Case("slide, Cellpose 4", (1, 512, 512), {"model": RANDOM}),
    Case("volume, one task", (64, 192, 192), whole=True),
    Case("stitch, one task", (8, 512, 512), {"mode": "stitch"}, whole=True),
    Case("slide, one task", (1, 2048, 2048), whole=True),
)


@dataclass(frozen=True)
class Row:
    """One stage of a case: bytes measured and projected, and the processor time of its task."""

    case: Case
    stage: str
    measured: int
    projected: int
    seconds: float

    @property
    def ratio(self) -> float:
        """The projection over what was measured."""
        return self.projected / self.measured


def make_image(folder: Path, case: Case) -> str:
    """Write the image of a case, and return its path."""
    path = folder / ("image.tif" if case.strips else "image.zarr")
    box = tuple(slice(0, min(CORNER, n)) for n in case.shape)
    bright = np.arange(1, 1 + np.prod([s.stop for s in box]), dtype=np.uint16)
    bright = bright.reshape([s.stop for s in box])
    if case.strips:
        values = np.zeros(case.shape, np.uint16)
        values[box] = bright
        tifffile.imwrite(path, values, compression="zlib", metadata={"axes": "ZYX"})
        return str(path)
    group = zarr.create_group(str(path))
    scales = [(1, 2**n, 2**n) for n in range(case.levels)]
    for n, scale in enumerate(scales):
        shape = tuple(length // s for length, s in zip(case.shape, scale, strict=True))
        array = group.create_array(
            str(n),
            shape=shape,
            chunks=tuple(min(length, 128) for length in shape),
            dtype="uint16",
            dimension_names=list("zyx"),
        )
        array[box] = bright
    levels: list[JSON] = [
        {"path": str(n), "coordinateTransformations": [{"type": "scale", "scale": scale}]}
        for n, scale in enumerate(scales)
    ]
    axes: list[JSON] = [{"name": name, "type": "space"} for name in "zyx"]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": levels}]}
    return str(path)


def flows(shape: ZYX, start: ZYX, components: int) -> NDArray[np.float32]:
    """Flows to the middles of cells on a grid, and their probability: (components, Z, Y, X).

    Parameters
    ----------
    shape, start
        (Z, Y, X) of a box, and where it begins.
    components
        4 of a volume, 3 of planes.
    """
    z, y, x = (np.arange(a, a + n) for a, n in zip(start, shape, strict=True))
    flat = components == 3
    # of planes by themselves those of the next cells are shifted by half a cell
    shift = (z // CELL % 2 * (CELL // 2) * flat)[:, None]
    result = np.empty((components, *shape), np.float32)
    if not flat:
        result[-4] = _along(z, CELL)[:, None, None]
    result[-3] = _along(y + shift, CELL)[:, :, None]
    result[-2] = _along(x + shift, CELL)[:, None, :]
    row = (y + shift) // CELL % EVERY == 0
    if not flat:
        row = row & (z // CELL % EVERY == 0)[:, None]
    result[-2] = np.where(row[:, :, None], _along(x + shift, LONG)[:, None, :], result[-2])
    result[-1] = 5
    return result


def _along(place: NDArray[np.int64], length: int) -> NDArray[np.float64]:
    """Flow along an axis to the middles of touching cells of this length."""
    flow: NDArray[np.float64] = np.clip((length - 1) / 2 - place % length, -1, 1) * 5
    return flow


def write_flows(plan: Plan, store: Store) -> None:
    """Put these flows in the place of the network's sum, file by file."""
    last = len(plan.axes) - 1
    for box in cut(Box((0, 0, 0), plan.network_shape), plan.sum_packs(last)):
        store.write(sums(plan.axes[last]), box, flows(box.shape, box.start, plan.components))


def one_process() -> Pool:
    """A process for each task: its peak is as in the workflow."""
    return Pool(1, tasks_each=1)


def measure(case: Case, folder: Path) -> list[Row]:
    """Run a case, and compare the peaks of its stages with their projections."""
    given = {"max_tasks": 1, "percentiles": (0.0, 100.0), "model": "auto", **case.params}
    if given["model"] == RANDOM:
        given["model"] = str(random_cellpose4(folder / RANDOM))
    params = check(given)
    files = resolve_all(params.model)
    opened = open_checked(make_image(folder, case), params)
    plan = make_plan(opened, identify_all(files), params)
    store = Store(str(folder / "store"))
    plan_stage.run(plan, store)
    network = {"model_files": tuple(map(str, files))}
    if case.whole:
        with one_process() as pool:
            receipt = pool.submit(run_whole, plan, store, params, network).result()
        needs = needs_of_whole(plan).memory
        return [Row(case, WHOLE.name, receipt["peak_memory"], needs, receipt["processor_seconds"])]
    with one_process() as pool:
        # as tasks of the network have, on a machine of any size
        receipts = run(Runner(plan, store, pool, cores=2), params, network)
    projected = memory_of(plan, params)
    return [
        Row(
            case,
            stage,
            receipt["peak_memory"],
            projected[stage],
            receipt["processor_seconds"],
        )
        for stage, (receipt,) in receipts.items()
    ]


def run(runner: Runner, params: Parameters, network: dict[str, Any]) -> dict[str, list[Receipt]]:
    """The receipts of each scattered stage, of one task each."""
    number = max(n for n, stage in enumerate(GRAPH) if stage.command == "gradients") + 1
    given = {"gradients": network}
    first = run_stages(runner, params, given, GRAPH[:number])
    write_flows(runner.plan, runner.store)
    # all but the last one, which lays results out
    second = run_stages(runner, params, given, GRAPH[number:-1], first.state)
    return first.receipts | second.receipts


def run_whole(plan: Plan, store: Store, params: Parameters, network: dict[str, Any]) -> Receipt:
    """What one task takes that runs all stages: the largest peak, and the sum of the seconds."""
    found = run(Runner(plan, store), params, network)
    each = [receipt for (receipt,) in found.values()]
    return {
        "peak_memory": max(receipt["peak_memory"] for receipt in each),
        "processor_seconds": sum(receipt["processor_seconds"] for receipt in each),
    }
