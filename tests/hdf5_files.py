"""HDF5 files for tests, and what their images must be."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from tests.synthetic import voxels

from terapose.io.images.model import Image
from terapose.io.images.opening import open_image

VOLUME = voxels(5, 33, 47)


def write(path: Path, name: str = "exported_data", array: Any = VOLUME, **attributes: Any) -> Path:
    """A file with one dataset and its attributes, or one dataset more."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "a") as file:
        chunks = tuple(min(16, n) for n in array.shape)
        file.create_dataset(name, data=array, chunks=chunks, compression="gzip")
        file[name].attrs.update(attributes)
    return path


def linked(path: Path, **links: Any) -> Path:
    """A file with links."""
    with h5py.File(path, "a") as file:
        for name, link in links.items():
            file[name] = link
    return path


def whole(image: Image, channel: int = 1) -> np.ndarray:
    """All voxels of a channel."""
    z, y, x = image.shape
    return image.read((slice(0, z), slice(0, y), slice(0, x)), channel)


def opens_again(image: Image) -> bool:
    """Whether who opens it with what was chosen, or gets it sent, has the same image."""
    again = open_image(image.address, **image.selection.options)
    sent = pickle.loads(pickle.dumps(image))
    assert np.array_equal(whole(sent), whole(image))
    return again == image and again.identity == image.identity
