"""Images with one value in every voxel: nothing can be found in them, so they are refused.

`terapose.stages.percentiles` detects this in any image, once all of it has been read. In a small
one it is detected before anything is computed: the image is read until two values differ, which is
at once where there is anything to see. A large image that looks empty at first may contain a few
cells, which only reading all of it would show, so it is accepted here.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from terapose.algorithms.normalize.precision import check_held
from terapose.core.errors import InputError
from terapose.core.geometry import Box, zyx
from terapose.io.images.model import Image
from terapose.io.images.read_ahead import blocks_of

SMALL = 2**22
"""Voxels of an image that is read as a whole to know: 8 MiB of 16 bits, a moment."""


def constant(address: str, channel: int, value: float) -> InputError:
    """The error for a constant channel (from 1)."""
    return InputError(
        "the image is constant",
        where=f"{address}, channel {channel}",
        got=f"{value:g} in every voxel",
        allowed="an image with more than one intensity",
        remedy="check the channel and the pyramid level",
    )


def refuse_constant(image: Image, channels: Sequence[int]) -> None:
    """Refuse a small image of which a channel is constant.

    Parameters
    ----------
    image
        The image; one of more than `SMALL` voxels is not read.
    channels
        Numbers from 1.

    Raises
    ------
    InputError
        If a channel has one value in every voxel, values beyond float32 at its beginning, or
        cannot be read.
    """
    if math.prod(image.shape) > SMALL:
        return
    # the first chunk, mostly enough, and then all of the image
    first = Box((0, 0, 0), zyx(image.chunks)).clip(image.shape)
    for channel in channels:
        values = image.read(first.slices, channel)
        check_held(values, image.address, channel)
        value = values.flat[0]
        blocks = (image.read(b.slices, channel) for b in blocks_of(image.shape, image.chunks))
        if all((block == value).all() for block in itertools.chain([values], blocks)):
            raise constant(image.address, channel, float(value))
