"""Training data: folders of images with instance masks, read into 2D items.

1. A data folder holds ``images/`` and ``labels/`` with twins of the same name (the suffix may
   differ). A 2D image gives one item, a volume one item for every n-th plane of each orientation.
2. Volumes are resampled to cubic voxels first, so that the three orientations show objects at one
   scale; intensities are normalised over the whole volume, as they are when it is segmented.
3. Pieces of one ID that do not touch within a plane become objects of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, label, zoom

from terapose.errors import InputError
from terapose.train.flows import flows_from_masks

SUFFIXES = (".tif", ".tiff", ".png", ".h5", ".hdf5")


@dataclass(frozen=True)
class Item:
    """One 2D training image.

    Attributes
    ----------
    name
        File name, for a plane followed by orientation and plane index.
    source
        Index of the data folder it came from.
    image
        Shape (Y, X), percentiles 1 and 99 at 0 and 1.
    labels
        Shape (Y, X), int32 instance IDs.
    target
        Shape (3, Y, X): Y flow, X flow (unit vectors), object mask 0 or 1.
    diameter
        Typical object diameter in pixels of this image; for a plane that of its volume.
    """

    name: str
    source: int
    image: NDArray[np.float32]
    labels: NDArray[np.int32]
    target: NDArray[np.float32]
    diameter: float


def find_twins(folder: Path) -> list[tuple[Path, Path]]:
    """Pairs (image, labels) of a data folder, sorted by name."""
    images, labels = folder / "images", folder / "labels"
    if not images.is_dir() or not labels.is_dir():
        raise InputError(
            "no training data here",
            where=folder,
            allowed="a folder with images/ and labels/ that hold files of the same names",
        )
    known = {path.stem: path for path in labels.iterdir() if path.suffix.lower() in SUFFIXES}
    pairs = []
    for path in sorted(images.iterdir()):
        if path.suffix.lower() not in SUFFIXES:
            continue
        if path.stem not in known:
            raise InputError("an image has no labels", where=path, remedy=f"add it to {labels}")
        pairs.append((path, known[path.stem]))
    if not pairs:
        raise InputError("no images found", where=images, allowed=", ".join(SUFFIXES))
    return pairs


def split(
    pairs: Sequence[tuple[Path, Path]],
    *,
    holdout: Iterable[str],
    exclude: Iterable[str],
    every: int,
) -> tuple[list[tuple[Path, Path]], list[tuple[Path, Path]]]:
    """Divide pairs into those to train on and those held out.

    Parameters
    ----------
    pairs
        Sorted pairs of one data folder.
    holdout, exclude
        Shell patterns of file names to hold out, or to leave out of both.
    every
        Where no pattern of ``holdout`` matches, every n-th pair, counted over all of them, is held
        out; 0 for none.

    Returns
    -------
    training, held_out
    """
    training: list[tuple[Path, Path]] = []
    held_out: list[tuple[Path, Path]] = []
    patterns, dropped = tuple(holdout), tuple(exclude)
    named = [any(pair[0].match(pattern) for pattern in patterns) for pair in pairs]
    if every and not any(named):
        named = [index % every == 0 for index in range(len(pairs))]
    for pair, held in zip(pairs, named, strict=True):
        if not any(pair[0].match(pattern) for pattern in dropped):
            (held_out if held else training).append(pair)
    return training, held_out


def read_array(path: Path) -> NDArray[Any]:
    """Read a TIFF or PNG image, or the only data set of an HDF5 file.

    Raises
    ------
    InputError
        It cannot be read.
    """
    try:
        if path.suffix.lower() in (".h5", ".hdf5"):
            return _read_hdf5(path)
        if path.suffix.lower() == ".png":
            import cv2

            image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            if image is None:
                raise ValueError("not a PNG image")
            return np.asarray(image)
        import tifffile

        return np.asarray(tifffile.imread(path))
    except InputError:
        raise
    except (OSError, ValueError) as error:  # of all three libraries
        raise InputError("cannot be read as an image", where=path, got=str(error)) from error


def _read_hdf5(path: Path) -> NDArray[Any]:
    import h5py

    with h5py.File(path) as file:
        names = [name for name in file if isinstance(file[name], h5py.Dataset)]
        if len(names) != 1:
            raise InputError(
                "cannot tell which data set to read",
                where=path,
                got=", ".join(names) or "none",
                allowed="a file with one data set",
            )
        return np.asarray(file[names[0]])


def normalise(image: NDArray[Any]) -> NDArray[np.float32]:
    """Map percentiles 1 and 99 to 0 and 1, without clipping; a constant image becomes zeros."""
    low, high = np.percentile(image, (1, 99)).astype(np.float32)
    if high - low <= 1e-3:
        return np.zeros(image.shape, np.float32)
    scaled: NDArray[np.float32] = (image.astype(np.float32) - low) / (high - low)
    return scaled


def split_pieces(labels: NDArray[np.integer]) -> NDArray[np.int32]:
    """Renumber so that each connected piece (4-neighbours) of each ID has its own ID."""
    _, dense = np.unique(np.append(labels.ravel(), 0), return_inverse=True)
    shaped = dense[:-1].reshape(labels.shape).astype(np.int32)
    pieces = np.zeros_like(shaped)
    last = 0
    for number, box in enumerate(find_objects(shaped), start=1):
        marks, count = label(shaped[box] == number)
        view = pieces[box]
        view[marks > 0] = marks[marks > 0] + last
        last += count
    return pieces


def median_diameter(labels: NDArray[np.integer]) -> float:
    """Median diameter in pixels of circles as large as the objects; 0 where there are none.

    In a volume an object counts with its largest YX section, which is what a person measures.
    """
    planes = labels[None] if labels.ndim == 2 else labels
    largest: dict[int, int] = {}
    for plane in planes:
        ids, counts = np.unique(plane[plane > 0], return_counts=True)
        for number, count in zip(ids.tolist(), counts.tolist(), strict=True):
            largest[number] = max(count, largest.get(number, 0))
    if not largest:
        return 0.0
    return float(np.median(np.sqrt(list(largest.values()))) * 2 / np.sqrt(np.pi))


def make_item(
    name: str, source: int, image: NDArray[np.float32], labels: NDArray[np.integer], size: float
) -> Item:
    """Item of a normalised 2D image, shape (Y, X), with its labels and typical diameter."""
    pieces = split_pieces(labels)
    target = np.concatenate([flows_from_masks(pieces), (pieces > 0)[None].astype(np.float32)])
    return Item(name, source, image, pieces, target.astype(np.float32), size)


def cubic(
    image: NDArray[np.float32], labels: NDArray[np.integer], voxel_size: Sequence[float]
) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Resample a volume, shape (Z, Y, X), to cubic voxels of its X size.

    Linear for the image, nearest for the labels, along the axes that differ only.
    """
    factors = [float(size) / float(voxel_size[2]) for size in voxel_size]
    return (
        zoom(image, factors, order=1, grid_mode=True, mode="nearest"),
        zoom(labels, factors, order=0, grid_mode=True, mode="nearest"),
    )


