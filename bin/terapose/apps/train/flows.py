"""Flows of instance masks, by diffusion from each object's centre, as Cellpose defines them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from terapose.algorithms.flows.flow_error import heat_2d


def flows_from_masks(labels: NDArray[np.integer]) -> NDArray[np.float32]:
    """Unit vectors that lead each pixel of an object to the object's centre.

    Heat is fed into each object's centre and spread by averaging over the 3 x 3 neighbours inside
    the object; the flow is the normalised gradient of the heat. The centre is the rounded mean
    position, or the object's pixel nearest to it where that is outside. The number of rounds is
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
    renumbered = dense.reshape(labels.shape).astype(np.int32) + np.int32(ids[0] > 0)
    extents = [sum(s.stop - s.start for s in box) for box in find_objects(renumbered)]
    heat = heat_2d(renumbered, 2 * (max(extents) + 2))
    flows = np.zeros((2, *labels.shape))
    flows[0] = heat[2:, 1:-1] - heat[:-2, 1:-1]
    flows[1] = heat[1:-1, 2:] - heat[1:-1, :-2]
    flows *= renumbered > 0
    # 1e-60 keeps the division defined at a symmetric centre without touching any real gradient.
    unit: NDArray[np.float64] = flows / (1e-60 + np.sqrt((flows**2).sum(axis=0)))
    return unit.astype(np.float32)
