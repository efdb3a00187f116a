"""What limits large runs: 1 to 10,000 workers on images of 0.1 to 100 TB, simulated.

The plan is that of Terapose for an image of this shape, without data. Its stages run one after
another, as in the workflow, as discrete events
(`benchmarks.events`):

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
    python -m benchmarks.simulation measure    # the bytes and seconds below

``check`` runs a slide with one process and simulates two, with the seconds that tasks took; then it
runs the slide with two processes, and compares.
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

import zarr
from benchmarks.events import Site, Work, simulate
from benchmarks.growth import DIAMETER
from benchmarks.growth import simulate as write_image
from benchmarks.whole_job import bytes_so_far

from terapose.core.params import Parameters, check
from terapose.io.store.store import Store
from terapose.networks import identify_all
from terapose.networks.ensemble import resolve_all
from terapose.pipeline.checked import open_checked
from terapose.pipeline.graph import GRAPH
from terapose.pipeline.local import Done, Runner, pool_of, run_stages
from terapose.pipeline.planning import make_plan
from terapose.pipeline.price import Prices, bill_of
from terapose.stages import plan as plan_stage
from terapose.stages.finish import placed

SPACING = 20
"""Voxels from one cell to the next along each axis, as in `benchmarks.tables`."""
BYTES: dict[str, tuple[float, float]] = {}
"""Of the store, that a stage of a volume reads and writes, for each voxel (``measure``)."""
GATHERS: dict[str, float] = {}
"""Processor seconds that the gather after a stage takes for each cell (`benchmarks.tables`)."""
FINISH = 0.0
"""Processor seconds of ``finish`` for each voxel: it copies the label image and compares it with
its checksums, and makes its coarse levels (``measure``)."""
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
        mean = (use.seconds or 0.0) / use.tasks / use.needs.cpus
        seconds = [mean * luck.lognormvariate(-(SPREAD**2) / 2, SPREAD) for _ in range(use.tasks)]
        works.append(Work(use.stage, seconds, voxels / use.tasks * sum(BYTES.get(use.stage, (0,)))))
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


def limits(works: Sequence[Work], more: Sequence[Work], site: Site) -> dict[str, float]:
    """Seconds of a run (``all``), and what share of them would be saved without each limit.

    Parameters
    ----------
    works
        Its stages.
    more
        The same, cut into four times as many tasks as there are workers.
    site
        Where it runs.
    """
    wall = simulate(works, site)
    found = {name: simulate(works, free(site)) for name, free in FREE.items()}
    for name in SERIAL:
        found[name] = simulate([work for work in works if work.name != name], site)
    found["number of tasks"] = simulate(more, replace(site, queue=math.inf))
    return {"all": wall, **{name: 1 - seconds / wall for name, seconds in found.items()}}


def project(site: Site, sizes: Sequence[float], *, use_gpu: bool) -> None:
    """Print a table: hours, and the two limits that cost most."""
    print("| image | workers | time | what limits it |\n| --- | ---: | ---: | --- |", flush=True)
    with tempfile.TemporaryDirectory(prefix="simulation-") as name:
        for size in sizes:
            edge = round((size * 1e12 / 2) ** (1 / 3))
            for workers in WORKERS:
                cut = (2000, max(2000, 4 * workers))
                works, more = (
                    works_of(edge, Path(name), max_tasks=tasks, use_gpu=use_gpu) for tasks in cut
                )
                found = limits(works, more, replace(site, workers=workers))
                wall = found.pop("all")
                worst = sorted(found, key=found.__getitem__, reverse=True)[:2]
                shares = [f"{limit} ({found[limit]:.0%})" for limit in worst if found[limit] > 0.05]
                line = (f"{size:g} TB", f"{workers:,}", hours(wall), ", ".join(shares))
                print(f"| {' | '.join(line)} |", flush=True)


def hours(seconds: float) -> str:
    """Two digits: more would say more than is known."""
    return f"{float(f'{seconds / 3600:.2g}'):,g} h"


def ran(folder: Path, edge: int, jobs: int) -> tuple[Done, float]:
    """Run the stages of a slide up to the labels; returns what they left, and seconds of wall time.

    A small one runs before in the same processes, which imports and compiles.
    """
    with pool_of(jobs) as pool:
        for size, block in ((256, 64), (edge, edge // 8)):
            place = folder / f"{size}-{jobs}"
            place.mkdir()
            write_image((1, size, size), place / "image.zarr")
            params = parameters(block_shape=(1, block, block), rectangle=4 * block, max_tasks=16)
            files = resolve_all(params.model)
            opened = open_checked(str(place / "image.zarr"), params)
            plan = make_plan(opened, identify_all(files), params)
            store = Store(str(place / "store"), plan.digest)
            plan_stage.run(plan, store)
            given = {"gradients": {"model_files": tuple(map(str, files))}}
            stages = [stage for stage in GRAPH if not stage.results]
            begun = time.perf_counter()
            done = run_stages(Runner(plan, store, pool), params, given, stages)
            wall = time.perf_counter() - begun
    return done, wall


def compare(edge: int) -> bool:
    """Print simulated and measured seconds of one and of two processes; whether they agree."""
    with tempfile.TemporaryDirectory(prefix="simulation-") as name:
        runs = {jobs: ran(Path(name), edge, jobs) for jobs in (1, 2)}
    done = runs[1][0]
    steps = done.state.history
    agree = True
    print("| processes | simulated | measured | error |\n| ---: | ---: | ---: | ---: |")
    for jobs, (_, wall) in runs.items():
        # alone, a process has all threads; in a pool each has one
        key = "seconds" if jobs == 1 else "processor_seconds"
        works = [
            Work(step.stage, [r[key] for r in done.receipts.get(step.stage, [])] or [step.seconds])
            for step in steps
        ]
        simulated = simulate(works, Site(jobs))
        error = simulated / wall - 1
        agree &= abs(error) <= TOLERATED
        print(f"| {jobs} | {simulated:.1f} s | {wall:.1f} s | {error:+.0%} |", flush=True)
    return agree


def stages_of(edge: int, folder: Path) -> list[tuple[str, float, float, float]]:
    """Bytes read and written, and processor seconds, a voxel, of the stages of a volume.

    Gathers belong to the stage before them, but for ``finish``, of which there are only seconds.
    """
    write_image((edge,) * 3, folder / "image.zarr")
    params = parameters(table="csv")
    files = resolve_all(params.model)
    opened = open_checked(str(folder / "image.zarr"), params)
    plan = make_plan(opened, identify_all(files), params)
    store = Store(str(folder / "store"), plan.digest)
    plan_stage.run(plan, store)
    given = {
        "gradients": {"model_files": tuple(map(str, files))},
        "finish": placed(folder / "out"),
    }
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
    if given.part == "check" and not compare(given.edge or 2048):
        parser.exit(1, f"an error is above {TOLERATED:.0%}\n")
    if given.part == "measure":
        measure(given.edge or 128)
    if given.part == "project":
        site = Site(1, given.submit, given.queue, given.start, given.poll, given.bandwidth * 1e9)
        project(replace(site, each=given.each * 1e9), given.sizes, use_gpu=given.use_gpu)


if __name__ == "__main__":
    main()
