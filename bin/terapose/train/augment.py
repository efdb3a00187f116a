"""Random crops for training: rotated, scaled, mirrored, brightened and blurred."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from terapose.train.data import Item

SCALE_RANGE = (0.7, 1.4)


def crop(
    item: Item, rng: np.random.Generator, *, edge: int, diameter: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A random crop of an item with its target.

    The image is turned by any angle, mirrored half of the time and scaled so that its objects have
    ``diameter`` x 0.7 to 1.4 pixels; flows are turned with it. What lies outside the image is
    zero, as tiles are padded when the network runs. Brightness, blur and noise vary by channel; a
    channel of nothing but zeros stays so, as it is for an image that lacks it.

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

    Returns
    -------
    image
        Shape (C, edge, edge).
    target
        Shape (3, edge, edge).
    """
    natural = diameter / item.diameter if item.diameter else 1.0
    scale = natural * float(np.exp(rng.uniform(*np.log(SCALE_RANGE))))
    angle = float(rng.uniform(0, 2 * np.pi))
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    # Output offset = linear @ input offset, both in (x, y).
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.diag([mirror, 1.0])
    middle = _centre(item.labels.shape, rng, edge / scale / 2)
    shift = np.full(2, (edge - 1) / 2) - scale * linear @ middle
    affine = np.concatenate([scale * linear, shift[:, None]], axis=1)

    def warp(plane: NDArray[np.float32]) -> NDArray[np.float32]:
        warped = cv2.warpAffine(plane, affine, (edge, edge), flags=cv2.INTER_LINEAR)
        return np.asarray(warped, np.float32)

    flow_y, flow_x, inside = (warp(plane) for plane in item.target)
    target = np.stack(
        [
            linear[1, 0] * flow_x + linear[1, 1] * flow_y,
            linear[0, 0] * flow_x + linear[0, 1] * flow_y,
            (inside > 0.5).astype(np.float32),
        ]
    )
    planes = [_appearance(warp(p), rng) if p.any() else warp(p) for p in item.image]
    return np.stack(planes), target.astype(np.float32)


def _centre(shape: tuple[int, ...], rng: np.random.Generator, half: float) -> NDArray[np.float64]:
    """A crop centre (x, y) that keeps the crop inside the image where it fits."""
    centre = []
    for length in (shape[1], shape[0]):
        margin = min(half, length / 2)
        centre.append(rng.uniform(margin, length - margin) - 0.5)
    return np.array(centre)


def _appearance(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Vary brightness, contrast curve, blur along one axis and noise."""
    if rng.random() < 0.3:
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
