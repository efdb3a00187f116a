"""Random crops for training: rotated, scaled, mirrored, brightened, and with faults of real images.

1. Faults (`FAULTS`) are dim objects beside bright ones, debris, uneven background, clipped
   intensities, the blur along one axis and the coarse sampling of a volume's ZX and ZY planes. Each
   that is asked for occurs by its own chance.
2. Targets are interpolated. Just inside an outline flows therefore become shorter than 1, while the
   object's mask is cut at one half: flows *taper* off. `TAPERS` has other ways for either.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from terapose.apps.train.data import Item

SCALE_RANGE = (0.7, 1.4)
FAULTS = ("dim", "debris", "blur", "background", "clipping", "sampling")
TAPERS = ("flows", "none", "both")


def crop(
    item: Item,
    rng: np.random.Generator,
    *,
    edge: int,
    diameter: float,
    scales: tuple[float, float] = SCALE_RANGE,
    faults: Collection[str] = ("sampling",),
    taper: str = "flows",
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A random crop of an item with its target.

    The image is turned by any angle, mirrored half of the time and scaled so that its objects have
    ``diameter`` pixels times one of ``scales``; flows are turned with it. What is outside the
    image is zero, as tiles are padded when the network runs. Brightness, faults and noise vary by
    channel; a channel of nothing but zeros stays so, as it is for an image that lacks it.

    Parameters
    ----------
    item
        What to cut from.
    rng
        Source of all randomness.
    edge
        Edge of the crop in pixels.
    diameter
        Object diameter the network is made for, in pixels.
    scales
        Smallest and largest factor of the diameter, drawn on a logarithmic scale.
    faults
        Those of `FAULTS` that crops may get.
    taper
        What falls off towards outlines, one of `TAPERS`: flows, neither, or flows and masks.

    Returns
    -------
    image
        Shape (C, edge, edge).
    target
        Shape (3, edge, edge).
    """
    natural = diameter / item.diameter if item.diameter else 1.0
    scale = natural * float(np.exp(rng.uniform(*np.log(scales))))
    angle = float(rng.uniform(0, 2 * np.pi))
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    # Output offset = linear @ input offset, both in (x, y).
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.diag([mirror, 1.0])
    middle = _centre(item.labels.shape, rng, edge / scale / 2)
    window, first = _window(item.labels.shape, middle, edge / scale)
    shift = np.full(2, (edge - 1) / 2) - scale * linear @ (middle - first)
    affine = np.concatenate([scale * linear, shift[:, None]], axis=1)

    def warp(plane: NDArray[Any], flags: int = cv2.INTER_LINEAR) -> NDArray[np.float32]:
        part = plane[window].astype(np.float32)
        return np.asarray(cv2.warpAffine(part, affine, (edge, edge), flags=flags), np.float32)

    target = _turned(linear, *(warp(plane) for plane in item.target))
    planes = [warp(plane) for plane in item.image]
    labels = partial(warp, item.labels, cv2.INTER_NEAREST)
    planes = [_spoil(plane, labels, faults, rng) if plane.any() else plane for plane in planes]
    planes = [_appearance(plane, faults, rng) if plane.any() else plane for plane in planes]
    return np.stack(planes), _tapered(target, taper)


def _turned(
    linear: NDArray[np.float64],
    flow_y: NDArray[np.float32],
    flow_x: NDArray[np.float32],
    inside: NDArray[np.float32],
) -> NDArray[np.float32]:
    """The target of a crop: flows turned with it, and what is inside of objects."""
    target = np.stack(
        [
            linear[1, 0] * flow_x + linear[1, 1] * flow_y,
            linear[0, 0] * flow_x + linear[0, 1] * flow_y,
            inside,
        ]
    )
    return target.astype(np.float32)


def _tapered(target: NDArray[np.float32], taper: str) -> NDArray[np.float32]:
    """The target with what is asked for tapered; as passed in, flows and mask both taper."""
    flows, inside = target[:2], target[2]
    if taper == "none":
        length = np.sqrt((flows**2).sum(axis=0))
        flows *= (inside > 0.5) / np.maximum(length, np.float32(1e-6))
    if taper != "both":
        target[2] = inside > 0.5
    return target


def _centre(shape: tuple[int, ...], rng: np.random.Generator, half: float) -> NDArray[np.float64]:
    """A crop centre (x, y) that keeps the crop inside the image where it fits."""
    centre = []
    for length in (shape[1], shape[0]):
        margin = min(half, length / 2)
        centre.append(rng.uniform(margin, length - margin) - 0.5)
    return np.array(centre)


