"""Labels in a file, with the image that belongs to them, for functions of labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.core.geometry import Box, Grid
from terapose.io.images.array_like import Lazy
from terapose.io.images.model import Image
from terapose.results.processing.blocks import Setting
from terapose.results.processing.functions import Function


class FileSetting(Setting):
    """What the work on a block of a label image in a file needs.

    Parameters
    ----------
    labels
        The label image.
    image, channels
        The image of the same shape, or None, and numbers of channels that functions get.
    function
        What is applied.
    grid
        The blocks.
    """

    def __init__(
        self,
        labels: Lazy,
        image: Image | None,
        channels: tuple[int, ...],
        function: Function,
        grid: Grid,
    ) -> None:
        super().__init__(function, grid, labels.image.voxel_size, labels.image.address)
        self.labels, self.image, self.channels = labels, image, channels

    def read_labels(self, box: Box) -> NDArray[Any]:
        """Labels of a box."""
        return np.array(self.labels[box.slices])

    def pixels(self, box: Box) -> NDArray[Any] | None:
        """The image of a box, if there is one."""
        if self.image is None:
            return None
        return np.stack([self.image.read(box.slices, c) for c in self.channels])
