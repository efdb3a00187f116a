"""Make a plan: from the image, the network and the parameters to the geometry of the work.

1. the image at its level, its channels and voxel size, and whether it is a volume or planes;
2. the network's grid: 1 voxel of it is ``diameter / diam_mean`` image pixels, and Z is stretched
   by the anisotropy (default: the Z step over the pixel size), but not in modes 2d and stitch;
3. slabs for the network's passes (planes too large for one task are cut into rectangles), blocks
   for everything else, smaller where a task would take more than ``max_memory``
   (`terapose.pipeline.fitting`), regions for the output, and their division into tasks: at most
   ``max_tasks`` a stage, if that is given;
4. for images whose values are too many to count one by one: in which bins percentiles are,
   estimated from a sample. A wrong estimate costs time later, never exactness.

What that needs in memory and on disk follows from the plan (`terapose.pipeline.estimate`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from terapose.algorithms.normalize.histogram import Histogram, WindowMissedError
from terapose.algorithms.normalize.precision import check_held
from terapose.core.errors import InputError
from terapose.core.geometry import AXES, ZYX, Box, Grid, batches, zyx
from terapose.core.normalizing import NORMALIZATIONS
from terapose.core.params import Parameters
from terapose.io.images.channels import channel_numbers
from terapose.io.images.model import Image
from terapose.io.labels.ome_zarr import (
    CHUNKS,
    FLAT_CHUNKS,
    FLAT_SHARDS,
    REGION_FACTOR,
    SHARDS,
    pyramid_factors,
)
from terapose.io.shipped import SHIPPED
from terapose.networks.tile_grid import TileGrid, tile_grid
from terapose.pipeline import tissue
from terapose.pipeline.checked import anisotropy_of, mode_of
from terapose.pipeline.fitting import fitted, fitted_tasks
from terapose.pipeline.graph import PLAN, SCATTERED, STAGES
from terapose.pipeline.image_plan import ImagePlan, identity_of, reader_of
from terapose.pipeline.intensity_plan import IntensityPlan
from terapose.pipeline.layout import (
    TASK_VOXELS,
    choose_block,
    choose_flat_slabs,
    choose_passes,
    choose_slabs,
    network_shape,
)
from terapose.pipeline.plan import (
    DiameterPlan,
    MemberPlan,
    ModelPlan,
    OutputPlan,
    Plan,
    items,
)
from terapose.pipeline.sizes import CONVERT_PLANES, STATISTICS_PLANES
from terapose.pipeline.upscale import cover_of, full_image

if TYPE_CHECKING:
    from terapose.networks.files import ModelInfo


def make_plan(
    image: Image, info: ModelInfo, params: Parameters, diameter: DiameterPlan | None = None
) -> Plan:
    """Fix everything that shapes the store and the network's work.

    Parameters
    ----------
    image
        From `open_checked`.
    info
        What the network's file is, or files are (`terapose.networks.ensemble.identify_all`).
    params
        All parameters; only those of the plan stage are looked at.
    diameter
        How the diameter was found, if it was not given.
    """
    mode = mode_of(image, params)
    flat = mode != "3d"
    anisotropy = 1.0 if flat else anisotropy_of(image, params)
    rescale = info.diam_mean / params.diameter if params.diameter else 1.0
    grid = network_shape(image.shape, rescale, anisotropy, flat=flat)
    sized = diameter or _diameter_plan(info, params)
    _check_grid(image, grid[1:] if flat else grid, rescale, anisotropy, sized)
    check_channels_of(info, params)
    choose = choose_flat_slabs if flat else choose_slabs
    slabs = choose(grid, params.slab_planes, params.rectangle)
    planned = _image_plan(image, params)
    fields: dict[str, Any] = {
        "code": PLAN.code,
        "mode": mode,
        "image": planned,
        "model": _model_plan(info, params),
        "diameter": sized,
        "intensity": _intensity_plan(image, params),
        "output": _output_plan(image, params),
        "full": None,
        "cover": None,
        "network_shape": grid,
        "rescale": rescale,
        "anisotropy": anisotropy,
        "block": choose_block(image.shape, params.block_shape, flat=flat, grid=grid),
        "slabs": slabs,
        "passes": choose_passes(grid, slabs, 1 if flat else len(AXES), params.rectangle),
        "flow_precision": params.flow_precision,
    }
    full = full_image(image, params) if image.level else image
    if (cover := cover_of(image, full)) is not None:
        planned = planned.model_copy(update={"full_identity": identity_of(full, params.identity)})
        fields |= {"full": _output_plan(full, params), "cover": cover, "image": planned}
    draft = fitted(Plan.model_construct(**fields, tasks={}), params)
    fields |= {"block": draft.block, "slabs": draft.slabs, "passes": draft.passes}
    tasks = {s: _tasks(draft, s, params) for s in SCATTERED}
    return Plan(**fields, tasks=fitted_tasks(draft.model_copy(update={"tasks": tasks}), params))


MOST_TASKS = 2000
MOST_FILES = 50_000
"""Of the finest level of a label image whose chunks are files."""
_TASK_TILES = 256
_TILES_A_MINUTE = {
    ("unet", "cpu"): 1_400,
    ("unet", "cuda"): 60_000,
    ("cellpose4", "cpu"): 11,
    ("cellpose4", "cuda"): 6_000,
}
_VOXELS_A_MINUTE = 2**27
"""How much is done in a minute, roughly, by network and device, and by other stages. What was
measured is in `terapose.pipeline.rates`: another figure here would be another plan."""


def _tasks(plan: Plan, stage: str, params: Parameters) -> tuple[tuple[int, int], ...]:
    """Batches of a stage's items: a task should do more than start (10 s with a network)."""
    count = items(plan, stage)
    if not count:
        return ()
    if params.max_tasks is not None:
        return tuple(batches(count, params.max_tasks))
    some_tiles, some_voxels = float(_TASK_TILES), float(TASK_VOXELS)
    if params.task_minutes is not None:
        network = plan.model.family, plan.model.device
        some_tiles = params.task_minutes * _TILES_A_MINUTE.get(network, some_tiles)
        some_voxels = params.task_minutes * _VOXELS_A_MINUTE
    described = STAGES[stage]
    if described.over == "slabs":
        axis = AXES.index(described.axis)
        height, width = (n for i, n in enumerate(plan.passes[axis]) if i != axis)
        tiles = len(_grid(plan, (height, width)).corners)
        least = math.ceil(some_tiles / (tiles * plan.slabs[axis]))
    elif described.over == "counted" and plan.intensity.measures == "planes":
        least = math.ceil(some_voxels / math.prod((STATISTICS_PLANES, *plan.image.whole[1:])))
    elif described.over == "planes":
        least = math.ceil(some_voxels / math.prod((CONVERT_PLANES, *plan.image.whole[1:])))
    elif described.over == "regions":
        least = 1
    else:
        least = math.ceil(some_voxels / math.prod(plan.block))
    return tuple(batches(count, MOST_TASKS, least))


