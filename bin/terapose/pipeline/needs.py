"""What the tasks of a stage ask a scheduler for, and the tables in which the workflow reads it."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields

from terapose.core.amounts import in_bytes
from terapose.core.geometry import AXES
from terapose.networks.tiling import tile_grid
from terapose.pipeline.graph import STAGES
from terapose.pipeline.plan import Plan
from terapose.pipeline.rates import TILES, VOXELS
from terapose.pipeline.sizes import CONVERT_PLANES

LEAST = 500 * 10**6
"""Bytes that every task asks for: what little tasks need hangs on the system's libraries."""
SLACK = 10
"""How much slower a node may be than the machine on which rates were measured."""
START = 1800
"""Seconds that a task is given beside: to start, to load a network, to wait for a disk."""


@dataclass(frozen=True)
class Needs:
    """What each task of a stage asks for.

    Attributes
    ----------
    memory
        Bytes.
    seconds
        After which it may be ended: generous, for a task that is ended has done nothing. 0 where
        nobody has measured how long it takes.
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


def needs_of(plan: Plan, stage: str) -> Needs:
    """What the tasks of a scattered stage ask for.

    Parameters
    ----------
    plan
        The plan.
    stage
        Name of the stage; the passes of the network are ``gradients-yx`` and so on.
    """
    described, tasks = STAGES[stage], plan.tasks[stage]
    if described.memory is None or not tasks:
        return NOTHING
    network = bool(described.axis)
    rate = _tiles_a_second(plan) if network else VOXELS.get(stage)
    size = _tiles(plan, AXES.index(described.axis)) if network else _voxels(plan, stage)
    most = max(stop - first for first, stop in tasks)
    return Needs(
        memory=max(described.memory(plan), LEAST),
        seconds=START + math.ceil(SLACK * most * size / rate) if rate else 0,
        cpus=2 if network else 1,
        gpus=int(network and plan.model.device != "cpu"),
    )


def _tiles_a_second(plan: Plan) -> float | None:
    """Of the network, or of all that are averaged."""
    model = plan.model
    rate = TILES.get((model.family, model.device, model.precision))
    return rate / max(1, len(model.members)) if rate else None


def _tiles(plan: Plan, axis: int) -> int:
    """Tiles of an item of a pass; of a rectangle also those that only touch it."""
    model, item = plan.model, plan.passes[axis]
    height, width = (
        min(n + 2 * model.tile, whole)
        for i, (n, whole) in enumerate(zip(item, plan.network_shape, strict=True))
        if i != axis
    )
    grid = tile_grid((height, width), model.tile, model.overlap, augment=model.augment)
    return len(grid.corners) * item[axis]


def _voxels(plan: Plan, stage: str) -> int:
    """Voxels of an item of the other stages."""
    if STAGES[stage].over == "planes":
        _, height, width = plan.image.whole
        return CONVERT_PLANES * height * width
    if STAGES[stage].over == "regions":
        # with upscale a task writes more regions, but no more voxels than level 0 has for it
        finer = math.prod((plan.full or plan.output).shape) / math.prod(plan.output.shape)
        return math.ceil(math.prod(plan.output.region) * finer)
    return math.prod(plan.block)


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
