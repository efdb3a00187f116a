"""The plan: everything that shapes the store and the network's work, fixed before it starts.

A plan is made once from the opened image, the network's file and the parameters of the plan
stage. It says on which grid the network works, how that is cut into slabs and blocks, which
task does which of them, and what they will need. Its digest names the store: a changed input
never meets stale chunks. Thresholds and filters are no part of it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from terapose.core.errors import InputError, StoreError
from terapose.core.geometry import AXES, ZYX, Box, Grid, batches, zyx
from terapose.core.levels import Cover
from terapose.core.selection import Selection
from terapose.io.checksums import read_sealed, sealed
from terapose.io.store.arrays import Packs
from terapose.io.store.store import Store
from terapose.pipeline.graph import PLAN, STAGES
from terapose.pipeline.image_plan import ImagePlan
from terapose.pipeline.intensity_plan import IntensityPlan
from terapose.pipeline.packs import choose_packs
from terapose.pipeline.sizes import CHUNK, CONVERT_PLANES, COUNTED, FLAT_CHUNK, STATISTICS_PLANES

log = logging.getLogger(__name__)

Tasks = dict[str, tuple[tuple[int, int], ...]]
"""First item of each task of a stage, and the one after its last, by the name of the stage."""
KEPT = "plan.json"
"""Name of the plan in the store."""


def key_of(*parts: object) -> str:
    """Short digest of anything that JSON can hold."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class MemberPlan(BaseModel):
    """One of several networks whose outputs are averaged."""

    model_config = ConfigDict(frozen=True)

    name: str
    digest: str
    licence: str | None


class ModelPlan(BaseModel):
    """Which network runs; ``members``: those of an ensemble, ``size``: bytes of all weights."""

    model_config = ConfigDict(frozen=True)

    name: str
    digest: str
    family: str
    licence: str | None
    members: tuple[MemberPlan, ...]
    size: int
    channels: int
    tile: int
    diam_mean: float
    precision: str
    device: str
    overlap: float
    augment: bool
    skip_empty: float | None


class DiameterPlan(BaseModel):
    """The diameter of cells that the network's grid is made for.

    Attributes
    ----------
    pixels
        In pixels of Y and X of the level that is segmented.
    origin
        Whether it was given, was found in the image (`terapose.pipeline.sized`), or is that of the
        network.
    note
        How it was found, or why it was not; "" if nothing was looked for.
    """

    model_config = ConfigDict(frozen=True)

    pixels: float
    origin: Literal["given", "found", "network"]
    note: str = ""

    @property
    def text(self) -> str:
        """For a person, in one line."""
        origins = {"given": "", "found": ", found in the image", "network": ", as of the network"}
        about = f": {self.note}" if self.note else ""
        return f"{self.pixels:g} pixels{origins[self.origin]}{about}"


class OutputPlan(BaseModel):
    """The label image: its grid, where that is, and how it is stored.

    Attributes
    ----------
    selection
        Of the image whose voxels are those of the label image.
    level
        Level of that image.
    whole, offset
        (Z, Y, X) of all of that level, and where the label image begins in it.
    shape
        (Z, Y, X); it is stored in ``dimensions`` of these (2 for a single plane).
    voxel_size
        (z, y, x) in micrometres, if known.
    voxels
        (z, y, x) in voxels of level 0.
    translation
        As of `ImagePlan`.
    chunks, shards
        (Z, Y, X) of a chunk, and how many of them share a file.
    """

    model_config = ConfigDict(frozen=True)

    selection: Selection
    level: int
    whole: ZYX
    offset: ZYX
    shape: ZYX
    voxel_size: tuple[float, float, float] | None
    voxels: tuple[float, float, float]
    translation: tuple[float, float, float]
    version: str
    dimensions: int
    chunks: ZYX
    shards: ZYX
    factors: tuple[ZYX, ...]
    region: ZYX

    @property
    def regions(self) -> Grid:
        """Export regions: whole chunks of several pyramid levels, whatever the blocks are."""
        return Grid(self.shape, self.region)


