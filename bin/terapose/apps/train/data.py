"""Training data as 2D items, made from images and volumes with instance masks.

1. A 2D image gives one item, a volume one item for every n-th plane of each orientation.
2. Volumes are resampled to cubic voxels first, so that the three orientations show objects at one
   scale; intensities are normalised over the whole volume, as they are when it is segmented, each
   channel by itself.
3. Pieces of one ID that do not touch within a plane become objects of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, label, zoom

from terapose.apps.train.files import Pair, read_pair
from terapose.apps.train.flows import flows_from_masks
from terapose.core.errors import InputError


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
        Shape (C, Y, X), percentiles 1 and 99 of each channel at 0 and 1; float32, or float16 where
        it is :func:`compact`.
    labels
        Shape (Y, X), int32 instance IDs, or uint16.
    target
        Shape (3, Y, X): Y flow, X flow (unit vectors), object mask 0 or 1; float32 or float16.
    diameter
        Typical object diameter in pixels of this image; for a plane, the volume's.
    """

    name: str
    source: int
    image: NDArray[np.floating]
    labels: NDArray[np.integer]
    target: NDArray[np.floating]
    diameter: float


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
    """Item of a normalised image, shape (C, Y, X), with its labels, (Y, X), and diameter."""
    pieces = split_pieces(labels)
    target = np.concatenate([flows_from_masks(pieces), (pieces > 0)[None].astype(np.float32)])
    return Item(name, source, image, pieces, target.astype(np.float32), size)


def compact(item: Item) -> Item:
    """The item in half the memory, for many; crops of it are right to a thousandth."""
    if item.labels.max() > np.iinfo(np.uint16).max:
        return item
    return replace(
        item,
        image=item.image.astype(np.float16),
        labels=item.labels.astype(np.uint16),
        target=item.target.astype(np.float16),
    )


def cubic(volume: NDArray[Any], voxel_size: Sequence[float], *, order: int) -> NDArray[Any]:
    """Resample a volume, shape (Z, Y, X), to cubic voxels of the X size.

    Linear (order 1, for images) or nearest (order 0, for labels), along the axes that differ only.
    """
    factors = [float(size) / float(voxel_size[2]) for size in voxel_size]
    return np.asarray(zoom(volume, factors, order=order, grid_mode=True, mode="nearest"))


def items_of(
    pair: Pair,
    source: int,
    *,
    voxel_size: Sequence[float] | None = None,
    plane_step: int = 4,
    channels: Sequence[int] = (),
    limit: int = 1,
) -> list[Item]:
    """Items of one pair of files: one of a 2D image, planes of three orientations of a volume.

    Parameters
    ----------
    pair
        Image and labels.
    source
        Index of the data folder.
    voxel_size
        Z, Y, X in micrometres (or any common unit) of a volume that does not state its own.
    plane_step
        Every n-th plane of a volume is used.
    channels, limit
        See :func:`terapose.apps.train.files.read_pair`.

    Raises
    ------
    InputError
        If the files cannot be read, voxels are not finite, or the voxel size of a volume is not
        known.
    """
    image, labels, own = read_pair(pair, channels=channels, limit=limit)
    if not np.isfinite(image).all():
        raise InputError(
            "the image has voxels that are not finite numbers",
            where=pair[0],
            allowed="finite intensities",
            remedy="replace them, for example with 0",
        )
    if labels.shape[0] == 1:
        size = median_diameter(labels[0])
        scaled = np.stack([normalise(plane) for plane in image[:, 0]])
        return [make_item(pair[0].name, source, scaled, labels[0], size)]
    used = own or voxel_size
    if used is None or min(used) <= 0:
        raise InputError(
            "a volume needs its voxel size",
            where=pair[0],
            got=used,
            remedy="give --voxel-size Z,Y,X, each above 0",
        )
    return planes_of(pair[0].name, source, image, labels, used, plane_step)


def planes_of(
    name: str,
    source: int,
    image: NDArray[Any],
    labels: NDArray[np.integer],
    voxel_size: Sequence[float],
    plane_step: int = 4,
) -> list[Item]:
    """Items of every n-th plane of the three orientations of a volume, shape (C, Z, Y, X)."""
    pixels = np.stack([cubic(normalise(channel), voxel_size, order=1) for channel in image])
    ids = cubic(labels, voxel_size, order=0)
    size = median_diameter(ids)
    items = []
    for axis, orientation in enumerate(("YX", "ZX", "ZY")):
        for index in range(plane_step // 2, ids.shape[axis], plane_step):
            plane = np.ascontiguousarray(pixels.take(index, axis + 1))
            title = f"{name}:{orientation}{index}"
            items.append(make_item(title, source, plane, ids.take(index, axis), size))
    return items
