"""All parameters: their names, types, defaults and ranges (the graph says which stages take them).

The same definitions make the command line's options, the workflow's schema and the check that
reports all faults of a params file in one message.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, ValidationInfo, field_validator

from terapose.core.errors import InputError
from terapose.core.image_params import ImageParameters
from terapose.core.param_faults import across, fault
from terapose.core.param_types import (
    Count,
    Diameter,
    Ends,
    Number,
    Shape,
    as_channels,
    as_parts,
    as_text,
    as_words,
    has_control,
    is_utf8,
    refuse_odd_numbers,
)
from terapose.core.region import is_box
from terapose.core.selection import Selection


class Parameters(ImageParameters):
    """Parameters of a segmentation, under the names that users and scripts rely on."""

    model: str = Field(
        "auto",
        min_length=1,
        description="Network: a name, a file or a URL; the outputs of several, separated by "
        "commas, are averaged.",
    )
    model_digest: str = Field(
        "",
        pattern="^([0-9a-f]{64}(,[0-9a-f]{64})*)?$",
        description="Expected SHA-256 of the network's file; for several networks, separated by "
        "commas.",
    )
    diameter: Diameter = Field(
        None,
        ge=0,
        description="Typical diameter of a cell in pixels of Y and X; default, also for auto or 0: "
        "a U-Net finds it in the image or, if it cannot, uses that which it was trained with; "
        "networks of Cellpose 4 need none.",
    )
    tile_overlap: float = Field(
        0.1, ge=0.05, le=0.5, description="Fraction by which neighbouring tiles overlap."
    )
    augment: bool = Field(
        False, description="Flip alternate tiles and let them overlap by half: slower, smoother."
    )
    skip_empty: Number = Field(
        None,
        description="Skip tiles with no pixel above this normalised intensity: the network's "
        "output for an empty tile is reused (approximate); default: only tiles of "
        "zeros are skipped, which is exact.",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="Arithmetic of the network; auto is exact on a CPU."
    )
    batch_size: Annotated[Count, Field(ge=1)] = Field(
        None,
        description="Number of tiles passed to the network at once on a CPU; does not affect the "
        "result.",
    )
    use_gpu: bool = Field(False, description="Run the network on a GPU.")
    normalize: Literal["global", "plane", "tile", "none", "lowhigh"] = Field(
        "global",
        description="How intensities are scaled: by percentiles of the whole image (global), of "
        "each plane or of tiles; not at all (none); or between given limits (lowhigh).",
    )
    percentiles: Annotated[tuple[float, float], BeforeValidator(as_parts)] = Field(
        (1.0, 99.0), description="Percentiles that are mapped to 0 and 1."
    )
    percentile_sampling: Literal["exact", "cellpose"] = Field(
        "exact",
        description="Compute percentiles from all voxels, or from the subsampled grid that "
        "Cellpose uses.",
    )
    normalize_tile: int = Field(
        100, ge=8, le=65_536, description="Width of the tiles for normalize tile, in pixels."
    )
    lowhigh: Ends = Field(
        None,
        description="Intensities that are mapped to 0 and 1 (normalize lowhigh): one pair, or one "
        "for each channel.",
    )
    invert: bool = Field(
        False, description="Invert intensities: for dark cells on a bright background."
    )
    foreground_min: Number = Field(
        None, description="Exclude voxels below this intensity from the percentiles."
    )
    flow_scaling: Literal["anisotropy", "cellpose"] = Field(
        "anisotropy",
        description="Divide flows along Z by the anisotropy if it is above 1 (avoids rings, lost "
        "voxels and fragments), or leave them unscaled as Cellpose does. No effect in "
        "modes 2d and stitch.",
    )
    flow3d_smooth: Annotated[tuple[float, ...], BeforeValidator(as_parts)] = Field(
        (0.0,),
        description="Standard deviation of the Gaussian that smooths the flows, in voxels: one "
        "value, or Z,Y,X.",
    )
    cellprob_threshold: float = Field(
        0.0, description="Voxels with a cell probability above this value belong to cells."
    )
    niter: Count = Field(
        None,
        ge=0,
        le=1_000_000,
        description="Steps along the flows; default, also for 0: 200 * diameter / the network's "
        "own diameter.",
    )
    follow_tolerance: Annotated[float, Field(ge=0, le=0.01)] = Field(
        0.0,
        description="Stop following the flows from a voxel when a step is shorter than this, in "
        "voxels; 0: only once it is certain in which voxel it ends, so that the result is that of "
        "Cellpose. 3e-5 is faster where few flows come to rest, but individual voxels may then "
        "belong to a different cell (2 of 4 million, in a test).",
    )
    flow_threshold: Annotated[Number, Field(ge=0)] = Field(
        None,
        description="Maximum flow error of a cell: the difference between its flows and those "
        "computed from its mask; 0 turns the filter off; default: 0.4 in modes 2d and "
        "stitch, off in 3d.",
    )
    stitch_threshold: float = Field(
        0.25,
        gt=0,
        le=1,
        description="Minimum overlap (IoU) of objects that are joined along Z (mode stitch).",
    )
    min_size: int = Field(15, description="Minimum cell size in voxels; 0 or -1 keeps all cells.")
    max_size_fraction: float = Field(
        0.4,
        gt=0,
        le=1,
        description="Maximum cell size as a fraction of the image, or of the plane in modes 2d and "
        "stitch.",
    )
    min_median_fraction: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Drop cells smaller than this fraction of the median cell volume.",
    )
    border: Literal["keep", "drop"] = Field(
        "keep", description="Keep or drop cells that touch the image border."
    )
    expand: Number = Field(
        None,
        ge=0,
        le=1000,
        description="Treat the segmented objects as nuclei, and expand them by up to this many "
        "pixels to make cells (mode 2d).",
    )
    process: str = Field(
        "",
        description="Apply a function to the cells before they are written: components, split or "
        "size, or a Python file, whose code is run (docs/process.md).",
    )
    process_options: Annotated[tuple[str, ...], BeforeValidator(as_words)] = Field(
        (), description="Options of that function, as in distance=8,min=3."
    )
    cell_model: str = Field(
        "",
        description="Treat the segmented objects as nuclei, and match them to cells that are "
        "segmented with this network (a name, a file or a URL).",
    )
    cell_channels: Annotated[tuple[int | str, ...] | None, BeforeValidator(as_channels)] = Field(
        None,
        min_length=1,
        max_length=3,
        description="Channels for the cells that are matched to nuclei; default: as in channels.",
    )
    cell_diameter: Diameter = Field(
        None,
        ge=0,
        description="Diameter of the cells that are matched to nuclei; default: as in diameter, if "
        "that is a number; otherwise, also for auto or 0: a U-Net finds it in the channels for "
        "these cells.",
    )
    measure: Annotated[tuple[int | str, ...], BeforeValidator(as_channels)] = Field(
        ("all",),
        min_length=1,
        description="Channels whose mean intensity is in the table: all, or numbers and names; "
        "shape: only the shapes of cells; none: neither intensities nor shapes.",
    )
    table: Annotated[
        tuple[Literal["csv", "parquet", "h5ad", "geojson", "geojson.gz"], ...],
        BeforeValidator(as_words),
    ] = Field(
        ("csv", "parquet"),
        min_length=1,
        description="Formats of the cell table: csv, parquet, h5ad (AnnData), geojson (outlines "
        "for QuPath; planes only), geojson.gz (the same, compressed).",
    )
    thumbnails: Count = Field(
        None,
        ge=0,
        description="Also cut out a thumbnail of each cell, this many pixels wide; 0: wide enough "
        "for the largest cell.",
    )
    mask_tiff: str = Field(
        "",
        pattern=r"^([\w.-]+\.tiff?)?$",
        description="Also write the label image as OME-TIFF under this name (mask.ome.tif).",
    )
    upscale: bool = Field(
        False,
        description="Bring the results of a coarser pyramid level to level 0: labels, masks and "
        "tables match the image at full resolution.",
    )
    ome_zarr_version: Annotated[Literal["0.5", "0.4"], BeforeValidator(as_text)] = Field(
        "0.5", description="OME-Zarr version of the label image."
    )
    label_files: Literal["auto", "chunks", "shards"] = Field(
        "auto",
        description="What each file of the label image contains: a chunk (chunks), or several, up "
        "to 64 MB before compression (shards, which fewer programs read); auto: shards if there "
        "would be more than 50,000 files.",
    )
    labels_in: Literal["results", "image"] = Field(
        "results",
        description="Where label images are written: to the results only, or also into the "
        "OME-Zarr image itself, in its group labels (image).",
    )
    report: bool = Field(
        False,
        description="Also write a report to judge the results by: a page with pictures, statistics "
        "and warnings (report.html), and its numbers as JSON.",
    )
    block_shape: Shape = Field(
        None, description="Block size Z,Y,X in voxels; default: depends on the image size."
    )
    slab_planes: Annotated[Count, Field(ge=1)] = Field(
        None,
        description="Planes in a slab of the network's passes; default: depends on the image size.",
    )
    rectangle: Annotated[Count, Field(ge=1)] = Field(
        None,
        description="Width of the rectangles into which the network's planes are split, in pixels "
        "of the network's grid; default: whole planes unless they are too large.",
    )
    max_memory: float = Field(
        8.0,
        gt=0,
        description="Memory in GB that a task may need: blocks, slabs and rectangles that are not "
        "given are made small enough for it, and stages get more tasks where there are many cells.",
    )
    max_tasks: Annotated[Count, Field(ge=1)] = Field(
        None,
        description="Maximum number of tasks in a stage; default: as many as are worth starting, "
        "up to 2000, or more where max_memory requires it.",
    )
    task_minutes: Number = Field(
        None,
        gt=0,
        le=10_000,
        description="Minutes that a task should take at least, at typical rates, if its stage has "
        "enough to do; default: as long as starting it takes (4 to 11 seconds). The profiles of "
        "clusters set 2 minutes. max_tasks takes precedence.",
    )
    flow_precision: Literal["float32", "float16"] = Field(
        "float32",
        description="Data type of stored flows; float16 halves the disk space and is not exact.",
    )
    keep_intermediates: Literal["flows", "all", "none"] = Field(
        "flows",
        description="What to keep in the store: what a new threshold needs (flows), everything "
        "(all), or nothing (none; the workflow keeps tables, and the copy of a converted image).",
    )
    strict: bool = Field(
        False,
        description="Refuse to continue on a machine that may round differently from those that "
        "computed earlier results of the run; otherwise only a warning is printed.",
    )

    @field_validator("*", mode="before")
    @classmethod
    def _numbers(cls, value: object, info: ValidationInfo) -> object:
        """The value: true is no number, nor is ``1_4``."""
        refuse_odd_numbers(value, cls.model_fields[str(info.field_name)].annotation)
        return value

    @property
    def selection(self) -> Selection:
        """What is chosen of the image's address: one time point, or the only one.

        ``all`` has been made into samples of one time point each (`terapose.io.samples`).
        """
        time = None if self.time == "all" else self.time
        box = self.region if is_box(self.region) else ""
        return Selection(self.level, self.axes, self.series, time, self.stack, box)

    @property
    def tissue(self) -> str:
        """The mask image that ``region`` names; empty where it is a box, or nothing."""
        return "" if is_box(self.region) else self.region

    @property
    def has_outlines(self) -> bool:
        """Whether outlines of cells are written."""
        return any(kind in OUTLINES for kind in self.table)

    @property
    def has_second(self) -> bool:
        """Whether a second network finds cells, to be matched to nuclei."""
        given = self.cell_diameter is not None
        return bool(self.cell_model or self.cell_channels or given)

    @property
    def second(self) -> Parameters:
        """Parameters of the run that finds these cells."""
        changed = {
            "model": self.cell_model or self.model,
            "model_digest": "" if self.cell_model else self.model_digest,
            "channels": self.cell_channels or self.channels,
            "diameter": self.diameter if self.cell_diameter is None else self.cell_diameter,
            **{"measure": ("none",), "table": ("csv",), "mask_tiff": "", "thumbnails": None},
            **dict.fromkeys(SECOND, None),
            **{"cell_model": "", "upscale": False, "labels_in": "results", "report": False},
            **{"process": "", "process_options": ()},
        }
        return self.model_copy(update=changed)


OUTLINES = ("geojson", "geojson.gz")
"""Formats of `table` that are outlines of the cells of all compartments, in one file."""

SELECTION = ("axes", "series", "time", "stack", "level", "region")
"""Parameters that choose an image at an address."""

SECOND = ("cell_model", "cell_channels", "cell_diameter")
"""Parameters of the second network; the run with it takes all others from the first."""

MEASURING = (
    *("mode", "measure", "markers", "voxel_size", "pixel_size", "anisotropy", "expand"),
    *("table", "mask_tiff", "thumbnails", "ome_zarr_version", "label_files", "block_shape"),
    *("max_memory", "report"),
)
"""Parameters of `terapose measure`, besides those that choose the image."""

ONLY_FILES = (
    *("table", "thumbnails", "mask_tiff", "ome_zarr_version", "label_files", "report"),
    "keep_intermediates",
)
"""Parameters that say which files there are, and change nothing in the labels."""


def check(values: Mapping[str, Any], whose: str = "parameters") -> Parameters:
    """Make parameters of what a user gave.

    Parameters
    ----------
    values
        By name, as from a params file or a command line; None and "" mean "not given".
    whose
        What to call them in a message.

    Raises
    ------
    InputError
        Naming all faults at once.
    """
    given = {k: v for k, v in values.items() if v is not None and v != ""}
    strange = [name for name, value in given.items() if has_control(value)]
    faults = [f"{n}: got {given.pop(n)!r}, allowed: no control characters" for n in strange]
    halves = [name for name, value in given.items() if not is_utf8(value)]
    faults += [f"{n}: got {given.pop(n)!r}, allowed: UTF-8" for n in halves]
    try:
        params = Parameters.model_validate(given)
    except ValidationError as error:
        # a union or a tuple reports one fault for each member: the first says enough
        found = {str(e["loc"][:1]): e for e in reversed(error.errors())}
        faults += sorted(fault(e, given, Parameters.model_fields) for e in found.values())
        wrong = {str(e["loc"][0]) for e in found.values() if e["loc"]}
        params = Parameters.model_validate({k: v for k, v in given.items() if k not in wrong})
    faults += across(params)
    if faults:
        raise InputError(
            "; ".join(faults),
            where=whose,
            remedy="docs/parameters.md lists them all",
        )
    return params
