"""All parameters: names, types, defaults, ranges, and which stage each one shapes.

The same definitions make the command line's options, the workflow's schema and the check that
reports all faults of a params file in one message.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from terapose.core.errors import InputError
from terapose.core.param_faults import across, fault
from terapose.core.param_types import (
    Count,
    Ends,
    Number,
    Shape,
    Sizes,
    as_axes,
    as_channels,
    as_parts,
    as_text,
    as_words,
    has_control,
    or_none,
)
from terapose.core.region import is_box
from terapose.core.selection import Selection


class Parameters(BaseModel):
    """Parameters of a segmentation, under the names that users and scripts rely on."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    mode: Literal["auto", "3d", "2d", "stitch"] = Field(
        "auto",
        description="Cells of a volume (3d), of each plane (2d), or of planes, joined along Z "
        "(stitch); auto is 3d where there are several planes.",
    )
    axes: Annotated[str, BeforeValidator(as_axes)] = Field(
        "",
        pattern="^[TCZYX]*$",
        description="Axes of the image in the order of its file, for files that do not tell them "
        "or are wrong: CYX, ZCYX, TZYX and so on (T time, C channel).",
    )
    series: Annotated[str, BeforeValidator(as_text)] = Field(
        "",
        description="Which image of a file with several (series, scene, position): its number, "
        "counted from 1, or its name.",
    )
    time: Annotated[
        Annotated[int, Field(ge=1)] | Literal["all"] | None, BeforeValidator(or_none)
    ] = Field(
        None,
        description="Which time point of several, counted from 1; all makes each of them a "
        "sample of its own.",
    )
    stack: bool = Field(
        False,
        description="The image is a folder of files, one a plane, or a pattern for them in quotes: "
        "img_*.tif, or with names for axes img_{z}_{c}.tif (also {t}).",
    )
    level: int = Field(0, ge=0, description="Pyramid level to segment; 0 is the finest.")
    region: str = Field(
        "",
        description="Part of the image to segment, with the intensities of the whole: "
        "z0:z1,y0:y1,x0:x1 (or y0:y1,x0:x1) in voxels of the level, from 0; or a mask image of the "
        "tissue, of any resolution.",
    )
    channels: Annotated[tuple[int | str, ...], BeforeValidator(as_channels)] = Field(
        (1,),
        min_length=1,
        max_length=8,
        description="Channels to segment, counted from 1 or by name: cell, then nucleus; for a "
        "network of Cellpose 4 up to three in any order; with channel_merge up to eight. Where one "
        "is called 2, 'channel 2' is the second.",
    )
    channel_merge: Literal["none", "max", "mean", "gmm"] = Field(
        "none",
        description="Several channels as one input of the network: the largest or the mean of the "
        "normalised channels, or the sum of channels scaled by Gaussian mixtures (gmm).",
    )
    markers: str = Field(
        "",
        description="Names of the channels: a CSV file with the column marker_name, or one name a "
        "line.",
    )
    identity: Literal["stat", "content"] = Field(
        "stat",
        description="What tells an image from another one: size, time of change and inode of its "
        "files, or what they hold, whenever they were written; for that all of it is read at the "
        "beginning and once more at the end.",
    )
    pixel_size: Number = Field(
        None,
        gt=0,
        description="Pixel size of a plane in micrometres at the level that is segmented; it comes "
        "before what the image says.",
    )
    voxel_size: Sizes = Field(
        None,
        description="Voxel size Z,Y,X in micrometres at the level that is segmented; it comes "
        "before what the image says.",
    )
    model: str = Field(
        "auto",
        min_length=1,
        description="Network: a name, a file or a URL; several with commas are averaged.",
    )
    model_digest: str = Field(
        "",
        pattern="^([0-9a-f]{64}(,[0-9a-f]{64})*)?$",
        description="SHA-256 that the network's file must have; of several, with commas.",
    )
    diameter: Number = Field(
        None,
        gt=0,
        description="Typical diameter of a cell in pixels of Y and X; without it the image is "
        "taken to have the network's own.",
    )
    anisotropy: Number = Field(
        None, gt=0, description="Z step over pixel size; default from the voxel size."
    )
    normalize: Literal["global", "plane", "tile", "none", "lowhigh"] = Field(
        "global",
        description="Intensities: percentiles of all, of each plane, or of tiles; as they are; "
        "or given ends.",
    )
    normalize_tile: int = Field(
        100, ge=8, description="Edge of the tiles of normalize tile, in pixels."
    )
    percentiles: Annotated[tuple[float, float], BeforeValidator(as_parts)] = Field(
        (1.0, 99.0), description="Percentiles that become 0 and 1."
    )
    percentile_sampling: Literal["exact", "cellpose"] = Field(
        "exact", description="All voxels, or the strided grid that Cellpose takes."
    )
    lowhigh: Ends = Field(
        None,
        description="Intensities that become 0 and 1 (normalize lowhigh): one pair, or one for "
        "each channel.",
    )
    invert: bool = Field(False, description="Dark cells on a bright background.")
    foreground_min: Number = Field(
        None, description="Voxels below this intensity do not count for the percentiles."
    )
    tile_overlap: float = Field(
        0.1, ge=0.05, le=0.5, description="Fraction of a tile that neighbours share."
    )
    augment: bool = Field(
        False, description="Flip tiles in turn and let them overlap by half: slower, smoother."
    )
    skip_empty: Number = Field(
        None,
        description="Tiles without a pixel above this normalised intensity are not sent "
        "through the network; default only those of zeros, which is exact.",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="Arithmetic of the network; auto is exact on a CPU."
    )
    block_shape: Shape = Field(None, description="Block Z,Y,X in voxels; default by size.")
    slab_planes: Annotated[Count, Field(ge=1)] = Field(
        None, description="Planes of a slab of the network's passes; default by size."
    )
    rectangle: Annotated[Count, Field(ge=1)] = Field(
        None,
        description="Edge of the rectangles into which the network's planes are cut, in pixels of "
        "its grid; default whole planes where they are not too large.",
    )
    max_tasks: Annotated[Count, Field(ge=1)] = Field(
        None,
        description="Most tasks of a stage; default as many as are worth their start, up to 2000.",
    )
    ome_zarr_version: Annotated[Literal["0.5", "0.4"], BeforeValidator(as_text)] = Field(
        "0.5", description="Version of OME-Zarr in which the labels are written."
    )
    flow_precision: Literal["float32", "float16"] = Field(
        "float32",
        description="Storage of flows between tasks; float16 takes half the disk and is not exact.",
    )
    batch_size: Annotated[Count, Field(ge=1)] = Field(
        None,
        description="Tiles that are handed to the network at once; no result depends on it.",
    )
    use_gpu: bool = Field(False, description="Run the network on a GPU.")
    flow3d_smooth: Annotated[tuple[float, ...], BeforeValidator(as_parts)] = Field(
        (0.0,), description="Standard deviation of the flows' smoothing: one, or Z,Y,X (voxels)."
    )
    flow_scaling: Literal["anisotropy", "cellpose"] = Field(
        "anisotropy",
        description="Flows along Z divided by the anisotropy where that is above 1 (no rings, "
        "fewer lost voxels and pieces), or left as Cellpose has them. Modes 2d and stitch have "
        "none.",
    )
    cellprob_threshold: float = Field(
        0.0, description="Voxels whose cell probability is above belong to cells."
    )
    niter: Count = Field(
        None,
        ge=0,
        description="Steps along the flows; default, and for 0, 200 * diameter / the network's own "
        "diameter.",
    )
    flow_threshold: Annotated[Number, Field(ge=0)] = Field(
        None,
        description="Largest error of a cell's flows against those of its mask; 0 is off; default "
        "0.4 in 2d and stitch, off in 3d.",
    )
    stitch_threshold: float = Field(
        0.25, gt=0, le=1, description="Least overlap (IoU) of cells joined along Z (mode stitch)."
    )
    min_size: int = Field(15, description="Smallest cell in voxels; 0 or -1 keeps all.")
    max_size_fraction: float = Field(
        0.4,
        gt=0,
        le=1,
        description="Largest cell as a fraction of the image; in 2d and stitch of its plane.",
    )
    min_median_fraction: float = Field(
        0.0, ge=0, lt=1, description="Drop cells below this fraction of the median volume."
    )
    border: Literal["keep", "drop"] = Field("keep", description="Cells that touch the border.")
    expand: Annotated[Number, Field(ge=0)] = Field(
        None,
        description="What is found are nuclei; cells reach this many pixels beyond them (mode 2d).",
    )
    cell_model: str = Field(
        "",
        description="What is found are nuclei; cells are found by this network and matched to them "
        "(a name, a file or a URL).",
    )
    cell_channels: Annotated[tuple[int | str, ...] | None, BeforeValidator(as_channels)] = Field(
        None,
        min_length=1,
        max_length=3,
        description="Channels for the cells that are matched to nuclei; default those of channels.",
    )
    cell_diameter: Number = Field(
        None,
        gt=0,
        description="Diameter of the cells that are matched to nuclei; default that of diameter.",
    )
    measure: Annotated[tuple[int | str, ...], BeforeValidator(as_channels)] = Field(
        ("all",),
        min_length=1,
        description="Channels whose mean intensity stands in the table: all, or numbers and names; "
        "shape: none, but the shapes of cells; none: neither.",
    )
    table: Annotated[
        tuple[Literal["csv", "parquet", "h5ad", "geojson"], ...], BeforeValidator(as_words)
    ] = Field(
        ("csv", "parquet"),
        min_length=1,
        description="Files of the table of cells: csv, parquet, h5ad (AnnData), geojson (outlines "
        "for QuPath, of planes).",
    )
    thumbnails: Count = Field(
        None,
        ge=0,
        description="Also cut a thumbnail of each cell, so many pixels wide; 0: as the largest "
        "cell needs.",
    )
    mask_tiff: str = Field(
        "",
        pattern=r"^([\w.-]+\.tiff?)?$",
        description="Also write the label image as OME-TIFF under this name (mask.ome.tif).",
    )
    upscale: bool = Field(
        False,
        description="Bring the results of a coarser level (level) to level 0: labels, masks and "
        "tables fit the image at full resolution.",
    )
    keep_intermediates: Literal["flows", "all", "none"] = Field(
        "flows", description="What stays in the store: what a new threshold needs, all, nothing."
    )

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
    def has_second(self) -> bool:
        """Whether a second network finds cells, to be matched to nuclei."""
        return bool(self.cell_model or self.cell_channels or self.cell_diameter)

    @property
    def second(self) -> Parameters:
        """Parameters of the run that finds these cells."""
        changed = {
            "model": self.cell_model or self.model,
            "model_digest": "" if self.cell_model else self.model_digest,
            "channels": self.cell_channels or self.channels,
            "diameter": self.cell_diameter or self.diameter,
            **{"measure": ("none",), "table": ("csv",), "mask_tiff": "", "thumbnails": None},
            **dict.fromkeys(SECOND, None),
            **{"cell_model": "", "upscale": False},
        }
        return self.model_copy(update=changed)


SELECTION = ("axes", "series", "time", "stack", "level", "region")
"""Parameters that choose an image of its address."""

SECOND = ("cell_model", "cell_channels", "cell_diameter")
"""Parameters of the second network; the run with it takes all others from the first."""


def flow_threshold(mode: str, given: float | None) -> float:
    """Largest error of flows: as given, else Cellpose's 0.4 for planes; 0 is off."""
    return given if given is not None else 0.0 if mode == "3d" else 0.4


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
