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
from typing import TYPE_CHECKING, Any

from terapose.core.geometry import AXES, ZYX
from terapose.pipeline.estimate import travel
from terapose.pipeline.sizes import CONVERT_EDGE, CONVERT_PLANES, first_halo

if TYPE_CHECKING:
    from terapose.pipeline.plan import Plan

COPY = (CONVERT_PLANES, CONVERT_EDGE, CONVERT_EDGE)
"""Chunks (Z, Y, X) of the copy of an image that is converted."""
OF_TASK = 6
"""Requests of each kind that a task makes beside: for the plan, its state, marker and metadata."""
OF_IMAGE = 3
"""Requests for a chunk of an image."""


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


class Traffic:
    """What is read and written of the arrays of a plan: a method for each kind of stage.

    Parameters
    ----------
    plan
        The plan.
    params
        All parameters by name.
    image_chunk
        (Z, Y, X) of the image's chunks, if it is on an object store, too.
    """

    def __init__(
        self, plan: Plan, params: Mapping[str, Any], image_chunk: Sequence[int] | None
    ) -> None:
        # those who do not ask for this need not wait for numba
        from terapose.algorithms.objects.seeds import GROWTH, PEAK

        self.plan, self.params, self.image_chunk = plan, params, image_chunk
        self.far = travel(plan) + GROWTH + PEAK
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
        if not self.plan.is_combined(self.params):
            return self.own(margin)
        plan = self.plan
        return reads_of(plan.image.shape, plan.slabs, plan.block, self._margin(margin))

    def _image(
        self,
        block: Sequence[float],
        margin: Sequence[int],
        channels: int,
        shape: ZYX | None = None,
    ) -> int:
        """Requests for chunks of the image, or of the copy in the store, read by blocks.

        ``shape`` is that of what is read, where it is not what is segmented.
        """
        image = self.plan.image
        shape = shape or image.shape
        if image.convert:
            return channels * reads_of(shape, COPY, block, margin)
        if self.image_chunk is None:
            return 0
        return OF_IMAGE * channels * reads_of(shape, self.image_chunk, block, margin)

    def convert(self) -> Requests:
        """Of the copy of an image."""
        image = self.plan.image
        channels = len(image.all_channels)
        written = channels * chunks_of(image.whole, COPY)
        read = chunks_of(image.whole, self.image_chunk) if self.image_chunk else 0
        return Requests(written, OF_IMAGE * channels * read)

    def intensities(self) -> Requests:
        """Of the counts of intensities."""
        counting, channels = self.plan.counting, len(self.plan.image.channels)
        return Requests(0, self._image(counting.block, (0, 0, 0), channels, counting.shape))

    def network(self, number: int) -> Requests:
        """Of a pass of the network: its sum, the one before, and the image."""
        plan = self.plan
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
        if plan.is_combined(self.params):
            return Requests()
        block = [b * r for b, r in zip(plan.block, self.ratio, strict=True)]
        read = reads_of(plan.network_shape, plan.slabs, block, self._margin(1))
        return Requests(self.blocks, read)

    def follow(self) -> Requests:
        """Of the displacements, and the flows around blocks."""
        return Requests(self.blocks, self.flows(first_halo(self.plan.diameter.pixels)))

    def peaks(self) -> Requests:
        """Of the end points in each voxel, and the displacements."""
        return Requests(self.blocks, self.own(self.far))

    def masks(self) -> Requests:
        """Of the labels, and the displacements, end points and flows that they are made of."""
        read = self.own(self.far) + self.own(2 * self.far) + self.flows(self.far)
        return Requests(self.blocks, read)

    def objects(self) -> Requests:
        """Of the labels and flows of whole objects."""
        return Requests(0, self.own(self.far) + self.flows(self.far))

    def neighbours(self) -> Requests:
        """Of the labels of blocks, and of the planes beside them."""
        return Requests(0, self.own(1))

    def processed(self) -> Requests:
        """Of the numbers of processed cells, and the labels and channels that they are made of."""
        plan, margin = self.plan, self._margin(self.far)
        image = self._image(plan.block, margin, len(plan.image.channels))
        return Requests(self.blocks, self.own(self.far) + image)

    def pairs(self) -> Requests:
        """Of the labels of blocks, and as many of the second network."""
        return Requests(0, 2 * self.own(0))

    def outlines(self) -> Requests:
        """Of the labels of whole cells."""
        return Requests(0, self.own(self.far))

    def export(self) -> Requests:
        """Of the label image, on all levels, and the labels that it is made of."""
        from terapose.io.labels.ome_zarr import file_edges, level_shape  # brings zarr

        plan, output = self.plan, self.output
        written = 0
        for factor in output.factors:
            _, files = file_edges(output.shape, factor, output.chunks, output.shards)
            written += chunks_of(level_shape(output.shape, factor), files)
        sizes = zip(output.chunks, plan.image.shape, output.shape, strict=True)
        per = [chunk * here / there for chunk, here, there in sizes]
        return Requests(written, reads_of(plan.image.shape, plan.chunk, per, (0, 0, 0)))

    def measure(self) -> Requests:
        """Of the labels, and of the channels that are measured."""
        from terapose.io.images.channels import measured_channels  # brings the readers of images

        names = self.plan.image.channel_names
        channels = len(measured_channels(names, self.params["measure"]))
        margin = self._margin(self.far)
        return Requests(0, self.own(self.far) + self._image(self.plan.block, margin, channels))


Asked = Callable[[Traffic], Requests]
"""Requests of all tasks of a stage for chunks."""


def of_pass(axis: str) -> Asked:
    """Requests of a pass of the network."""
    return lambda traffic: traffic.network(AXES.index(axis))
