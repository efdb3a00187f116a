"""What the record of results says of their image, and of their label images.

A record is a file that anybody may have edited, or that another version has written. Names are
taken from it only if they are those that Terapose gives to label images: nothing outside of the
labels group is written to.
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
from terapose.io.labels.of_image import DOCUMENTS
from terapose.results.outputs import IMAGES, LABELS
from terapose.results.publishing import Checks


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


_IMAGE, _CHECKS = TypeAdapter(Segmented), TypeAdapter(Checks)


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
        raise _unknown("which image was segmented", where, _said(error)) from error


def checks_of(record: Mapping[str, Any], where: object) -> Checks:
    """The checksums of label images in a record that has been compared with them.

    Raises
    ------
    InputError
        If they are not of label images that Terapose writes.
    """
    try:
        found = _CHECKS.validate_python(record["checksums"][LABELS])
    except ValidationError as error:
        raise _unknown("which label images there are", where, _said(error)) from error
    names, version = found.files.names, found.files.version
    if version not in DOCUMENTS or not names or len({*names} & {*IMAGES}) != len(names):
        got = f"names {', '.join(map(repr, names))}, version {version!r}"
        raise _unknown("which label images there are", where, got)
    return found


def _said(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else first["msg"]


def _unknown(what: str, where: object, got: str) -> InputError:
    return InputError(
        f"the record does not say {what}",
        where=where,
        got=got,
        remedy="run again, to write the record anew",
    )
