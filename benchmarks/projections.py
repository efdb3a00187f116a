"""The memory that tasks take against what was projected for them, into docs/hpc.md.

Volumes and slides of three sizes, in all modes, also on a network's grid of another size and from
an image that is converted first:

1. an image is made that is empty but for a corner, so that the network has little to compute (what
   it holds does not depend on that), and planned as it would be by default, with a task a stage;
2. the stages up to the network's last pass run, each in a process of its own, as in the workflow;
3. their sum is replaced by flows to the middles of cells 16 voxels wide that touch each other,
   more than there are in any real image, and the other stages run on that;
4. a row of the table is a stage: the largest peak of its receipts, and the projection.

The aim is that what is measured is below the projection, and that no less than two thirds of it.

    python -m benchmarks.projections --output docs/hpc.md
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray

from terapose.core.geometry import ZYX, Box
from terapose.core.params import Parameters, check
from terapose.io.store.store import Store
from terapose.networks import identify_all
from terapose.networks.ensemble import resolve_all
from terapose.pipeline.checked import open_checked
from terapose.pipeline.graph import GRAPH, memory_of
from terapose.pipeline.job import Receipt
from terapose.pipeline.local import Runner, run_stages
from terapose.pipeline.plan import Plan
from terapose.pipeline.planning import make_plan
from terapose.stages import plan as plan_stage

BEGIN, END = "<!-- projections: begin -->", "<!-- projections: end -->"
CELL = 16
"""Edge of the cells, in voxels of the network's grid."""
CORNER = 12
"""Edge of the part of the image that is not empty."""


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
    """

    name: str
    shape: ZYX
    params: dict[str, Any] = field(default_factory=dict)
    strips: bool = False


CASES = (
    Case("volume, small", (64, 192, 192)),
    Case("volume, middle", (128, 320, 320)),
    Case("volume, large", (256, 512, 512)),
    Case("volume, resized", (96, 256, 256), {"diameter": 11.0, "anisotropy": 2.0}),
    Case("volume, converted", (48, 1024, 1024), {"mode": "stitch"}, strips=True),
    Case("stitch, small", (8, 512, 512), {"mode": "stitch"}),
    Case("stitch, middle", (16, 1024, 1024), {"mode": "stitch"}),
    Case("stitch, large", (32, 1536, 1536), {"mode": "stitch"}),
    Case("slide, small", (1, 1024, 1024), {"table": "csv,geojson"}),
    Case("slide, middle", (1, 3072, 3072), {"table": "csv,geojson"}),
    Case("slide, large", (1, 6144, 6144), {"table": "csv,geojson"}),
    Case("slide, resized", (1, 2048, 2048), {"diameter": 10.0, "table": "csv,geojson"}),
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
    array = zarr.create_array(
        str(path),
        shape=case.shape,
        chunks=tuple(min(n, 128) for n in case.shape),
        dtype="uint16",
        dimension_names=list("zyx"),
    )
    array[box] = bright
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
    axes = range(4 - components, 3)
    result = np.empty((components, *shape), np.float32)
    for component, axis in enumerate(axes):
        place = np.arange(start[axis], start[axis] + shape[axis])
        line = (CELL - 1) / 2 - place % CELL
        along = [-1 if i == axis else 1 for i in range(3)]
        result[component] = (np.clip(line, -1, 1) * 5).reshape(along)
    result[-1] = 5
    return result


def write_flows(plan: Plan, store: Store) -> None:
    """Put these flows in the place of the network's sum, slab by slab."""
    name, grid = f"gradients-{plan.axes[-1]}", plan.network_shape
    for first in range(0, grid[0], plan.slabs[0]):
        stop = min(first + plan.slabs[0], grid[0])
        box = Box((first, 0, 0), (stop, *grid[1:]))
        store.write(name, box, flows(box.shape, box.start, plan.components))


