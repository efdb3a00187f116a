"""One task of a stage: what it is given, how it is run once, and the receipt it leaves.

A scattered stage is a module with ``run(job) -> dict``: it writes its arrays and returns what the
receipt should say. Running a task again, after a crash or beside an orphaned twin, gives the same
bytes; a task that finds its marker hands out the receipt it left. Stages that drop what they were
the last to need do so item by item, each after its own marker (`Job.each`).
"""

from __future__ import annotations

import importlib
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from terapose.core.errors import StoreError
from terapose.core.geometry import Box
from terapose.core.levels import Cover
from terapose.io.images import Image
from terapose.io.store.store import Store
from terapose.pipeline.graph import STAGES
from terapose.pipeline.image_plan import same_content, unchanged
from terapose.pipeline.plan import OutputPlan, Plan, key_of
from terapose.pipeline.state import Added, State, Step, after

Receipt = dict[str, Any]
Result = dict[str, Any]
"""What ``run`` of a stage returns: part of a receipt."""


TRIES = 3
"""How often an item is done whose marker is lost or damaged each time."""


class AlreadyDoneError(Exception):
    """A twin of this task has left its marker."""


@dataclass(frozen=True)
class Job:
    """One task of a scattered stage, or a gather.

    Attributes
    ----------
    plan, store
        The plan and where its arrays are.
    stage
        Name of the stage; the passes of the network are ``gradients-yx`` and so on.
    task
        Number of the task.
    params
        The stage's own parameters, by name.
    before
        What the stages before this one have left; of a gather also what its tasks did.
    """

    plan: Plan
    store: Store
    stage: str
    task: int
    params: Mapping[str, Any]
    before: State

    @cached_property
    def key(self) -> str:
        """Digest of all parameters after the plan that shape this stage's results."""
        return stage_key(self.stage, self.params, self.before.key)

    @property
    def items(self) -> range:
        """Blocks, slabs or regions to work on."""
        return self.plan.batch(self.stage, self.task, self.upscales)

    @property
    def upscales(self) -> bool:
        """Whether results are brought to level 0; known after ``relabel``."""
        return self.before.upscale

    @property
    def output(self) -> OutputPlan:
        """The label image that is written."""
        return self.plan.result(self.upscales)

    @property
    def cover(self) -> Cover | None:
        """How what was segmented lies under the label image; None where they are one grid."""
        return self.plan.cover if self.upscales else None

    @property
    def marker(self) -> str:
        """Name of the task's marker in the store."""
        return f"done/{self.stage}-{self.key}/task-{self.task}.json"

    def item_marker(self, item: int) -> str:
        """Name of the marker of one item, in stages that finish item by item."""
        return f"done/{self.stage}-{self.key}/{item}.json"

    def left(self, item: int) -> dict[str, Any] | None:
        """What the marker of an item says; None of one that is missing or damaged.

        There is no other way to ask whether an item is done: who repeats it and who would be in its
        way have to agree.
        """
        return self.store.find_json(self.item_marker(item))

    def receipt(self) -> Receipt | None:
        """What the marker of this task says; None of one that is missing or damaged."""
        return self.store.find_json(self.marker)

    def each(self, item: int, work: Callable[[], Any]) -> Any:
        """Do one item unless its marker says it is done; returns what ``work`` returned.

        Parameters
        ----------
        item
            Number of the item.
        work
            Does it; calls `confirm` between reading and writing.

        Raises
        ------
        StoreError
            If ``work`` lacks what it reads and no twin has done the item, or if the item is found
            done and then not done, again and again.
        """
        name = self.item_marker(item)
        tries = 0
        while (done := self.left(item)) is None:
            if tries == TRIES:
                raise StoreError(
                    f"is not there after the item was done {TRIES} times",
                    where=self.store.where(name),
                    remedy="run again; if the error persists, the disk is losing data",
                )
            tries += 1
            try:
                result = work()
                self.confirm_image()
                self.store.put_json(name, {"done": result})
            except AlreadyDoneError:
                continue  # its marker may have been damaged since
            except StoreError:
                if self.left(item) is None:
                    raise
        return done["done"]

    def name(self, array: str) -> str:
        """Name in the store of something this stage writes."""
        return f"{self.stage}-{self.key}/{array}"

    def confirm(self, item: int) -> None:
        """Call between reading and writing where a twin could drop what was read.

        Raises
        ------
        AlreadyDoneError
            If a twin has left the item's marker.
        """
        if self.left(item) is not None:
            raise AlreadyDoneError

    @cached_property
    def image(self) -> Image:
        """The whole image as the user gave it, and as it was planned."""
        image = self.plan.image.open().whole
        unchanged(image, self.store)
        return image

    @cached_property
    def full_image(self) -> Image:
        """Level 0 of the image, or what the region covers of it, as it was planned."""
        assert self.plan.full is not None
        image = self.plan.image.open(self.plan.full.selection)
        unchanged(image, self.store)
        return image

    @property
    def seen_image(self) -> Image:
        """The image on the grid of the label image, as it was planned."""
        if self.cover is not None:
            return self.full_image
        return replace(self.image, selection=self.plan.image.selection)

    def confirm_image(self) -> None:
        """Refuse an image that changed while it was read; call after reading, before a marker."""
        for name in ("image", "full_image"):
            if name in self.__dict__:
                unchanged(self.__dict__[name], self.store)

    def confirm_content(self) -> None:
        """Refuse an image that was changed behind its files' times, where content counts."""
        planned = self.plan.image
        if planned.identified_by == "content":
            same_content(self.image, planned.identity)
            if self.upscales and planned.full_identity:
                same_content(self.full_image, planned.full_identity)

    def read_output(self, box: Box, channel: int) -> NDArray[Any]:
        """Read a box of a channel of the image on the grid of the label image."""
        if self.cover is None:
            return self.read_image(box, channel)
        return self.full_image.read(box.slices, channel)

    def read_image(self, box: Box, channel: int) -> NDArray[Any]:
        """Read a box of a channel, in voxels of the region that is segmented."""
        return self.read_whole(box.moved(self.plan.image.offset), channel)

    def read_whole(self, box: Box, channel: int) -> NDArray[Any]:
        """Read a box of a channel of the whole image, or of its converted copy in the store."""
        if self.plan.image.convert and channel in self.plan.image.channels:
            return self.store.read(source(channel), box)
        return self.image.read(box.slices, channel)


