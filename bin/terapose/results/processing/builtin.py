"""The functions that are there already.

- ``components``: each connected part of an object becomes an object; with ``touching`` objects that
  touch are joined first.
- ``split``: objects are split by watershed of the distance to their surface, between centres that
  are at least ``distance`` pixels apart. Parts of an object that share no face are apart in any
  case, and the surface of an object of one plane is its outline.
- ``size``: objects smaller than ``min`` or larger than ``max`` voxels (0: any size) are removed.
- ``merge``: objects get the ID that a table has for theirs; those with the same one are joined.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.core.errors import InputError
from terapose.io.homes import expanded
from terapose.io.text_tables import read_table
from terapose.results.processing.functions import Block, Function

_COLUMNS = ("CellID", "NewID")
_DIGITS = 100
"""Fewer than this is all that a number in a table has."""


def _components(labels: NDArray[Any], _image: NDArray[Any] | None, block: Block) -> NDArray[Any]:
    # what touches is joined by names
    return labels > 0 if block.options["touching"] else labels


def _split(labels: NDArray[Any], _image: NDArray[Any] | None, block: Block) -> NDArray[Any]:
    from scipy.ndimage import distance_transform_edt
    from skimage.segmentation import watershed

    z, y, x = block.voxel_size or (1.0, 1.0, 1.0)
    steps, least = (z / x, y / x, 1.0), _from_zero(block.options, "distance")
    found = np.zeros(labels.shape, np.int32)
    planes = np.flatnonzero((labels > 0).any(axis=(1, 2)))
    # of an object of one plane those above and below are no surface
    within = slice(planes[0], planes[0] + 1) if len(planes) == 1 else slice(None)
    mask = labels[within] > 0
    depth = distance_transform_edt(mask, sampling=steps)
    seeds = np.zeros(mask.shape, np.int32)
    for number, place in enumerate(_centres(mask, depth, steps, least), 1):
        seeds[place] = number
    found[within] = watershed(-depth, seeds, mask=mask)
    return found


def _centres(
    mask: NDArray[np.bool_], depth: NDArray[Any], steps: tuple[float, float, float], least: float
) -> list[tuple[int, ...]]:
    """The deepest voxels that are apart, at least one of each piece: none reaches another piece."""
    from scipy.ndimage import label, maximum_position
    from skimage.feature import peak_local_max

    pieces, count = label(mask)
    peaks = peak_local_max(depth, footprint=np.ones((3, 3, 3)), exclude_border=False)
    places = set(map(tuple, peaks.tolist()))
    places |= {tuple(map(int, p)) for p in maximum_position(depth, pieces, range(1, count + 1))}
    # of a plateau, and of peaks that are nearer than that, the first one stays
    chosen: list[tuple[int, ...]] = []
    known: dict[int, list[NDArray[Any]]] = {}
    for place in sorted(places, key=lambda p: (-depth[p], p)):
        at, others = np.array(place) * steps, known.setdefault(int(pieces[place]), [])
        if all(np.linalg.norm(at - other) >= least for other in others):
            chosen.append(place)
            others.append(at)
    return chosen


def _size(
    ids: NDArray[np.uint64], sizes: NDArray[np.int64], options: Mapping[str, Any]
) -> NDArray[np.uint64]:
    least, most = (_from_zero(options, name) for name in ("min", "max"))
    kept = sizes >= least
    if most:
        kept &= sizes <= most
    return np.where(kept, ids, np.uint64(0))


def _from_zero(options: Mapping[str, Any], name: str) -> Any:
    """An option that is a length or a number of voxels."""
    if options[name] < 0:
        raise InputError("is negative", where=name, got=options[name], allowed="numbers from 0")
    return options[name]


def _merge(
    ids: NDArray[np.uint64], _sizes: NDArray[np.int64], options: Mapping[str, Any]
) -> NDArray[np.uint64]:
    if not options["table"]:
        raise InputError(
            "the function needs a table",
            where="table",
            allowed=f"a CSV file with the columns {' and '.join(_COLUMNS)}",
            remedy="give it with --set table=FILE",
        )
    new = ids.copy()
    for one, other in _pairs(expanded(options["table"])).items():
        at = int(np.searchsorted(ids, np.uint64(one)))
        if at == len(ids) or ids[at] != one:
            raise InputError(
                "is not in the label image",
                where=options["table"],
                got=f"CellID {one}",
                remedy="give the table that belongs to the label image",
            )
        new[at] = other
    return new


def _pairs(path: Path) -> dict[int, int]:
    """New IDs by old ones."""
    table = read_table(path, _COLUMNS)
    header, *rows = table.lines or [[]]
    if not set(_COLUMNS) <= set(header):
        raise InputError(
            "lacks a column", where=path, got=", ".join(header), allowed=" and ".join(_COLUMNS)
        )
    pairs: dict[int, int] = {}
    for number, row in zip(table.numbers[1:], rows, strict=True):
        fields = dict(zip(header, row, strict=False))
        texts = [fields.get(name, "") for name in _COLUMNS]
        if not all(map(_is_id, texts)) or int(texts[0]) in pairs:
            raise InputError(
                f"line {number} is wrong",
                where=path,
                got=", ".join(row),
                allowed="whole numbers of up to 64 bits, and each CellID once",
            )
        pairs[int(texts[0])] = int(texts[1])
    return pairs


def _is_id(text: str) -> bool:
    is_short = text.isdecimal() and text.isascii() and len(text) < _DIGITS
    return is_short and int(text) < 2**64


BUILTIN = {
    function.name: function
    for function in (
        Function("components", "names", _components, options={"touching": False}),
        Function("split", "objects", _split, halo=(1, 1, 1), options={"distance": 5.0}),
        Function("size", "numbers", _size, options={"min": 0, "max": 0}),
        Function("merge", "numbers", _merge, options={"table": ""}),
    )
}
"""By name."""
