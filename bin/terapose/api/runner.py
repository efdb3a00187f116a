"""All stages in one command on one machine: the same functions and the same bytes as the workflow.

The stages run one after another; the tasks of a stage run in a pool of processes. The store lies
beside the results and is named by the plan's digest, so a run that was stopped goes on where it
was: tasks that left their marker are not repeated.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.core.errors import InputError, StoreError
from terapose.core.params import STAGES, Parameters, check
from terapose.io.images import Image
from terapose.io.lock import held
from terapose.io.store.store import Store
from terapose.pipeline.checked import open_checked
from terapose.pipeline.job import Job, Receipt, Summary, run, run_gather
from terapose.pipeline.plan import Plan, flow_threshold, last_stages
from terapose.pipeline.repair import forgetting

log = logging.getLogger(__name__)

Report = Callable[[str, int, int], None]
"""Called with a stage's name, its tasks done, and its tasks in all."""


def _quiet(stage: str, done: int, total: int) -> None:
    """Report nothing."""


@lru_cache(maxsize=1)
def _parse(plan: str) -> Plan:
    return Plan.model_validate_json(plan)


def _work(
    plan: str, address: str, stage: str, task: int, params: Mapping[str, Any], before: Summary
) -> Receipt:
    """Run one task in a process of the pool."""
    job = Job(_parse(plan), Store(address), stage, task, params, before)
    with forgetting(job.plan, job.store, job):
        return run(job)


