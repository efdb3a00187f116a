"""Copies a part of an image of any format to an OME-Zarr: `crop`.

1. The part is a box in voxels of a level of the image, the *first* level. Coarser levels of the
   image are cut to the voxels that cover the box, whole ones, so each is where it was; or coarser
   levels are computed from the first (`terapose.apps.pyramids`).
2. Each level keeps its scale; its translation moves by the voxels that are cut off before it.
   Channels keep their names, colours and windows, and label images what they say of labels.
3. The work is cut into units of whole chunks of the result (`terapose.apps.unfinished`), whatever
   the chunks of the image are. So the files depend on neither the number of threads nor
   interruptions: the same request gives the same bytes.
4. Voxels beyond the image have the value for padding, where one is given; otherwise a box beyond
   the image is refused.

Before the result gets its name, the files that were read are compared with what they were when the
image was opened.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from terapose.apps.pyramids import Level, Pyramid, chunks_for, unit_for
from terapose.apps.unfinished import Progress, Unfinished, check_destination, unfinished
from terapose.core.errors import InputError
from terapose.core.geometry import ZYX, Box, zyx
from terapose.core.region import box_text
from terapose.core.version import __version__
from terapose.io.images import address as addresses
from terapose.io.images import zarr_nodes as nodes
from terapose.io.images.model import Image
from terapose.io.images.opening import open_image
from terapose.io.images.watch import Watch
from terapose.io.labels.of_image import group_of
from terapose.io.labels.ome_zarr import level_shape, pyramid_factors
from terapose.io.zarr_files import Noted

Levels = Literal["source", "mean", "nearest", "none"]
_RESULT = "result"
_SMALL = 256
"""Length that no axis of the last level exceeds, where there are as many levels."""
_RANGE = r"-?\d*:-?\d*"
_REGION = re.compile(rf"{_RANGE}(,{_RANGE}){{1,2}}", re.ASCII)


@dataclass(frozen=True)
class Wanted:
    """What is copied of an image.

    Attributes
    ----------
    box
        In voxels of the level that was opened; it may begin or end beyond the image.
    levels
        Coarser levels: the image's own (source), computed ones (mean, nearest), or none.
    channels
        Numbers from 1.
    pad
        Value of voxels beyond the image; None refuses them.
    version
        Of OME-Zarr.
    """

    box: Box
    levels: Levels
    channels: tuple[int, ...]
    pad: float | None
    version: str


@dataclass(frozen=True)
class _Source:
    """A level of the image, and the box of it that is copied."""

    image: Image
    box: Box

    def read(self, box: Box, channel: int, pad: float) -> NDArray[Any]:
        """Voxels of a box of the result."""
        place = box.moved(self.box.start)
        inside = place.clip(self.image.shape)
        if inside == place:
            return self.image.read(place.slices, channel)
        voxels = np.full(place.shape, pad, self.image.dtype)
        if inside.size:
            voxels[inside.within(place)] = self.image.read(inside.slices, channel)
        return voxels


def crop(
    image: Image,
    out: Path,
    wanted: Wanted,
    *,
    jobs: int = 1,
    overwrite: bool = False,
    progress: Progress | None = None,
    watch: Watch,
) -> Pyramid:
    """Copy a part of an image.

    Parameters
    ----------
    image
        The image, at the first level, without a region; opened by `watch`.
    out
        Folder of the OME-Zarr.
    wanted
        The part, see `parse_region` and `checked`.
    jobs
        Threads that read and write.
    overwrite
        Whether a Zarr group with this name is replaced.
    progress
        Called as the work goes on.
    watch
        Opens further levels.

    Returns
    -------
    Pyramid
        What was written.

    Raises
    ------
    InputError
        If the request does not fit the image, the destination cannot be written, or the image
        changes meanwhile.
    """
    check_destination(out, [image.address], overwrite=overwrite)
    out = Path(os.path.abspath(out))  # the working folder has no name beside which to work
    checked(image, wanted)
    sources = _sources(image, wanted, watch)
    made = _pyramid(sources, wanted)
    own = _record(image, wanted)
    request = (__version__, own, made, [one.image.identity for one in sources], out.name)
    with unfinished(out, request, jobs, progress) as work:
        made.create(work.result, out.name.partition(".")[0], _metadata(image, wanted), own)
        for number in range(len(made.levels)):
            step = f"level {number}"
            work.run(step, made.units(number), partial(_unit, work, made, sources, wanted, number))
        work.confirm(watch)
        work.publish(out, overwrite=overwrite)
    return made


def _unit(
    work: Unfinished,
    made: Pyramid,
    sources: Sequence[_Source],
    wanted: Wanted,
    level: int,
    number: int,
) -> Noted:
    """Copy or compute a unit of a level."""
    if level >= len(sources):
        how: Literal["mean", "nearest"] = "mean" if wanted.levels == "mean" else "nearest"
        return made.reduce(work.folder, _RESULT, level, number, how)
    channel, box = made.unit(level, number)
    voxels = sources[level].read(box, wanted.channels[channel], wanted.pad or 0)
    return made.write(work.folder, _RESULT, level, number, voxels)


def parse_region(text: str, shape: ZYX) -> Box:
    """Make a box of a text; other than `terapose.core.region.parse_box`, also beyond the image.

    Parameters
    ----------
    text
        As ``z0:z1,y0:y1,x0:x1`` or ``y0:y1,x0:x1``; bounds count from 0, and may be negative or
        beyond the end. An empty one is the start or the end of the image.
    shape
        (Z, Y, X) of the image.

    Raises
    ------
    InputError
        If it has another form, or ends before it starts.
    """
    plain = "".join(text.split())
    bounds = [part.split(":") for part in plain.split(",")] if _REGION.fullmatch(plain) else []
    if len(bounds) == 2:
        bounds = [["", ""], *bounds]
    try:
        start = [int(first or 0) for first, _ in bounds]
        stop = [int(last or n) for (_, last), n in zip(bounds, shape, strict=False)]
    except ValueError:
        start = stop = []
    if len(start) != 3 or not all(a < b for a, b in zip(start, stop, strict=True)):
        raise InputError(
            "is not a region",
            where="region",
            got=text,
            allowed="z0:z1,y0:y1,x0:x1 or y0:y1,x0:x1, each start before its end",
            remedy="count voxels from 0, at the level that is copied",
        )
    return Box(zyx(start), zyx(stop))


def checked(image: Image, wanted: Wanted) -> None:
    """Refuse what does not fit the image.

    Raises
    ------
    InputError
        If the box is beyond the image without padding or altogether, the value for padding is none
        of the type of the voxels, or means are to be made of whole numbers of 64 bits.
    """
    whole = Box.whole(image.shape)
    if not wanted.box.intersect(whole).size or (
        wanted.pad is None and wanted.box.intersect(whole) != wanted.box
    ):
        raise InputError(
            "is not within the image",
            where="region",
            got=box_text(wanted.box),
            allowed=f"a box within {box_text(whole)}, or with pad one that overlaps it",
            remedy="count voxels from 0, at the level that is copied",
        )
    if wanted.pad is not None and not _fits(wanted.pad, image.dtype):
        raise InputError(
            "cannot be stored in the image's voxels",
            where="pad",
            got=f"{wanted.pad:g}",
            allowed=f"a value of the type {image.dtype}",
        )
    if wanted.levels == "mean" and image.dtype.name in ("int64", "uint64"):
        raise InputError(
            "means of 64-bit numbers are not computed",
            where="pyramid",
            got=f"voxels of the type {image.dtype}",
            allowed="source, nearest or none",
            remedy="labels need nearest",
        )


def _fits(value: float, dtype: np.dtype[Any]) -> bool:
    if dtype.kind == "f":
        return True
    if not math.isfinite(value):
        return False
    limits = np.iinfo(dtype)
    return value == math.floor(value) and limits.min <= value <= limits.max


def _sources(image: Image, wanted: Wanted, watch: Watch) -> list[_Source]:
    """Levels of the image that are copied, with the box of each."""
    sources = [_Source(image, wanted.box)]
    for level in range(image.level + 1, image.levels if wanted.levels == "source" else 0):
        if max(sources[-1].box.shape) <= _SMALL:
            break
        chosen = replace(image.selection, level=level)
        coarse = watch.open(partial(open_image, image.address, **chosen.options))
        if coarse.dtype != image.dtype:
            raise InputError(
                "the levels of the pyramid differ in type",
                where=image.address,
                got=f"{image.dtype} and {coarse.dtype}",
                remedy="copy one level, with --pyramid none, mean or nearest",
            )
        sources.append(_Source(coarse, _covering(image, coarse, wanted.box)))
    return sources


def _covering(first: Image, coarse: Image, box: Box) -> Box:
    """Voxels of a coarser level that cover a box; none beyond the image that is not needed."""
    start, stop = [], []
    for axis in range(3):
        factor = coarse.factors[axis] / first.factors[axis]
        a, b = math.floor(box.start[axis] / factor), math.ceil(box.stop[axis] / factor)
        if box.stop[axis] <= first.shape[axis]:
            b = min(b, coarse.shape[axis])
        start.append(min(a, b - 1))
        stop.append(b)
    return Box(zyx(start), zyx(stop))


def _pyramid(sources: Sequence[_Source], wanted: Wanted) -> Pyramid:
    """The levels that are written."""
    first = sources[0].image
    axes = "".join(axis for axis in "CZYX" if axis in first.layout.read).lower()
    levels = [_level(one) for one in sources]
    if wanted.levels in ("mean", "nearest"):
        shape, size = levels[0].shape, levels[0].scale
        for factor in pyramid_factors(shape, size, smallest=_SMALL)[1:]:
            levels.append(_computed(levels[0], factor, first.dtype.itemsize, wanted.levels))
    return Pyramid(
        axes,
        len(wanted.channels),
        first.dtype,
        tuple(levels),
        first.voxel_size is not None,
        wanted.version,
    )


def _level(source: _Source) -> Level:
    image, shape = source.image, source.box.shape
    chunks = chunks_for(shape, image.chunks, image.dtype.itemsize)
    scale = image.voxel_size or image.factors
    z, y, x = (t + n * s for t, n, s in zip(image.origin, source.box.start, scale, strict=True))
    unit = unit_for(shape, chunks, image.chunks, image.dtype.itemsize)
    return Level(shape, chunks, scale, (z, y, x), unit)


def _computed(first: Level, factor: ZYX, itemsize: int, how: str) -> Level:
    shape = zyx(level_shape(first.shape, factor))
    chunks = zyx(map(min, first.chunks, shape))
    z, y, x = (s * f for s, f in zip(first.scale, factor, strict=True))
    # the middle of the voxels that a mean is of, and the first voxel where that is taken
    a, b, c = (
        t + (s * (f - 1) / 2 if how == "mean" else 0)
        for t, s, f in zip(first.translation, first.scale, factor, strict=True)
    )
    return Level(shape, chunks, (z, y, x), (a, b, c), unit_for(shape, chunks, chunks, itemsize))


def _record(image: Image, wanted: Wanted) -> dict[str, Any]:
    """What the result says of where it is from."""
    chosen = {name: value for name, value in image.selection.options.items() if value}
    return {
        "crop": {
            "image": addresses.masked(image.address),
            **chosen,
            "level": image.level,
            "region": box_text(wanted.box),
            "channels": list(wanted.channels),
            "pyramid": wanted.levels,
            # JSON has no such numbers
            "pad": wanted.pad if math.isfinite(wanted.pad or 0) else str(wanted.pad),
        }
    }


def _metadata(image: Image, wanted: Wanted) -> dict[str, Any]:
    """What OME-Zarr says of channels and labels."""
    found: dict[str, Any] = {}
    if image.format.startswith("ome-zarr"):
        found = nodes.metadata(group_of(image))
        if isinstance(label := found.get("image-label"), dict):
            kept = {name: value for name, value in label.items() if name != "source"}
            return {"image-label": {**kept, "version": wanted.version}}
    if "C" not in image.layout.read:
        own = found.get("omero")
        return {"omero": own} if isinstance(own, dict) else {}
    return {"omero": _omero(image, wanted, found.get("omero"))}


def _omero(image: Image, wanted: Wanted, own: Any) -> dict[str, Any]:
    """How channels are shown: as the image says, else white from 0 to the largest value."""
    own = own if isinstance(own, dict) else {}
    channels = own.get("channels")
    if not isinstance(channels, list) or len(channels) != image.channels:
        top = 1.0 if image.dtype.kind == "f" else int(np.iinfo(image.dtype).max)
        window = {"min": 0, "max": top, "start": 0, "end": top}
        channels = [
            {"label": name, "color": "FFFFFF", "window": window, "active": True}
            for name in image.channel_names
        ]
    return {**own, "channels": [channels[number - 1] for number in wanted.channels]}
