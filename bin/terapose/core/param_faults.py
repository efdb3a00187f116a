"""What is wrong with parameters, in words: each by itself, and those that do not go together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic_core import ErrorDetails

from terapose.core.errors import shown
from terapose.core.near import did_you_mean
from terapose.core.normalizing import NORMALIZATIONS, with_parameter
from terapose.core.other_names import elsewhere
from terapose.core.region import is_box

if TYPE_CHECKING:
    from terapose.core.params import Parameters

_NUMBERS_OR_NAMES = "numbers from 1 up, or names, with commas between them, as in 1,3"
IN_WORDS = {
    "model_digest": "64 hexadecimal digits, with commas for several networks",
    "mask_tiff": "a file name ending in .tif or .tiff, of up to 200 bytes",
    "voxel_size": "three numbers in micrometres, Z,Y,X, as in 2,0.5,0.5 (for a plane, pixel_size "
    "is one)",
    "block_shape": "three whole numbers of voxels, Z,Y,X, as in 64,256,256",
    "percentiles": "two numbers, as in 1,99",
    "lowhigh": "two numbers, or two for each channel, as in 100,2000",
    "flow3d_smooth": "one number, or three for Z,Y,X, as in 1,0.5,0.5",
    "channels": f"up to eight {_NUMBERS_OR_NAMES}",
    "cell_channels": f"up to three {_NUMBERS_OR_NAMES}",
    "measure": f"all, shape, none, or {_NUMBERS_OR_NAMES}",
    "table": "csv, parquet, h5ad, geojson and geojson.gz, one or several, as in csv,h5ad",
    "axes": "letters of T, C, Z, Y, X in the order of the file",
}
"""What lists and text may be: parameters of which pydantic would name one wrong part."""


_TYPES = {
    **dict.fromkeys(("float_parsing", "float_type"), "a number"),
    **dict.fromkeys(("int_parsing", "int_type", "int_from_float"), "a whole number"),
    **dict.fromkeys(("bool_parsing", "bool_type"), "true or false"),
    "string_type": "text",
}
"""Kinds of faults that pydantic words for programmers."""
_OR_AUTO = ("diameter", "cell_diameter")
"""Numbers that may be found in the image."""
_LONGEST = 200
"""Bytes of a file's name; most file systems have 255."""
_NO_COLONS = re.compile(r"[\d\s,;-]*\d[\d\s,;-]*")


def fault(error: ErrorDetails, given: Mapping[str, Any], known: Iterable[str]) -> str:
    """One fault of a parameter in words; ``known`` are the names of all."""
    name = str(error["loc"][0]) if error["loc"] else "the parameters"
    if error["type"] == "extra_forbidden":
        near = elsewhere(name) or did_you_mean(name, known)
        return f"{name}: no such parameter" + (f" ({near})" if near else "")
    if name in IN_WORDS:
        return f"{name}: got {_got(given[name])}, allowed: {IN_WORDS[name]}"
    if error["type"] in _TYPES:
        or_auto = ", or auto" if name in _OR_AUTO else ""
        return f"{name}: got {_got(error['input'])}, allowed: {_TYPES[error['type']]}{or_auto}"
    allowed = error["msg"].removeprefix("Input should be ").removeprefix("Value should be ")
    return f"{name}: got {_got(error['input'])}, allowed: {allowed}"


def _got(value: object) -> str:
    """A value that was given: it may be anything that JSON holds."""
    try:
        return shown(repr(value), 200)
    except (RecursionError, ValueError):
        return "something too large to show"


