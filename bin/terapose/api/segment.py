"""Segment an image that fits into memory, from Python, and return its labels alone."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.api.runner import check_workers, segment_file
from terapose.core.amounts import in_bytes
from terapose.core.errors import InputError
from terapose.core.memory import memory_here
from terapose.core.params import ONLY_FILES, Parameters, check
from terapose.io.samples import one_image
from terapose.pipeline.checked import open_checked
from terapose.pipeline.upscale import full_image


def segment(
    image: NDArray[Any] | str | Path,
    *,
    axes: str | None = None,
    workers: int = 1,
    **params: Any,
) -> NDArray[np.unsignedinteger[Any]]:
    """Segment an image and return its labels.

    Parameters
    ----------
    image
        (Y, X), (Z, Y, X) or (C, Z, Y, X) array of numbers, or the path or URL of an image. A
        shape that no volume has, such as (Y, X, 3), is refused unless axes are given.
    axes
        Axes, if they are others: "cyx" for a plane with channels.
    workers
        Processes.
    **params
        Any of `terapose.core.params.Parameters`, but those that only concern files
        (`terapose.core.params.ONLY_FILES`): none are left.

    Returns
    -------
    (Z, Y, X) or (Y, X) uint32 or uint64
        Label image; 0 is background, cells are numbered from 1 by position.

    Raises
    ------
    InputError
        For everything a user can put right, and if labels of that shape would not fit into the
        memory of this machine: `terapose.run` leaves them on the disk.

    Examples
    --------
    >>> labels = terapose.segment(volume, diameter=14, anisotropy=2)  # doctest: +SKIP
    """
    import zarr

    from terapose.io.labels.ome_zarr import open_level

    checked = one_image(check({**params, "axes": axes}))
    _refuse_files(checked)
    check_workers(workers)
    if not isinstance(image, str | Path):
        image = np.asarray(image)
        if image.dtype.kind not in "uif":
            raise InputError("is not an array of numbers", where="image", got=image.dtype)
    with tempfile.TemporaryDirectory(prefix="terapose-") as folder:
        address = str(image)
        if isinstance(image, np.ndarray):
            address = f"{folder}/image.zarr"
            # axes that are given come first; without them the first of three is a guess, which is
            # checked like that of a file
            names = ["c", None, "y", "x"][-image.ndim :] if 2 <= image.ndim <= 4 else None
            zarr.create_array(Path(address), data=image, dimension_names=names)
        else:
            _refuse_too_large(address, checked)
        with _named(address, "image" if isinstance(image, np.ndarray) else address):
            segment_file(address, Path(folder) / "out", checked, workers=workers)
        return np.asarray(open_level(f"{folder}/out/labels.zarr", 0)[:])


def _refuse_files(params: Parameters) -> None:
    """Refuse parameters of files, all of which go with the folder that they would be in."""
    fields = Parameters.model_fields
    given = [name for name in ONLY_FILES if getattr(params, name) != fields[name].default]
    if given:
        raise InputError(
            "only says what is written to files, and none are left",
            where=", ".join(given),
            remedy="leave it out, or use terapose.run(image, out)",
        )


@contextmanager
def _named(address: str, name: str) -> Iterator[None]:
    """Let errors about an address name what the user knows."""
    try:
        yield
    except InputError as error:
        where = str(error.where)
        if not where.startswith(address) or name == address:
            raise
        raise InputError(
            error.what,
            where=name + where.removeprefix(address),
            got=error.got,
            allowed=error.allowed,
            remedy=error.remedy,
        ) from error


def _refuse_too_large(address: str, params: Parameters) -> None:
    """Refuse an image whose labels would not fit into memory, before anything is computed."""
    opened = open_checked(os.path.expanduser(address), params)
    shape = (full_image(opened, params) if params.upscale else opened).shape
    needed, memory = 4 * math.prod(shape), memory_here()
    if memory is not None and needed > memory:
        raise InputError(
            "the labels of this image would not fit into memory",
            where=address,
            got=f"shape {shape}: {in_bytes(needed)}, on a machine with {in_bytes(memory)}",
            remedy="use terapose.run(image, out), which leaves them on the disk, where they are "
            "read by slices",
        )
