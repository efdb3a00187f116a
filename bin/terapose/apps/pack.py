"""Label images in the form that the CellMap segmentation challenge takes: `pack`.

The result is a zip file without a top folder that holds one Zarr (version 2): an array
``crop<ID>/<label>`` for each row of a manifest, of the shape, voxel size and translation that the
row has, with these as attributes, in nanometres. IDs are those of the label image, in an integer
type that holds them.

A label image is brought to the voxels of a row by the nearest voxel: a voxel gets the ID at its
centre, 0 outside the label image. Where a centre is between two voxels, it gets
that of the later one. Translations are those of the centre of the first voxel, as in OME-Zarr.
"""

from __future__ import annotations

import csv
import math
import os
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from terapose.core.errors import InputError, few
from terapose.core.geometry import ZYX, Box, Grid, zyx
from terapose.io import files
from terapose.io.documents import refuse_special
from terapose.io.images import address as addresses
from terapose.io.images.model import Image
from terapose.io.images.watch import Watch
from terapose.io.labels.ome_zarr import create, open_level
from terapose.io.labels.values import check_signs, check_type

Place = tuple[float, float, float]

COLUMNS = ("crop_name", "dataset", "class_label", "voxel_size", "translation", "shape")
MOST_BYTES = 50 * 10**9
"""Bytes that the challenge takes, unzipped."""
_CHUNK = 64
_SOURCE = 256
"""Edge of a box of the label image that is read at once, in voxels."""
_TIE = 1e-6
_SHOWN = 5
_NAME = ("crop", "label", "dataset")
_NAME_OF_PART = re.compile(r"[\w-][\w .+()-]{0,199}")
"""What every file system and every program that unpacks takes for the name of a folder."""


@dataclass(frozen=True)
class Row:
    """A row of the manifest.

    Attributes
    ----------
    crop, dataset, label
        Names: ``crop234``, ``jrc_ctl-id8-1``, ``mito``.
    voxel_size, translation
        (z, y, x) in nanometres.
    shape
        (Z, Y, X).
    """

    crop: str
    dataset: str
    label: str
    voxel_size: Place
    translation: Place
    shape: ZYX


def read_manifest(path: Path) -> list[Row]:
    """Read a manifest: CSV, with lists as ``[a;b;c]``.

    Raises
    ------
    InputError
        If it cannot be read, lacks a column, or a row is wrong or there twice.
    """
    refuse_special(path)
    rows: dict[tuple[str, str], Row] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (table.fieldnames or ())]
            if missing:
                raise InputError(
                    f"has no column {', '.join(missing)}", where=path, allowed=", ".join(COLUMNS)
                )
            for fields in table:
                row = _row(path, table.line_num, fields)
                if (row.crop, row.label) in rows:
                    raise _wrong(path, table.line_num, f"{row.crop}/{row.label} twice")
                rows[row.crop, row.label] = row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError("cannot be read as CSV", where=path, got=error) from error
    if not rows:
        raise InputError("has no rows", where=path, remedy="give the manifest of the challenge")
    return list(rows.values())


def _row(path: Path, line: int, fields: dict[str, Any]) -> Row:
    names = [str(fields[name] or "").strip() for name in COLUMNS[:3]]
    if not all(map(_NAME_OF_PART.fullmatch, names)):
        raise _wrong(path, line, ", ".join(names))
    try:
        size, place, shape = (
            [float(part) for part in str(fields[name]).strip().strip("[]").split(";")]
            for name in COLUMNS[3:]
        )
    except ValueError as error:
        raise _wrong(path, line, error) from error
    is_right = (
        {len(size), len(place), len(shape)} == {3}
        and all(map(math.isfinite, (*size, *place, *shape)))
        and all(n == int(n) and n > 0 for n in shape)
        and min(size) > 0
    )
    if not is_right:
        raise _wrong(path, line, "; ".join(str(fields[name]) for name in COLUMNS[3:]))
    (a, b, c), (d, e, f) = size, place
    crop = names[0] if names[0].startswith("crop") else f"crop{names[0]}"
    return Row(crop, names[1], names[2], (a, b, c), (d, e, f), zyx(map(int, shape)))