_THREADS = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")


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
        Told of progress.
    order
        Of the numbers of so many tasks, in one process: it must not matter.
    """

    plan: Plan
    store: Store
    pool: ProcessPoolExecutor | None = None
    report: Report = _quiet
    order: Callable[[int], Iterable[int]] = range

    def job(self, stage: str, params: Mapping[str, Any], before: Summary, task: int = 0) -> Job:
        """A job of this plan."""
        return Job(self.plan, self.store, stage, task, params, before)

    def scatter(self, stage: str, params: Mapping[str, Any], before: Summary) -> list[Receipt]:
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
        text = self.plan.dump()
        futures = [
            self.pool.submit(_work, text, self.store.address, stage, task, dict(params), before)
            for task in range(total)
        ]
        for done, _ in enumerate(_completed(futures), 1):
            self.report(stage, done, total)
        # only now: what all tasks found damaged is made again at one go
        return [f.result() for f in futures]

    def gathered(
        self,
        stage: str,
        params: Mapping[str, Any],
        before: Summary,
    ) -> Summary:
        """Run a stage and gather its receipts."""
        receipts = self.scatter(stage, params, before)
        return run_gather(self.job(stage, params, before), receipts)


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


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor | None]:
    """A pool of fresh processes, or None for a single one."""
    if workers == 1:
        yield None
        return
    before = {k: os.environ.get(k) for k in _THREADS}
    # libraries read these when they are imported: set them before the processes start
    share = str(max(1, cores() // workers))
    os.environ.update(dict.fromkeys(_THREADS, share))
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            yield pool
    except BrokenProcessPool as error:
        raise InputError(
            "a process of the pool was killed",
            got="most likely too little memory",
            remedy="use fewer processes (--jobs) or smaller blocks (--block-shape); "
            "running again goes on where this run stopped",
        ) from error
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


def stage_params(params: Parameters, stage: str) -> dict[str, Any]:
    """The parameters of a stage, by name."""
    return {name: getattr(params, name) for name in STAGES.get(stage, ())}


def run_all(
    runner: Runner,
    params: Parameters,
    model_files: Sequence[Path],
    output: Path,
    cells: Path | None = None,
    *,
    workers: int = 1,
    link: bool = False,
) -> dict[str, Any]:
    """Run every stage after the plan.

    Parameters
    ----------
    runner
        With the plan and a store in which `terapose.stages.plan.run` made the arrays.
    params
        All parameters.
    model_files
        The network's file, or those of several that are averaged.
    output
        Folder for the results.
    cells
        Results of the second network, if there is one.
    workers, link
        Threads that cut thumbnails, and whether results are links into the store, as in
        `terapose.stages.finish.run`.

    Returns
    -------
    dict
        The record of the run.
    """
    from terapose.stages import (
        finish,
        match,
        matches,
        objects,
        percentiles,
        planes,
        relabel,
        seeds,
        stitch,
    )

    plan = runner.plan

    def of(stage: str) -> dict[str, Any]:
        return stage_params(params, stage)

    def job(stage: str, before: Summary) -> Job:
        return runner.job(stage, of(stage), before)

    before = runner.gathered("convert", {}, {}) if plan.image.convert else {}
    counted = runner.scatter("intensities", {}, {})
    before = percentiles.run(job("percentiles", before), counted)
    for axis in plan.axes:
        passes = {**of("gradients"), "model_files": tuple(map(str, model_files))}
        before = runner.gathered(f"gradients-{axis}", passes, before)
    for stage in ("combine", "follow"):
        before = runner.gathered(stage, of(stage), before)
    before = seeds.run(job("seeds", before), runner.scatter("peaks", {}, before))
    before = objects.run(job("objects", before), runner.scatter("masks", {}, before))
    if flow_threshold(plan.mode, params.flow_threshold):
        before = runner.gathered("errors", {}, before)
    if plan.mode == "stitch":
        before = planes.run(job("planes", before))
        before = stitch.run(job("stitch", before), runner.scatter("overlaps", {}, before))
        before = runner.gathered("voids", {}, before)
    before = relabel.run(job("relabel", before))
    if cells is not None:
        identity = matches.identity(matches.read_record(cells))
        given = {"cells": str(cells), "identity": identity}
        before = match.run(job("match", before), runner.scatter("matches", given, before))
    last = [
        receipt
        for stage in last_stages(params.measure, params.table)
        for receipt in runner.scatter(stage, of(stage), before)
    ]
    return finish.run(job("finish", before), last, output, link=link, jobs=workers)


_REPAIRS = 20


def _repairing(runner: Runner, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
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


def segment_file(
    image: str,
    output: str | Path,
    params: Parameters,
    *,
    workers: int = 1,
    report: Report = _quiet,
    link: bool = False,
) -> dict[str, Any]:
    """Segment an image on this machine.

    Parameters
    ----------
    image
        Path or URL.
    output
        Folder for the results; the store of intermediates lies in it, under ``.terapose``.
    params
        All parameters.
    workers
        Processes.
    report
        Told of progress.
    link
        Whether the files of the label image are links into the store, where the file system has
        them: no room is needed for a copy, but what damages the store damages the results.

    Returns
    -------
    dict
        The record of the run, as in ``provenance.json``.

    Raises
    ------
    InputError
        For everything a user can put right.
    """
    from terapose.stages import check as check_stage

    folder = Path(output)
    # the record and the store's name hold the address: it has to mean the same from any folder
    image = image if "://" in image else os.path.abspath(os.path.expanduser(image))
    opened = open_checked(image, params)
    check_stage.check_readable(opened, params)
    check_stage.check_output(folder, image, check_stage.result_names(params))
    with held(folder):
        return _segment(opened, folder, params, workers, report, link=link)


def _segment(
    opened: Image, folder: Path, params: Parameters, workers: int, report: Report, *, link: bool
) -> dict[str, Any]:
    """Segment an image that was checked, in a folder that no other run writes to."""
    from terapose.networks import identify_all
    from terapose.networks.ensemble import resolve_all
    from terapose.pipeline.planning import make_plan
    from terapose.stages import plan as plan_stage

    cells = None
    if params.has_second:
        cells = folder / ".terapose" / "cells"
        segment_file(opened.address, cells, params.second, workers=workers, report=report)
    model_files = resolve_all(params.model, digest=params.model_digest)
    plan = make_plan(opened, identify_all(model_files), params)
    store = Store(str(folder.resolve() / ".terapose" / plan.digest))
    plan_stage.run(plan, store)
    with _pool(workers) as pool:
        runner = Runner(plan, store, pool, report)
        record = _repairing(
            runner,
            lambda: run_all(runner, params, model_files, folder, cells, workers=workers, link=link),
        )
    if params.keep_intermediates == "none":
        shutil.rmtree(folder / ".terapose")
    return record


def segment(
    image: NDArray[Any] | str | Path,
    *,
    axes: str | None = None,
    workers: int = 1,
    **params: Any,
) -> NDArray[np.unsignedinteger[Any]]:
    """Segment an image and return its labels.

    Parameters
    ----------
    image
        (Y, X), (Z, Y, X) or (C, Z, Y, X) array of numbers, or the path or URL of an image.
    axes
        Axes, if they are others: "cyx" for a plane with channels.
    workers
        Processes.
    **params
        Any of `terapose.core.params.Parameters`.

    Returns
    -------
    (Z, Y, X) or (Y, X) uint32 or uint64
        Label image; 0 is background, cells are numbered from 1 by position.

    Raises
    ------
    InputError
        For everything a user can put right.

    Examples
    --------
    >>> labels = terapose.segment(volume, diameter=14, anisotropy=2)  # doctest: +SKIP
    """
    import zarr

    from terapose.io.labels.ome_zarr import open_level

    checked = check({**params, "axes": axes})
    if not isinstance(workers, int) or workers < 1:
        raise InputError("is not a number of processes", where="workers", got=workers)
    if not isinstance(image, str | Path):
        image = np.asarray(image)
        if image.dtype.kind not in "uif":
            raise InputError("is not an array of numbers", where="image", got=image.dtype)
    if checked.time == "all":
        raise InputError("one image is segmented", where="time", got="all", allowed="a number")
    with tempfile.TemporaryDirectory(prefix="terapose-") as folder:
        address = str(image)
        if isinstance(image, np.ndarray):
            address = f"{folder}/image.zarr"
            # axes that are given come first; without them these are what an array is taken for
            names = list("czyx"[-image.ndim :]) if 2 <= image.ndim <= 4 else None
            zarr.create_array(address, data=image, dimension_names=names)
        segment_file(address, Path(folder) / "out", checked, workers=workers)
        return np.asarray(open_level(f"{folder}/out/labels.zarr", 0)[:])
