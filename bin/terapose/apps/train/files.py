"""Files of training data: which image belongs to which labels, and how both are read.

1. A data folder holds ``images/`` and ``labels/`` with twins of the same name (the ending may
   differ), or, as Cellpose has it, ``NAME.tif`` or ``NAME_img.tif`` beside ``NAME_masks.tif`` or
   ``NAME_cp_masks.tif``. An HDF5 file with the datasets ``raw`` and ``label`` is a pair by itself,
   in either layout.
2. TIFF, OME-Zarr, Zarr and HDF5 are read by :mod:`terapose.io.images`, PNG by OpenCV. The colours
   red, green and blue of a PNG or TIFF are three channels, as Cellpose has it.
3. Labels come in many forms: see :mod:`terapose.apps.train.labels`.
4. Where the labels are one plane and the image is a stack without a channel axis, its planes are
   channels: that is how most software writes an image of two channels as TIFF.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.apps.train.labels import as_numbers, check_all_read, one_channel, read_indexed
from terapose.core.errors import InputError, pass_on
from terapose.io.images import address as addresses
from terapose.io.images.array_like import open_labels
from terapose.io.images.identity import State, changed_image, folder_states, states_of
from terapose.io.images.model import Image
from terapose.io.images.opening import open_image
from terapose.io.images.pictures import refuse_no_png
from terapose.io.images.tiff_files import TiffAddress, is_tiff, opened

HDF5 = (".h5", ".hdf5")
ENDINGS = (".ome.tif", ".ome.tiff", ".ome.zarr", ".tif", ".tiff", ".png", ".zarr", *HDF5)
_LAYOUTS = (
    "images/ and labels/ with files of the same names, NAME.tif beside NAME_masks.tif, or HDF5 "
    "files with the datasets raw and label"
)
Pair = tuple[Path, Path]
VoxelSize = tuple[float, float, float]


# -- which files ------------------------------------------------------------------------------


def find_pairs(folder: Path) -> list[Pair]:
    """Pairs (image, labels) of a data folder, sorted by name.

    Raises
    ------
    InputError
        There are none, an image in ``images/`` has no labels, or labels have no image.
    """
    images, labels = folder / "images", folder / "labels"
    if images.is_dir() and labels.is_dir():
        return _twins(images, labels)
    pairs = _side_by_side(folder)
    if not pairs:
        raise InputError("no training data here", where=folder, allowed=_LAYOUTS)
    return pairs


def _twins(images: Path, labels: Path) -> list[Pair]:
    known = _by_name(labels)
    pairs = []
    for name, path in _by_name(images).items():
        if name in known:
            pairs.append((path, _labels_address(known[name])))
        elif _holds_label(path):
            pairs.append((path, path / "label"))
        else:
            for place in (images, labels):
                check_all_read(place, {*known}, ENDINGS)
            raise InputError("an image has no labels", where=path, remedy=f"add it to {labels}")
    if not pairs:
        raise InputError("no images found", where=images, allowed=", ".join(ENDINGS))
    used = {path for _, path in pairs}
    for path in known.values():
        if _labels_address(path) not in used:
            raise InputError(
                "labels have no image",
                where=path,
                allowed=f"images that end in {', '.join(ENDINGS)}",
                remedy=f"add its image to {images}, or remove it",
            )
    return pairs


def _side_by_side(folder: Path) -> list[Pair]:
    known = _by_name(folder)
    pairs: dict[Path, Path] = {}
    for name, path in known.items():
        if _holds_label(path):
            image, labels = path, path / "label"
        elif name.endswith("_masks"):
            image, labels = _image_of(name, path, known), _labels_address(path)
        else:
            continue
        if image in pairs:
            raise InputError(
                "an image has two sets of labels",
                where=image,
                got=f"{pairs[image].name} and {labels.name}",
                remedy="remove one of them",
            )
        pairs[image] = labels
    check_all_read(folder, {name for name, path in known.items() if path in pairs}, ENDINGS)
    return sorted(pairs.items())


def _image_of(name: str, labels: Path, known: dict[str, Path]) -> Path:
    """The image that belongs to NAME_masks; Cellpose's window saves NAME_cp_masks."""
    base = name.removesuffix("_masks")
    for candidate in (base, f"{base}_img", base.removesuffix("_cp")):
        if candidate in known:
            return known[candidate]
    raise InputError(
        "labels have no image",
        where=labels,
        remedy=f"put {base}.tif or {base}_img.tif beside it, or remove it",
    )