def _wrong(path: Path, line: int, got: object) -> InputError:
    return InputError(
        f"line {line} is wrong",
        where=path,
        got=got,
        allowed="names, and lists of three numbers as [4.0;4.0;4.0]",
    )


def pack(
    rows: Sequence[Row],
    pattern: str,
    out: Path,
    *,
    skip_missing: bool = False,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[Row]:
    """Write the zip file.

    Parameters
    ----------
    rows
        Of the manifest.
    pattern
        Addresses of the label images, with ``{crop}``, ``{label}`` and ``{dataset}``.
    out
        The zip file.
    skip_missing
        Leave out rows without a label image.
    overwrite
        Whether a file with this name is replaced.
    progress
        Called with the number of label images done, and of all.

    Returns
    -------
    list of Row
        Those that were left out.

    Raises
    ------
    InputError
        If a label image is missing or cannot be brought to its row, the file exists, or is larger
        than the challenge takes.
    """
    files.refuse_present(out, overwrite=overwrite)
    sources = {row: _address(pattern, row) for row in rows}
    addresses.refuse_inputs([out], sources.values())
    missing = [
        row for row, at in sources.items() if not (addresses.is_url(at) or os.path.exists(at))
    ]
    if len(missing) == len(rows) or (missing and not skip_missing):
        raise InputError(
            f"{len(missing)} of {len(rows)} label images are missing",
            where=pattern,
            got=few([sources[row] for row in missing], _SHOWN),
            remedy="check the pattern, or leave them out (--skip-missing)",
        )
    watch, folder = Watch(), files.aside(out)
    there = [row for row in rows if row not in missing]
    try:
        group = zarr.create_group(folder, zarr_format=2)
        for name in dict.fromkeys(row.crop for row in there):
            group.create_group(name)
        for done, row in enumerate(there, 1):
            _write(group, row, watch.labels(sources[row]).image)
            if progress is not None:
                progress(done, len(there))
        watch.confirm()
        # another process may have written it meanwhile
        files.refuse_present(out, overwrite=overwrite)
        with files.written(out, "zip file") as place:
            _zip(folder, place)
    finally:
        files.remove(folder)
    return missing


def _address(pattern: str, row: Row) -> str:
    for name in _NAME:
        pattern = pattern.replace(f"{{{name}}}", getattr(row, name))
    return addresses.localise(pattern)


def _write(group: zarr.Group, row: Row, image: Image) -> None:
    """Write the array of a row, chunk by chunk."""
    check_type(image.dtype, image.address)
    indices = _indices(image, row)
    # what all readers of version 2 know
    codec: dict[str, Any] = {"id": "zlib", "level": 6}
    array = group.create_array(
        f"{row.crop}/{row.label}",
        shape=row.shape,
        dtype=f"uint{8 * image.dtype.itemsize}",
        chunks=tuple(min(_CHUNK, n) for n in row.shape),
        fill_value=0,
        compressors=codec,
        attributes={
            "voxel_size": list(row.voxel_size),
            "translation": list(row.translation),
            "shape": list(row.shape),
        },
        config={"write_empty_chunks": False},
    )
    found_any = False
    for box in Grid(row.shape, (_CHUNK, _CHUNK, _CHUNK)):
        labels = _sampled(image, indices, box)
        check_signs(labels, image.address)
        array[box.slices] = labels
        found_any = found_any or bool(labels.any())
    outside = any(not np.any((i >= 0) & (i < n)) for i, n in zip(indices, image.shape, strict=True))
    if outside and not found_any:
        raise InputError(
            "the label image does not overlap the crop",
            where=image.address,
            got=f"translation {_said(1000 * t for t in image.origin)} nm",
            allowed=f"{row.crop} begins at {_said(row.translation)} nm",
            remedy="check scale and translation in its metadata",
        )


def _said(values: Any) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _indices(image: Image, row: Row) -> list[NDArray[np.int64]]:
    """For each axis, the voxel of the label image that each voxel of the row takes."""
    if image.voxel_size is None:
        if image.shape != row.shape:
            raise InputError(
                "the label image has no voxel size, and is not of the shape of the crop",
                where=image.address,
                got=" x ".join(map(str, image.shape)),
                allowed=" x ".join(map(str, row.shape)),
                remedy="write scale and translation into the metadata (OME-Zarr)",
            )
        return [np.arange(n) for n in row.shape]
    indices = []
    for axis in range(3):
        places = row.translation[axis] + np.arange(row.shape[axis]) * row.voxel_size[axis]
        own = (places - 1000 * image.origin[axis]) / (1000 * image.voxel_size[axis])
        indices.append(np.floor(own + 0.5 + _TIE).astype(np.int64))
    return indices


def _sampled(image: Image, indices: Sequence[NDArray[np.int64]], box: Box) -> NDArray[Any]:
    """Labels of a box of the row."""
    labels = np.zeros(box.shape, image.dtype)
    runs = [
        list(_runs(index[part], length))
        for index, part, length in zip(indices, box.slices, image.shape, strict=True)
    ]
    for z, own_z in runs[0]:
        for y, own_y in runs[1]:
            for x, own_x in runs[2]:
                region = tuple(slice(int(o[0]), int(o[-1]) + 1) for o in (own_z, own_y, own_x))
                found = image.read((region[0], region[1], region[2]))
                places = np.ix_(own_z - own_z[0], own_y - own_y[0], own_x - own_x[0])
                labels[z, y, x] = found[places]
    return labels


def _runs(index: NDArray[np.int64], length: int) -> Iterator[tuple[slice, NDArray[np.int64]]]:
    """Parts of an axis within the label image, none of which needs many voxels of it."""
    inside = np.flatnonzero((index >= 0) & (index < length))
    start = 0
    while start < len(inside):
        first = index[inside[start]]
        stop = int(np.searchsorted(index[inside], first + _SOURCE))
        stop = max(stop, start + 1)
        yield slice(int(inside[start]), int(inside[stop - 1]) + 1), index[inside[start:stop]]
        start = stop


def _zip(folder: Path, path: Path) -> None:
    """Put the files of a folder into a zip file, always in the same order and with one date."""
    found = sorted(p for p in folder.rglob("*") if p.is_file())
    size = sum(p.stat().st_size for p in found)
    if size > MOST_BYTES:
        raise InputError(
            "the label images are larger than the challenge takes",
            where=folder,
            got=f"{size} bytes",
            allowed=f"{MOST_BYTES} bytes",
        )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in found:
            entry = zipfile.ZipInfo(file.relative_to(folder).as_posix())
            entry.compress_type = zipfile.ZIP_DEFLATED
            with file.open("rb") as source, archive.open(entry, "w", force_zip64=True) as target:
                shutil.copyfileobj(source, target)


def save(
    path: str | os.PathLike[str],
    labels: NDArray[Any],
    voxel_size: Place,
    translation: Place = (0.0, 0.0, 0.0),
) -> None:
    """Write an array as a label image that `pack` reads; what has that name is replaced.

    Parameters
    ----------
    path
        Folder of the OME-Zarr labels group.
    labels
        (Z, Y, X), whole numbers from 0.
    voxel_size, translation
        (z, y, x) of a voxel, and of the centre of the first one, in nanometres.

    Raises
    ------
    InputError
        If it is not such an array, or cannot be written.
    """
    if labels.ndim != 3 or labels.dtype.kind not in "biu" or labels.min(initial=0) < 0:
        raise InputError(
            "is not a label image",
            where="labels",
            got=f"an array of {labels.ndim} axes and type {labels.dtype}",
            allowed="Z, Y, X and whole numbers from 0",
        )
    z, y, x = (s / 1000 for s in voxel_size)
    a, b, c = (t / 1000 for t in translation)
    kind = "uint8" if labels.dtype.kind == "b" else f"uint{8 * labels.dtype.itemsize}"
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.made(path, "labels") as place:
        create(
            str(place),
            shape=labels.shape,
            dtype=kind,
            voxel_size=(z, y, x),
            translation=(a, b, c),
            factors=[(1, 1, 1)],
        )
        open_level(str(place), 0)[...] = labels.astype(kind)
