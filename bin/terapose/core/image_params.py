"""Parameters that say what the image is, and which part of it is segmented how."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from terapose.core.param_types import (
    Number,
    Sizes,
    as_axes,
    as_channels,
    as_text,
    or_none,
)


class ImageParameters(BaseModel):
    """The first part of `terapose.core.params.Parameters`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    mode: Literal["auto", "3d", "2d", "stitch"] = Field(
        "auto",
        description="Segment cells of a volume (3d), of each plane separately (2d), or of each "
        "plane, joined along Z (stitch); auto is 3d for several planes, otherwise 2d.",
    )
    axes: Annotated[str, BeforeValidator(as_axes)] = Field(
        "",
        pattern="^[TCZYX]*$",
        description="Axes of the image in file order, if the file does not specify them or they "
        "are wrong: CYX, ZCYX, TZYX and so on (T time, C channel).",
    )
    series: Annotated[str, BeforeValidator(as_text)] = Field(
        "",
        description="Which image of a file that contains several (series, scene, position): its "
        "number, counted from 1, or its name.",
    )
    time: Annotated[
        Annotated[int, Field(ge=1)] | Literal["all"] | None, BeforeValidator(or_none)
    ] = Field(
        None,
        description="Which time point to segment if there are several, counted from 1; all makes "
        "each time point a separate sample.",
    )
    stack: bool = Field(
        False,
        description="The image is a folder with one file for each plane, or a quoted pattern for "
        "these files: img_*.tif, or with named axes img_{z}_{c}.tif (also {t}).",
    )
    level: int = Field(0, ge=0, description="Pyramid level to segment; 0 is the finest.")
    region: str = Field(
        "",
        description="Part of the image to segment, with intensities scaled as in the whole image: "
        "z0:z1,y0:y1,x0:x1 (or y0:y1,x0:x1) in voxels of the level, from 0; or a mask "
        "image of the tissue, of any resolution.",
    )
    channels: Annotated[tuple[int | str, ...], BeforeValidator(as_channels)] = Field(
        (1,),
        min_length=1,
        max_length=8,
        description="Channels to segment, counted from 1 or by name: cell, then nucleus; for "
        "Cellpose 4 networks up to three in any order; with channel_merge up to eight. "
        "If a channel is named 2, write 'channel 2' for the second channel.",
    )
    channel_merge: Literal["none", "max", "mean", "gmm"] = Field(
        "none",
        description="Merge several channels into one input of the network: the maximum or the mean "
        "of the normalised channels, or their sum after scaling by Gaussian mixtures "
        "(gmm).",
    )
    markers: str = Field(
        "",
        description="Channel names: a CSV file with the column marker_name, or with one name per "
        "line.",
    )
    identity: Literal["stat", "content"] = Field(
        "stat",
        description="How to recognise that an image has changed: by the size, modification time "
        "and inode of the files (stat), or by their contents (content), which reads "
        "the whole image at the start and again at the end.",
    )
    voxel_size: Sizes = Field(
        None,
        description="Voxel size Z,Y,X in micrometres at the level that is segmented; overrides the "
        "image's metadata.",
    )
    pixel_size: Number = Field(
        None,
        gt=0,
        description="Pixel size of a plane in micrometres at the level that is segmented; "
        "overrides the image's metadata.",
    )
    anisotropy: Number = Field(
        None, gt=0, description="Z step divided by pixel size; default: from the voxel size."
    )