def across(params: Parameters) -> list[str]:
    """Faults between parameters that are each fine by themselves."""
    faults = []
    if any(isinstance(channel, int) and channel < 1 for channel in params.channels):
        faults.append(f"channels: got {list(params.channels)}, allowed: numbers from 1 up")
    faults += _of_merging(params)
    if params.axes and (
        len(set(params.axes)) < len(params.axes) or not {"Y", "X"} <= set(params.axes)
    ):
        faults.append(f"axes: got {params.axes}, allowed: Y, X and others of T, C, Z, each once")
    strange = ":" in params.region.replace("://", "") or _NO_COLONS.fullmatch(params.region)
    if strange and not is_box(params.region):
        faults.append(
            f"region: got {params.region}, allowed: z0:z1,y0:y1,x0:x1, y0:y1,x0:x1, or a mask image"
        )
    if params.pixel_size is not None and params.voxel_size is not None:
        faults.append("pixel_size: given, allowed: only without voxel_size")
    low, high = params.percentiles
    if not 0 <= low < high <= 100:
        faults.append(f"percentiles: got {[low, high]}, allowed: 0 <= low < high <= 100")
    taken = NORMALIZATIONS[params.normalize].takes
    if "lowhigh" in taken and params.lowhigh is None:
        allowed = f"two intensities with normalize {with_parameter('lowhigh')}"
        faults.append(f"lowhigh: nothing given, allowed: {allowed}")
    ends = params.lowhigh
    if ends is not None and len(ends) not in (2, 2 * len(params.channels)):
        faults.append(f"lowhigh: got {list(ends)}, allowed: two numbers, or two for each channel")
    elif ends is not None and not all(a < b for a, b in zip(ends[::2], ends[1::2], strict=True)):
        faults.append(f"lowhigh: got {list(ends)}, allowed: low < high")
    for name in ("lowhigh", "invert", "foreground_min"):
        value = getattr(params, name)
        if value is not None and value is not False and name not in taken:
            faults.append(f"{name}: given, allowed: only with normalize {with_parameter(name)}")
    if params.label_files == "shards" and params.ome_zarr_version == "0.4":
        faults.append("label_files: shards, allowed: only with ome_zarr_version 0.5")
    for name in ("block_shape", "voxel_size"):
        values = getattr(params, name)
        if values is not None and min(values) <= 0:
            faults.append(f"{name}: got {list(values)}, allowed: three numbers above 0")
    if params.expand and params.has_second:
        faults.append("expand: given, allowed: only without cell_model, cell_channels and so on")
    if params.process and params.has_second:
        faults.append("process: given, allowed: only without cell_model, cell_channels and so on")
    if params.process_options and not params.process:
        faults.append("process_options: given, allowed: only with process")
    if (params.expand or params.has_second) and params.measure == ("none",):
        faults.append("measure: none, allowed: shape or channels where there are nuclei and cells")
    if params.upscale and params.level and params.measure == ("none",):
        faults.append("measure: none, allowed: shape or channels with upscale")
    if "h5ad" in params.table and params.measure in (("none",), ("shape",)):
        faults.append("table: h5ad, allowed: only where intensities are measured (measure)")
    if params.thumbnails is not None and not {"csv", "parquet"} & set(params.table):
        faults.append("table: neither csv nor parquet, allowed: one of them with thumbnails")
    if len(params.mask_tiff.encode()) > _LONGEST:
        faults.append(f"mask_tiff: got {_got(params.mask_tiff)}, allowed: {IN_WORDS['mask_tiff']}")
    smooth = params.flow3d_smooth
    if len(smooth) not in (1, 3) or min(smooth) < 0:
        faults.append(f"flow3d_smooth: got {list(smooth)}, allowed: one or three numbers from 0 up")
    return faults


def _of_merging(params: Parameters) -> list[str]:
    """Faults of channels that become one input, or do not."""
    faults = []
    how, channels = params.channel_merge, list(params.channels)
    if how == "none":
        if len(channels) > 3:
            faults.append(f"channels: got {channels}, allowed: at most 3 without channel_merge")
        return faults
    if len(channels) < 2 or len(set(channels)) < len(channels):
        faults.append(
            f"channels: got {channels}, allowed: two or more different ones with channel_merge"
        )
    if how == "gmm" and (params.normalize != "global" or params.invert):
        faults.append("channel_merge: got 'gmm', allowed: only with normalize 'global', no invert")
    return faults
