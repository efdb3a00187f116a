"""Images of discs to train on, and the weights of what was trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
import torch
from numpy.typing import NDArray
from torch import Tensor

from terapose.apps.train.data import Item, make_item, median_diameter, normalise

State = dict[str, Tensor]


def discs(seed: int, *, dark: bool = False) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """An image, 64 x 64 pixels, of discs of 9 to 15 pixels, and their labels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :64]
    labels = np.zeros((64, 64), np.int32)
    for number, (row, column) in enumerate(np.ndindex(3, 3), start=1):
        centre = 11 + 21 * np.array([row, column]) + rng.uniform(-3, 3, 2)
        labels[np.hypot(y - centre[0], x - centre[1]) < rng.uniform(4.5, 7.5)] = number
    image = ((labels > 0) ^ dark) * 100.0 + rng.normal(20, 4, labels.shape)
    return image.astype(np.float32), labels


def item(seed: int, *, dark: bool = False) -> Item:
    image, labels = discs(seed, dark=dark)
    return make_item(f"{seed}.tif", 0, normalise(image)[None], labels, median_diameter(labels))


def write_cells(folder: Path, count: int = 4) -> Path:
    folder.mkdir()
    for seed in range(count):
        image, labels = discs(seed)
        tifffile.imwrite(folder / f"{seed}.tif", np.stack([image, image[::-1]]))
        tifffile.imwrite(folder / f"{seed}_masks.tif", labels)
    return folder


def weights(path: Path) -> State:
    state: State = torch.load(path, weights_only=True)
    return state


def equal(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)
