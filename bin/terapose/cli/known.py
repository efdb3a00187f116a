"""What the record beside a result says of the image, for commands that look at both."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from terapose.cli.values import channel_names
from terapose.core.errors import InputError
from terapose.core.selection import Selection
from terapose.io.images.address import localise
from terapose.io.images.model import Image
from terapose.io.remote import Remote, folder_of
from terapose.results.outputs import LABELS

if TYPE_CHECKING:
    from terapose.io.images.watch import Watch


class Known(NamedTuple):
    """What was segmented of an image, and where its results are.

    Attributes
    ----------
    selection
        What was chosen of the image's address.
    channel
        The first channel that was segmented, from 1; None where nothing says so.
    voxel_size
        (z, y, x) in micrometres, if known.
    mode
        Of the run; None where nothing says so.
    placed
        Whether the record says where in the image the results are.
    """

    selection: Selection = Selection()
    channel: int | None = None
    voxel_size: tuple[float, float, float] | None = None
    mode: str | None = None
    placed: bool = False

    def chosen(self, options: Mapping[str, Any]) -> Selection:
        """The selection, for options of a command: a region is in voxels of this level."""
        level = options.get("level")
        moved = level is not None and str(level) != str(self.selection.level)
        return replace(self.selection, region="") if moved else self.selection

    def of_positions(self, options: Mapping[str, Any], table: str) -> Selection:
        """The selection for a table of positions, which are in voxels of the level of the record.

        With a label image its shape shows a wrong level; nothing shows it of positions alone.

        Parameters
        ----------
        options
            Of a command.
        table
            Its address, for the message.

        Raises
        ------
        InputError
            If the options choose another level.
        """
        chosen, level = self.chosen(options), options.get("level")
        if self.placed and level is not None and str(level) != str(self.selection.level):
            raise InputError(
                "its positions are in voxels of another level of the image",
                where=table,
                got=f"level {level}",
                allowed=f"level {self.selection.level}, which provenance.json beside it names",
                remedy="leave out --level; if the table is not from this run, move it elsewhere",
            )
        return chosen


def segmented(result: str, image: str) -> Known:
    """What ``provenance.json`` beside a result says, if there is one and it is of this image.

    Parameters
    ----------
    result
        Path or URL of the label image or table.
    image
        Address of the image.
    """
    from pydantic import TypeAdapter

    from terapose.results.destination import is_same
    from terapose.results.earlier import record_of

    try:
        folder = _folder_of(result)
        found = (record_of(folder) if folder else None) or {}
        about = found["image"]
        if not is_same(about["address"], image):
            return Known()
        # the results may have been brought to another level than the one that was segmented
        lie = found.get("output", about)
        known = {
            "selection": lie.get("selection", {}),
            "channel": about.get("channels", [None])[0],
            "voxel_size": lie.get("voxel_size") or None,
            "mode": found.get("mode"),
            "placed": "selection" in lie,
        }
        return TypeAdapter(Known).validate_json(json.dumps(known, allow_nan=False), strict=True)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return Known()


def _folder_of(result: str) -> Path | Remote | None:
    """The folder of results that a label image or table is in; None if there can be none."""
    place = localise(result)
    parts = place.rstrip("/").split("/")
    while LABELS in parts[:-1]:  # an image in the group of labels
        parts.pop()
    try:
        return folder_of("/".join(parts[:-1]) or ("/" if place.startswith("/") else "."))
    except InputError:
        return None


def under(image: Image, shape: tuple[int, ...], known: Known) -> Image:
    """The image under a label image: all of it, where that is larger than the record's region.

    So is the file that ``mask_tiff`` writes.

    Parameters
    ----------
    image
        As opened, with the region of the record or of the command.
    shape
        (Z, Y, X) of the label image.
    known
        What the record says.
    """
    from_record = known.selection.region and image.selection.region == known.selection.region
    fits = tuple(shape) != image.shape and tuple(shape) == image.whole.shape
    return image.whole if from_record and fits else image


def image_with(
    labels: str,
    shape: tuple[int, ...],
    address: str | None,
    channels: str | None,
    watch: Watch,
) -> tuple[Image | None, tuple[int, ...]]:
    """The image that belongs to labels, and numbers of channels.

    Parameters
    ----------
    labels, shape
        Address and (Z, Y, X) of the labels.
    address
        Of the image, if it is given.
    channels
        Numbers and names, separated by commas; None: all.
    watch
        Opens the image.

    Raises
    ------
    InputError
        If the image has another shape, or no such channel; or if there are channels of no image.
    """
    from terapose.io.images.channels import channel_numbers
    from terapose.io.images.opening import open_image

    if address is None:
        if channels is not None:
            raise InputError("there is no image", where="channels", remedy="give it with --image")
        return None, ()
    known = segmented(labels, address)
    opened = watch.open(partial(open_image, address, **known.selection.options))
    opened = under(opened, shape, known)
    if opened.shape != tuple(shape):
        raise _unlike(opened, address, shape)
    numbers = channel_names(channels)
    every = tuple(range(1, opened.channels + 1))
    return opened, channel_numbers(opened, numbers)[0] if numbers else every


def refuse_other_shape(labels: str, shape: tuple[int, ...], beside: Path) -> None:
    """Refuse labels of another shape than the image that another program will show them on.

    The other program may open an image that Terapose does not read, and take planes for channels
    where the file does not say which they are.

    Parameters
    ----------
    labels, shape
        Address and (Z, Y, X) of the labels.
    beside
        The image.

    Raises
    ------
    InputError
        If the image has another shape.
    """
    from terapose.io.images.opening import open_image

    address = str(beside)
    known = segmented(labels, address)
    try:
        opened = under(open_image(address, **known.selection.options), shape, known)
    except InputError:
        return
    start = 1 if shape[0] == 1 else 0
    if opened.shape[start:] != tuple(shape)[start:]:
        raise _unlike(opened, address, shape)


def _unlike(image: Image, address: str, shape: tuple[int, ...]) -> InputError:
    """The error for an image of another shape than its labels."""
    return InputError(
        "image and labels differ in shape",
        where=address,
        got=" x ".join(map(str, image.shape)),
        allowed=" x ".join(map(str, shape)),
        remedy="give the image, or a crop of it, that the labels belong to",
    )