def _window(
    shape: tuple[int, ...], middle: NDArray[np.float64], edge: float
) -> tuple[tuple[slice, slice], NDArray[np.float64]]:
    """The part of an image that a turned square around ``middle`` (x, y) may show; its origin."""
    reach = edge / np.sqrt(2) + 2
    x, y = (
        slice(max(0, int(place - reach)), min(length, int(place + reach) + 2))
        for place, length in zip(middle, shape[::-1], strict=True)
    )
    return (y, x), np.array([x.start, y.start], np.float64)


def _appearance(
    image: NDArray[np.float32], faults: Collection[str], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Vary brightness, contrast curve, sampling along one axis and noise."""
    if "sampling" in faults and rng.random() < 0.3:
        coarse = int(image.shape[0] / rng.uniform(1.2, 3.0))
        along_y = rng.random() < 0.5
        size = (image.shape[1], coarse) if along_y else (coarse, image.shape[0])
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        image = np.asarray(cv2.resize(small, image.shape[::-1], interpolation=cv2.INTER_LINEAR))
    if rng.random() < 0.5:
        power = float(np.exp(rng.uniform(-0.4, 0.4)))
        image = (np.sign(image) * np.abs(image) ** power).astype(np.float32)
    if rng.random() < 0.3:
        noise = rng.normal(0, rng.uniform(0.02, 0.12), image.shape)
        image = image + noise.astype(np.float32)
    return (image * rng.uniform(0.75, 1.3) + rng.uniform(-0.05, 0.1)).astype(np.float32)


def _spoil(
    image: NDArray[np.float32],
    labels: Callable[[], NDArray[np.float32]],
    faults: Collection[str],
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Faults by their own chances, in the order in which light meets them."""
    if "dim" in faults and rng.random() < 0.25:
        image = _dim(image, labels(), rng)
    if "debris" in faults and rng.random() < 0.2:
        image = image + _debris(image.shape, rng)
    if "blur" in faults and rng.random() < 0.3:
        along = float(rng.uniform(0.5, 3.0))
        across = float(rng.uniform(0.0, 0.3)) * along
        sigma = (along, across) if rng.random() < 0.5 else (across, along)
        image = _blur(image, *sigma)
    if "background" in faults and rng.random() < 0.3:
        light = rng.uniform(0, rng.uniform(0.1, 0.5), (4, 4)).astype(np.float32)
        uneven = cv2.resize(light, image.shape[::-1], interpolation=cv2.INTER_CUBIC)
        image = image + np.asarray(uneven, np.float32)
    if "clipping" in faults and rng.random() < 0.15:
        top = float(rng.uniform(0.3, 0.9))
        image = np.asarray(np.minimum(image, top) / top, np.float32)
    return np.asarray(image, np.float32)


def _dim(
    image: NDArray[np.float32], labels: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Make some objects dimmer, down to a quarter of their light above the background."""
    ids = np.unique(labels)
    outside = image[labels == 0]
    if len(ids) < 2 or not outside.size:
        return image
    share = np.where(rng.random(len(ids)) < 0.5, rng.uniform(0.25, 1.0, len(ids)), 1.0)
    share[ids == 0] = 1.0
    light = _blur(share[np.searchsorted(ids, labels)].astype(np.float32), 1.0, 1.0)
    base = np.float32(np.median(outside))
    return np.asarray(base + (image - base) * light, np.float32)


def _debris(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """A few bright specks that are no objects."""
    specks = np.zeros(shape, np.float32)
    for _ in range(int(rng.integers(1, 6))):
        y, x = (int(rng.integers(length)) for length in shape)
        specks[y, x] += rng.uniform(0.3, 2.0)
    sigma = float(rng.uniform(0.6, 1.6))
    # The peak of a blurred point is 1 / (2 pi sigma^2) of it.
    return _blur(specks, sigma, sigma) * np.float32(2 * np.pi * sigma**2)


def _blur(image: NDArray[np.float32], sigma_y: float, sigma_x: float) -> NDArray[np.float32]:
    """Gaussian blur; an axis with a sigma of next to nothing stays as it is."""
    sizes = [2 * round(3 * sigma) + 1 for sigma in (sigma_x, sigma_y)]
    blurred = cv2.GaussianBlur(image, sizes, max(sigma_x, 1e-3), None, max(sigma_y, 1e-3))
    return np.asarray(blurred, np.float32)
