"""The stages on one machine: the same functions and the same bytes as the workflow.

They run one after another; the tasks of a stage run in a pool of processes.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing.context import SpawnContext, SpawnProcess
from threading import Lock
from typing import Any, NamedTuple, TypeVar

from terapose.core import threads
from terapose.core.errors import InputError, StoreError
from terapose.core.params import Parameters
from terapose.io.store.held import HeldStore
from terapose.io.store.store import Store
from terapose.pipeline.graph import GATHERED, GRAPH, STAGES
from terapose.pipeline.job import Job, Receipt
from terapose.pipeline.plan import Plan
from terapose.pipeline.repair import forgetting
from terapose.pipeline.running import run, run_gather
from terapose.pipeline.stage import Stage
from terapose.pipeline.state import State

log = logging.getLogger(__name__)

T = TypeVar("T")
Report = Callable[[str, int, int], None]
"""Called with a stage's name, its tasks done, and its tasks in all."""


def quiet(stage: str, done: int, total: int) -> None:
    """Report nothing."""


@lru_cache(maxsize=1)
def _parse(plan: str) -> Plan:
    return Plan.model_validate_json(plan)


def _work(
    plan: str,
    store: tuple[str, str],
    stage: str,
    task: int,
    params: Mapping[str, Any],
    before: State,
    share: int,
) -> Receipt:
    """Run one task in a process of the pool, with its share of the threads."""
    threads.use(share, STAGES[stage].threaded)
    job = Job(_parse(plan), Store(*store), stage, task, params, before)
    with forgetting(job.plan, job.store, job):
        return run(job)