class Timed(ProcessPoolExecutor):
    """Writes down the processor time of tasks, which other work on the machine changes little."""

    folder: Path

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Submit a task of a stage (`terapose.pipeline.local`)."""
        _, _, stage, *_ = args
        return super().submit(timed, self.folder / f"{stage}.seconds", fn, *args, **kwargs)


def timed(note: Path, work: Callable[..., Any], *args: Any) -> Any:
    """Do work, and write the processor time that it took to a file."""
    begin = time.process_time()
    done = work(*args)
    note.write_text(str(time.process_time() - begin))
    return done


@contextmanager
def one_task_a_process(folder: Path) -> Iterator[ProcessPoolExecutor]:
    """A pool of one process, which does one task: its peak is as in the workflow.

    Parameters
    ----------
    folder
        Where the seconds of each are written.
    """
    context = multiprocessing.get_context("spawn")
    with Timed(1, mp_context=context, max_tasks_per_child=1) as pool:
        pool.folder = folder
        yield pool


def measure(case: Case, folder: Path) -> list[Row]:
    """Run a case, and compare the peaks of its stages with their projections."""
    given = {"max_tasks": 1, "percentiles": (0.0, 100.0), "model": "auto"}
    params = check({**given, **case.params})
    files = resolve_all(params.model)
    opened = open_checked(make_image(folder, case), params)
    plan = make_plan(opened, identify_all(files), params)
    store = Store(str(folder / "store"))
    plan_stage.run(plan, store)
    receipts = run(plan, store, params, {"model_files": tuple(map(str, files))}, folder)
    projected = memory_of(plan)
    return [
        Row(
            case,
            stage,
            receipt["peak_memory"],
            projected[stage],
            float((folder / f"{stage}.seconds").read_text()),
        )
        for stage, (receipt,) in receipts.items()
    ]


def run(
    plan: Plan, store: Store, params: Parameters, network: dict[str, Any], folder: Path
) -> dict[str, list[Receipt]]:
    """The receipts of each scattered stage, of one task each; their seconds go to a folder."""
    number = max(n for n, stage in enumerate(GRAPH) if stage.command == "gradients") + 1
    given = {"gradients": network}
    with one_task_a_process(folder) as pool:
        runner = Runner(plan, store, pool)
        first = run_stages(runner, params, given, GRAPH[:number])
        write_flows(plan, store)
        # all but the last one, which lays results out
        second = run_stages(runner, params, given, GRAPH[number:-1], first.state)
    return first.receipts | second.receipts


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown: a line a case and stage."""
    lines = [
        "| image | shape | stage | measured | projected | ratio |",
        "| --- | --- | --- | ---: | ---: | ---: |",
    ]
    for row in rows:
        shape = " x ".join(map(str, row.case.shape))
        measured, projected = (f"{n / 1e6:,.0f} MB" for n in (row.measured, row.projected))
        cells = (row.case.name, shape, row.stage, measured, projected, f"{row.ratio:.2f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def rates(rows: Sequence[Row]) -> str:
    """Voxels a second of each stage on one processor, of volumes and of planes by themselves.

    Those of the largest image that was measured: starting counts least there. Of passes of the
    network it is what they do beside the network, for images are nearly empty.
    """
    found: dict[tuple[str, str], Row] = {}
    for row in rows:
        is_flat = row.case.shape[0] == 1 or row.case.params.get("mode") == "stitch"
        name = row.stage, "planes" if is_flat else "volumes"
        if name not in found or math.prod(row.case.shape) > math.prod(found[name].case.shape):
            found[name] = row
    return "\n".join(
        f"{stage}, {kind}: {math.prod(row.case.shape) / row.seconds:,.0f} voxels a second"
        for (stage, kind), row in found.items()
    )


def summary(rows: Sequence[Row]) -> str:
    """How many projections are what they should be."""
    low = sum(row.ratio < 1 for row in rows)
    high = sum(row.ratio > 1.5 for row in rows)
    return (
        f"{len(rows)} tasks: {low} took more than was projected, {high} less than two thirds of it."
    )


def into(page: Path, text: str, begin: str = BEGIN, end: str = END) -> None:
    """Put the table between its marks in a page."""
    before, rest = page.read_text().split(begin)
    after = rest.split(end)[1]
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all cases, or those with one of these words in their names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[""], help="Words in the names of cases.")
    parser.add_argument("--output", type=Path, help="The page that has the table.")
    given = parser.parse_args(arguments)
    rows: list[Row] = []
    for case in CASES:
        if any(word in case.name for word in given.only):
            with tempfile.TemporaryDirectory(prefix="projections-") as folder:
                found = measure(case, Path(folder))
            print(table(found), flush=True)
            rows += found
    print(summary(rows))
    print(rates(rows))
    if given.output is not None:
        into(given.output, f"{summary(rows)}\n\n{table(rows)}")


if __name__ == "__main__":
    # as tasks of the network have
    os.environ["OMP_NUM_THREADS"] = "2"
    main()