def _grid(plan: Plan, plane: tuple[int, int]) -> TileGrid:
    model = plan.model
    return tile_grid(plane, model.tile, model.overlap, augment=model.augment)


def _image_plan(image: Image, params: Parameters) -> ImagePlan:
    mask = None
    if params.tissue:
        _, known = tissue.find_tissue(params.tissue, image.layout.shape, params.identity)
        mask = tissue.under(known, image)
    numbers, names = channel_numbers(image, params.channels, params.markers)
    return ImagePlan(
        address=image.address,
        identity=identity_of(image, params.identity),
        full_identity="",
        identified_by=params.identity,
        format=image.format,
        reader=reader_of(image),
        selection=image.selection,
        level=image.level,
        channels=numbers,
        channel_names=names,
        shape=image.shape,
        whole=image.layout.shape,
        offset=image.region.start,
        tissue=mask,
        dtype=str(image.dtype),
        voxel_size=image.voxel_size,
        translation=image.origin,
        convert=not image.is_lazy,
    )


def _model_plan(info: ModelInfo, params: Parameters) -> ModelPlan:
    half = params.use_gpu and info.family == "cellpose4"
    automatic = "bfloat16" if half else "float32"
    return ModelPlan(
        name=SHIPPED[0] if params.model == "auto" else params.model,
        digest=info.digest,
        family=info.family,
        licence=info.licence,
        members=tuple(
            MemberPlan(name=one.path.name, digest=one.digest, licence=one.licence)
            for one in info.members
        ),
        size=info.size,
        channels=info.channels,
        tile=info.tile,
        diam_mean=info.diam_mean,
        precision=automatic if params.precision == "auto" else params.precision,
        device="cuda" if params.use_gpu else "cpu",
        overlap=params.tile_overlap,
        augment=params.augment,
        skip_empty=params.skip_empty,
    )


def _diameter_plan(info: ModelInfo, params: Parameters) -> DiameterPlan:
    if params.diameter:
        return DiameterPlan(pixels=params.diameter, origin="given")
    return DiameterPlan(pixels=info.diam_mean, origin="network")


def _output_plan(image: Image, params: Parameters) -> OutputPlan:
    single = image.shape[0] == 1 and "Z" not in image.layout.read
    wanted = FLAT_CHUNKS if image.shape[0] == 1 else CHUNKS
    chunks = zyx(min(c, n) for c, n in zip(wanted, image.shape, strict=True))
    return OutputPlan(
        selection=image.selection,
        level=image.level,
        whole=image.layout.shape,
        offset=image.region.start,
        shape=image.shape,
        voxel_size=image.voxel_size,
        voxels=image.factors,
        translation=image.origin,
        version=params.ome_zarr_version,
        dimensions=2 if single else 3,
        chunks=chunks,
        shards=_shards(image.shape, chunks, params),
        factors=tuple(pyramid_factors(image.shape, image.voxel_size)),
        region=zyx(c * REGION_FACTOR for c in chunks),
    )


