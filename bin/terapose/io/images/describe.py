"""What was understood of an image, in a few lines for a person."""

from __future__ import annotations

from collections.abc import Sequence

from terapose.core.errors import few, shown
from terapose.io.images.model import Image
from terapose.io.images.series import listed

_NAMES = 8


def describe(image: Image, channel_names: Sequence[str] = ()) -> list[str]:
    """Format, series, axes, shape, channels and voxel size as they were understood.

    Parameters
    ----------
    image
        The image.
    channel_names
        Names of the channels, if they are not the image's own (a table of markers).
    """
    lines = [
        f"image     {shown(image.address)}",
        f"format    {image.format}{_part(image)}",
        f"axes      {_axes(image)}",
        f"shape     {_by(image.shape)} (Z, Y, X), {image.dtype}",
        f"channels  {_channels(channel_names or image.channel_names)}",
        f"voxel     {_voxel(image)}",
    ]
    if len(image.series[0]) > 1:
        lines.insert(2, f"series    {shown(listed(image.series[0]))}")
    if image.region.shape != image.layout.shape:
        lines.append(f"region    {image.selection.region} of {_by(image.layout.shape)}")
    if image.layout.note:
        lines.append(f"note      {shown(image.layout.note)}")
    return lines


def _part(image: Image) -> str:
    """Series, time point and level, where there are several."""
    names, number = image.series
    parts = []
    if len(names) > 1:
        name = shown(names[number]) or "no name"
        parts.append(f"series {number + 1} of {len(names)} ({name})")
    elif names and names[0]:
        parts.append(shown(names[0]))
    if image.times > 1:
        parts.append(f"time {image.layout.time + 1} of {image.times}")
    if image.levels > 1:
        parts.append(f"level {image.level} of 0 to {image.levels - 1}")
    return "".join(f", {part}" for part in parts)


def _axes(image: Image) -> str:
    lengths = f"{image.axes} {_by(image.layout.lengths)} in the file"
    if image.layout.read == image.axes:
        return lengths
    return f"{lengths}, read as {image.layout.read}"


def _channels(names: Sequence[str]) -> str:
    return f"{len(names)}: {shown(few(names, _NAMES))}"


def _voxel(image: Image) -> str:
    if image.voxel_size is None:
        return "size unknown"
    return " x ".join(f"{size:g}" for size in image.voxel_size) + " micrometres (Z, Y, X)"


def _by(lengths: Sequence[int]) -> str:
    return " x ".join(map(str, lengths))
