"""Average precision of a network on whole 2D images."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from terapose.networks.unet import UNet
from terapose.train.data import Item


def average_precision(
    network: UNet, items: Sequence[Item], thresholds: tuple[float, ...] = (0.5, 0.75)
) -> tuple[float, ...]:
    """True positives / (true positives + false positives + false negatives), over all objects.

    Counts are summed over the images before dividing, so that an image counts by its objects.

    Parameters
    ----------
    network
        Made for objects of ``network.diam_mean`` pixels.
    items
        Images with their labels and diameters.
    thresholds
        Intersection over union from which a pair of objects matches.
    """
    from cellpose.metrics import average_precision as matches

    totals = np.zeros((len(thresholds), 3))
    for item in items:
        found = segment(network, item.image, item.diameter)
        _, hits, extra, missed = matches([item.labels], [found], threshold=list(thresholds))
        totals += np.stack([hits[0], extra[0], missed[0]], axis=1)
    return tuple(float(row[0] / max(1.0, row.sum())) for row in totals)


def segment(network: UNet, image: NDArray[np.float32], diameter: float) -> NDArray[np.int32]:
    """Label image of a normalised 2D image, run whole at the network's scale by Cellpose's rules.

    Parameters
    ----------
    image
        Shape (Y, X).
    diameter
        Typical object diameter in pixels; 0 runs the image at its own scale.
    """
    from cellpose.dynamics import compute_masks

    scale = float(network.diam_mean) / diameter if diameter else 1.0
    size = [max(8, round(length * scale)) for length in image.shape]
    small = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
    padded = np.pad(small, [(8, 8 + -length % 8) for length in size])
    network.eval()
    with torch.inference_mode():
        output = network(torch.from_numpy(padded)[None, None])[0][0].numpy()
    inside = output[:, 8 : 8 + size[0], 8 : 8 + size[1]]
    full = np.stack([cv2.resize(plane, image.shape[::-1]) for plane in inside])
    steps = max(50, int(200 * max(1.0, diameter / float(network.diam_mean))))
    labels = compute_masks(full[:2], full[2], niter=steps, device=torch.device("cpu"))
    return np.asarray(labels, np.int32)