def _by_name(folder: Path) -> dict[str, Path]:
    """Images of a folder by their names without endings, sorted."""
    known: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        ending = next((e for e in ENDINGS if path.name.lower().endswith(e)), None)
        if ending is None or path.name.startswith("."):
            continue
        name = path.name[: -len(ending)]
        if name in known:
            raise InputError(
                "two files have the same name",
                where=folder,
                got=f"{known[name].name} and {path.name}",
                remedy="remove one of them",
            )
        known[name] = path
    return known


def _holds_label(path: Path) -> bool:
    if path.suffix.lower() not in HDF5:
        return False
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return "label" in file
    except (LookupError, OSError, RuntimeError, ValueError) as error:  # of h5py
        pass_on(error)
        raise InputError("cannot be read as HDF5", where=path, got=str(error)) from error


def _labels_address(path: Path) -> Path:
    return path / "label" if _holds_label(path) else path


def matches(image: Path, pattern: str) -> bool:
    """Whether a pattern is the name of an image, brackets and all, or matches it."""
    return image.name == pattern or image.match(pattern)


def split(
    pairs: Sequence[Pair],
    *,
    holdout: Iterable[str],
    exclude: Iterable[str],
    every: int,
) -> tuple[list[Pair], list[Pair]]:
    """Divide pairs into those to train on and those held out.

    Parameters
    ----------
    pairs
        Sorted pairs of one data folder.
    holdout, exclude
        Shell patterns of names of image files to hold out, or to leave out of both.
    every
        Where no pattern of ``holdout`` matches, every n-th pair, counted over all of them, is held
        out; 0 for none.

    Returns
    -------
    training, held_out
    """
    training: list[Pair] = []
    held_out: list[Pair] = []
    patterns, dropped = tuple(holdout), tuple(exclude)
    named = [any(matches(pair[0], pattern) for pattern in patterns) for pair in pairs]
    if every and not any(named):
        named = [index % every == 0 for index in range(len(pairs))]
    for pair, held in zip(pairs, named, strict=True):
        if not any(matches(pair[0], pattern) for pattern in dropped):
            (held_out if held else training).append(pair)
    return training, held_out


# -- what is in them --------------------------------------------------------------------------


@dataclass(frozen=True)
class _Opened:
    """An image of which any channel, counted from 1, can be read as (Z, Y, X)."""

    shape: tuple[int, int, int]
    channels: int
    voxel_size: VoxelSize | None
    read: Callable[[int], NDArray[Any]]


def read_pair(
    pair: Pair, *, channels: Sequence[int] = (), limit: int = 1
) -> tuple[NDArray[Any], NDArray[np.integer], VoxelSize | None, Sequence[int]]:
    """Read an image and its labels.

    Parameters
    ----------
    pair
        Image and labels.
    channels
        Channels to read, from 1. Without them, all that the image has. An image of one channel
        gives that one in any case: the network's other channels see zeros, as in Cellpose.
    limit
        Number of channels that the network takes.

    Returns
    -------
    image
        Shape (C, Z, Y, X).
    labels
        Integers, shape (Z, Y, X).
    voxel_size
        (z, y, x) in micrometres, or None where the image does not state it.
    numbers
        Of the channels that were read, from 1.

    Raises
    ------
    InputError
        A file cannot be read, has no such channel or more than ``limit``, both do not fit, or one
        changes while it is read.
    """
    before = [_states(path) for path in pair]
    labels = _read_labels(pair[1])
    image = _open(pair[0], planes_are_channels=labels.shape[0] == 1)
    if image.shape != labels.shape:
        raise InputError(
            "image and labels do not match",
            where=pair[0],
            got=f"shapes {_plain(image.shape)} and {_plain(labels.shape)}",
            allowed="the same shape, (Y, X) or (Z, Y, X)",
        )
    chosen = _choose(image.channels, channels, limit, pair[0])
    values = np.stack([image.read(channel) for channel in chosen])
    for path, states in zip(pair, before, strict=True):
        if _states(path) != states:
            raise changed_image(str(path), since="it was opened")
    return values, labels, image.voxel_size, chosen


