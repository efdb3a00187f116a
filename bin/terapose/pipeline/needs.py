"""What the tasks of a stage ask a scheduler for, and the tables in which the workflow reads it."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields

from terapose.core.amounts import in_bytes
from terapose.core.geometry import AXES
from terapose.core.params import Parameters
from terapose.io.store.held import bytes_held
from terapose.pipeline.estimate import BLOCKS_BASE, GB, of_network
from terapose.pipeline.graph import GRAPH, SCATTERED, STAGES
from terapose.pipeline.plan import Plan
from terapose.pipeline.rates import FASTEST, UNKNOWN, VOXELS
from terapose.pipeline.work import tiles_a_second, tiles_of, voxels_a_second, voxels_of

LEAST = 500 * 10**6
"""Bytes that every task asks for: what little tasks need hangs on the system's libraries."""
SLACK = 10
"""How much slower a node may be than the machine on which rates were measured."""
START = 1800
"""Seconds that a task is given beside: to start, to load a network, to wait for a disk."""

LEFT = 130 * 10**6
"""Bytes that a task which runs all stages still has of samples before: libraries and kernels that
they loaded (up to 125 MB were measured in a task of seven)."""


@dataclass(frozen=True)
class Needs:
    """What each task of a stage asks for.

    Attributes
    ----------
    memory
        Bytes.
    seconds
        After which it may be ended: generous, for a task that is ended has done nothing. 0 where
        nobody can know how long it takes.
    cpus, gpus
        Processors, and GPUs.
    """

    memory: int
    seconds: int
    cpus: int
    gpus: int

    def __str__(self) -> str:
        """As people read it; what is not asked for is left out."""
        minutes = math.ceil(self.seconds / 60)
        parts = [in_bytes(self.memory), f"{self.cpus} cores" if self.cpus > 1 else "1 core"]
        parts += [f"{self.gpus} GPU"] * bool(self.gpus)
        return ", ".join([*parts, *[f"{minutes} min"] * bool(minutes)])


NOTHING = Needs(0, 0, 0, 0)
"""Of a stage without tasks."""


def needs_of(plan: Plan, stage: str, params: Parameters | None = None) -> Needs:
    """What the tasks of a scattered stage ask for.

    Parameters
    ----------
    plan
        The plan.
    stage
        Name of the stage; the passes of the network are ``gradients-yx`` and so on.
    params
        All parameters, if those of later stages are known.
    """
    described, tasks = STAGES[stage], plan.tasks[stage]
    if described.memory is None or not tasks:
        return NOTHING
    network = bool(described.axis)
    most = max(stop - first for first, stop in tasks)
    work = _most_work(plan, stage, most)
    return Needs(
        memory=max(described.projected(plan, params), LEAST),
        seconds=0 if work is None else START + math.ceil(SLACK * work),
        cpus=2 if network else 1,
        gpus=int(described.uses_gpu and plan.model.device != "cpu"),
    )


def _work(plan: Plan, stage: str, items: int) -> float | None:
    """Seconds that items of a stage take by the rates that were measured; None where none was."""
    network = bool(STAGES[stage].axis)
    rate = tiles_a_second(plan) if network else VOXELS.get(stage)
    if not rate:
        return None
    size = tiles_of(plan, AXES.index(STAGES[stage].axis)) if network else math.prod(plan.block)
    return items * size / rate


def _most_work(plan: Plan, stage: str, items: int) -> float | None:
    """Seconds that items take at most; None of a function of the user's."""
    if STAGES[stage].axis:
        return _work(plan, stage, items)
    if stage == "process_cells":
        return None
    rate = min(voxels_a_second(plan, stage) or UNKNOWN, FASTEST)
    return voxels_of(plan, None, stage) / rate * items / plan.tasks[stage][-1][1]


def memory_given(plan: Plan, params: Parameters) -> dict[str, int]:
    """Bytes that tasks ask for, by stage, where the plan's tables cannot say it (`tasks_csv`).

    Parameters
    ----------
    plan
        The plan.
    params
        All parameters.
    """
    stages = [stage.name for stage in GRAPH if stage.memory_given and plan.tasks[stage.name]]
    return {stage: needs_of(plan, stage, params).memory for stage in stages}


