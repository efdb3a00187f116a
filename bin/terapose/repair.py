"""What is damaged or missing in the store is computed again, and no more than that.

Whoever cannot read something raises a `StoreError` that says what it is. From its name, and from
which part of it (Z, Y, X) is meant, follows which stage wrote it, and which of its items. Their
markers are removed (`forget`), so that the next run does them again and nothing else; if what they
read has been dropped meanwhile, that is missing, and is found in the same way, one stage earlier.

`terapose segment` goes on by itself. The workflow stops, because Nextflow takes the tasks for done;
``again/STAGE.TASK`` in the store counts how often a task has been forgotten, and the workflow puts
that into the store's address, which makes it another task for Nextflow (`modules/segment.nf`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from terapose import tissue
from terapose.errors import StoreError
from terapose.geometry import Box, Grid, zyx
from terapose.job import source
from terapose.plan import AXES, CONVERT_PLANES, SCATTERED, Plan
from terapose.store import Store

AGAIN = "again"
MOST = 5
"""How often something is made again before the disk is to blame."""


@contextmanager
def forgetting(plan: Plan, store: Store) -> Iterator[None]:
    """Let what turns out to be damaged meanwhile be made again by the next run."""
    try:
        yield
    except StoreError as fault:
        fault.is_forgotten = fault.is_forgotten or forget(plan, store, fault)
        raise


def forget(plan: Plan, store: Store, fault: StoreError) -> bool:
    """Let the tasks run again that wrote what is damaged or missing.

    Parameters
    ----------
    plan, store
        The plan and where its arrays are.
    fault
        Says what it is.

    Returns
    -------
    bool
        Whether running again will make it again.
    """
    if fault.name is None:
        return False
    folder, _, rest = fault.name.partition("/")
    if folder == tissue.NAME:
        tissue.prepare(plan, store)
        return True
    if folder == "source":
        folder, stage, key = source(int(rest.partition("/")[0])), "convert", ""
    elif folder in SCATTERED:
        stage, key = folder, ""  # the sums of the network's passes follow from the plan alone
    else:
        stage, _, key = folder.rpartition("-")
    if stage not in SCATTERED:
        return bool(stage) and count(store, stage)
    items = _items(plan, store, stage, key, fault)
    if items is None:
        return count(store, f"gather.{stage}")
    tasks = [n for n in range(len(plan.tasks[stage])) if items & set(plan.batch(stage, n))]
    for markers in _markers(store, stage, key):
        for item in items:
            store.drop(f"{markers}/{item}.json")
        for task in tasks:
            store.drop(f"{markers}/task-{task}.json")
    return all([count(store, f"{stage}.{task}") for task in tasks])


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
        return set(_overlapping(_grid(plan, stage), Box(fault.start, fault.stop)))
    receipts = [name for folder in _markers(store, stage, key) for name in store.names(folder)]
    for name in receipts:
        receipt = store.find_json(name) or {}
        if "items" in receipt and str(fault.name) in str(receipt["result"]):
            return set(range(*receipt["items"]))
    return None


def _grid(plan: Plan, stage: str) -> Grid:
    """The boxes that the items of a stage write."""
    if stage.startswith("gradients-"):
        return plan.pass_grid(AXES.index(stage.removeprefix("gradients-")))
    if stage == "convert":
        shape = plan.image.whole
        return Grid(shape, zyx((CONVERT_PLANES, *shape[1:])))
    return plan.grid


def _overlapping(grid: Grid, box: Box) -> Iterable[int]:
    return (n for n in range(len(grid)) if grid[n].intersect(box).size)


def count(store: Store, name: str) -> bool:
    """Count that something is made again; whether it is worth another try."""
    place = f"{AGAIN}/{name}"
    times = (store.find_json(place) or {"times": 0})["times"] + 1
    store.put_json(place, {"times": times, "again": "." * times})
    return bool(times <= MOST)
