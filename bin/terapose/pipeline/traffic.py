"""How many requests a run makes to an object store that holds its image, store and results.

Each chunk is one request when it is written and one whenever it is read; for a chunk of an image
the entity tag is asked for before and after (docs/cloud.md). What stages read follows from their
blocks and the margin around these, as in `terapose.pipeline.estimate`: how far points travel is an
estimate, and so are the requests for it. Chunks that are written are counted exactly, other than
those of the label image, of which empty ones are left out.

Not counted are tables, whose number depends on the cells, and requests to remove what nobody needs
any more, which are free.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from terapose.core.geometry import AXES
from terapose.io.images.channels import measured_channels
from terapose.io.labels.ome_zarr import level_shape
from terapose.pipeline.estimate import travel
from terapose.pipeline.plan import Plan
from terapose.pipeline.sizes import CONVERT_PLANES

COPY = (CONVERT_PLANES, 64, 64)
"""Chunks (Z, Y, X) of the copy of an image that is converted."""
OF_TASK = 6
"""Requests of each kind that a task makes beside: for the plan, its state, marker and metadata."""
OF_IMAGE = 3
"""Requests for a chunk of an image."""
MARGIN = 24
"""Voxels that ``follow`` reads around a block, where that suffices."""
CLOSE = 7
"""Voxels around those that points reach: windows in which seeds are found and grow."""


@dataclass(frozen=True)
class Requests:
    """Requests that write, and that read."""

    puts: int = 0
    gets: int = 0

    def __add__(self, other: Requests) -> Requests:
        return Requests(self.puts + other.puts, self.gets + other.gets)


def chunks_of(shape: Sequence[int], chunk: Sequence[int]) -> int:
    """Number of chunks of an array."""
    return math.prod(math.ceil(n / c) for n, c in zip(shape, chunk, strict=True))


def reads_of(
    shape: Sequence[int], chunk: Sequence[int], block: Sequence[float], margin: Sequence[int]
) -> int:
    """Chunks that are read where all blocks of an array are, each with a margin.

    Parameters
    ----------
    shape, chunk
        (Z, Y, X) of the array and its chunks.
    block
        (Z, Y, X) of the blocks, in voxels of the array; those of another grid are no whole numbers.
    margin
        (Z, Y, X) on both sides.
    """
    return math.prod(map(_along, shape, chunk, block, margin))


def _along(length: int, chunk: int, block: float, margin: int) -> int:
    """The same along one axis."""
    count = 0
    for number in range(math.ceil(length / block - 1e-9)):
        first = max(0, math.floor(number * block + 1e-9) - margin)
        stop = min(length, math.ceil((number + 1) * block - 1e-9) + margin)
        count += math.ceil(stop / chunk) - first // chunk
    return count


def requests_of(
    plan: Plan, params: Mapping[str, Any], image_chunk: Sequence[int] | None
) -> dict[str, Requests]:
    """Requests of each stage that works on arrays, by its name, for all its tasks.

    Parameters
    ----------
    plan
        The plan.
    params
        All parameters by name.
    image_chunk
        (Z, Y, X) of the image's chunks, if it is on an object store, too.
    """
    model = _Traffic(plan, params, image_chunk)
    stages: dict[str, Callable[[], Requests]] = {
        "convert": model.convert,
        "intensities": model.intensities,
        "combine": model.combine,
        "follow": lambda: Requests(model.blocks, model.flows(MARGIN)),
        "peaks": lambda: Requests(model.blocks, model.own(model.far)),
        "masks": lambda: Requests(
            model.blocks, model.own(model.far) + model.own(2 * model.far) + model.flows(model.far)
        ),
        "flow_errors": lambda: Requests(0, model.own(model.far) + model.flows(model.far)),
        "overlaps": lambda: Requests(0, model.own(1)),
        "cell_holes": lambda: Requests(0, model.own(model.far) + model.flows(model.far)),
        # and as many of the labels of the second network
        "cell_overlaps": lambda: Requests(0, 2 * model.own(0)),
        "export": model.export,
        "measure": model.measure,
        "outlines": lambda: Requests(0, model.own(model.far)),
        **{f"gradients-{axis}": partial(model.network, axis) for axis in AXES},
    }
    return {
        name: stages[name]() + Requests(*2 * [OF_TASK * len(tasks)])
        for name, tasks in plan.tasks.items()
        if tasks
    }


def is_identity(plan: Plan, params: Mapping[str, Any]) -> bool:
    """Whether **combine** has nothing to do: the sum of the network is what later stages read."""
    scales = params["flow_scaling"] == "anisotropy" and not plan.flat and plan.anisotropy > 1
    return not (plan.resized or scales or any(params["flow3d_smooth"]))


class _Traffic:
    """What is read and written of the arrays of a plan."""

    def __init__(
        self, plan: Plan, params: Mapping[str, Any], image_chunk: Sequence[int] | None
    ) -> None:
        self.plan, self.params, self.image_chunk = plan, params, image_chunk
        self.far = travel(plan) + CLOSE
        self.blocks = chunks_of(plan.image.shape, plan.chunk)
        self.ratio = [n / i for n, i in zip(plan.network_shape, plan.image.shape, strict=True)]
        self.output = plan.result(params["upscale"])

    def _margin(self, width: int) -> tuple[int, int, int]:
        """A margin around a block: planes by themselves have none along Z."""
        return (0 if self.plan.flat else width, width, width)

    def own(self, margin: int) -> int:
        """Chunks of an array that is written by blocks, read by blocks."""
        plan = self.plan
        return reads_of(plan.image.shape, plan.chunk, plan.block, self._margin(margin))

    def flows(self, margin: int) -> int:
        """Chunks of the flows, read by blocks."""
        if not is_identity(self.plan, self.params):
            return self.own(margin)
        plan = self.plan
        return reads_of(plan.image.shape, plan.slabs, plan.block, self._margin(margin))

    def _image(self, block: Sequence[float], margin: Sequence[int], channels: int) -> int:
        """Requests for chunks of the image, or of the copy in the store, read by blocks."""
        plan = self.plan
        if plan.image.convert:
            return channels * reads_of(plan.image.shape, COPY, block, margin)
        if self.image_chunk is None:
            return 0
        return OF_IMAGE * channels * reads_of(plan.image.shape, self.image_chunk, block, margin)

    def convert(self) -> Requests:
        """Of the copy of an image."""
        image = self.plan.image
        written = len(image.channels) * chunks_of(image.whole, COPY)
        read = chunks_of(image.whole, self.image_chunk) if self.image_chunk else 0
        return Requests(written, OF_IMAGE * len(image.channels) * read)

    def intensities(self) -> Requests:
        """Of the counts of intensities."""
        return Requests(0, self._image(self.plan.block, (0, 0, 0), len(self.plan.image.channels)))

    def network(self, axis: str) -> Requests:
        """Of a pass of the network: its sum, the one before, and the image."""
        plan, number = self.plan, AXES.index(axis)
        sums = chunks_of(plan.network_shape, plan.slabs)
        box = [n / r for n, r in zip(plan.passes[number], self.ratio, strict=True)]
        tile = [0 if n == number else plan.model.tile for n in range(3)]
        margin = [math.ceil(t / r) for t, r in zip(tile, self.ratio, strict=True)]
        return Requests(
            sums, sums * bool(number) + self._image(box, margin, len(plan.image.channels))
        )

    def combine(self) -> Requests:
        """Of the flows on the grid of the image."""
        plan = self.plan
        if is_identity(plan, self.params):
            return Requests()
        block = [b * r for b, r in zip(plan.block, self.ratio, strict=True)]
        read = reads_of(plan.network_shape, plan.slabs, block, self._margin(1))
        return Requests(self.blocks, read)

    def export(self) -> Requests:
        """Of the label image, on all levels, and the labels that it is made of."""
        plan, output = self.plan, self.output
        levels = (level_shape(output.shape, factor) for factor in output.factors)
        written = sum(chunks_of(shape, output.chunks) for shape in levels)
        sizes = zip(output.chunks, plan.image.shape, output.shape, strict=True)
        per = [chunk * here / there for chunk, here, there in sizes]
        return Requests(written, reads_of(plan.image.shape, plan.chunk, per, (0, 0, 0)))

    def measure(self) -> Requests:
        """Of the labels, and of the channels that are measured."""
        names = self.plan.image.channel_names
        channels = len(measured_channels(names, self.params["measure"]))
        margin = self._margin(self.far)
        return Requests(0, self.own(self.far) + self._image(self.plan.block, margin, channels))
