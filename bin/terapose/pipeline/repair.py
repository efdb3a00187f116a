"""What is damaged or missing in the store is computed again, and no more than that.

Code that cannot read something raises a `StoreError` that names it. The name, and the part of it
(Z, Y, X), determine which stage wrote it, and for which items. Their markers are removed
(`forget`), so that the next run does them again and nothing else; if what they read has been
dropped meanwhile, that is missing, and is found in the same way, one stage earlier; sums of the
network's passes all at once, as each pass drops those of the one before.

`terapose segment` goes on by itself. The workflow stops, because Nextflow takes the tasks for done;
``again/STAGE.TASK`` in the store counts how often a task has been forgotten, and the workflow puts
that into the store's address, which makes it another task for Nextflow (`modules/tasks.nf`).

What tasks of the workflow leave in their own folders is read here: receipts (`read_receipts`) and
summaries (`read_summary`). If one is damaged, the task that wrote it is counted, so that
``-resume`` runs that task again; it finds its marker in the store, and hands out the receipt that
is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from terapose.algorithms.resize import source_box
from terapose.core.errors import StoreError
from terapose.core.geometry import AXES, Box, Grid, zyx
from terapose.io.checksums import damaged, read_sealed
from terapose.io.store.store import Store
from terapose.pipeline import tissue
from terapose.pipeline.graph import PLANNED, SCATTERED, STAGES
from terapose.pipeline.image_plan import FILES, note_planned
from terapose.pipeline.job import Job, Receipt
from terapose.pipeline.plan import Plan
from terapose.pipeline.sizes import CONVERT_PLANES
from terapose.pipeline.state import State, read_state

AGAIN = "again"
MOST = 5
"""How often something is made again before the disk is to blame."""
_EVERYTHING = Box((0, 0, 0), (2**62, 2**62, 2**62))


@contextmanager
def forgetting(plan: Plan, store: Store, job: Job | None = None) -> Iterator[None]:
    """Let what turns out to be damaged meanwhile be made again by the next run.

    Where a job missed a part of an array, all parts that its stage has yet to read are looked for.
    """
    try:
        yield
    except StoreError as fault:
        if not fault.is_forgotten:
            fault.is_forgotten = forget(plan, store, fault, job)
        raise


def forget(plan: Plan, store: Store, fault: StoreError, job: Job | None = None) -> bool:
    """Let the tasks run again that wrote what is damaged or missing.

    Parameters
    ----------
    plan, store
        The plan and where its arrays are.
    fault
        Says what it is.
    job
        Which found it.

    Returns
    -------
    bool
        Whether running again will make it again.
    """
    if fault.name is None:
        return False
    folder = fault.name.partition("/")[0]
    if folder == tissue.NAME:
        tissue.prepare(plan, store)
        return True
    if folder == FILES:
        note_planned(plan.image, plan.full.selection if plan.full else None, store)
        return True
    if folder in PLANNED:
        stage, key = PLANNED[folder], ""
    else:
        stage, _, key = folder.rpartition("-")
    if stage not in SCATTERED:
        return bool(stage) and count(store, stage)
    items = _items(plan, store, stage, key, fault)
    if items is None:
        return count(store, f"gather.{stage}")
    if job is not None and fault.start is not None:
        for part in _missing(job, fault.name):
            items |= set(_grid(plan, stage).touching(part))
    return _forget_items(plan, store, stage, key, items)


def _forget_items(plan: Plan, store: Store, stage: str, key: str, items: set[int]) -> bool:
    """Let items run again, and earlier ones whose sums they need and are not there.

    Of several tasks that miss the same thing at the same time, the first counts.
    """
    tasks = [n for n in range(len(plan.tasks[stage])) if items & set(plan.batch(stage, n))]
    done = set[int]()
    for markers in _markers(store, stage, key):
        done |= {task for task in tasks if store.has(f"{markers}/task-{task}.json")}
        for item in items:
            store.drop(f"{markers}/{item}.json")
        for task in tasks:
            store.drop(f"{markers}/task-{task}.json")
    counted = [_count_again(store, f"{stage}.{task}", task in done) for task in tasks]
    earlier, dropped = _dropped_sums(plan, store, stage, items)
    if dropped:
        counted.append(_forget_items(plan, store, earlier, "", dropped))
    return all(counted)


def _count_again(store: Store, name: str, was_done: bool) -> bool:
    """Count a task, unless that was done since it ran; whether it is worth another try."""
    known = store.of("").find_json(f"{AGAIN}/{name}")
    if known is None or was_done:
        return count(store, name)
    return bool(known["times"] <= MOST)


def _dropped_sums(plan: Plan, store: Store, stage: str, items: set[int]) -> tuple[str, set[int]]:
    """The pass of the network whose sums items need, and its items that have to run again.

    For blocks at least those under them: what else their margins need is missed when they run.
    """
    passes = [f"gradients-{axis}" for axis in plan.axes]
    last = {**dict(pairwise(passes)), passes[-1]: "combine"}
    earlier = next((name for name in passes if last[name] == stage), "")
    if not earlier:
        return "", set()
    grid = _grid(plan, stage)
    boxes = [grid[item] for item in items]
    if stage == "combine":
        boxes = [source_box(box, plan.network_shape, plan.image.shape) for box in boxes]
    needed = {n for box in boxes for n in _grid(plan, earlier).touching(box)}
    try:
        parts = [part for box in boxes for part in store.missing(earlier, box)]
    except StoreError:
        return earlier, needed  # its metadata are gone
    return earlier, {n for part in parts for n in _grid(plan, earlier).touching(part)}


def _markers(store: Store, stage: str, key: str) -> list[str]:
    """Folders of the markers of a stage, with this key or with any."""
    wanted = f"done/{stage}-{key}"
    return [
        name
        for name in store.names("done")
        if name == wanted or (not key and name.startswith(wanted))
    ]


def _items(plan: Plan, store: Store, stage: str, key: str, fault: StoreError) -> set[int] | None:
    """The items that wrote something; None where it was the gather after them."""
    if fault.start is not None and fault.stop is not None:
        return set(_grid(plan, stage).touching(Box(fault.start, fault.stop)))
    receipts = [name for folder in _markers(store, stage, key) for name in store.names(folder)]
    for name in receipts:
        receipt = store.find_json(name) or {}
        if "items" in receipt and str(fault.name) in str(receipt["result"]):
            return set(range(*receipt["items"]))
    return None


def _grid(plan: Plan, stage: str) -> Grid:
    """The boxes that the items of a stage write."""
    described = STAGES[stage]
    if described.over == "slabs":
        return plan.pass_grid(AXES.index(described.axis))
    if described.over == "planes":
        shape = plan.image.whole
        return Grid(shape, zyx((CONVERT_PLANES, *shape[1:])))
    return plan.grid


def _missing(job: Job, name: str) -> Iterator[Box]:
    """Parts of an array that are not there, of those that items of the job's stage will read."""
    try:
        array = job.store.info(name)
    except StoreError:
        # damaged metadata are made again by the first task that writes
        if not job.store.has(f"{name}/zarr.json"):
            yield _EVERYTHING
        return
    grid = _grid(job.plan, job.stage)
    # the network has a grid of its own where the image is resized, and export has regions
    if array.shape[-3:] != grid.shape or len(grid) != job.plan.items(job.stage, job.upscales):
        yield from job.store.missing(name, Box.whole(zyx(array.shape[-3:])))
        return
    there = set(job.store.names(job.marker.rpartition("/")[0]))
    for task in range(len(job.plan.tasks[job.stage])):
        other = replace(job, task=task)
        if other.marker in there and other.receipt() is not None:
            continue
        for item in job.plan.batch(job.stage, task):
            if job.item_marker(item) not in there or job.left(item) is None:
                yield from job.store.missing(name, grid[item])


