"""What the attributes of N5 datasets and groups say: axes and sizes of voxels.

Programs have conventions of their own, of which these are read:

- ``axes``, ``units``, ``resolution`` (tensorstore, Neuroglancer): one for each axis, fastest first;
  ``resolution`` alone also by Paintera and BigDataViewer.
- ``pixelResolution`` (N5 Viewer, N5 Spark): lengths of X, Y, Z with a unit, or without one.
- ``pixelWidth`` and so on, ``numChannels``, ``numSlices``, ``numFrames`` (ImageJ): axes X, Y, C,
  Z, T, those of length 1 left out.
- ``transform`` (OpenOrganelle): scale and translation of one level, slowest axis first.

All but the last are of the finest level: a coarser one is so many times larger as
``downsamplingFactors`` says, of the dataset or for all levels in its group (also ``scales``).
Lengths without a unit are taken for micrometres, as nearly all programs mean them, and that is
noted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from terapose.core.errors import InputError
from terapose.io.documents import parse_json, refuse_special
from terapose.io.images.axes import UNKNOWN, letter_of, unnamed
from terapose.io.images.units import micrometres, signed_micrometres

Attributes = Mapping[str, Any]

_IMAGEJ = (("C", "numChannels"), ("Z", "numSlices"), ("T", "numFrames"))
_OTHER = "U"
_NO_UNIT = "the file gives no unit for its voxel size, which is read as micrometres"


class Calibration(NamedTuple):
    """Sizes of voxels by axis.

    Attributes
    ----------
    sizes
        Micrometres by axis, of those that are known.
    is_own
        Whether they are of this level, not of the finest.
    translation
        Micrometres by axis; empty where the file says nothing of it.
    note
        What was taken for granted; empty where nothing was.
    """

    sizes: Mapping[str, float | None]
    is_own: bool = False
    translation: Mapping[str, float] = {}
    note: str = ""


def read_attributes(folder: str) -> dict[str, Any]:
    """Read `attributes.json` of a folder; empty where there is none.

    Raises
    ------
    InputError
        If it is damaged.
    """
    path = f"{folder}/attributes.json"
    refuse_special(path)
    try:
        with open(path, "rb") as file:
            content = parse_json(file.read())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise InputError(
            "the attributes cannot be read", where=path, got=str(error), remedy="copy it again"
        ) from error
    return content if isinstance(content, dict) else {}


def axes_of(own: Attributes, inherited: Attributes, shape: Sequence[int]) -> str:
    """Axes of a dataset, slowest first, one letter each; ``Q`` where they are not known.

    Attributes that do not fit the array, or name other axes, give letters that are refused.

    Parameters
    ----------
    own, inherited
        Attributes of the dataset, and those of the groups.
    shape
        Lengths of the axes.
    """
    dimensions = len(shape)
    both = {**inherited, **own}
    transform = own.get("transform")
    stated = [_letters(both.get("axes"))[::-1]]
    if isinstance(transform, dict):
        stated.append(_letters(transform.get("axes")))
    if "numChannels" in both:
        counts = [(letter, _number(both.get(key)) or 1) for letter, key in _IMAGEJ]
        longer = [(letter, count) for letter, count in counts if count > 1][::-1]
        fits = [count for _, count in longer] == [*shape[:-2]]
        letters = "".join(letter for letter, _ in longer) + "YX"
        # those of a group of channels may be of all of them
        if fits or len(letters) == dimensions or "numChannels" in own:
            stated.append(letters if fits else (_OTHER * dimensions + "YX")[-dimensions:])
    for letters in stated:
        if len(letters) == dimensions:
            return letters
    if dimensions == 3 and any(
        len(_lengths(value)) == 3
        for value in (both.get("resolution"), _pixels(both)[0], own.get("downsamplingFactors"))
    ):
        return "ZYX"
    return unnamed(dimensions)


def calibration_of(own: Attributes, inherited: Attributes, axes: str) -> Calibration:
    """Sizes of voxels of a dataset.

    Parameters
    ----------
    own, inherited
        Attributes of the dataset, and those of the groups.
    axes
        Its axes as they are read, slowest first.
    """
    transform = own.get("transform")
    if isinstance(transform, dict):
        return _of_transform(transform)
    both = {**inherited, **own}
    lengths, units = _pixels(both)
    if not lengths:
        lengths = [both.get(f"pixel{side}") for side in ("Width", "Height", "Depth")]
        units = [both.get("pixelUnit")] * 3
    if not _lengths(lengths):
        lengths = _lengths(both.get("resolution"))
        given = both.get("units")
        units = given if isinstance(given, list) else [None] * len(lengths)
    letters = axes[::-1] if len(lengths) == len(axes) else "XYZ"[: len(lengths)]
    numbers = _lengths(lengths)
    if len(numbers) != len(letters) or len(units) != len(numbers):
        return Calibration({})
    known = {a: (n, u) for a, n, u in zip(letters, numbers, units, strict=True) if a in "ZYX"}
    has_unit = any(unit for _, unit in known.values())
    if not has_unit and {n for n, _ in known.values()} == {1.0}:
        return Calibration({})  # says nothing
    sizes = {a: micrometres(n, u if has_unit else "um") for a, (n, u) in known.items()}
    return Calibration(sizes, note="" if has_unit else _NO_UNIT)


def factors_of(own: Attributes, inherited: Attributes, level: int, axes: str) -> dict[str, float]:
    """How much coarser a level is than the finest, by axis; empty where it is not said."""
    factors = _lengths(own.get("downsamplingFactors"))
    for listed in (inherited.get("downsamplingFactors"), inherited.get("scales")):
        if not factors and isinstance(listed, list) and level < len(listed):
            factors = _lengths(listed[level])
    letters = axes[::-1] if len(factors) == len(axes) else "XYZ"[: len(factors)]
    return dict(zip(letters, factors, strict=True)) if len(factors) == len(letters) else {}


def _of_transform(transform: Attributes) -> Calibration:
    letters = _letters(transform.get("axes"))
    scale, shift = _lengths(transform.get("scale")), _numbers(transform.get("translate"))
    units = transform.get("units") or []
    if not len(letters) == len(scale) == len(units):
        return Calibration({})
    sizes = {a: micrometres(n, u) for a, n, u in zip(letters, scale, units, strict=True)}
    if len(shift) != len(letters):
        return Calibration(sizes, is_own=True)
    place = {a: signed_micrometres(n, u) for a, n, u in zip(letters, shift, units, strict=True)}
    return Calibration(sizes, is_own=True, translation=place)


def _pixels(attributes: Attributes) -> tuple[list[Any], list[Any]]:
    """Lengths and units of ``pixelResolution``."""
    given = attributes.get("pixelResolution")
    stated = given if isinstance(given, dict) else {"dimensions": given}
    lengths: list[Any] = list(_lengths(stated.get("dimensions")))
    return lengths, [stated.get("unit")] * len(lengths)


def _letters(names: Any) -> str:
    """Names of axes as letters; empty where they say nothing."""
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        return ""
    letters = "".join(map(letter_of, names))
    return letters if set(letters) - {UNKNOWN} else ""


def _numbers(values: Any) -> list[float]:
    """Numbers; empty where one is something else."""
    if not isinstance(values, list):
        return []
    numbers = [_number(value) for value in values]
    return [n for n in numbers if n is not None] if None not in numbers else []


def _lengths(values: Any) -> list[float]:
    """Numbers above 0; empty where one is something else."""
    numbers = _numbers(values)
    return numbers if all(n > 0 for n in numbers) else []


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None
