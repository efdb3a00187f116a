"""Divide the work so that no task takes more memory than ``max_memory``.

The default division (`terapose.pipeline.layout`) is used if its projection
(`terapose.pipeline.estimate`) is within ``max_memory``. Otherwise blocks get smaller, then the
rectangles of the network's passes, then its slabs; what a user has given stays. Stages that hold a
row for each cell of a task, however many blocks it has, get more tasks. What is left above the
limit is refused, before anything runs.

Nothing here looks at parameters of later stages: another threshold may not cut another way.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from terapose.core.errors import InputError
from terapose.core.geometry import ZYX, batches, zyx
from terapose.core.params import Parameters
from terapose.pipeline.estimate import GB
from terapose.pipeline.graph import GRAPH, STAGES
from terapose.pipeline.layout import MOST_PIXELS, MOST_VOXELS, choose_passes
from terapose.pipeline.plan import Plan, Tasks, items
from terapose.pipeline.stage import Stage

LEAST_BLOCK = 32
"""Edge below which blocks are not cut: they would be read many times over, for their margins."""
LEAST_SLAB = 8
"""The same of slabs, which would make many small files."""
_GIVEN = {
    "blocks": ("block_shape",),
    "counted": ("block_shape",),
    "slabs": ("rectangle", "slab_planes"),
}
"""Parameters that keep items from being made smaller."""


class _Fit(NamedTuple):
    """A plan, the stage whose tasks take most, and how many bytes."""

    plan: Plan
    stage: str
    memory: int


def fitted(draft: Plan, params: Parameters) -> Plan:
    """The plan with blocks, slabs and rectangles that fit into ``max_memory``.

    Parameters
    ----------
    draft
        With the cut that is taken otherwise; tasks are not looked at.
    params
        Those of the plan.

    Raises
    ------
    InputError
        If the tasks of a stage take more, however it is cut.
    """
    limit = params.max_memory * GB
    blocks = [] if params.block_shape else _smaller_blocks(draft)
    first = _first_below(limit, draft, ("blocks", "counted"), blocks)
    passes = [] if params.rectangle and params.slab_planes else _smaller_passes(first.plan, params)
    second = _first_below(limit, first.plan, ("slabs",), passes)
    whole = _first_below(limit, second.plan, ("planes", "regions"), [])
    largest = max(first, second, whole, key=lambda fit: fit.memory)
    if largest.memory > limit:
        raise _too_large(largest, params)
    return whole.plan


def fitted_tasks(plan: Plan, params: Parameters) -> Tasks:
    """The tasks of all stages, of which none takes more than ``max_memory``.

    Parameters
    ----------
    plan
        A plan of `fitted`, with tasks: a stage whose tasks do too much gets more of them.
    params
        Those of the plan.

    Raises
    ------
    InputError
        If ``max_tasks`` is given, and tasks are so few that one takes more.
    """
    limit = params.max_memory * GB
    if params.max_tasks is not None:
        # later parameters may not cut, and nothing is refused for a stage that they leave out
        largest = _weighed(plan, [s for s in GRAPH if s.runs(plan, params)])
        if largest.memory > limit:
            raise _too_few(largest, params)
        return plan.tasks
    draft = plan.model_copy(update={"tasks": dict(plan.tasks)})
    for name in plan.tasks:
        memory, count = STAGES[name].memory, items(plan, name)
        while memory and len(draft.tasks[name]) < count and memory(draft) > limit:
            draft.tasks[name] = tuple(batches(count, 2 * len(draft.tasks[name])))
    return draft.tasks


def _first_below(
    limit: float, draft: Plan, over: tuple[str, ...], cuts: Iterable[dict[str, Any]]
) -> _Fit:
    """The first of the draft and its other cuts that fits; if none does, the one that takes least.

    Stages count that are in the plan's mode, whether later parameters ask for them or not.
    """
    stages = [s for s in GRAPH if s.over in over and draft.mode in s.modes]
    if not draft.image.convert:
        stages = [s for s in stages if s.over != "planes"]
    least = _weighed(draft, stages)
    for cut in cuts:
        if least.memory <= limit:
            break
        tried = _weighed(draft.model_copy(update=cut), stages)
        least = min(least, tried, key=lambda fit: fit.memory)
    return least


def _weighed(plan: Plan, stages: list[Stage]) -> _Fit:
    """The stage that takes most."""
    working = [s for s in stages if not s.axis or s.axis in plan.axes]
    memory = {s.name: s.memory(plan) for s in working if s.memory}
    largest = max(memory, key=memory.__getitem__)
    return _Fit(plan, largest, memory[largest])


def _too_large(least: _Fit, params: Parameters) -> InputError:
    """What to say where nothing fits."""
    over = STAGES[least.stage].over or ""
    given = [name for name in _GIVEN.get(over, ()) if getattr(params, name) is not None]
    if over == "planes":
        remedy = "allow more, or save the image in tiles or chunks (OME-Zarr, a tiled TIFF)"
    elif given:
        remedy = f"allow more, or leave out {' and '.join(given)}: then pieces are made to fit"
    else:
        remedy = "raise max_memory if the machines have more"
    pieces = f"in the smallest {'planes' if over == 'planes' else 'pieces'} that are possible"
    return _refusal(least, params, pieces, remedy)


def _too_few(largest: _Fit, params: Parameters) -> InputError:
    """What to say where so few tasks are allowed that one does not fit."""
    remedy = "allow more, or leave out max_tasks: then the number of tasks follows the limit"
    return _refusal(largest, params, f"with max_tasks {params.max_tasks}", remedy)


def _refusal(fit: _Fit, params: Parameters, how: str, remedy: str) -> InputError:
    return InputError(
        f"a task of {fit.stage} needs more memory, {how}",
        where="max_memory",
        got=f"{params.max_memory:g} GB",
        allowed=f"{math.ceil(fit.memory / GB * 10) / 10:g} GB or more",
        remedy=remedy,
    )


def _smaller_blocks(draft: Plan) -> Iterator[dict[str, Any]]:
    """Blocks, each half of the one before: planes by themselves lose planes first."""
    block = draft.block
    while (axis := _axis_to_cut(block, draft.flat)) is not None:
        block = _halved(block, axis)
        yield {"block": block}


def _axis_to_cut(block: ZYX, flat: bool) -> int | None:
    """The axis along which a block is halved; None if it is small enough."""
    if flat and block[0] > 1:
        return 0  # no margin reaches across planes
    longest = max(range(3), key=lambda axis: block[axis])
    return longest if block[longest] > LEAST_BLOCK else None


def _smaller_passes(draft: Plan, params: Parameters) -> Iterator[dict[str, Any]]:
    """Rectangles of fewer and fewer chunks, then the same of thinner slabs."""
    slabs, count = draft.slabs, len(draft.passes)
    whole = MOST_PIXELS if draft.flat else MOST_VOXELS
    while True:
        most = whole
        while most >= math.prod(slabs):
            passes = choose_passes(draft.network_shape, slabs, count, params.rectangle, most)
            yield {"slabs": slabs, "passes": passes}
            most //= 2
        thick = [n for n in slabs if n > LEAST_SLAB]
        if params.slab_planes is not None or not thick:
            return
        slabs = _halved(slabs, slabs.index(max(thick)))


def _halved(shape: ZYX, axis: int) -> ZYX:
    return zyx(math.ceil(n / 2) if i == axis else n for i, n in enumerate(shape))