def items_of(
    pair: tuple[Path, Path],
    source: int,
    *,
    voxel_size: Sequence[float] | None = None,
    plane_step: int = 4,
) -> list[Item]:
    """Items of one file: one of a 2D image, planes of three orientations of a volume.

    Parameters
    ----------
    pair
        Image and labels.
    source
        Index of the data folder.
    voxel_size
        Z, Y, X in micrometres (or any common unit), needed for a volume.
    plane_step
        Every n-th plane of a volume is used.
    """
    image, labels = read_array(pair[0]), read_array(pair[1])
    if image.shape != labels.shape or image.ndim not in (2, 3):
        raise InputError(
            "image and labels are not twins of one channel",
            where=pair[0],
            got=f"shapes {image.shape} and {labels.shape}",
            allowed="the same shape, (Y, X) or (Z, Y, X)",
        )
    if image.ndim == 2:
        size = median_diameter(labels)
        return [make_item(pair[0].name, source, normalise(image), labels, size)]
    if voxel_size is None or min(voxel_size) <= 0:
        raise InputError(
            "a volume needs its voxel size",
            where=pair[0],
            got=voxel_size,
            remedy="give --voxel-size Z,Y,X, each above 0",
        )
    return planes_of(pair[0].name, source, image, labels, voxel_size, plane_step)


def planes_of(
    name: str,
    source: int,
    image: NDArray[Any],
    labels: NDArray[np.integer],
    voxel_size: Sequence[float],
    plane_step: int = 4,
) -> list[Item]:
    """Items of every n-th plane of the three orientations of a volume, shape (Z, Y, X)."""
    pixels, ids = cubic(normalise(image), labels, voxel_size)
    size = median_diameter(ids)
    items = []
    for axis, orientation in enumerate(("YX", "ZX", "ZY")):
        for index in range(plane_step // 2, pixels.shape[axis], plane_step):
            plane = np.ascontiguousarray(pixels.take(index, axis))
            title = f"{name}:{orientation}{index}"
            items.append(make_item(title, source, plane, ids.take(index, axis), size))
    return items
