"""What the record of results says of their image.

A record is a file that anybody may have edited, or that another version has written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from terapose.core.errors import InputError
from terapose.core.geometry import ZYX
from terapose.core.selection import Selection
from terapose.io.images.units import VoxelSize


@dataclass(frozen=True)
class Segmented:
    """The image of results, as it was segmented.

    Attributes
    ----------
    address
        Of the image.
    selection
        What of it was the image; a region is part of it.
    whole
        (Z, Y, X) of the level.
    voxel_size
        (z, y, x) in micrometres at the level; None: unknown.
    identified_by, identity
        Whether its content or only its files identify it, and its identity.
    """

    address: str
    selection: Selection
    whole: ZYX
    voxel_size: VoxelSize | None
    identified_by: str
    identity: str


_IMAGE = TypeAdapter(Segmented)


def image_of(record: Mapping[str, Any], where: object) -> Segmented:
    """What a record says of the image.

    Raises
    ------
    InputError
        If it does not say all of it.
    """
    try:
        return _IMAGE.validate_python(record.get("image"))
    except ValidationError as error:
        raise InputError(
            "the record does not say which image was segmented",
            where=where,
            got=_said(error),
            remedy="run again, to write the record anew",
        ) from error


def _said(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else first["msg"]