def _states(path: Path) -> dict[str, State]:
    """What is known of the file, or of all files in the folder, that holds an image."""
    place = path if path.exists() else path.parent  # of a dataset its HDF5 file
    return folder_states(str(place))[0] if place.is_dir() else states_of([str(place)])


def _choose(count: int, wanted: Sequence[int], limit: int, path: Path) -> Sequence[int]:
    if count == 1:
        return (1,)
    if wanted:
        if not all(1 <= channel <= count for channel in wanted):
            raise InputError(
                "there is no such channel",
                where=path,
                got=", ".join(map(str, wanted)),
                allowed=f"1 to {count}",
                remedy="channels are counted from 1",
            )
        return wanted
    if count > limit:
        raise InputError(
            "the image has more channels than the network takes",
            where=path,
            got=count,
            allowed=f"up to {limit}",
            remedy="say which with --channels, as in --channels 1,2 (cell, nucleus)",
        )
    return range(1, count + 1)


def _open(path: Path, *, planes_are_channels: bool) -> _Opened:
    planes = _read_png(path) if path.suffix.lower() == ".png" else _read_colours(path)
    if planes is not None:
        height, width = planes.shape[1:]
        return _Opened((1, height, width), len(planes), None, lambda n: planes[n - 1 : n])
    image = open_image(path)
    depth, height, width = image.shape
    if planes_are_channels and image.channels == 1 and depth > 1:
        return _Opened((1, height, width), depth, None, partial(_plane, image))
    return _Opened(image.shape, image.channels, image.voxel_size, partial(_channel, image))


def _channel(image: Image, channel: int) -> NDArray[Any]:
    z, y, x = image.shape
    return image.read((slice(0, z), slice(0, y), slice(0, x)), channel)


def _plane(image: Image, number: int) -> NDArray[Any]:
    _, y, x = image.shape
    return image.read((slice(number - 1, number), slice(0, y), slice(0, x)))


def _read_png(path: Path) -> NDArray[Any]:
    """Channels of a PNG, shape (C, Y, X): one, or red, green, blue (without transparency)."""
    import cv2

    refuse_no_png(path)
    try:
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    except cv2.error:  # of more pixels than OpenCV reads
        image = None
    if image is None:
        raise InputError("cannot be read as a PNG image", where=path)
    if image.ndim == 2:
        return np.asarray(image)[None]
    return np.ascontiguousarray(np.moveaxis(image[:, :, 2::-1], 2, 0))


def _read_colours(path: Path) -> NDArray[Any] | None:
    """Red, green, blue of a TIFF of one colour image, shape (3, Y, X); None of any other file."""
    if path.suffix.lower() not in (".tif", ".tiff"):
        return None
    import tifffile

    if not is_tiff(addresses.read_bytes(str(path), 0, 4) or b""):
        return None  # terapose.io.images says what is wrong with it
    with opened(TiffAddress(str(path))) as file:
        series = file.series[0]
        page = series.keyframe
        is_colour = page.photometric == tifffile.PHOTOMETRIC.RGB
        if not is_colour or series.axes not in ("YXS", "SYX"):
            return None
        image = series.asarray()
    return np.ascontiguousarray(np.moveaxis(image, series.axes.index("S"), 0)[:3])


def _read_labels(path: Path) -> NDArray[np.integer[Any]]:
    values = read_indexed(path)
    if values is None:
        planes = _read_png(path) if path.suffix.lower() == ".png" else _read_colours(path)
        values = _only_channel(path) if planes is None else one_channel(planes, path)
    return as_numbers(values, path)


def _only_channel(path: Path) -> NDArray[Any]:
    return _channel(open_labels(path, boolean=False).image, 1)


def _plain(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[1:] if shape[0] == 1 else shape
