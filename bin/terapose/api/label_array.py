"""The label image of results as an array that is read when it is sliced."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.core.amounts import in_bytes
from terapose.core.errors import InputError
from terapose.io.labels.ome_zarr import NAME, open_level

MOST = 2**30
"""Bytes that an array may have to be turned into one in memory without being sliced."""


class LabelArray:
    """A label image on a disk, (Z, Y, X) or (Y, X); 0 is background.

    Slices are NumPy arrays, of which only the chunks that they touch are read. Functions that need
    all of it as a NumPy array get it up to `MOST` bytes; more is refused, because it would have to
    fit into memory. ``dask.array.from_array`` takes it as it is.

    Parameters
    ----------
    address
        Path of the labels group.
    name
        Name of the label image in the group.
    level
        Level of the pyramid; 0 is the finest.
    """

    def __init__(self, address: str, name: str = NAME, level: int = 0) -> None:
        self._of = address, name, level
        self._array = open_level(address, level, name=name)

    def __reduce__(self) -> tuple[type[LabelArray], tuple[str, str, int]]:
        """Copies in other processes open it again."""
        return LabelArray, self._of

    @property
    def shape(self) -> tuple[int, ...]:
        """(Z, Y, X) or (Y, X)."""
        return self._array.shape

    @property
    def chunks(self) -> tuple[int, ...]:
        """Shape of a chunk, of which all has to be read for any part of it."""
        return self._array.chunks

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the IDs."""
        return np.dtype(self._array.dtype)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of voxels."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that all of it would take in memory."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Read a part: numbers, slices and an ellipsis, as of a NumPy array."""
        return np.asarray(self._array[index])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """All of it, if it is small enough.

        Raises
        ------
        InputError
            If it is larger than `MOST` bytes.
        """
        if self.nbytes > MOST:
            raise InputError(
                "this label image is too large to be read into memory as a whole",
                where="/".join(map(str, self._of)),
                got=f"shape {self.shape}, {in_bytes(self.nbytes)}",
                allowed=in_bytes(MOST),
                remedy="take slices of it, or dask.array.from_array(labels)",
            )
        if copy is False:
            raise ValueError("a label image on a disk cannot be an array without being copied")
        return np.asarray(self[...], dtype=dtype)

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.shape))
        return f"<LabelArray {self._of[1]}: {shape}, {self.dtype}, {in_bytes(self.nbytes)}>"
