"""What attributes of an HDF5 dataset say of axes and voxel size.

Axes, of the first that says them:

1. ``axistags`` as vigra and ilastik write it: JSON with a key for each axis, in the array's order.
2. ``DIMENSION_LABELS``, HDF5's own labels, or names of dimension scales (netCDF, xarray).
3. An attribute ``axes``, ``axis_names`` or ``_ARRAY_DIMENSIONS``: letters ("zyx") or names.

Tags that do not fit the array are refused, not ignored: they are wrong, or of another array.

Voxel size: ``element_size_um`` in Z, Y, X, or one length for each axis (ilastik, PlantSeg, the
HDF5 plugin of ImageJ); else resolutions of ``axistags`` that have a unit in ``axis_units``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from terapose.core.errors import InputError
from terapose.io.documents import parse_json
from terapose.io.images.axes import KNOWN, UNKNOWN, letter_of, unnamed
from terapose.io.images.units import VoxelSize, micrometres, voxel_size_of

_ATTRIBUTES = ("axes", "axis_names", "_ARRAY_DIMENSIONS")


def axes_of(address: str, dataset: Any, *, are_given: bool) -> str:
    """Axes of a dataset as its attributes have them, one letter each.

    Parameters
    ----------
    address
        For the message.
    dataset
        An open dataset of h5py.
    are_given
        Whether the user says what they are, so that those of the file may be wrong.

    Returns
    -------
    str
        Letters as of `letter_of`.

    Raises
    ------
    InputError
        If the attributes do not fit the array.
    """
    for name, names in _statements(address, dataset, are_given=are_given):
        letters = "".join(letter_of(axis) for axis in names)
        if not set(letters) - {UNKNOWN}:
            continue
        if len(letters) == dataset.ndim:
            return letters
        if not are_given and set(letters) <= set(KNOWN):
            raise _wrong(address, name, f"axes {letters} for an array of {dataset.ndim} axes")
    return unnamed(dataset.ndim)


def voxel_size_in(dataset: Any, axes: str, planes: int) -> VoxelSize | None:
    """Voxel size of a dataset as its attributes have it.

    Parameters
    ----------
    dataset
        An open dataset of h5py.
    axes
        What its axes are read as, one letter each.
    planes
        Its number of planes.

    Returns
    -------
    tuple of float or None
        (z, y, x) in micrometres.
    """
    sizes: dict[str, float | None] = {}
    for axis, size in zip(*_element_sizes(dataset, axes), strict=True):
        sizes[axis] = micrometres(size, "um")
    if not sizes:
        sizes = _resolutions(dataset)
    return voxel_size_of(sizes.get("Z"), sizes.get("Y"), sizes.get("X"), planes)


def text_of(value: Any) -> str:
    """An attribute as text, be it a string, bytes or an array of characters."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list):
        parts = [part if isinstance(part, bytes) else str(part).encode() for part in value]
        value = b"".join(parts)
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return text.strip("\0 ")


def _statements(address: str, dataset: Any, *, are_given: bool) -> list[tuple[str, Sequence[str]]]:
    """Names of axes by what says them, those that count first."""
    found: list[tuple[str, Sequence[str]]] = []
    if "axistags" in dataset.attrs and not are_given:
        found.append(("axistags", [str(tag["key"]) for tag in _tags(address, dataset)]))
    found.append(("DIMENSION_LABELS", _labels(dataset)))
    for name in _ATTRIBUTES:
        if name in dataset.attrs:
            found.append((name, _names(dataset.attrs[name])))
    return found


def _tags(address: str, dataset: Any) -> list[dict[str, Any]]:
    text = text_of(dataset.attrs["axistags"])
    try:
        tags = parse_json(text)["axes"]
        if all("key" in tag for tag in tags) and len(tags) == dataset.ndim:
            return list(tags)
    except (ValueError, KeyError, TypeError) as error:
        raise _wrong(address, "axistags", f"{type(error).__name__}: {error}") from error
    keys = "".join(str(tag.get("key", "?")) for tag in tags)
    raise _wrong(address, "axistags", f"axes {keys} for an array of {dataset.ndim} axes")


def _wrong(address: str, name: str, got: str) -> InputError:
    return InputError(
        f"the attribute {name} does not fit the array",
        where=address,
        got=got,
        remedy="give the axes with the parameter axes, for example ZYX",
    )


def _labels(dataset: Any) -> list[str]:
    """The label of each dimension, or the name of the scale.

    Read as the attributes that they are: HDF5's own functions for them end the process where these
    are damaged.
    """
    labels = [text_of(label) for label in np.ravel(dataset.attrs.get("DIMENSION_LABELS", ()))]
    scales = list(np.ravel(dataset.attrs.get("DIMENSION_LIST", ())))
    found = []
    for axis in range(dataset.ndim):
        label = labels[axis] if axis < len(labels) else ""
        if not label and axis < len(scales) and len(scales[axis]):
            label = str(dataset.file[scales[axis][0]].name)
        found.append(label)
    return found


def _names(value: Any) -> list[str]:
    """Names of axes of an attribute: of an array of names, or of a text."""
    if hasattr(value, "tolist") and not isinstance(value, bytes):
        parts = value.tolist()
        if isinstance(parts, list):
            return [text_of(part) for part in parts]
    words = re.findall(r"\w+", text_of(value))
    return list(words[0]) if len(words) == 1 else words


def _element_sizes(dataset: Any, axes: str) -> tuple[str, list[float]]:
    """Axes, and the lengths that ``element_size_um`` gives for them."""
    try:
        sizes = [float(size) for size in dataset.attrs["element_size_um"]]
    except (KeyError, TypeError, ValueError):
        return "", []
    if len(sizes) == 3:
        return "ZYX", sizes
    if len(sizes) == len(axes):
        return axes, sizes
    return ("YX", sizes) if len(sizes) == 2 else ("", [])


def _resolutions(dataset: Any) -> dict[str, float | None]:
    """Lengths of ``axistags`` that have a unit."""
    try:
        units = parse_json(text_of(dataset.attrs["axis_units"]))
        tags = parse_json(text_of(dataset.attrs["axistags"]))["axes"]
        return {
            letter_of(str(tag["key"])): micrometres(float(tag["resolution"]), units.get(tag["key"]))
            for tag in tags
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}
