"""Training data as 2D items, made from images and volumes with instance masks.

1. A 2D image gives one item, a volume one item for every n-th plane of each orientation.
2. Volumes are resampled to cubic voxels first, so that the three orientations show objects at one
   scale; intensities are normalised over the whole volume, as they are when it is segmented, each
   channel by itself. What `terapose segment` refuses for its intensities is refused here, constant
   channels apart: they become zeros, as a channel does that an image lacks.
3. Parts of one ID that do not touch within a plane become objects of their own: each has flows that
   lead to its own centre. Parts of less than `LEAST` pixels are the exception: beside a larger part
   of their ID they are strays of a brush. They have flows, but are no cells: neither diameters nor
   scores count them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, label, zoom

from terapose.algorithms.normalize.histogram import normalize
from terapose.algorithms.normalize.precision import check_contrast, check_held, loss_of
from terapose.apps.train.files import Pair, read_pair
from terapose.apps.train.flows import flows_from_masks
from terapose.core.errors import InputError

LEAST = 15
"""Pixels of the smallest cell, as Cellpose has it by default: of less, masks are dropped."""

GROWTH = 100
"""How many times as many voxels a volume may have once they are cubic: of more, units differ."""


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
        Shape (Y, X), int32 IDs of the cells, or uint16.
    target
        Shape (3, Y, X): Y flow, X flow (unit vectors), object mask 0 or 1; float32 or float16.
    diameter
        Typical object diameter in pixels of this image; for a plane, the volume's.
    digest
        SHA-256 of the image and labels it was made from, hexadecimal; "" if these were no files.
    file
        Name of the image's file; "" if there was none.
    """

    name: str
    source: int
    image: NDArray[np.floating]
    labels: NDArray[np.integer]
    target: NDArray[np.floating]
    diameter: float
    digest: str = ""
    file: str = ""


def normalise(
    image: NDArray[Any], address: str | Path = "image", channel: int = 1
) -> NDArray[np.float32]:
    """Map percentiles 1 and 99 of a channel to 0 and 1, without clipping.

    It becomes zeros if it is constant, or if the values at both percentiles are the same.

    Parameters
    ----------
    image
        Finite values of any shape and real type.
    address, channel
        For messages.

    Raises
    ------
    InputError
        Values do not fit into float32, their differences are lost in it, or so little is between
        the percentiles that Cellpose takes the image for an empty one.
    """
    check_held(image, str(address), channel)
    low, high = np.percentile(image, (1, 99)).astype(np.float32)
    if low == high and _is_flat(image):
        return np.zeros(image.shape, np.float32)
    check_contrast(
        low,
        high,
        loss_of(image),
        whole=image.dtype.kind in "iu",
        given=False,
        address=str(address),
        channel=channel,
        remedy="multiply the image, for example by 1000",
    )
    return normalize(image, low, high)


def _is_flat(image: NDArray[Any]) -> bool:
    """Whether the values at both percentiles are the same before they are rounded to float32."""
    return bool(
        np.percentile(image, 1, method="lower") == np.percentile(image, 99, method="higher")
    )


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


