"""What limits large runs: 1 to 10,000 workers on images of 0.1 to 100 TB, simulated.

The plan is that of Terapose for an image of this shape, without data. Its stages run one after
another, as in the workflow, as discrete events (`benchmarks.events`):

1. Nextflow submits the tasks of a stage one by one, ``submit`` a second, while fewer than ``queue``
   of them wait or run;
2. a task takes the next free worker, and works after ``start`` seconds;
3. it moves its bytes, which all tasks that do so share the file system's ``bandwidth`` for, and
   computes: its voxels at measured rates (`terapose.pipeline.rates`);
4. Nextflow sees that it has ended when it looks next, every ``poll`` seconds. Once it has seen all,
   the stage's gather runs, a task by itself.

Then each limit is taken away: what becomes faster by that is what the limit costs.

    python -m benchmarks.simulation project
    python -m benchmarks.simulation check      # a few minutes on an idle machine
    python -m benchmarks.simulation measure    # bytes and seconds of a volume's stages

``check`` runs a slide with one process and simulates two, with the seconds that tasks took; then it
runs the slide with two processes, and compares. What a task takes beside its own seconds (it is
handed out, and leaves a receipt) is measured before, with a small slide in the same processes.
"""

from __future__ import annotations

import argparse
import itertools
import math
import multiprocessing
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import zarr
from benchmarks.events import Site, Work, simulate
from benchmarks.growth import DIAMETER
from benchmarks.growth import simulate as write_image
from benchmarks.whole_job import bytes_so_far

from terapose.core.params import Parameters, check
from terapose.io.store.store import Store
from terapose.networks.ensemble import identify_all, resolve_all
from terapose.pipeline.checked import open_checked
from terapose.pipeline.graph import GRAPH
from terapose.pipeline.local import Done, Pool, Runner, pool_of, run_stages
from terapose.pipeline.plan import Plan
from terapose.pipeline.planning import make_plan
from terapose.pipeline.price import Prices, bill_of
from terapose.stages import plan as plan_stage
from terapose.stages.finish import placed

SPACING = 20
"""Voxels from one cell to the next along each axis, as in `benchmarks.tables`."""
BYTES = {
    "intensities": 2,
    "gradients-yx": 2 + 16,
    "gradients-zx": 2 + 16 + 16,
    "gradients-zy": 2 + 16 + 16,
    "follow": 27 + 6,
    "peaks": 10 + 4,
    "masks": 43 + 4,
    "export": 4 + 4,
    "measure": 8,
}
"""That a stage reads and writes for each voxel of a volume, if nothing could be compressed: flows
and probability 16, displacements 6, counts and labels 4; what blocks read, with their margins."""
GATHERS = {"peaks": 3.3e-6, "masks": 8.3e-6, "finish": 5e-6}
"""Processor seconds that the gathers after a stage take for each cell, measured with 120,000 cells
by `benchmarks.tables`: seeds; objects and relabel; the table of cells."""
FINISH = 1e-9
"""Processor seconds of ``finish`` for each voxel: it copies the label image and compares it with
its checksums, and makes its coarse levels."""
SPREAD = 0.2
"""How different the tasks of a stage are: standard deviation of the logarithm of their seconds."""
WORKERS = (1, 10, 100, 1_000, 10_000)
TOLERATED = 0.15
"""Relative error of the simulation that ``check`` accepts."""


def parameters(**given: object) -> Parameters:
    """Those of a run."""
    return check({"model": "auto", "diameter": DIAMETER, "anisotropy": 1.0, **given})


def works_of(edge: int, folder: Path, *, max_tasks: int, use_gpu: bool) -> list[Work]:
    """The stages of a volume, and their gathers."""
    path = folder / f"{edge}.zarr"
    if not path.exists():
        zarr.create_array(
            str(path), shape=(edge,) * 3, chunks=(256,) * 3, dtype="uint16", dimension_names="zyx"
        )
    params = parameters(max_tasks=max_tasks, use_gpu=use_gpu)
    plan = make_plan(open_checked(str(path), params), identify_all(resolve_all("auto")), params)
    voxels, luck = edge**3, random.Random(edge)
    works = []
    for use in bill_of(plan, params, Prices()).uses:
        mean = (use.seconds or 0.0) / use.tasks
        seconds = [mean * luck.lognormvariate(-(SPREAD**2) / 2, SPREAD) for _ in range(use.tasks)]
        works.append(Work(use.stage, seconds, voxels / use.tasks * BYTES.get(use.stage, 0)))
        gather = GATHERS.get(use.stage, 0.0) * voxels / SPACING**3
        works.append(Work("gathers", [gather]))
    return [*works, Work("finish", [FINISH * voxels + GATHERS["finish"] * voxels / SPACING**3])]


