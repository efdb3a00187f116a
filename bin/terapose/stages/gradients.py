"""gradients: run the network over whole planes of one orientation and add up the flows.

For a slab of the pass across axis ``i`` (YX: planes of Z, ZX: planes of Y, ZY: planes of X):

1. read the slab's voxels (with one more voxel on each side where the image is resized), normalise
   them with what is known of the whole image, merge several channels into one if requested
   (`terapose.algorithms.normalize.merge_channels`), resize them to the network's grid as if the
   whole image were resized;
2. run the network on each plane, on the plane's own tile grid (`terapose.networks.tiling`): planes
   are whole, so slabs need no halo. Planes too large for one task are cut into rectangles, which
   also read what is under the tiles that touch them. Tiles that hold no tissue are left out,
   where a mask shows it (`terapose.pipeline.tissue`). The next slab is read meanwhile;
3. add the result to the sum of the earlier passes and write the new sum, slab by slab. Cellpose
   adds in the same order (YX, ZX, ZY), so the bits are the same.

Each pass reads the previous sum and writes a new array, never in place: a task that is killed
half-way can be repeated. The boxes of a pass are whole files in all axes, so the files of the old
sum that a box reads are read by no other one: its task drops them once its marker is there.

Components are dZ, dY, dX and the cell probability; the first pass has no dZ yet. Planes that are
segmented by themselves (modes 2d and stitch) have one pass and three components.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.normalize.merge_channels import merge
from terapose.algorithms.resize import resize, source_box
from terapose.core.devices import device_for
from terapose.core.errors import InputError
from terapose.core.geometry import AXES, Box, cut, zyx
from terapose.intermediates.flows import sums
from terapose.intermediates.normalizing.modes import mode_of
from terapose.io.store.store import Store
from terapose.networks.tile_grid import Rectangle
from terapose.networks.tiling import Layout, window
from terapose.pipeline.job import Job, Result
from terapose.pipeline.plan import Plan
from terapose.pipeline.state import Added
from terapose.pipeline.tissue import needed_tissue

if TYPE_CHECKING:
    from terapose.networks.base import Network

_ADDS = ((0, 1, 2), (0, 2, 3), (0, 1, 3))
"""Components of the sum to which a pass adds its three outputs; the first sum has no dZ."""


def prepare(plan: Plan, store: Store) -> None:
    """Make the three sums' arrays."""
    for number, axis in enumerate(plan.axes):
        components = 4 if number else 3
        shape, chunks = (components, *plan.network_shape), (components, *plan.slabs)
        packs = plan.sum_packs(number)
        store.create(sums(axis), shape, chunks, plan.flow_precision, packs=packs)


@lru_cache(maxsize=1)
def _network(paths: tuple[str, ...], device: str, precision: str) -> Network:
    """A loaded network."""
    from terapose.networks.loading import load_all

    return load_all([Path(path) for path in paths], device=device, precision=precision)


def read_input(job: Job, box: Box) -> NDArray[np.float32]:
    """The network's input in a box of that grid: (C, Z, Y, X) float32, normalised and resized."""
    planned = job.plan.image
    shape, grid = planned.shape, job.plan.network_shape
    needed = source_box(box, shape, grid)
    result = np.zeros((job.plan.model.channels, *box.shape), np.float32)
    how, mode = job.plan.intensity.merge, mode_of(job)
    scaled: Iterable[NDArray[np.float32]] = (
        mode.scaled(job, job.read_image(needed, channel), needed, n)
        for n, channel in enumerate(planned.channels)
    )
    if how != "none":
        scaled = [merge(scaled, how)]
    inputs = len(planned.channels) if how == "none" else 1
    for n, values in enumerate(scaled):
        result[n] = resize(values, box, shape, grid, inputs)
    if not np.isfinite(result).all():
        raise InputError(
            "scaled intensities are too large for 32-bit numbers",
            where=planned.address,
            got="voxels that are far beyond low and high",
            remedy="remove them, or give other percentiles or lowhigh",
        )
    return result


def _network_of(job: Job) -> Network:
    """The network of a task, on its device.

    Raises
    ------
    InputError
        It is not that of the plan.
    """
    on_gpu, files = job.params["use_gpu"], tuple(job.params["model_files"])
    device = device_for("cuda" if on_gpu else "cpu", job.turn)
    network = _network(files, device, job.plan.model.precision)
    if network.digest != job.plan.model.digest:
        raise InputError(
            "is not the network that the plan was made with",
            where=", ".join(files),
            got=f"SHA-256 {network.digest[:16]}...",
            allowed=f"{job.plan.model.digest[:16]}...",
            remedy="run again, so that the plan is made with this file",
        )
    if on_gpu and network.module.fitted != job.plan.digest:
        _fit(network, job.plan)
    return network


def _fit(network: Network, plan: Plan) -> None:
    """Find how many tiles at once a GPU has memory for: one number for all tasks of all passes."""
    from terapose.networks.on_device import fit

    # windows of one size are alike
    places = {
        (axis, _seen(plan, axis, item).shape): _region(plan, axis, box)
        for axis in range(len(plan.axes))
        for item, box in enumerate(plan.pass_grid(axis))
    }

    def held(place: tuple[tuple[int, int], Rectangle]) -> int:
        return math.prod(Layout.of(*place, plan.model.tile, **_how(plan)).extent)

    fit(network, *max(places.values(), key=held), **_how(plan))
    network.module.fitted = plan.digest


def tiles_at_once(job: Job) -> int:
    """How many tiles are run at once on a GPU, on which bits depend."""
    return _network_of(job).module.batch