def cells_among(pieces: NDArray[np.int32], labels: NDArray[np.integer]) -> NDArray[np.int32]:
    """Pieces without strays, numbered anew.

    Of each ID those of `LEAST` pixels or more are kept, and the largest in any case.

    Parameters
    ----------
    pieces
        See :func:`split_pieces`.
    labels
        What they are pieces of.
    """
    sizes = np.bincount(pieces.ravel())
    owner = np.zeros(len(sizes), labels.dtype)
    owner[pieces.ravel()] = labels.ravel()
    by_size = np.lexsort((sizes, owner))
    is_last = np.append(owner[by_size][1:] != owner[by_size][:-1], True)
    kept = sizes >= LEAST
    kept[by_size[is_last]] = True
    kept[0] = False
    return np.where(kept, kept.cumsum(), 0).astype(np.int32)[pieces]


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
    name: str,
    source: int,
    image: NDArray[np.float32],
    labels: NDArray[np.integer],
    size: float | None = None,
) -> Item:
    """Item of a normalised image.

    Parameters
    ----------
    name, source
        Of the item.
    image
        Shape (C, Y, X).
    labels
        Shape (Y, X).
    size
        Diameter of the objects; by default it is measured in the labels.
    """
    pieces = split_pieces(labels)
    cells = cells_among(pieces, labels)
    diameter = median_diameter(cells) if size is None else size
    target = np.concatenate([flows_from_masks(pieces), (pieces > 0)[None].astype(np.float32)])
    return Item(name, source, image, cells, target.astype(np.float32), diameter)


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
        If the files cannot be read, voxels are not finite, float32 does not hold the contrast, or
        the voxel size of a volume is not known or leaves no voxels, or far too many.
    """
    image, labels, own, numbers = read_pair(pair, channels=channels, limit=limit)
    if not np.isfinite(image).all():
        raise InputError(
            "the image has voxels that are not finite numbers",
            where=pair[0],
            allowed="finite intensities",
            remedy="replace them, for example with 0",
        )
    scaled = np.stack(
        [normalise(values, pair[0], n) for values, n in zip(image, numbers, strict=True)]
    )
    if labels.shape[0] == 1:
        item = make_item(pair[0].name, source, scaled[:, 0], labels[0])
        return [replace(item, digest=_digest(image, labels), file=pair[0].name)]
    used = own or voxel_size
    if used is None or min(used) <= 0:
        raise InputError(
            "a volume needs its voxel size",
            where=pair[0],
            got=used,
            remedy="give --voxel-size Z,Y,X, each above 0",
        )
    remedy = "correct it in the file" if own else "correct --voxel-size Z,Y,X"
    longest = max(_check_cubic(pair[0], labels.shape, used, remedy))
    if plane_step // 2 >= longest:
        raise InputError(
            "no plane of the volume is used",
            where=pair[0],
            got=f"a plane step of {plane_step}",
            allowed=f"up to {2 * longest - 1}, as there are up to {longest} planes",
            remedy="give a smaller --plane-step",
        )
    digest = _digest(image, labels, np.array(used, np.float64))
    planes = planes_of(pair[0].name, source, scaled, labels, used, plane_step)
    return [replace(plane, digest=digest, file=pair[0].name) for plane in planes]


def _check_cubic(
    path: Path, shape: Sequence[int], voxel_size: Sequence[float], remedy: str
) -> tuple[int, ...]:
    """Shape that :func:`cubic` gives; refused if nothing is left along an axis, or far too much."""
    with np.errstate(over="ignore"):
        factors = np.array(voxel_size, np.float64) / float(voxel_size[2])
        edges = np.round(factors * shape)
    if edges.min() < 1 or not np.prod(factors) <= GROWTH:
        sizes, before, after = (
            " x ".join(f"{n:.6g}" for n in numbers) for numbers in (voxel_size, shape, edges)
        )
        raise InputError(
            "the volume cannot be resampled to cubic voxels of the X size",
            where=path,
            got=f"a voxel size of {sizes}, with which {before} voxels become {after}",
            allowed=f"at least one voxel along each axis, and up to {GROWTH} times as many in all",
            remedy=remedy,
        )
    return tuple(int(edge) for edge in edges)


def _digest(*arrays: NDArray[Any]) -> str:
    """Of arrays as they were read: what is made of them could be rounded differently elsewhere."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype.str} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def planes_of(
    name: str,
    source: int,
    image: NDArray[np.float32],
    labels: NDArray[np.integer],
    voxel_size: Sequence[float],
    plane_step: int = 4,
) -> list[Item]:
    """Items of every n-th plane of the three orientations of a volume.

    Parameters
    ----------
    name, source
        Of the items.
    image
        Shape (C, Z, Y, X), normalised.
    labels
        Shape (Z, Y, X).
    voxel_size
        Z, Y, X.
    plane_step
        See :func:`items_of`.
    """
    pixels = np.stack([cubic(channel, voxel_size, order=1) for channel in image])
    ids = cubic(labels, voxel_size, order=0)
    size = median_diameter(cells_among(split_pieces(ids), ids))
    items = []
    for axis, orientation in enumerate(("YX", "ZX", "ZY")):
        for index in range(plane_step // 2, ids.shape[axis], plane_step):
            plane = np.ascontiguousarray(pixels.take(index, axis + 1))
            title = f"{name}:{orientation}{index}"
            items.append(make_item(title, source, plane, ids.take(index, axis), size))
    return items
