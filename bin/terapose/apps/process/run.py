"""Applies a function to a label image of any size: `process`.

1. Functions of objects and of numbers: the objects of each block are **measured**.
2. The function is **applied** to each block (`terapose.results.processing.blocks`). Files hold
   numbers of new objects, the table of these, and what is known of borders.
3. Pairs of objects that continue one another across borders are **joined**, block by block.
4. What belongs together gets its final ID, and labels are **written** in units of whole chunks.
   Coarser levels take the first voxel of each group, as in all label images of Terapose.

Each step goes on after an interruption (`terapose.apps.unfinished`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from terapose.apps.process.setting import FileSetting
from terapose.apps.pyramids import Level, Pyramid
from terapose.apps.unfinished import Progress, Unfinished, check_destination, unfinished
from terapose.core.geometry import ZYX, Box, Grid, zyx
from terapose.core.version import __version__
from terapose.io import files
from terapose.io.checksums import of_file
from terapose.io.images import address as addresses
from terapose.io.images.watch import Watch
from terapose.io.labels.ome_zarr import (
    CHUNKS,
    FLAT_CHUNKS,
    NAME,
    create,
    level_shape,
    pyramid_factors,
)
from terapose.io.labels.values import check_type
from terapose.io.zarr_files import Noted, open_sparse
from terapose.results.processing import blocks
from terapose.results.processing.blocks import Numbered, Objects
from terapose.results.processing.joining import dense_ids, final_ids, not_local, pairs_of

BLOCK = (256, 256, 256)
FLAT_BLOCK = (1, 2048, 2048)
_NUMBERS = "numbers"
_TOGETHER = 2


@dataclass(frozen=True)
class Made:
    """What was written.

    Attributes
    ----------
    objects
        How many there are.
    pyramid
        Of the label image.
    """

    objects: int
    pyramid: Pyramid


@dataclass(frozen=True)
class _Final:
    """Final IDs.

    Attributes
    ----------
    count
        Of objects.
    ids
        By block and number from 1, with 0 in front; None for functions of numbers.
    old, new
        Of functions of numbers: IDs, and what becomes of them.
    """

    count: int
    ids: list[NDArray[np.uint64]] | None = None
    old: NDArray[np.uint64] | None = None
    new: NDArray[np.uint64] | None = None


def process(
    setting: FileSetting,
    out: Path,
    *,
    version: str = "0.5",
    jobs: int = 1,
    overwrite: bool = False,
    progress: Progress | None = None,
    watch: Watch,
) -> Made:
    """Apply a function to a label image.

    Parameters
    ----------
    setting
        Labels, image and function; the images opened by `watch`.
    out
        Folder of the labels group.
    version
        Of OME-Zarr.
    jobs
        Threads that work; the function is called in several of them.
    overwrite
        Whether a Zarr group with this name is replaced.
    progress
        Called as the work goes on.
    watch
        Compares what was read, before the result gets its name.

    Returns
    -------
    Made

    Raises
    ------
    InputError
        If labels or destination cannot be used, the function fails or is not local within its
        halo, or an image changes meanwhile.
    """
    labels, image, function = setting.labels.image, setting.image, setting.function
    check_type(labels.dtype, labels.address)
    inputs = [labels.address, *([] if image is None else [image.address])]
    check_destination(out, inputs, overwrite=overwrite)
    # the function is code of the user's, and may change the working folder in another thread
    out = Path(os.path.abspath(out))
    own = _record(setting)
    request = (
        __version__,
        own,
        function.kind,
        function.digest,
        setting.grid,
        [labels.identity, image and image.identity],
        version,
        out.name,
    )
    with unfinished(out, request, jobs, progress) as work:
        final = _numbered(setting, work) if function.kind == "numbers" else _applied(setting, work)
        made = _write(setting, work, final, version, own)
        work.confirm(watch)
        work.publish(out, overwrite=overwrite)
    return Made(final.count, made)


def default_block(shape: ZYX) -> ZYX:
    """Shape of a block where none is given."""
    return zyx(map(min, BLOCK if shape[0] > 1 else FLAT_BLOCK, shape))


def _numbered(setting: FileSetting, work: Unfinished) -> _Final:
    """What a function of numbers says."""
    objects = _measured(setting, work)
    new = setting.function.renumber(objects.ids, objects.sizes)
    count, dense = dense_ids(new)
    return _Final(count, old=objects.ids, new=dense)


def _measured(setting: FileSetting, work: Unfinished) -> Objects:
    def measure(number: int) -> Noted:
        found = blocks.measured(setting, number)
        return _save(work, f"measured/{number}.npz", **vars(found))

    every = range(len(setting.grid))
    work.run("measured", len(every), measure)
    return blocks.joined(Objects(**_load(work, f"measured/{number}.npz")) for number in every)


def _applied(setting: FileSetting, work: Unfinished) -> _Final:
    """Apply the function to all blocks, and join what belongs together."""
    apply: Callable[[int], Numbered] = partial(blocks.by_block, setting)
    if setting.function.kind == "objects":
        apply = partial(blocks.by_object, setting, boxes_of=_measured(setting, work).boxes_of)
    grid = setting.grid
    _create_numbers(work, grid)

    def unit(number: int) -> Noted:
        found = apply(number)
        noted: Noted = {}
        open_sparse(f"{work.folder / _NUMBERS}", noted)[grid[number].slices] = found.numbers
        verdicts = {f"verdict{n}": np.array(crc) for n, crc in found.verdicts.items()}
        edges = {f"edges{n}": pairs for n, pairs in found.edges.items()}
        tables = _save(work, f"applied/{number}.npz", keys=found.keys, **verdicts, **edges)
        return {**{f"{_NUMBERS}/{key}": crc for key, crc in noted.items()}, **tables}

    # a function of the user's may never return
    work.run("applied", len(grid), unit, waits=False)
    pairs = [np.zeros((0, 4), np.int64)]
    if setting.function.kind != "objects":
        work.run("joined", len(grid), lambda number: _join(setting, work, number))
        pairs += [_load(work, f"joined/{n}.npz")["pairs"] for n in range(len(grid))]
    keys = [_load(work, f"applied/{n}.npz")["keys"] for n in range(len(grid))]
    count, ids = final_ids(keys, np.concatenate(pairs))
    return _Final(count, ids=ids)


def _create_numbers(work: Unfinished, grid: Grid) -> None:
    place = work.folder / _NUMBERS
    if not place.exists():
        with files.made(place, "numbers") as made:
            zarr.create_array(
                str(made),
                shape=grid.shape,
                chunks=grid.block,
                dtype="uint32",
                fill_value=0,
                compressors=ZstdCodec(level=1, checksum=True),
            )


def _join(setting: FileSetting, work: Unfinished, number: int) -> Noted:
    """Compare what a block and those before it think of their borders, and join their objects.

    The pairs have columns block, number, block, number.
    """
    own = _load(work, f"applied/{number}.npz")
    pairs = [np.zeros((0, 4), np.int64)]
    numbers: NDArray[Any] | None = None
    for other in (n for n in setting.around(number) if n < number):
        theirs = _load(work, f"applied/{other}.npz")
        if own[f"verdict{other}"] != theirs[f"verdict{number}"]:
            remedy = "give a larger halo (--halo), or make it a function of objects (EACH)"
            raise not_local(setting.function, number, other, remedy)
        edges = theirs.get(f"edges{number}")
        if edges is None or not len(edges):
            continue
        if numbers is None:
            array = open_sparse(f"{work.folder / _NUMBERS}")
            numbers = np.asarray(array[setting.grid[number].slices]).reshape(-1)
        pairs.append(pairs_of(other, edges[:, 0], number, numbers[edges[:, 1]]))
    return _save(work, f"joined/{number}.npz", pairs=np.concatenate(pairs))


def _write(
    setting: FileSetting, work: Unfinished, final: _Final, version: str, own: dict[str, Any]
) -> Pyramid:
    """Write the label image."""
    image, dtype = setting.labels.image, np.dtype("uint32" if final.count < 2**32 else "uint64")
    shape = setting.grid.shape
    size = image.voxel_size
    factors = pyramid_factors(shape, size)
    chunks = zyx(map(min, CHUNKS if shape[0] > 1 else FLAT_CHUNKS, shape))
    axes = "zyx" if "Z" in image.layout.read else "yx"
    unit = zyx(c * (_TOGETHER if c > 1 else 1) for c in chunks)
    levels = [zyx(level_shape(shape, f)) for f in factors]
    none = (0.0, 0.0, 0.0)
    made = Pyramid(
        axes,
        1,
        dtype,
        tuple(Level(lengths, chunks, none, none, unit) for lengths in levels),
        size is not None,
        version,
    )
    if not work.result.exists():
        with files.made(work.result, "labels") as place:
            create(
                str(place),
                shape=shape[-len(axes) :],
                dtype=dtype,
                voxel_size=size,
                voxels=image.factors,
                translation=image.origin,
                factors=factors,
                chunks=chunks,
                version="0.4" if version == "0.4" else "0.5",
                about=own,
            )
    name, key = f"{work.result.name}/{NAME}", _digest(final)

    def write(number: int) -> Noted:
        box = made.unit(0, number)[1]
        return made.write(work.folder, name, 0, number, _labels(setting, work, final, box, dtype))

    work.run("written", made.units(0), write, key)
    for level in range(1, len(levels)):
        reduce = partial(made.reduce, work.folder, name, level, how="nearest")
        work.run(f"level {level}", made.units(level), reduce, key)
    return made


def _labels(
    setting: FileSetting, work: Unfinished, final: _Final, box: Box, dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Final labels of a box."""
    if final.old is not None and final.new is not None:
        labels = setting.read(box).astype(np.uint64)
        if not len(final.old):
            return labels.astype(dtype)
        at = np.minimum(np.searchsorted(final.old, labels), len(final.old) - 1)
        return np.where(labels > 0, final.new[at], 0).astype(dtype)
    assert final.ids is not None
    result = np.zeros(box.shape, dtype)
    numbers = open_sparse(f"{work.folder / _NUMBERS}")
    for number in setting.grid.touching(box):
        part = setting.grid[number].intersect(box)
        result[part.within(box)] = final.ids[number][np.asarray(numbers[part.slices])]
    return result


def _record(setting: FileSetting) -> dict[str, Any]:
    """What the result says of how it was made."""
    function = setting.function
    known: dict[str, Any] = {
        "labels": addresses.masked(setting.labels.image.address),
        "with": function.name,
    }
    if setting.image is not None:
        known["image"] = addresses.masked(setting.image.address)
        known["channels"] = list(setting.channels)
    return {"process": {**known, "options": dict(function.options), "halo": list(function.halo)}}


def _digest(final: _Final) -> str:
    """What the written labels depend on beside the request."""
    digest = hashlib.sha256()
    for part in (final.old, final.new):
        digest.update(b"" if part is None else part.tobytes())
    return digest.hexdigest()[:16]


def _save(work: Unfinished, name: str, **arrays: Any) -> Noted:
    path = work.folder / name
    path.parent.mkdir(exist_ok=True)
    with files.written(path, "table") as place, place.open("wb") as file:
        np.savez_compressed(file, **arrays)
    return {name: of_file(path)}


def _load(work: Unfinished, name: str) -> dict[str, NDArray[Any]]:
    with np.load(work.folder / name) as found:
        return dict(found)
