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
from terapose.geometry import ZYX, Box, Grid, zyx

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
    "errors",
    "overlaps",
    "voids",
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
    lowhigh: tuple[float, ...] | None
    invert: bool
    foreground_min: float | None
    tile: int
    windows: tuple[tuple[int, ...], ...]


class OutputPlan(BaseModel):
    """How the labels are stored: in ``dimensions`` (2 for a single plane) of Z, Y, X."""

    model_config = ConfigDict(frozen=True)

    version: str
    dimensions: int
    chunks: ZYX
    factors: tuple[ZYX, ...]
    region: ZYX


class Projection(BaseModel):
    """What a stage is expected to need: bytes of memory a task, and bytes of the store."""

    model_config = ConfigDict(frozen=True)

    memory: dict[str, int]
    store: int


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
    """

    model_config = ConfigDict(frozen=True)

    version: str
    package: str
    mode: str
    image: ImagePlan
    model: ModelPlan
    intensity: IntensityPlan
    output: OutputPlan
    network_shape: ZYX
    rescale: float
    anisotropy: float
    block: ZYX
    slabs: ZYX
    passes: tuple[ZYX, ...]
    flow_precision: str
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
    def chunk(self) -> ZYX:
        """Chunks of arrays that are written by blocks: an even part of a block.

        Neighbours read thin margins of them, so they are smaller than blocks.
        """
        most = FLAT_CHUNK if self.flat else CHUNK
        return zyx(n // k if n % (k := math.ceil(n / most)) == 0 else n for n in self.block)

    def around(self, box: Box, margin: int) -> Box:
        """A box of the image and a margin; in the plane alone where planes stand by themselves."""
        return box.grow((0 if self.flat else margin, margin, margin)).clip(self.image.shape)

    def pass_grid(self, axis: int) -> Grid:
        """The boxes of a pass of the network, on the network's grid."""
        return Grid(self.network_shape, self.passes[axis])

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
        return len(plan.pass_grid(axis)) if axis < len(plan.passes) else 0
    if stage == "intensities" and plan.intensity.mode == "plane":
        return math.ceil(plan.image.shape[0] / STATISTICS_PLANES)
    if stage in ("overlaps", "voids") and plan.mode != "stitch":
        return 0
    return len(plan.regions) if stage == "export" else len(plan.grid)


def flow_threshold(mode: str, given: float | None) -> float:
    """Largest error of flows: as given, else Cellpose's 0.4 for planes; 0 is off."""
    return given if given is not None else 0.0 if mode == "3d" else 0.4


CONVERT_PLANES = 16
"""Planes of a converted image that one item writes, and edge of its chunks along Z."""
STATISTICS_PLANES = 8
"""Planes of which an item of ``intensities`` finds the percentiles, with normalize plane."""
CHUNK = 128
FLAT_CHUNK = 512
"""Largest edge of the chunks of arrays that are written by blocks, of volumes and of planes."""
MOST_RECTANGLE = 8192
"""Longest edge of a plane that is given to the network as a whole."""


def network_shape(shape: ZYX, rescale: float, anisotropy: float, *, flat: bool = False) -> ZYX:
    """Shape of the grid on which the network works (`CellposeModel._run_net`)."""
    z, y, x = shape
    if rescale == 1.0 and (flat or anisotropy == 1.0):
        return shape
    depth = z if flat else int(z * anisotropy * rescale)
    return (depth, int(y * rescale), int(x * rescale))


def choose_passes(shape: ZYX, slabs: ZYX, count: int, rectangle: int | None) -> tuple[ZYX, ...]:
    """Shape of the boxes of each pass: a slab of planes, whole or cut into rectangles of chunks."""
    edge = rectangle or MOST_RECTANGLE
    # whole chunks, so that no other box of the pass reads what this one drops
    whole = [
        n if n <= edge else min(n, c * max(1, edge // c)) for n, c in zip(shape, slabs, strict=True)
    ]
    return tuple(
        zyx(slabs[i] if i == axis else whole[i] for i in range(3)) for axis in range(count)
    )


def choose_flat_slabs(shape: ZYX, planes: int | None) -> ZYX:
    """Chunks of the network's result on planes: some planes, in squares."""
    z, y, x = shape
    rectangle = min(y, MOST_RECTANGLE) * min(x, MOST_RECTANGLE)
    fits = max(1, 2**30 // (rectangle * 12))
    return (min(planes or min(32, fits), z), min(FLAT_CHUNK, y), min(FLAT_CHUNK, x))


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


def choose_block(shape: ZYX, block: Sequence[int] | None, *, flat: bool = False) -> ZYX:
    """Shape of a block: as given, else 256 voxels or less so that small images give some.

    Blocks of planes are 1024 pixels wide or less, and as many planes as make 8 million pixels.
    """
    if block is not None:
        return zyx(min(b, n) for b, n in zip(block, shape, strict=True))
    if flat:
        y, x = (min(1024, max(64, math.ceil(n / 2)), n) for n in shape[1:])
        return (min(shape[0], max(1, 2**23 // (y * x))), y, x)
    z, y, x = (min(256, max(64, math.ceil(n / 2))) for n in shape)
    return (min(z, shape[0]), min(y, shape[1]), min(x, shape[2]))
