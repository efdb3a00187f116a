"""Labels as people have them: what has one meaning becomes numbers of cells, 0 the background.

1. Colours. A PNG or TIFF with a palette has a number for each colour, and black is its background.
   Red, green and blue that are the same everywhere are grey. Other colours are refused: which of
   them are cells, and which are edges of cells, cannot be known.
2. Numbers. Floats may be whole. Where there is no 0, -1 and NaN are the background; so is the
   largest number of an unsigned type, which is what becomes of -1 there, if it is alone.
3. Masks that have one number for all cells, such as 0 and 255: pieces that do not touch are cells.
   A line of log says so, because cells that do touch have become one.
"""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.core.errors import InputError
from terapose.io.images import address as addresses
from terapose.io.images.pictures import refuse_no_png
from terapose.io.images.tiff_files import TiffAddress, is_tiff, opened

log = logging.getLogger(__name__)

_WINDOW = (
    "in the GUI of Cellpose choose File > Save masks as PNG/tif; in Python: "
    "tifffile.imwrite('{0}_masks.tif', numpy.load('{0}_seg.npy', allow_pickle=True)"
    ".item()['masks'])"
)


def as_numbers(values: NDArray[Any], path: Path) -> NDArray[np.integer[Any]]:
    """Numbers of cells, of a label image (Z, Y, X) as it was read.

    Raises
    ------
    InputError
        If there are others than whole numbers from 0 up, and what they mean is not clear.
    """
    if not values.size:
        raise InputError("the labels are empty", where=path, got=f"shape {values.shape}")
    numbers = values.astype(np.uint8) if values.dtype.kind == "b" else values
    background = _background(numbers)
    if background is not None:
        numbers = np.where(background, numbers.dtype.type(0), numbers)
    if numbers.dtype.kind == "f" and np.array_equal(numbers, np.rint(numbers)):
        numbers = numbers.astype(np.int64)
    if numbers.dtype.kind not in "iu" or numbers.min() < 0:
        raise InputError(
            "labels must be whole numbers, 0 for background",
            where=path,
            got=f"{values.dtype} values from {values.min():g} to {values.max():g}",
            remedy="write 0 where there is no cell, and 1, 2, 3 and so on for the cells",
        )
    return _pieces(numbers, path)


