"""Labels as the file ``NAME_seg.npy``, which Cellpose's graphical interface opens: `write_npy`.

The file is a pickled dictionary with the labels, their outlines (the pixels of a cell that have a
neighbour in the plane outside it) and, if it is given, the image: up to three channels, the last
axis. All of it is in memory at once, there as here, so there is a limit to its size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.objects.edges import edges
from terapose.core.errors import InputError
from terapose.core.geometry import Box
from terapose.io import files
from terapose.io.images.array_like import Voxels
from terapose.io.images.model import Image
from terapose.io.labels.values import check_signs, check_type
from terapose.results.processing.joining import dense_ids

END = "_seg.npy"
MOST = 100_000_000
"""Voxels of a label image; the file and its reader take some 20 bytes for each."""
_CHANNELS = 3
_PICTURES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")
"""Ends of the names of images that the window opens by itself."""


def write_npy(
    labels: Voxels,
    where: str,
    out: Path,
    image: Image | None = None,
    channels: Sequence[int] = (),
    *,
    overwrite: bool = False,
    confirm: Callable[[], None] | None = None,
) -> int:
    """Write labels as ``NAME_seg.npy``.

    Parameters
    ----------
    labels
        (Z, Y, X), whole numbers from 0.
    where
        Their address, for messages.
    out
        The file.
    image, channels
        The image of the same shape, and its channels from 1, up to three. Without it the image has
        to be beside the file, as ``NAME.tif`` for example.
    overwrite
        Whether a file of that name is replaced: Cellpose's window saves corrections in it.
    confirm
        Called when all has been read, before the file is written: raises what speaks against it.

    Returns
    -------
    int
        Number of cells.

    Raises
    ------
    InputError
        If the labels are too large or are no labels, there is no image, or the file exists.
    """
    files.refuse_present(out, overwrite=overwrite)
    voxels = int(np.prod(labels.shape))
    if voxels > MOST:
        raise InputError(
            f"is too large for {END}, which is in memory as a whole",
            where=where,
            got=f"{' x '.join(map(str, labels.shape))} voxels",
            allowed=f"{MOST:,} voxels",
            remedy="cut out a part (terapose crop), or open the OME-Zarr in napari",
        )
    cells = dense(np.asarray(labels[:, :, :]), where)
    flat = cells.shape[0] == 1
    count = int(cells.max(initial=0))
    kind = np.uint16 if count < 2**16 - 1 else np.uint32
    content: dict[str, Any] = {
        "masks": (cells[0] if flat else cells).astype(kind),
        "outlines": np.where(outlines(cells), cells, 0)[0 if flat else slice(None)].astype(kind),
        "chan_choose": [0, 0],
        "ismanual": np.zeros(count, bool),
        "filename": str(beside(out) if image is None else _stem(out)),
        "diameter": np.nan,
    }
    if image is not None:
        content["img"] = _pixels(image, channels, flat=flat)
    if confirm is not None:
        confirm()
    # another process may have written it meanwhile
    files.refuse_present(out, overwrite=overwrite)
    with files.written(out, "labels") as place, place.open("wb") as file:
        np.save(file, np.array(content, dtype=object), allow_pickle=True)
    return count


def _stem(out: Path) -> Path:
    if not out.name.endswith(END) or out.name == END:
        raise InputError(
            "is not the name of a file that Cellpose opens",
            where=out,
            allowed=f"NAME{END}, where NAME is that of the image without its ending",
        )
    return out.with_name(out.name.removesuffix(END))


def beside(out: Path) -> Path:
    """The image beside the file, which has its name.

    Raises
    ------
    InputError
        If there is none, or the file has no name that Cellpose opens.
    """
    stem = _stem(out)
    for end in _PICTURES:
        path = stem.with_name(stem.name + end)
        if path.is_file():
            return path.absolute()
    raise InputError(
        "has no image beside it, which Cellpose needs to open it",
        where=out,
        allowed=f"{stem.name}.tif or .png in the same folder",
        remedy="put it there, or give --image, which becomes part of the file",
    )


def dense(labels: NDArray[Any], where: str) -> NDArray[np.int64]:
    """Labels numbered from 1 without gaps, in their order."""
    check_type(labels.dtype, where)
    check_signs(labels, where)
    _, ids = dense_ids(labels)
    return ids.reshape(labels.shape).astype(np.int64)


def outlines(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Pixels of cells with one of four neighbours in the plane that is outside the cell."""
    wide = np.pad(labels, ((0, 0), (1, 1), (1, 1)))
    found: NDArray[np.bool_] = (edges(wide, 1) | edges(wide, 2))[:, 1:-1, 1:-1] & (labels > 0)
    return found


def _pixels(image: Image, channels: Sequence[int], *, flat: bool) -> NDArray[Any]:
    """Three channels, those that are missing black: (Y, X, 3), or (Z, Y, X, 3)."""
    pixels = np.zeros((*image.shape, _CHANNELS), image.dtype)
    for n, channel in enumerate(channels):
        pixels[..., n] = image.read(Box.whole(image.shape).slices, channel)
    return pixels[0] if flat else pixels
