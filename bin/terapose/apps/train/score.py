"""Average precision of a network on whole 2D images.

Masks are made and counted as `terapose segment` and `terapose evaluate` do. What counts as a cell
of the labels is described in :mod:`terapose.apps.train.data`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from terapose.apps.evaluate import scores
from terapose.apps.train.data import LEAST, Item
from terapose.networks.unet import UNet

SCORED = 16
"""Held-out images that are scored, about."""


def sample(items: Sequence[Item], count: int) -> list[Item]:
    """About ``count`` items, as many of each source, evenly spaced."""
    sources = sorted({item.source for item in items})
    share = max(1, count // max(1, len(sources)))
    chosen: list[Item] = []
    for source in sources:
        group = [item for item in items if item.source == source]
        taken = min(share, len(group))
        chosen += [group[(2 * n + 1) * len(group) // (2 * taken)] for n in range(taken)]
    return chosen


def average_precision(
    network: nn.Module,
    items: Sequence[Item],
    thresholds: tuple[float, ...] = (0.5, 0.75),
    each: Callable[..., Iterable[Any]] = map,
) -> tuple[float, ...]:
    """True positives / (true positives + false positives + false negatives), over all objects.

    Counts are summed over the images before dividing, so that an image counts by its objects.

    Parameters
    ----------
    network
        See :func:`segment`.
    items
        Images with their labels and diameters.
    thresholds
        Intersection over union from which a pair of objects matches.
    each
        ``map``, or that of an executor, to make masks in other processes.
    """
    outputs = (_predict(network, item.image, item.diameter) for item in items)
    counts = each(partial(_matches, thresholds), (item.labels for item in items), outputs)
    totals = sum(counts, np.zeros((len(thresholds), 3), np.int64))
    return tuple(float(row[0] / max(1, row.sum())) for row in totals)


def _matches(
    thresholds: tuple[float, ...],
    labels: NDArray[np.integer],
    output: tuple[NDArray[np.float32], int],
) -> NDArray[np.int64]:
    """Objects found, in excess and missed (columns) at each threshold (rows)."""
    found = scores.average_precision(labels, _masks(*output), thresholds)
    counts = (found.true_positives, found.false_positives, found.false_negatives)
    return np.array(counts, np.int64).T


def segment(network: nn.Module, image: NDArray[np.float32], diameter: float) -> NDArray[np.int32]:
    """Label image of a normalised 2D image by Cellpose's rules for masks.

    A U-Net is run on the whole image, scaled so that objects have ``network.diam_mean`` pixels; a
    network of Cellpose 4 on its tiles, at the image's own scale, as Cellpose trains it.

    Parameters
    ----------
    network
        A U-Net, or a network of the ``cellpose`` package.
    image
        Shape (C, Y, X).
    diameter
        Typical object diameter in pixels; 0 runs the image at its own scale.
    """
    return _masks(*_predict(network, image, diameter))


def _predict(
    network: nn.Module, image: NDArray[np.float32], diameter: float
) -> tuple[NDArray[np.float32], int]:
    """Output, shape (3, Y, X), and how many steps to follow its flows."""
    network.eval()
    with torch.inference_mode():
        if isinstance(network, UNet):
            output = _run_unet(network, image, diameter)
            grown = diameter / float(network.diam_mean)
        else:
            output, grown = _run_tiles(network, image), 1.0
    return output, int(200 * max(1.0, grown))


def _masks(output: NDArray[np.float32], steps: int) -> NDArray[np.int32]:
    from cellpose.dynamics import compute_masks

    device = torch.device("cpu")
    labels = compute_masks(output[:2], output[2], niter=steps, min_size=LEAST, device=device)
    return np.asarray(labels, np.int32)


def _run_unet(network: UNet, image: NDArray[np.float32], diameter: float) -> NDArray[np.float32]:
    """Output, shape (3, Y, X), computed at the network's scale."""
    shape = image.shape[1:]
    scale = float(network.diam_mean) / diameter if diameter else 1.0
    height, width = (max(8, round(length * scale)) for length in shape)
    multiple = 2 ** (len(network.widths) - 2)
    padded = [length + 16 + -(length + 16) % multiple for length in (height, width)]
    planes = np.zeros((1, network.widths[0], *padded), np.float32)
    for plane, channel in zip(planes[0], image, strict=False):
        small = cv2.resize(channel, (width, height), interpolation=cv2.INTER_LINEAR)
        plane[8 : 8 + height, 8 : 8 + width] = small
    output = network(torch.from_numpy(planes).to(network.device))[0][0].cpu().numpy()
    inside = output[:, 8 : 8 + height, 8 : 8 + width]
    return np.stack([cv2.resize(plane, shape[::-1]) for plane in inside])


def _run_tiles(network: nn.Module, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Output, shape (3, Y, X), of a network of the ``cellpose`` package."""
    from cellpose.core import run_net

    planes = np.zeros((1, *image.shape[1:], 3), np.float32)
    planes[0, :, :, : len(image)] = np.moveaxis(image, 0, 2)
    edge = 256 if network.backbone == "sam_vitl" else 384
    output, _ = run_net(network, planes, batch_size=1, bsize=edge)
    return np.ascontiguousarray(np.moveaxis(output[0], 2, 0))