def _background(values: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Where the background is, if it is something else than 0."""
    if (values == 0).any():
        return None
    if values.dtype.kind == "f" and np.isnan(values).any():
        return np.asarray(np.isnan(values))
    if values.dtype.kind in "if" and values.min() == -1:
        return np.asarray(values == -1)
    if values.dtype.kind == "u":
        last = np.iinfo(values.dtype).max
        marked = values == last
        if marked.any() and not marked.all() and not (values == last - 1).any():
            return np.asarray(marked)
    return None


def _pieces(numbers: NDArray[np.integer[Any]], path: Path) -> NDArray[np.integer[Any]]:
    """The same, or a number for each piece where all cells have one."""
    from scipy.ndimage import label

    last = numbers.max()
    if not last or ((numbers != 0) & (numbers != last)).any():
        return numbers
    pieces, count = label(numbers)
    if count > 1:
        _say_binary(path.parent)
        return np.asarray(pieces)
    return numbers


@cache
def _say_binary(folder: Path) -> None:
    """Once for each folder."""
    log.warning(
        "%s: masks have one number for all cells; pieces that do not touch are taken for cells, "
        "and cells that touch for one",
        folder,
    )


def one_channel(planes: NDArray[Any], path: Path) -> NDArray[Any]:
    """The only plane, (1, Y, X), of channels or colours (C, Y, X).

    Raises
    ------
    InputError
        If there are several that differ.
    """
    if not all(np.array_equal(plane, planes[0]) for plane in planes[1:]):
        raise InputError(
            "labels must have one channel",
            where=path,
            got=f"{len(planes)} channels or colours",
            remedy="save the numbers of the cells themselves, not a picture of them (in the GUI of "
            "Cellpose with File > Save masks as PNG/tif)",
        )
    return planes[:1]


def read_indexed(path: Path) -> NDArray[Any] | None:
    """Numbers (Z, Y, X) of a PNG or TIFF with a palette, or a TIFF of bits; None of other files.

    Raises
    ------
    InputError
        If it is not clear which colour is the background.
    """
    suffix = path.suffix.lower()
    if suffix not in (".png", ".tif", ".tiff"):
        return None
    found = _indexed_png(path) if suffix == ".png" else _indexed_tiff(path)
    if found is None:
        return None
    numbers, colours = found
    if numbers.ndim == 2:
        numbers = numbers[None]
    return numbers if colours is None else _from_black(numbers, colours, path)


_Indexed = tuple[NDArray[Any], NDArray[Any] | None]
"""Numbers, and the colours (N, 3) of a palette."""


def _indexed_png(path: Path) -> _Indexed | None:
    from PIL import Image

    refuse_no_png(path)
    with path.open("rb") as file:
        if file.read(26)[25:] != b"\3":  # type of colour in the header
            return None
    try:
        with Image.open(path) as image:
            return np.asarray(image), np.array(image.getpalette("RGB")).reshape(-1, 3)
    except (OSError, Image.DecompressionBombError) as error:
        raise InputError("cannot be read as a PNG image", where=path, got=str(error)) from error


def _indexed_tiff(path: Path) -> _Indexed | None:
    import tifffile

    if not is_tiff(addresses.read_bytes(str(path), 0, 4) or b""):
        return None  # terapose.io.images says what is wrong with it
    with opened(TiffAddress(str(path))) as file:
        series = file.series[0]
        page = series.keyframe
        colours = page.colormap if page.photometric == tifffile.PHOTOMETRIC.PALETTE else None
        if not (colours is not None or series.dtype == bool) or len(series.shape) not in (2, 3):
            return None
        numbers = series.asarray()
    return numbers, None if colours is None else colours.T


def _from_black(numbers: NDArray[Any], colours: NDArray[Any], path: Path) -> NDArray[Any]:
    """Numbers with 0 for black."""
    black = [n for n in np.unique(numbers) if n < len(colours) and not colours[n].any()]
    if len(black) != 1:
        raise InputError(
            "the palette does not show which number is the background",
            where=path,
            got=f"{len(black)} black colours in use",
            allowed="black only for the background",
            remedy="save the masks without a palette: 0 for background, a number for each cell",
        )
    # the cell that has the number 0 so far takes the one that has become free
    moved = np.where(numbers == 0, black[0], numbers)
    return np.where(numbers == black[0], numbers.dtype.type(0), moved)


def check_all_read(folder: Path, images: set[str], endings: tuple[str, ...]) -> None:
    """Refuse labels of forms that are not read, where an image would go without.

    Parameters
    ----------
    folder
        That contains images, beside their labels.
    images
        Names without endings of the images that have labels.
    endings
        Of files that are read.

    Raises
    ------
    InputError
        Saying what to write instead.
    """
    for path in sorted(folder.iterdir()):
        name = path.name.removesuffix("_seg.npy")
        if name != path.name and not {name, f"{name}_img"} & images and name[:1] != ".":
            raise InputError(
                "cells saved by the GUI of Cellpose cannot be read from this file",
                where=path,
                allowed=f"{name}_masks.tif or {name}_masks.png",
                remedy=_WINDOW.format(name) + ", or remove it",
            )
        base = path.stem.removesuffix("_masks")
        if base == path.stem or path.name.lower().endswith(endings):
            continue
        if not {base, f"{base}_img", base.removesuffix("_cp")} & images:
            raise InputError(
                "labels cannot be read from files of this type",
                where=path,
                allowed=", ".join(endings),
                remedy=f"save it as {path.stem}.tif, or remove it",
            )
