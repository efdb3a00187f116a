"""The plan: everything that shapes the store and the network's work, fixed before it starts.

A plan is made once from the opened image, the network's file and the parameters of the plan
stage. It says on which grid the network works, how that is cut into slabs and blocks, which
task does which of them, and what they will need. Its digest names the store: a changed input
never meets stale chunks. Thresholds and filters are no part of it.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path

from pydantic import BaseModel, ConfigDict

import terapose
from terapose.errors import InputError
from terapose.geometry import ZYX, Box, Grid, slab

AXES = ("yx", "zx", "zy")
"""Orientation of the network's passes, in Cellpose's order; pass ``i`` runs across axis ``i``."""

SCATTERED = (
    "convert",
    "intensities",
    *(f"gradients-{axis}" for axis in AXES),
    "combine",
    "follow",
    "peaks",
    "masks",
    "export",
)
"""Stages whose work is split into tasks, in the order of the data's way."""


@cache
def package_digest() -> str:
    """SHA-256 of the package's source: edited code must not meet results of the old one."""
    digest = hashlib.sha256()
    root = Path(__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def key_of(*parts: object) -> str:
    """Short digest of anything that JSON can hold."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class ImagePlan(BaseModel):
    """What is segmented. Shapes are (Z, Y, X), the voxel size is in micrometres."""

    model_config = ConfigDict(frozen=True)

    address: str
    identity: str
    format: str
    level: int
    channels: tuple[int, ...]
    channel_names: tuple[str, ...]
    shape: ZYX
    dtype: str
    voxel_size: tuple[float, float, float] | None
    convert: bool


class ModelPlan(BaseModel):
    """Which network runs."""

    model_config = ConfigDict(frozen=True)

    name: str
    digest: str
    family: str
    licence: str | None
    channels: int
    tile: int
    diam_mean: float
    precision: str
    overlap: float


class IntensityPlan(BaseModel):
    """How intensities become the network's input."""

    model_config = ConfigDict(frozen=True)

    mode: str
    percentiles: tuple[float, float]
    sampling: str
    lowhigh: tuple[float, float] | None
    invert: bool
    foreground_min: float | None
    windows: tuple[tuple[int, ...], ...]


class OutputPlan(BaseModel):
    """How the labels are stored."""

    model_config = ConfigDict(frozen=True)

    version: str
    chunks: ZYX
    factors: tuple[ZYX, ...]
    region: ZYX


class Projection(BaseModel):
    """What a stage is expected to need: bytes of memory a task, and bytes of the store."""

    model_config = ConfigDict(frozen=True)

    memory: dict[str, int]
    store: int


class Plan(BaseModel):
    """The plan of one image."""

    model_config = ConfigDict(frozen=True)

    version: str
    package: str
    image: ImagePlan
    model: ModelPlan
    intensity: IntensityPlan
    output: OutputPlan
    network_shape: ZYX
    rescale: float
    anisotropy: float
    block: ZYX
    slabs: ZYX
    tasks: dict[str, tuple[tuple[int, int], ...]]
    projection: Projection

    @cached_property
    def digest(self) -> str:
        """Name of the store."""
        return key_of(self.model_dump(mode="json", exclude={"projection"}))

    @property
    def grid(self) -> Grid:
        """Blocks of the image."""
        return Grid(self.image.shape, self.block)

    @property
    def regions(self) -> Grid:
        """Export regions: whole chunks of several pyramid levels, whatever the blocks are."""
        return Grid(self.image.shape, self.output.region)

    @property
    def resized(self) -> bool:
        """Whether the network works on another grid than the image's."""
        return self.network_shape != self.image.shape

    def slab(self, axis: int, number: int) -> Box:
        """Slab of a pass of the network, on the network's grid."""
        return slab(self.network_shape, axis, self.slabs[axis], number)

    def items(self, stage: str) -> int:
        """Number of blocks, slabs or regions of a scattered stage."""
        return items(self, stage)

    def batch(self, stage: str, task: int) -> range:
        """Items of one task."""
        first, stop = self.tasks[stage][task]
        return range(first, stop)

    @property
    def default_niter(self) -> int:
        """Steps along the flows, as Cellpose sets them for its 30 px networks."""
        return int(200 / self.rescale)

    def dump(self) -> str:
        """The plan as JSON."""
        return self.model_dump_json(indent=1)

    def tasks_csv(self, stage: str) -> str:
        """One line a task, as the workflow reads it."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["task", "first", "stop"])
        writer.writerows((n, a, b) for n, (a, b) in enumerate(self.tasks[stage]))
        return text.getvalue()


def load(path: str | Path) -> Plan:
    """Read a plan.

    Raises
    ------
    terapose.errors.InputError
        If it was made by other code: results of both would mix.
    """
    plan = Plan.model_validate_json(Path(path).read_text())
    if plan.package != package_digest():
        raise InputError(
            "was made by other code than is running now",
            where=path,
            got=f"terapose {plan.version} ({plan.package[:12]})",
            allowed=f"{terapose.__version__} ({package_digest()[:12]})",
            remedy="run the plan stage again",
        )
    return plan


def items(plan: Plan, stage: str) -> int:
    """Number of blocks, slabs or regions that a scattered stage works on."""
    if stage == "convert":
        return math.ceil(plan.image.shape[0] / CONVERT_PLANES) if plan.image.convert else 0
    if stage.startswith("gradients-"):
        axis = AXES.index(stage.removeprefix("gradients-"))
        return math.ceil(plan.network_shape[axis] / plan.slabs[axis])
    return len(plan.regions) if stage == "export" else len(plan.grid)


CONVERT_PLANES = 16
"""Planes of a converted image that one item writes, and edge of its chunks along Z."""


def network_shape(shape: ZYX, rescale: float, anisotropy: float) -> ZYX:
    """Shape of the grid on which the network works (`CellposeModel._run_net`)."""
    z, y, x = shape
    if rescale == 1.0 and anisotropy == 1.0:
        return shape
    return (int(z * anisotropy * rescale), int(y * rescale), int(x * rescale))


def choose_slabs(shape: ZYX, planes: int | None) -> ZYX:
    """Planes of a slab along each axis.

    A slab is at once the edge of the chunks that two passes share. Thin slabs keep little in
    flight (a pass writes a new sum while the old one still stands: about an eleventh of it here),
    thick ones make fewer files. Its result, four float32 values a voxel, stays below 2 GiB.
    """
    if planes is not None:
        z, y, x = (min(planes, n) for n in shape)
        return (z, y, x)
    chosen = []
    for axis, length in enumerate(shape):
        plane = math.prod(shape) // length
        fits = max(1, 2**31 // (plane * 16))
        chosen.append(min(max(math.ceil(length / 11), 8), 64, fits, length, _axis_limit(axis)))
    return (chosen[0], chosen[1], chosen[2])


def _axis_limit(axis: int) -> int:
    """Chunks are at most 32 deep along Z, of which there is often little."""
    return 32 if axis == 0 else 64


def choose_block(shape: ZYX, block: Sequence[int] | None) -> ZYX:
    """Shape of a block: as given, else 256 voxels or less so that small images give some."""
    if block is not None:
        z, y, x = (min(b, n) for b, n in zip(block, shape, strict=True))
        return (z, y, x)
    z, y, x = (min(256, max(64, math.ceil(n / 2))) for n in shape)
    return (min(z, shape[0]), min(y, shape[1]), min(x, shape[2]))