def _how(plan: Plan) -> dict[str, Any]:
    """How planes are cut into tiles."""
    return {"overlap": plan.model.overlap, "augment": plan.model.augment}


def run(job: Job) -> dict[str, Any]:
    """Run one task of a pass."""
    axis, network = AXES.index(job.stage.removeprefix("gradients-")), _network_of(job)
    # made with the plan, and here again if they were lost
    prepare(job.plan, job.store)
    checksums = []
    ahead = _Ahead(job, partial(_planes, job, axis))
    for item in job.items:
        checksums.append(job.each(item, partial(_box, job, axis, item, network, ahead)))
        if axis and job.params["keep_intermediates"] != "all":
            # read by no other task, and the item's marker is in place
            job.store.drop_box(sums(AXES[axis - 1]), job.plan.pass_grid(axis)[item])
    return {"checksums": checksums}


class _Ahead:
    """Reads the planes of the next item while the network works on those of the one before."""

    def __init__(self, job: Job, read: Callable[[int], _Seen]) -> None:
        self._read = read
        self._job = job
        self._found: dict[int, Future[_Seen]] = {}
        self._reader = ThreadPoolExecutor(1)

    def get(self, item: int) -> _Seen:
        """Planes of an item; starts to read those of the next."""
        planes = self._found.pop(item, None) or self._reader.submit(self._read, item)
        following = item + 1
        if following in self._job.items and self._job.left(following) is None:
            self._found[following] = self._reader.submit(self._read, following)
        return planes.result()


def _region(plan: Plan, axis: int, box: Box) -> tuple[tuple[int, int], Rectangle]:
    """Shape of the planes of a pass, and where a box is in them."""
    first, second = (a for a in range(3) if a != axis)
    shape = (plan.network_shape[first], plan.network_shape[second])
    return shape, ((box.start[first], box.stop[first]), (box.start[second], box.stop[second]))


def _seen(plan: Plan, axis: int, item: int) -> Box:
    """The box of the network's grid that the network has to see for a box of the pass."""
    model = plan.model
    box = plan.pass_grid(axis)[item]
    shape, region = _region(plan, axis, box)
    seen = window(shape, region, tile=model.tile, overlap=model.overlap, augment=model.augment)
    start, stop = list(box.start), list(box.stop)
    for a, (low, high) in zip((a for a in range(3) if a != axis), seen, strict=True):
        start[a], stop[a] = low, high
    return Box(zyx(start), zyx(stop))


@dataclass(frozen=True)
class _Seen:
    """What the network has to see for a box, by plane.

    Attributes
    ----------
    planes
        (planes, C, a, b) float32.
    wanted
        (planes, a, b) bool: what has to be known; None: all of it.
    """

    planes: NDArray[np.float32]
    wanted: NDArray[np.bool_] | None


def _planes(job: Job, axis: int, item: int) -> _Seen:
    """Read what the network has to see for a box."""
    box = _seen(job.plan, axis, item)
    wanted = needed_tissue(job.plan, job.store, box)
    if wanted is None or wanted.any():
        values = read_input(job, box)
    else:
        values = np.zeros((job.plan.model.channels, *box.shape), np.float32)
    # (C, Z, Y, X) to (planes, C, a, b)
    planes = np.moveaxis(np.moveaxis(values, axis + 1, 1), 0, 1)
    return _Seen(planes, None if wanted is None else np.moveaxis(wanted, axis, 0))


def _box(job: Job, axis: int, item: int, network: Network, ahead: _Ahead) -> list[int]:
    """Do one slab, or one rectangle of it."""
    from terapose.networks.on_device import run_network

    plan = job.plan
    box = plan.pass_grid(axis)[item]
    shape, region = _region(plan, axis, box)
    seen = ahead.get(item)
    output = run_network(
        network,
        seen.planes,
        batch_size=job.params["batch_size"],
        wanted=seen.wanted,
        skip_empty=plan.model.skip_empty,
        shape=shape,
        region=region,
        **_how(plan),
    )
    # (planes, 3, a, b) to (3, Z, Y, X)
    output = np.moveaxis(np.moveaxis(output, 1, 0), 1, axis + 1)
    checksums = []
    # file by file, so that sums are added in little memory
    for place in cut(box, plan.sum_packs(axis)):
        part = output[(slice(None), *place.within(box))]
        total = np.zeros((4 if axis else 3, *place.shape), np.float32)
        if axis:
            before = job.store.read(sums(AXES[axis - 1]), place)
            total[4 - len(before) :] = before
            job.confirm(item)
        with np.errstate(over="ignore", invalid="ignore"):
            for component, values in zip(_ADDS[axis], part, strict=True):
                total[component] += values
            stored = total.astype(plan.flow_precision)
        _confirm_finite(stored, plan)
        checksums.append(job.store.write(sums(AXES[axis]), place, stored))
    return checksums


def _confirm_finite(stored: NDArray[Any], plan: Plan) -> None:
    """Refuse what a network gives whose weights are numbers, but too large ones.

    No point follows such flows, and no cell is found: it would look like an empty image.

    Raises
    ------
    InputError
        If a value is infinite or not a number.
    """
    if np.isfinite(stored).all():
        return
    low = stored.dtype == np.float16
    raise InputError(
        "the network's output is not finite",
        where=plan.model.name,
        got=f"values that are not numbers, or too large for {stored.dtype}",
        allowed="finite numbers",
        remedy=("give flow_precision float32; if that does not help, " if low else "")
        + "use another network, or train it again: its weights may be damaged",
    )


def gather(job: Job, results: list[Result]) -> Added:
    """Nothing is added: the sums are named by their passes."""
    return Added()