def _shards(shape: ZYX, chunks: ZYX, params: Parameters) -> ZYX:
    """How many chunks of the label image share a file."""
    count = math.prod(-(-n // c) for n, c in zip(shape, chunks, strict=True))
    many = count > MOST_FILES and params.ome_zarr_version == "0.5"
    if params.label_files == "shards" or (params.label_files == "auto" and many):
        return FLAT_SHARDS if shape[0] == 1 else SHARDS
    return (1, 1, 1)


def _intensity_plan(image: Image, params: Parameters) -> IntensityPlan:
    numbers, _ = channel_numbers(image, params.channels, params.markers)
    return IntensityPlan(
        mode=params.normalize,
        merge=params.channel_merge,
        tile=params.normalize_tile,
        percentiles=params.percentiles,
        sampling=params.percentile_sampling,
        lowhigh=params.lowhigh,
        invert=params.invert,
        foreground_min=params.foreground_min,
        windows=tuple(_windows(image, c, params) for c in numbers),
    )


def _windows(image: Image, channel: int, params: Parameters) -> tuple[int, ...]:
    """Bins in which the percentiles are expected, for values of more than 16 bits."""
    whole = NORMALIZATIONS[params.normalize].measures == "image"
    if not Histogram(image.dtype).wide or not whole or params.channel_merge == "gmm":
        return ()
    sample = Histogram.empty(image.dtype)
    image = image.whole
    shape = image.shape
    places = Grid(shape, zyx(max(1, math.ceil(n / 4)) for n in shape))
    for place in places:
        middle = [(a + b) // 2 for a, b in zip(place.start, place.stop, strict=True)]
        box = Box(zyx(middle), zyx(m + 1 for m in middle)).grow((2, 24, 24)).clip(shape)
        values = image.read(box.slices, channel)
        values = values[np.isfinite(values)]
        check_held(values, image.address, channel)
        if params.foreground_min is not None:
            values = values[values >= params.foreground_min]
        sample.add(values)
    if not sample.count:
        return ()
    bins: set[int] = set()
    for percent in params.percentiles:
        edges = []
        for q in (percent - 0.4, percent + 0.4):
            try:
                sample.percentiles([min(max(q, 0.0), 100.0)])
            except WindowMissedError as missed:
                edges += [min(missed.windows), max(missed.windows)]
        bins |= set(range(max(min(edges) - 1, 0), min(max(edges) + 2, 65536)))
    # more than this is memory without use: the gather reads again where it misses
    return tuple(sorted(bins)[:256])


def check_channels_of(info: ModelInfo, params: Parameters) -> None:
    """Refuse more channels than a network has inputs.

    Raises
    ------
    InputError
        If there are more.
    """
    if params.channel_merge == "none" and len(params.channels) > info.channels:
        raise InputError(
            "more channels are given than the network has inputs",
            where="channels",
            got=list(params.channels),
            allowed=f"{info.channels} for {params.model}",
            remedy="give fewer channels, merge them (channel_merge), or give another model",
        )


def _check_grid(
    image: Image,
    grid: tuple[int, ...],
    rescale: float,
    anisotropy: float,
    diameter: DiameterPlan,
) -> None:
    """Refuse a grid that makes no sense; ``grid`` is (Z, Y, X), or (Y, X) of planes."""
    scale = f"(scale {rescale:.3g}, anisotropy {anisotropy:.3g})"
    if diameter.origin == "found":
        # nobody has given it, and the scale alone does not say where it is from
        scale += f" with the diameter {diameter.text}"
    if min(grid) < 2:
        raise InputError(
            "the image shrinks to nothing on the network's grid",
            where=image.address,
            got=f"{image.shape} voxels become {grid} {scale}",
            allowed="at least 2 voxels along each axis",
            remedy="check anisotropy (Z step over pixel size) and voxel_size, or give mode stitch "
            "or 2d"
            if min(grid[-2:]) >= 2
            else "give a smaller diameter or check the voxel size",
        )
    if math.prod(grid) > 64 * math.prod(image.shape[-len(grid) :]):
        raise InputError(
            "the image would grow more than 64 times on the network's grid",
            where=image.address,
            got=f"{image.shape} voxels become {grid} {scale}",
            remedy=_larger(image, grid, diameter),
        )


def _larger(image: Image, grid: tuple[int, ...], diameter: DiameterPlan) -> str:
    """What to do about a grid that is too large."""
    if diameter.origin != "found":
        return "check diameter (in pixels), voxel_size and anisotropy"
    solid = len(grid) == len(AXES)
    return (
        "give the diameter of a typical cell in pixels (--diameter)"
        + (", a finer level (--level)" if image.level else "")
        + (", mode stitch, or check voxel_size and anisotropy" if solid else "")
    )