class Plan(BaseModel):
    """The plan of one image.

    Attributes
    ----------
    mode
        "3d", "2d" (cells of planes) or "stitch" (cells of planes, joined along Z).
    block
        Shape of the blocks of the image.
    slabs
        Edges of the chunks of the network's sums, on its grid.
    passes
        For each pass of the network, the shape of the boxes it works on: slabs of whole planes, or
        rectangles of them; whole chunks.
    flow_precision
        Storage of flows.
    output
        The label image on the level that is segmented.
    full, cover
        The label image on level 0, and the voxels of it that the level's cover; None where
        level 0 is segmented. Which label image is written is decided later (``upscale``).
    """

    model_config = ConfigDict(frozen=True)

    code: str
    mode: str
    image: ImagePlan
    model: ModelPlan
    diameter: DiameterPlan
    intensity: IntensityPlan
    output: OutputPlan
    full: OutputPlan | None
    cover: Cover | None
    network_shape: ZYX
    rescale: float
    anisotropy: float
    block: ZYX
    slabs: ZYX
    passes: tuple[ZYX, ...]
    flow_precision: str
    tasks: Tasks

    @cached_property
    def digest(self) -> str:
        """Name of the store."""
        return key_of(self.model_dump(mode="json"))

    @property
    def grid(self) -> Grid:
        """Blocks of the image."""
        return Grid(self.image.shape, self.block)

    @property
    def counted(self) -> Box:
        """The part of the whole image whose intensities are measured, whatever is segmented."""
        whole, (first, *_) = Box.whole(self.image.whole), self.image.offset
        measures = self.intensity.measures
        if not measures:
            return Box.whole(self.image.shape).moved(self.image.offset)
        if measures == "planes" or (measures == "tiles" and self.mode == "2d"):
            _, height, width = whole.shape
            return Box((first, 0, 0), (first + self.image.shape[0], height, width))
        return whole

    @property
    def counting(self) -> Grid:
        """Blocks of what is measured: those of a small region would be as many as it is small."""
        shape, block = self.counted.shape, self.block
        if shape != self.image.shape:
            least = COUNTED[self.flat]
            block = zyx(max(b, min(n, m)) for b, n, m in zip(block, shape, least, strict=True))
        return Grid(shape, block)

    def counted_block(self, item: int) -> Box:
        """A block of what is measured, in voxels of the whole image."""
        return self.counting[item].moved(self.counted.start)

    @property
    def is_small(self) -> bool:
        """Whether no stage has several tasks, so that one task can do all of them."""
        return all(len(tasks) < 2 for tasks in self.tasks.values())

    @property
    def resized(self) -> bool:
        """Whether the network works on another grid than the image's."""
        return self.network_shape != self.image.shape

    @property
    def flat(self) -> bool:
        """Whether planes are segmented by themselves."""
        return self.mode != "3d"

    @property
    def axes(self) -> tuple[str, ...]:
        """Orientations of the network's passes."""
        return AXES[: len(self.passes)]

    @property
    def components(self) -> int:
        """Flows and cell probability: dY, dX, p of planes, dZ, dY, dX, p of a volume."""
        return 3 if self.flat else 4

    @property
    def flow_itemsize(self) -> int:
        """Bytes of a number of the flows."""
        return np.dtype(self.flow_precision).itemsize

    @property
    def chunk(self) -> ZYX:
        """Chunks of arrays that are written by blocks: an even part of a block.

        Neighbours read thin margins of them, so they are smaller than blocks.
        """
        most = FLAT_CHUNK if self.flat else CHUNK
        return zyx(n // k if n % (k := math.ceil(n / most)) == 0 else n for n in self.block)

    def divisor(self, params: Mapping[str, Any]) -> np.float32:
        """What **combine** divides flows along Z by; planes by themselves have none."""
        scaled = params["flow_scaling"] == "anisotropy" and not self.flat
        return np.float32(max(1, self.anisotropy) if scaled else 1)

    def is_combined(self, params: Mapping[str, Any]) -> bool:
        """Whether the sum of the passes is already what **combine** would make of it."""
        smoothed = any(params["flow3d_smooth"])
        return not (self.resized or self.divisor(params) != 1 or smoothed)

    def around(self, box: Box, margin: int) -> Box:
        """A box of the image and a margin; in the plane alone where planes are independent."""
        return box.grow((0 if self.flat else margin, margin, margin)).clip(self.image.shape)

    def sum_packs(self, axis: int) -> Packs:
        """Which chunks of the sum of a pass of the network share a file.

        They are written by one box of the pass, and read and dropped by one of the next, or by a
        block.
        """
        z, y, x = self.block
        a, b, c = (n / m for n, m in zip(self.network_shape, self.image.shape, strict=True))
        block = (int(z * a), int(y * b), int(x * c))
        reader = self.passes[axis + 1] if axis + 1 < len(self.passes) else block
        itemsize = self.components * self.flow_itemsize
        shape, chunk = self.network_shape, self.slabs
        return choose_packs(shape, chunk, itemsize, self.passes[axis], reader)

    def block_packs(self, itemsize: int) -> Packs:
        """Which chunks of an array that blocks write share a file; bytes of a voxel."""
        return choose_packs(self.image.shape, self.chunk, itemsize, self.block)

    def pass_grid(self, axis: int) -> Grid:
        """The boxes of a pass of the network, on the network's grid."""
        return Grid(self.network_shape, self.passes[axis])

    def result(self, upscale: bool) -> OutputPlan:
        """The label image that is written: brought to level 0 or not."""
        return self.full if upscale and self.full is not None else self.output

    def items(self, stage: str, upscale: bool = False) -> int:
        """Number of blocks, slabs or regions of a scattered stage."""
        if STAGES[stage].over == "regions":
            return len(self.result(upscale).regions)
        return items(self, stage)

    def batch(self, stage: str, task: int, upscale: bool = False) -> range:
        """Items of one task; level 0 has more regions for each, but no more tasks."""
        edges = self.tasks[stage]
        if STAGES[stage].over == "regions" and upscale and self.full is not None:
            edges = tuple(batches(len(self.full.regions), len(edges)))
        return range(*edges[task])

    @property
    def default_niter(self) -> int:
        """Steps along the flows, as Cellpose sets them for its 30 px networks."""
        return int(200 / self.rescale)

    def dump(self) -> str:
        """The plan as JSON, with a checksum."""
        return json.dumps(sealed(self.model_dump(mode="json")), indent=1)


def load(path: str | Path, store: Store | None = None) -> Plan:
    """Read a plan.

    Parameters
    ----------
    path
        The file.
    store
        Holds the same plan, which is taken where the file is damaged.

    Raises
    ------
    terapose.core.errors.InputError
        If it was made by other code: results of both would mix; or if it is damaged.
    """
    remedy = "run again (the workflow without -resume) to make the plan again"
    try:
        document = read_sealed(Path(path), remedy=remedy)
    except StoreError:
        if store is None or (kept := store.of("").find_json(KEPT)) is None:
            raise
        log.warning("%s is damaged: the store's copy of it is used", path)
        document = kept
    plan = Plan.model_validate(document)
    if plan.code != PLAN.code:
        raise InputError(
            "was made by another version of the code",
            where=path,
            got=plan.code,
            allowed=PLAN.code,
            remedy="run again (the workflow with -resume)",
        )
    return plan


def items(plan: Plan, stage: str) -> int:
    """Number of blocks, slabs or regions that a scattered stage works on."""
    described = STAGES[stage]
    if plan.mode not in described.modes:
        return 0
    if described.over == "planes":
        return math.ceil(plan.image.whole[0] / CONVERT_PLANES) if plan.image.convert else 0
    if described.over == "slabs":
        axis = AXES.index(described.axis)
        return len(plan.pass_grid(axis)) if axis < len(plan.passes) else 0
    if described.over == "counted" and plan.intensity.measures == "planes":
        return math.ceil(plan.image.shape[0] / STATISTICS_PLANES)
    if described.over == "counted":
        return len(plan.counting)
    return len(plan.output.regions if described.over == "regions" else plan.grid)