FREE: dict[str, Callable[[Site], Site]] = {
    "rate of submission": lambda site: replace(site, submit=math.inf),
    "jobs in the queue": lambda site: replace(site, queue=math.inf),
    "starts of tasks": lambda site: replace(site, start=0.0, poll=0.0),
    "file system": lambda site: replace(site, bandwidth=math.inf),
    "workers": lambda site: replace(site, workers=2 * site.workers),
}
"""Limits of a site, and what it would be without them; of workers with twice as many."""
SERIAL = ("gathers", "finish")
LEAST = 0.05
"""Share of the time from which a limit is named."""


def limits(works: Sequence[Work], site: Site) -> tuple[float, str]:
    """Seconds of a run, and the two limits without which most of them would be saved."""
    wall = simulate(works, site)
    found = {name: simulate(works, free(site)) for name, free in FREE.items()}
    for name in SERIAL:
        found[name] = simulate([work for work in works if work.name != name], site)
    saved = {name: 1 - seconds / wall for name, seconds in found.items()}
    worst = sorted(saved, key=saved.__getitem__, reverse=True)[:2]
    return wall, ", ".join(f"{name} {saved[name]:.0%}" for name in worst if saved[name] > LEAST)


def project(site: Site, sizes: Sequence[float], *, use_gpu: bool) -> None:
    """Print a table: hours and limits, with tasks and queues as they are and as they may be."""
    heads = ("image", "workers", "time", "limits", "more tasks, job arrays", "limits")
    print(f"| {' | '.join(heads)} |\n| --- | ---: | ---: | --- | ---: | --- |", flush=True)
    with tempfile.TemporaryDirectory(prefix="simulation-") as name:
        for size in sizes:
            edge = round((size * 1e12 / 2) ** (1 / 3))
            for workers in WORKERS:
                here = replace(site, workers=workers)
                # arrays of 100 jobs are submitted as fast as single ones
                raised = replace(here, submit=100 * site.submit, queue=math.inf)
                cells = []
                for place, tasks in ((here, 2000), (raised, max(2000, 2 * workers))):
                    works = works_of(edge, Path(name), max_tasks=tasks, use_gpu=use_gpu)
                    wall, worst = limits(works, place)
                    cells += [hours(wall), worst]
                print(f"| {size:g} TB | {workers:,} | {' | '.join(cells)} |", flush=True)


def hours(seconds: float) -> str:
    """Two digits: more would say more than is known."""
    return f"{float(f'{seconds / 3600:.2g}'):,g} h"


def planned(folder: Path, params: Parameters) -> tuple[Plan, Store, dict[str, dict[str, Any]]]:
    """Plan the image in a folder; also the store beside it, and what stages are given."""
    files = resolve_all(params.model)
    opened = open_checked(str(folder / "image.zarr"), params)
    plan = make_plan(opened, identify_all(files), params)
    store = Store(str(folder / "store"), plan.digest)
    plan_stage.run(plan, store)
    return plan, store, {"gradients": {"model_files": tuple(map(str, files))}}


