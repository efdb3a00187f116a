"""Flows of instance masks, by diffusion from each object's centre, as Cellpose defines them."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

# Neighbours in Cellpose's order; the first is the pixel itself.
_DY = np.array([0, -1, 1, 0, 0, -1, -1, 1, 1])
_DX = np.array([0, 0, 0, -1, 1, -1, 1, -1, 1])


def flows_from_masks(labels: NDArray[np.integer]) -> NDArray[np.float32]:
    """Unit vectors that lead each pixel of an object to the object's centre.

    Heat is fed into each object's centre and spread by averaging over the 3 x 3 neighbours inside
    the object; the flow is the normalised gradient of the heat. The centre is the rounded mean
    position, or the object's pixel nearest to it where that lies outside. The number of rounds is
    twice the largest object's height + width + 2. Source: Stringer et al., Nature Methods 18
    (2021); same values as ``cellpose.dynamics.masks_to_flows_gpu`` of Cellpose 4.2.

    Parameters
    ----------
    labels
        Label image, shape (Y, X), 0 is background. Pieces of one ID that do not touch are left at
        zero flow unless they hold the centre: split them first.

    Returns
    -------
    flows
        Shape (2, Y, X): Y and X component in pixels, zero outside objects.
    """
    if not labels.any():
        return np.zeros((2, *labels.shape), np.float32)
    # int32 is what find_objects takes; IDs of a training image are small after renumbering.
    ids, dense = np.unique(labels, return_inverse=True)
    renumbered = dense.reshape(labels.shape).astype(np.int32) + int(ids[0] > 0)
    boxes = find_objects(renumbered)
    starts = np.array([[box[0].start, box[1].start] for box in boxes], np.int64)
    stops = np.array([[box[0].stop, box[1].stop] for box in boxes], np.int64)
    rounds = 2 * int((stops - starts).sum(axis=1).max() + 2)
    padded = np.pad(renumbered, 1)
    heat = np.zeros(padded.shape, np.float64)
    for label, (start, stop) in enumerate(zip(starts, stops, strict=True), start=1):
        window = padded[start[0] : stop[0] + 2, start[1] : stop[1] + 2]
        pixels = np.argwhere(window == label)
        values = _spread(window, pixels, _centre(pixels), rounds)
        heat[pixels[:, 0] + start[0], pixels[:, 1] + start[1]] = values
    flows = np.zeros((2, *labels.shape))
    flows[0] = heat[2:, 1:-1] - heat[:-2, 1:-1]
    flows[1] = heat[1:-1, 2:] - heat[1:-1, :-2]
    flows *= renumbered > 0
    # 1e-60 keeps the division defined at a symmetric centre without touching any real gradient.
    unit: NDArray[np.float64] = flows / (1e-60 + np.sqrt((flows**2).sum(axis=0)))
    return unit.astype(np.float32)


def _centre(pixels: NDArray[np.int64]) -> int:
    """Index of the pixel nearest to the rounded mean position, the first of several.

    The mean is rounded in the frame of the object's own box, half to even, as Cellpose does.
    """
    origin = pixels.min(axis=0)
    local = pixels - origin
    mean = np.round(local.sum(axis=0) / len(local)).astype(np.int64)
    return int(((local - mean) ** 2).sum(axis=1).argmin())


@numba.njit(cache=True)
def _spread(
    window: NDArray[np.int32], pixels: NDArray[np.int64], centre: int, rounds: int
) -> NDArray[np.float64]:
    """Heat of each of ``pixels`` (one object, in a window padded by one) after ``rounds``."""
    count = len(pixels)
    index = np.full(window.shape, count)
    label = window[pixels[0, 0], pixels[0, 1]]
    for i in range(count):
        index[pixels[i, 0], pixels[i, 1]] = i
    neighbours = np.full((count, 9), count)
    for i in range(count):
        for k in range(9):
            y, x = pixels[i, 0] + _DY[k], pixels[i, 1] + _DX[k]
            if window[y, x] == label:
                neighbours[i, k] = index[y, x]
    heat = np.zeros(count + 1)  # the last one stands for "outside" and stays zero
    spread = np.zeros(count + 1)
    for _ in range(rounds):
        heat[centre] += 1.0
        for i in range(count):
            total = 0.0
            for k in range(9):
                total += heat[neighbours[i, k]]
            spread[i] = total / 9.0
        heat, spread = spread, heat
    return heat[:count]
