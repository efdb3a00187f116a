"""Several arrays of one shape, read as one with more axes in front."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Index = tuple[int | slice, ...]


class Joined:
    """Arrays in a grid, indexed like the array that they make.

    Parameters
    ----------
    shape
        Lengths of the axes in front: how many arrays there are along each.
    read
        Reads a region of one of them, by its number in C order.
    """

    def __init__(
        self, shape: tuple[int, ...], read: Callable[[int, Index], np.ndarray[Any, Any]]
    ) -> None:
        self._numbers = np.arange(math.prod(shape)).reshape(shape)
        self._read = read

    def __getitem__(self, index: Index) -> np.ndarray[Any, Any]:
        """Read a region; a number in place of a slice drops its axis."""
        front = self._numbers.ndim
        numbers = np.asarray(self._numbers[index[:front]])
        blocks = [self._read(int(number), index[front:]) for number in numbers.ravel()]
        return np.stack(blocks).reshape(numbers.shape + blocks[0].shape)