def ran(folder: Path, edge: int, jobs: int) -> tuple[Done, float, float]:
    """Run the stages of a slide up to the labels.

    A small one runs before in the same processes, which imports and compiles, and then a second
    time: nearly all that it takes are its tasks' starts.

    Returns
    -------
    done
        What the stages left.
    wall
        Seconds of wall time.
    start
        Seconds that a task or a gather takes beside its own, those in which a worker waits among
        them.
    """
    with pool_of(jobs) as pool:
        for name in ("first", "small"):
            _, _, start = _run(folder / f"{name}-{jobs}", 256, 64, jobs, pool)
        done, wall, _ = _run(folder / f"whole-{jobs}", edge, edge // 8, jobs, pool)
    return done, wall, start


def _run(
    place: Path, edge: int, block: int, jobs: int, pool: Pool | None
) -> tuple[Done, float, float]:
    """Run a slide; also returns the seconds that it took, and those of a task beside its own."""
    place.mkdir()
    write_image((1, edge, edge), place / "image.zarr")
    params = parameters(block_shape=(1, block, block), rectangle=4 * block, max_tasks=16)
    plan, store, given = planned(place, params)
    stages = [stage for stage in GRAPH if not stage.results]
    begun = time.perf_counter()
    done = run_stages(Runner(plan, store, pool), params, given, stages)
    wall = time.perf_counter() - begun
    own = [seconds for work in work_done(done, "seconds") for seconds in work.seconds]
    return done, wall, max(0.0, wall * jobs - sum(own)) / len(own)


def work_done(done: Done, key: str) -> list[Work]:
    """The stages of a run, with what receipts say of their tasks, or the seconds of a gather."""
    return [
        Work(step.stage, [r[key] for r in done.receipts.get(step.stage, [])] or [step.seconds])
        for step in done.state.history
    ]


def compare(edge: int) -> bool:
    """Print simulated and measured seconds of one and of two processes; whether they agree."""
    with tempfile.TemporaryDirectory(prefix="simulation-") as name:
        runs = {jobs: ran(Path(name), edge, jobs) for jobs in (1, 2)}
    done = runs[1][0]
    agree = True
    columns = ("processes", "start of a task", "simulated", "measured", "error")
    print(f"| {' | '.join(columns)} |\n|{' ---: |' * len(columns)}")
    for jobs, (_, wall, start) in runs.items():
        # alone, a process has all threads; in a pool each has one
        key = "seconds" if jobs == 1 else "processor_seconds"
        simulated = simulate(work_done(done, key), Site(jobs, start=start))
        error = simulated / wall - 1
        agree &= abs(error) <= TOLERATED
        figures = (f"{start * 1e3:.0f} ms", f"{simulated:.1f} s", f"{wall:.1f} s", f"{error:+.0%}")
        print(f"| {jobs} | {' | '.join(figures)} |", flush=True)
    return agree


def stages_of(edge: int, folder: Path) -> list[tuple[str, float, float, float]]:
    """Bytes read and written, and processor seconds, a voxel, of the stages of a volume.

    Gathers belong to the stage before them, but for ``finish``, of which there are only seconds.
    """
    write_image((edge,) * 3, folder / "image.zarr")
    params = parameters(table="csv")
    plan, store, given = planned(folder, params)
    given |= {"finish": placed(folder / "out")}
    notes: list[tuple[str, int, int, float]] = []

    def note(stage: str, finished: int, _total: int) -> None:
        if not finished:
            notes.append((stage, *bytes_so_far(), time.process_time()))

    done = run_stages(Runner(plan, store, report=note), params, given)
    note("finish", 0, 0)
    rows = []
    for before, after in itertools.pairwise(notes):
        read, written, seconds = (
            (b - a) / edge**3 for a, b in zip(before[1:], after[1:], strict=True)
        )
        rows.append((before[0], read, written, seconds))
    last, read, written, seconds = rows[-1]
    own = sum(receipt["processor_seconds"] for receipt in done.receipts[last]) / edge**3
    return [*rows[:-1], (last, read, written, own), ("finish", 0.0, 0.0, seconds - own)]


def measure(edge: int) -> None:
    """Print what stages read, write and take, in a process that has run a small volume before."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        for size in (48, edge):
            with tempfile.TemporaryDirectory(prefix="simulation-") as name:
                rows = pool.submit(stages_of, size, Path(name)).result()
    print("| stage | read | written | voxels a second |\n| --- | ---: | ---: | ---: |")
    for name, read, written, seconds in rows:
        print(f"| {name} | {read:.1f} | {written:.1f} | {1 / seconds:,.0f} |")


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("part", choices=("project", "check", "measure"))
    parser.add_argument("--edge", type=int, help="Of the slide of check, the volume of measure.")
    parser.add_argument("--sizes", type=float, nargs="+", default=[0.1, 1, 10, 100], help="TB.")
    parser.add_argument("--use-gpu", action="store_true", help="project: the network on a GPU.")
    parser.add_argument("--submit", type=float, default=10, help="Submissions a second.")
    parser.add_argument("--queue", type=float, default=500, help="Jobs that wait or run at most.")
    parser.add_argument("--start", type=float, default=5, help="Seconds until a task works.")
    parser.add_argument("--poll", type=float, default=10, help="Seconds between looks for ends.")
    parser.add_argument("--bandwidth", type=float, default=20, help="GB/s of the file system.")
    parser.add_argument("--each", type=float, default=1, help="GB/s of one task at most.")
    given = parser.parse_args(arguments)
    if given.part == "check" and not compare(given.edge or 4096):
        parser.exit(1, f"an error is above {TOLERATED:.0%}\n")
    if given.part == "measure":
        measure(given.edge or 128)
    if given.part == "project":
        site = Site(1, given.submit, given.queue, given.start, given.poll, given.bandwidth * 1e9)
        project(replace(site, each=given.each * 1e9), given.sizes, use_gpu=given.use_gpu)


if __name__ == "__main__":
    main()