def needs_of_whole(plan: Plan) -> Needs:
    """What a task asks for that runs all stages, for a plan that is small enough for one.

    It may have run those of other samples before.

    Parameters
    ----------
    plan
        The plan; of one that is not small (`Plan.is_small`) there is no such task.
    """
    if not plan.is_small:
        return NOTHING
    each = {stage: needs_of(plan, stage) for stage in SCATTERED if plan.tasks[stage]}
    passes = [needs for stage, needs in each.items() if STAGES[stage].axis]
    # without the time of the network, that of the other stages would be far too little
    is_known = all(needs.seconds for needs in passes)
    others = [STAGES[stage].projected(plan) for stage in each if not STAGES[stage].axis]
    voxels = math.prod(plan.image.shape)
    grid = max(math.prod(plan.network_shape), voxels * plan.resized)
    flows = plan.components * plan.flow_itemsize * grid
    held = of_network(plan) - BLOCKS_BASE + bytes_held(voxels) + flows
    # of the only pass, what was written before its last box
    before = 1 - 1 / len(plan.pass_grid(0)) if len(plan.axes) == 1 else 1
    most = max(
        *(one.memory + int(before * flows) for one in passes),
        *(memory + held for memory in others),
    )
    # it starts once
    seconds = START + sum(one.seconds - START for one in each.values() if one.seconds)
    return Needs(
        memory=most + LEFT,
        seconds=seconds if is_known else 0,
        cpus=max(needs.cpus for needs in each.values()),
        gpus=max(needs.gpus for needs in each.values()),
    )


def tasks_of_whole(plan: Plan) -> list[tuple[int, int]]:
    """The task that runs all stages, if the plan is small enough for one.

    Its items are the seconds that it should take by the rates that were measured, an hour where the
    network has none: by these the workflow decides how many samples share a task
    (``modules/packs.nf``).

    Parameters
    ----------
    plan
        The plan.
    """
    if not plan.is_small:
        return []
    cut = [stage for stage in SCATTERED if plan.tasks[stage]]
    work = {stage: _work(plan, stage, plan.tasks[stage][-1][1]) for stage in cut}
    is_known = all(work[stage] is not None for stage in cut if STAGES[stage].axis)
    seconds = sum(filter(None, work.values())) if is_known else 3600
    return [(0, max(1, math.ceil(seconds)))]


def is_one_task(plan: Plan, params: Parameters) -> bool:
    """Whether the workflow runs all stages of a sample in one task, if ``single_task`` is set.

    It does if the plan is small, no cells of a second network have to be waited for, and the task
    needs no more than ``max_memory``: stages by themselves do not hold the network. The workflow
    itself asks the same (``is_one_task`` in ``modules/tables.nf``).

    Parameters
    ----------
    plan
        The plan.
    params
        All parameters.
    """
    return fits_one_task(plan, params) and not params.has_second


def fits_one_task(plan: Plan, params: Parameters) -> bool:
    """Whether a process can run all stages of a plan, one after another.

    Parameters
    ----------
    plan
        The plan.
    params
        All parameters.
    """
    return plan.is_small and needs_of_whole(plan).memory <= params.max_memory * GB


def tasks_csv(tasks: Iterable[tuple[int, int]], needs: Needs) -> str:
    """A stage's tasks as the workflow reads them (``modules/tables.nf``), a row each.

    The last row covers all of them: whoever reads the table sees whether it is whole. For the
    same reason each row says what a task asks for, though it is the same for all.

    Parameters
    ----------
    tasks
        First item of each and the one after its last; each goes on where the one before ended.
    needs
        What each of them asks for.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["task", "first", "stop", *(field.name for field in fields(needs))])
    end = 0
    for number, (first, end) in enumerate(tasks):
        writer.writerow([number, first, end, *astuple(needs)])
    writer.writerow(["all", 0, end, *astuple(needs)])
    return text.getvalue()