@dataclass
class Runner:
    """Runs the tasks of one plan.

    Attributes
    ----------
    plan, store
        The plan and where its arrays are.
    pool
        Processes; None runs everything in this one.
    report
        Called with the progress.
    order
        Of the numbers of so many tasks, in one process: it must not matter.
    gpus
        A pool for each GPU, of one process (`pools_of_gpus`): tasks of the network go there.
    cores
        That the processes of a pool share: all of this process.
    """

    plan: Plan
    store: Store
    pool: Pool | None = None
    report: Report = quiet
    order: Callable[[int], Iterable[int]] = range
    gpus: Sequence[Pool] = ()
    cores: int = field(default_factory=lambda: cores())

    def job(self, stage: str, params: Mapping[str, Any], before: State, task: int = 0) -> Job:
        """A job of this plan."""
        return Job(self.plan, self.store, stage, task, params, before)

    def scatter(self, stage: str, params: Mapping[str, Any], before: State) -> list[Receipt]:
        """Run all tasks of a stage."""
        total = len(self.plan.tasks[stage])
        self.report(stage, 0, total)
        if self.pool is None:
            receipts = []
            for task in self.order(total):
                job = self.job(stage, params, before, task)
                with forgetting(self.plan, self.store, job):
                    receipts.append(run(job))
                self.report(stage, len(receipts), total)
            return receipts
        text, given = self.plan.dump(), dict(params)
        place = self.store.address, self.store.run
        pools = self.gpus if STAGES[stage].uses_gpu and self.gpus else [self.pool]
        # fewer tasks than processes leave none of the cores to themselves
        share = max(1, self.cores // min(sum(pool.workers for pool in pools), max(1, total)))
        futures = [
            # each process keeps to one GPU, as `terapose.core.devices` shares them out
            pools[task % len(pools)].submit(_work, text, place, stage, task, given, before, share)
            for task in range(total)
        ]
        for done, _ in enumerate(_completed(futures), 1):
            self.report(stage, done, total)
        # only now: what all tasks found damaged is made again at one go
        return [f.result() for f in futures]


def _completed(futures: list[Any]) -> Iterator[Any]:
    """Futures as they finish; a failure cancels the rest, but where something is damaged."""
    for future in as_completed(futures):
        fault = future.exception()
        if fault and not isinstance(fault, StoreError):
            for other in futures:
                other.cancel()
            raise fault
        yield future


def cores() -> int:
    """Number of cores this process may use: a scheduler may have given it fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Process(SpawnProcess):
    """A fresh process that does not import what this one was started with.

    Others do, which runs a script without a ``__main__`` guard once more in each of them, and fails
    where the script came from standard input. All that a pool runs here is in the package.
    """

    def start(self) -> None:
        """Start it while the main module has no name and no file to be found by."""
        main = vars(sys.modules["__main__"])
        names = ("__spec__", "__file__")
        with _STARTING:
            before = {name: main[name] for name in names if name in main}
            main.update(dict.fromkeys(names))
            try:
                super().start()
            finally:
                for name in names:
                    del main[name]
                main.update(before)


_STARTING = Lock()
"""Two runs in threads of one program must not take each other's change for what was there."""


class _Apart(SpawnContext):
    """Makes such processes."""

    Process = _Process


class Pool(ProcessPoolExecutor):
    """So many fresh processes, which may be replaced after some tasks each."""

    def __init__(self, workers: int, *, tasks_each: int | None = None) -> None:
        super().__init__(workers, mp_context=_Apart(), max_tasks_per_child=tasks_each)
        self.workers = workers


@contextmanager
def pool_of(workers: int) -> Iterator[Pool | None]:
    """A pool of fresh processes, or None for a single one."""
    if workers == 1:
        yield None
        return
    before = {k: os.environ.get(k) for k in threads.VARIABLES}
    # libraries read these when they are imported: set them before the processes start
    threads.limit(max(1, cores() // workers), numba=cores())
    try:
        with Pool(workers) as pool, _ended_with(pool):
            yield pool
    except BrokenProcessPool as error:
        raise InputError(
            "a process of the pool was killed",
            got="most likely too little memory",
            remedy="use fewer processes (--jobs) or smaller blocks (--block-shape); "
            "running again continues where this run stopped",
        ) from error
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


@contextmanager
def pools_of_gpus(number: int) -> Iterator[list[Pool]]:
    """A pool of one process for each GPU: its tasks take turns, and one process holds its memory.

    To be used within `pool_of`, which says how many threads processes can use.
    """
    with ExitStack() as stack:
        pools = []
        for _ in range(number):
            pools.append(stack.enter_context(Pool(1)))
            stack.enter_context(_ended_with(pools[-1]))
        yield pools


@contextmanager
def _ended_with(pool: ProcessPoolExecutor) -> Iterator[None]:
    """End the processes of a pool when Ctrl-C or SIGTERM ends this one.

    Otherwise it would wait for all tasks that have been handed out.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        processes = [*(pool._processes or {}).values()]
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        raise


def for_one_process(store: Store, params: Parameters) -> Store:
    """The store for a process that runs all stages, with those in memory that nobody looks at."""
    if params.keep_intermediates == "all":
        return store
    return HeldStore(store.address, store.run)


def stage_params(params: Parameters, stage: str) -> dict[str, Any]:
    """The parameters of a stage, by name."""
    return {name: getattr(params, name) for name in STAGES[stage].parameters}


class Done(NamedTuple):
    """What stages have left.

    Attributes
    ----------
    state
        The last one.
    states
        All, by the stage after which they were.
    receipts
        Of scattered stages, by name.
    """

    state: State
    states: dict[str, State]
    receipts: dict[str, list[Receipt]]

    def receipts_for(self, gather: Stage) -> list[Receipt]:
        """Receipts that a gather takes, of those stages that ran."""
        return [r for name in gather.gathers for r in self.receipts.get(name, [])]


def run_stages(
    runner: Runner,
    params: Parameters,
    given: Mapping[str, Mapping[str, Any]],
    stages: Sequence[Stage] = GRAPH,
    before: State | None = None,
) -> Done:
    """Run stages one after another, those that this plan and these parameters ask for.

    Parameters
    ----------
    runner
        With the plan and a store in which `terapose.stages.plan.run` made the arrays.
    params
        All parameters.
    given
        By command, what stages take besides their parameters.
    stages
        Which ones, a part of the graph.
    before
        The state that the first of them starts from.
    """
    done = Done(before or State(), {}, {})
    for stage in stages:
        if not stage.runs(runner.plan, params):
            continue
        own = {**stage_params(params, stage.name), **given.get(stage.command, {})}
        if stage.over is None:
            found = done.receipts_for(stage)
        else:
            found = done.receipts[stage.name] = runner.scatter(stage.name, own, done.state)
            if stage.name in GATHERED:
                continue
        state = run_gather(runner.job(stage.name, own, done.state), found)
        done.states[stage.name] = state
        done = done._replace(state=state)
    return done


_REPAIRS = 20


def repairing(runner: Runner, work: Callable[[], T]) -> T:
    """Run all stages, and again as long as something in the store is damaged and made again."""
    for _ in range(_REPAIRS):
        try:
            with forgetting(runner.plan, runner.store):
                return work()
        except StoreError as fault:
            if not fault.is_forgotten:
                raise
            log.warning("%s: %s; it is computed again", fault.where, fault.what)
    return work()
