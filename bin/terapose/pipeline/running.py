"""How the tasks of a stage are run, and their receipts gathered.

A task that is run again, after a crash or beside an orphaned twin, gives the same bytes; one that
finds its marker hands out the receipt that it left. A gather refuses receipts that are not those of
all tasks, each once.

The same bytes on machines of one kind, that is (`terapose.pipeline.machine`): receipts say on which
a task ran, and a gather warns of several. With ``strict`` it refuses them; and the first task of a
stage leaves its kind in the store, with which each later one compares itself before it computes.
Each task leaves its kind, too, before it computes: one that another machine has left half done is
of both kinds.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from terapose.core.errors import StoreError
from terapose.core.params import Parameters
from terapose.pipeline.graph import STAGES, gathered
from terapose.pipeline.job import Job, Receipt, Result, shaping, stage_key
from terapose.pipeline.machine import (
    kind_here,
    of_receipts,
    of_steps,
    refuse_mixture,
    refuse_other,
    together,
    warning_of,
)
from terapose.pipeline.peak import forget_peak, peak_memory
from terapose.pipeline.plan import Plan, key_of
from terapose.pipeline.state import Kinds, State, Step, after

log = logging.getLogger(__name__)


def run(job: Job) -> Receipt:
    """Run one task of a scattered stage and return its receipt.

    Its ``peak_memory`` is that of this task alone; None if the system cannot measure it apart from
    that of earlier tasks in the same process.
    """
    own_peak = forget_peak()
    begin, used = time.perf_counter(), time.process_time()
    receipt = job.receipt()
    if receipt is None:
        ran_on = _begin(job)
        try:
            result = STAGES[job.stage].implementation.run(job)
        except StoreError:
            # a twin was faster, and what this one was to read has been dropped since
            if (done := job.receipt()) is None:
                raise
            return done
        job.confirm_image()
        receipt = {
            "stage": job.stage,
            "key": job.key,
            "plan": job.plan.digest,
            "task": job.task,
            "items": [job.items.start, job.items.stop],
            "params": shaping(job.params),
            "seconds": round(time.perf_counter() - begin, 3),
            "processor_seconds": round(time.process_time() - used, 3),
            "peak_memory": peak_memory() if own_peak else None,
            "ran_on": ran_on,
            "result": result,
        }
        job.store.put_json(job.marker, receipt)
        receipt = job.store.get_json(job.marker)
    return receipt


def _begin(job: Job) -> dict[str, list[str]]:
    """The kinds of machines on which a task has been begun: this one, and perhaps another before.

    Raises
    ------
    InputError
        If there are several in the run, with ``strict``.
    """
    libraries = STAGES[job.stage].rounding(job.plan, job.params)
    if not libraries:
        return {}
    on_gpu = job.params.get("use_gpu")
    tiles = STAGES[job.stage].implementation.tiles_at_once(job) if on_gpu else 0
    mine = kind_here(libraries, turn=job.turn, tiles=tiles)
    place, strict = f"ran-on/{job.stage}-{job.key}", job.params.get("strict")
    if strict:
        # before anything is left: on another machine the run can go on
        refuse_other(mine, of_steps(job.before.history), job.stage)
    first = job.store.claim_json(f"{place}/first.json", mine)
    if strict:
        began = {library: {name: 1} for library, name in first.items()}
        refuse_other(mine, began, job.stage)
    before = job.store.claim_json(f"{place}/task-{job.task}.json", mine)
    return {library: sorted({before.get(library, name), name}) for library, name in mine.items()}


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
    return _gather(job, receipts).model_copy(update={"plan": job.store.run})


def _gather(job: Job, receipts: Sequence[Receipt]) -> State:
    begin, used, own_peak = time.perf_counter(), time.process_time(), forget_peak()
    described = STAGES[job.stage]
    if described.over is not None:
        tasks = sum_up(job.plan, job.stage, receipts, job.before.key)
        _confirm_kinds(job, [tasks.step.ran_on])
        job = replace(job, params=tasks.step.params)
        added = described.implementation.gather(job, tasks.results)
        return after(job.before, tasks.step, added)
    found = _summed_up(job, receipts)
    mine = kind_here(described.rounding(job.plan, job.params))
    ran_on = {library: {name: 1} for library, name in mine.items()}
    _confirm_kinds(job, [*(tasks.step.ran_on for tasks in found.values()), ran_on])
    job = replace(job, before=_after_all(job.before, [tasks.step for tasks in found.values()]))
    results: Any = {stage: tasks.results for stage, tasks in found.items()}
    if len(described.gathers) < 2:
        results = [result for several in results.values() for result in several]
    added = described.implementation.gather(job, results)
    step = Step(
        stage=job.stage,
        key=job.key,
        params=shaping(job.params),
        seconds=round(time.perf_counter() - begin, 3),
        processor_seconds=round(time.process_time() - used, 3),
        peak_memory=peak_memory() if own_peak else None,
        ran_on=ran_on,
    )
    return after(job.before, step, added)


def _confirm_kinds(job: Job, new: Sequence[Kinds]) -> None:
    """Warn of machines of several kinds, the first time that there are any.

    Raises
    ------
    InputError
        If there are, with ``strict``.
    """
    before = of_steps(job.before.history)
    now = together([before, *new])
    if job.params.get("strict"):
        refuse_mixture(now, job.stage)
    if any(len(kinds) > max(1, len(before.get(name, ()))) for name, kinds in now.items()):
        log.warning(warning_of(now))


def _summed_up(job: Job, receipts: Sequence[Receipt]) -> dict[str, Tasks]:
    """What the tasks did that a gather gathers, by stage: all came after the same summary."""
    described, start = STAGES[job.stage], job.before
    several = len(described.gathers) > 1
    return {
        stage: sum_up(
            job.plan,
            stage,
            [r for r in receipts if not several or r["stage"] == stage],
            start.key,
            upscale=start.upscale,
        )
        for stage in gathered(described, job.plan.mode, Parameters.model_construct(**job.params))
    }


def _after_all(before: State, steps: Sequence[Step]) -> State:
    """The state after stages that came after the same summary; its key follows from all theirs."""
    state = before
    for step in steps:
        state = after(state, step)
    if len(steps) > 1:
        state = state.model_copy(update={"key": key_of(*(step.key for step in steps))})
    return state


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

    A stage without items has done nothing: what follows has the key that the stage came after.

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
    faults = [
        *_strangers(plan, stage, receipts, before),
        *_holes(plan.items(stage, upscale), receipts),
    ]
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
        key=ordered[0]["key"] if ordered else before,
        params=ordered[0]["params"] if ordered else {},
        tasks=len(ordered),
        seconds=round(sum(r["seconds"] for r in ordered), 3),
        processor_seconds=_all_of([r.get("processor_seconds") for r in ordered]),
        peak_memory=_largest([r["peak_memory"] for r in ordered]),
        checksum=key_of(results),
        ran_on=of_receipts(ordered),
    )
    return Tasks(step, results)


def _strangers(plan: Plan, stage: str, receipts: Sequence[Receipt], before: str) -> Iterator[str]:
    """Faults of receipts that are not those of one run of a stage."""
    strange = {(r["stage"], r["plan"]) for r in receipts} - {(stage, plan.digest)}
    if strange:
        yield f"receipts of another run or stage: {sorted(strange)}"
    keys = sorted({r["key"] for r in receipts})
    if len(keys) > 1:
        yield f"receipts made with different parameters: {keys}"
    foreign = {r["key"] for r in receipts if r["key"] != stage_key(stage, r["params"], before)}
    if foreign:
        yield f"receipts made by other code or from other results: {sorted(foreign)}"


def _holes(count: int, receipts: Sequence[Receipt]) -> Iterator[str]:
    """Faults of receipts that do not cover each item once."""
    covered = Counter(item for receipt in receipts for item in range(*receipt["items"]))
    missing = [item for item in range(count) if item not in covered]
    doubled = sorted(item for item, times in covered.items() if times > 1)
    if missing:
        yield f"no receipt for {len(missing)} of {count}: {missing[:10]}"
    if doubled:
        yield f"more than one receipt for {doubled[:10]}"


def _largest(peaks: Sequence[int | None]) -> int | None:
    """The largest of all tasks; None if it is not known of each."""
    known = [peak for peak in peaks if peak is not None]
    return max(known, default=0) if len(known) == len(peaks) else None


def _all_of(seconds: Sequence[float | None]) -> float | None:
    """The sum of all tasks; None if one was run by a release that did not count them."""
    known = [number for number in seconds if number is not None]
    return round(sum(known), 3) if len(known) == len(seconds) else None
