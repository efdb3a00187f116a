"""How much a stage has to do: its voxels, tiles of the network, and seconds at measured rates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from terapose.core.geometry import AXES
from terapose.io.images.channels import measured_channels
from terapose.networks.tile_grid import tile_grid
from terapose.pipeline.graph import STAGES
from terapose.pipeline.plan import Plan
from terapose.pipeline.rates import TILES, WORK


def work_of(plan: Plan, params: Mapping[str, Any], stage: str) -> float | None:
    """Seconds that all tasks of a stage take by measured rates; None where none was measured.

    Parameters
    ----------
    plan
        The plan.
    params
        All parameters by name.
    stage
        Name of a stage that works on arrays.
    """
    if stage == "combine" and plan.is_combined(params):
        return 0.0
    if stage == "combine" and not plan.resized:
        return None
    if (rate := voxels_a_second(plan, stage)) is None:
        return None
    seconds = voxels_of(plan, params, stage) / rate
    if axis := STAGES[stage].axis:
        if (tiles := tiles_a_second(plan)) is None:
            return None
        seconds += _tiles(plan, AXES.index(axis)) / tiles
    return seconds


def voxels_a_second(plan: Plan, stage: str) -> float | None:
    """Of a stage on one processor; None where none was measured."""
    return WORK.get((stage, "planes" if plan.flat else "volumes"))


def voxels_of(plan: Plan, params: Mapping[str, Any] | None, stage: str) -> int:
    """Voxels that all tasks of a stage work on.

    Parameters
    ----------
    plan
        The plan.
    params
        All parameters by name; None: the most that it is whatever those of later stages are.
    stage
        Name of a stage that works on arrays.
    """
    image, described = plan.image, STAGES[stage]
    if described.axis:
        return math.prod(plan.network_shape)
    if described.over == "planes":
        return math.prod(image.whole) * len(image.all_channels)
    if described.over == "counted":
        return plan.counted.size * len(image.channels)
    output = (plan.full or plan.output) if params is None else plan.result(params["upscale"])
    if stage == "measure":
        names = image.channel_names
        measured = len(names if params is None else measured_channels(names, params["measure"]))
        return math.prod(output.shape) * max(1, measured)
    return math.prod(output.shape if stage in ("export", "outlines") else image.shape)


def tiles_a_second(plan: Plan) -> float | None:
    """Of the network, or of all that are averaged."""
    model = plan.model
    rate = TILES.get((model.family, model.device, model.precision))
    return rate / max(1, len(model.members)) if rate else None


def tiles_of(plan: Plan, axis: int) -> int:
    """Tiles of an item of a pass; of a rectangle also those that only touch it."""
    model, item = plan.model, plan.passes[axis]
    height, width = (
        min(n + 2 * model.tile, whole)
        for i, (n, whole) in enumerate(zip(item, plan.network_shape, strict=True))
        if i != axis
    )
    grid = tile_grid((height, width), model.tile, model.overlap, augment=model.augment)
    return len(grid.corners) * item[axis]


def _tiles(plan: Plan, axis: int) -> int:
    """Tiles of a pass of the network: as many in each plane of it."""
    planes, depth = plan.network_shape[axis], plan.passes[axis][axis]
    rectangles = len(plan.pass_grid(axis)) // math.ceil(planes / depth)
    return rectangles * planes * tiles_of(plan, axis) // depth