def source(channel: int) -> str:
    """Name of the converted copy of a channel."""
    return f"source/{channel}"


# parameters that say how a stage runs or what it keeps, not what comes out
_SILENT = {"batch_size", "use_gpu", "keep_intermediates", "model_files", "cells"}


def stage_key(stage: str, params: Mapping[str, Any], before: str) -> str:
    """Digest of the code and of all parameters after the plan that shape a stage's results.

    Parameters
    ----------
    stage, params
        Its name and its own parameters.
    before
        Key of the stage before.
    """
    return key_of(stage, STAGES[stage].code, shaping(params), before)


def shaping(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that decide what comes out."""
    return {k: v for k, v in params.items() if k not in _SILENT}


def module(stage: str) -> Any:
    """The module of a stage."""
    return importlib.import_module(f"terapose.stages.{stage.split('-')[0]}")


def peak_memory() -> int:
    """Largest resident memory of this process so far, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        # not getrusage: its figure starts at what the parent process had
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def run(job: Job) -> Receipt:
    """Run one task of a scattered stage and return its receipt."""
    implementation = module(job.stage)
    begin = time.perf_counter()
    receipt = job.receipt()
    if receipt is None:
        result = implementation.run(job)
        job.confirm_image()
        receipt = {
            "stage": job.stage,
            "key": job.key,
            "plan": job.plan.digest,
            "task": job.task,
            "items": [job.items.start, job.items.stop],
            "params": shaping(job.params),
            "seconds": round(time.perf_counter() - begin, 3),
            "peak_memory": peak_memory(),
            "result": result,
        }
        job.store.put_json(job.marker, receipt)
        receipt = job.store.get_json(job.marker)
    return receipt


def run_gather(job: Job, receipts: Sequence[Receipt]) -> State:
    """Make the state from which the next stage starts.

    A gather is given the results of the tasks it gathers, and starts from the state after them: so
    its key follows from what they did. The gather of a stage that gathers its own receipts has no
    key beside that of the tasks.

    Parameters
    ----------
    job
        A gather, or a scattered stage that gathers its own receipts.
    receipts
        Of all tasks; none of a gather that takes none.
    """
    begin = time.perf_counter()
    implementation, described = module(job.stage), STAGES[job.stage]
    if described.over is not None:
        tasks = sum_up(job.plan, job.stage, receipts, job.before.key)
        job = replace(job, params=tasks.step.params)
        return after(job.before, tasks.step, implementation.gather(job, tasks.results))
    results: list[Result] = []
    # those of several stages come after the same summary
    start = job.before.key
    for stage in described.gathers:
        tasks = sum_up(job.plan, stage, receipts, start)
        job = replace(job, before=after(job.before, tasks.step))
        results += tasks.results
    added: Added = implementation.gather(job, results)
    step = Step(
        stage=job.stage,
        key=job.key,
        params=shaping(job.params),
        seconds=round(time.perf_counter() - begin, 3),
        peak_memory=peak_memory(),
    )
    return after(job.before, step, added)


class Tasks(NamedTuple):
    """All tasks of a stage, summed up.

    Attributes
    ----------
    step
        What they did.
    results
        What their receipts say, in the order of their tasks.
    """

    step: Step
    results: list[Result]


def sum_up(
    plan: Plan, stage: str, receipts: Sequence[Receipt], before: str, *, upscale: bool = False
) -> Tasks:
    """Check that every item of a stage has exactly one receipt, and sum them up.

    Parameters
    ----------
    plan
        The plan that says which items there are.
    stage
        Name of the scattered stage.
    receipts
        One for each task, in any order.
    before
        Key of the summary that the stage came after.
    upscale
        Whether they wrote regions of level 0.

    Raises
    ------
    StoreError
        If an item has no receipt or two, or receipts are of different runs, or made by other code
        or from other results than those of ``before``.
    """
    faults = []
    strange = {(r["stage"], r["plan"]) for r in receipts} - {(stage, plan.digest)}
    if strange:
        faults.append(f"receipts of another run or stage: {sorted(strange)}")
    keys = sorted({r["key"] for r in receipts})
    if len(keys) > 1:
        faults.append(f"receipts made with different parameters: {keys}")
    foreign = {r["key"] for r in receipts if r["key"] != stage_key(stage, r["params"], before)}
    if foreign:
        faults.append(f"receipts made by other code or from other results: {sorted(foreign)}")
    covered: dict[int, int] = {}
    for receipt in receipts:
        for item in range(*receipt["items"]):
            covered[item] = covered.get(item, 0) + 1
    count = plan.items(stage, upscale)
    missing = [i for i in range(count) if i not in covered]
    doubled = [i for i, times in covered.items() if times > 1]
    if missing:
        faults.append(f"no receipt for {len(missing)} of {count}: {missing[:10]}")
    if doubled:
        faults.append(f"more than one receipt for {sorted(doubled)[:10]}")
    if faults:
        raise StoreError(
            "; ".join(faults),
            where=f"stage {stage}",
            remedy="run again with -resume; if the error persists, run again without -resume",
        )
    ordered = sorted(receipts, key=lambda r: r["items"])
    results = [r["result"] for r in ordered]
    step = Step(
        stage=stage,
        key=keys[0] if keys else "",
        params=ordered[0]["params"] if ordered else {},
        tasks=len(ordered),
        seconds=round(sum(r["seconds"] for r in ordered), 3),
        peak_memory=max((r["peak_memory"] for r in ordered), default=0),
        checksum=key_of(results),
    )
    return Tasks(step, results)