def count(store: Store, name: str) -> bool:
    """Count that something is made again; whether it is worth another try."""
    place, store = f"{AGAIN}/{name}", store.of("")  # whatever the plan is
    times = (store.find_json(place) or {"times": 0})["times"] + 1
    store.put_json(place, {"times": times, "again": "." * times})
    return bool(times <= MOST)


def read_receipts(paths: Iterable[Path], store: Store, stage: str | None) -> list[Receipt]:
    """Read receipts from files; a folder means all JSON files in it.

    Parameters
    ----------
    paths
        Files ``<task>.json``, or folders of them.
    store
        Of these tasks.
    stage
        Which left them; None where the name of their folder says it.

    Raises
    ------
    StoreError
        If any is damaged; all tasks that left such a one have been counted.
    """
    receipts, faults = [], []
    for file in _documents(paths):
        try:
            receipts.append(read_sealed(file))
        except StoreError as fault:
            fault.is_forgotten = count(store, f"{stage or file.parent.name}.{file.stem}")
            faults.append(fault)
    if faults:
        raise faults[0]
    return receipts


def _documents(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        yield from sorted(path.rglob("*.json")) if path.is_dir() else [path]


def read_summary(path: Path, store: Store) -> State:
    """Read the summary ``<stage>.json`` that a gather has left.

    Raises
    ------
    StoreError
        If it is damaged, or of another run than the store's; the gather has been counted.
    """
    try:
        state = read_state(read_sealed(path), path)
        if state.plan != store.run:
            raise damaged(path, f"the summary of another run: {state.plan or 'none'}")
        return state
    except StoreError as fault:
        name = f"gather.{path.stem}" if path.stem in SCATTERED else path.stem
        fault.is_forgotten = count(store, name)
        raise
