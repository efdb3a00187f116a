"""The image of results in a SpatialData store: a reference to it, or a copy.

SpatialData reads images that are Zarr within the store, with an axis of channels. Images of a run
are anywhere and of any format, so the store says by default where the image is, and a copy is made
on request: all channels of what was segmented, on the grid of the label image, block by block.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import zarr

from terapose.core.geometry import Grid, zyx
from terapose.results.report.source import open_source

NAME = "image"
_BLOCK = (64, 512, 512)
_FLAT_BLOCK = (1, 2048, 2048)


def reference(record: Mapping[str, Any]) -> dict[str, Any]:
    """Where the image is, and which part of it has the shape of the label image.

    Parameters
    ----------
    record
        Of the run.
    """
    image, output = record["image"], record["output"]
    return {
        "address": image["address"],
        "selection": output["selection"],
        "offset": output["offset"],
        "shape": output["shape"],
        "channels": image["channel_names"],
    }


def copy_image(results: Path, place: Path, record: Mapping[str, Any], axes: str) -> list[str]:
    """Copy the image into an array, ``0`` in a folder; returns the names of the channels.

    Parameters
    ----------
    results, record
        Of the run.
    place
        The folder.
    axes
        Of the label image, ``yx`` or ``zyx``.

    Raises
    ------
    InputError
        If the image cannot be read, or is another one than that of the results.
    """
    source = open_source(results, record)
    image = source.image.image
    block = zyx(map(min, _BLOCK if len(axes) > 2 else _FLAT_BLOCK, image.shape))
    array = zarr.create_array(
        str(place / "0"),
        shape=(image.channels, *image.shape[-len(axes) :]),
        chunks=(1, *block[-len(axes) :]),
        dtype=image.dtype,
        fill_value=0,
        dimension_names=["c", *axes],
    )
    for channel in range(image.channels):
        for box in Grid(zyx(image.shape), block):
            values = image.read(box.slices, channel + 1)
            where: Any = (channel, *box.slices[-len(axes) :])
            array[where] = values.reshape(box.shape[-len(axes) :])
    source.watch.confirm()
    return list(record["image"]["channel_names"])
