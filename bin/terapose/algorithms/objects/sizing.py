"""The size of cells in an image, from what a network finds in a sample of it at several scales.

A network finds cells that are about as large as those it knows, and not those that are far smaller
or larger. So the image is shown to it at several scales:

1. *Rungs* are the diameters that are tried first, each twice the one before. At a rung, a few
   windows of the image are scaled for cells of that diameter; the network sees a tile of each.
2. In its output, pixels with a probability above one half are moved along the flows, from pixel to
   pixel. Pixels that end where several others end are a cell. It counts if its flows lead to its
   middle: if the mean over its pixels of the flow, times the direction of the middle, is `AGREES`
   or more. In noise, or at a wrong scale, it is less. Cells at the border of a window do not count
   either, for only a part of them is seen.
3. The size that is found at a rung is the median of the diameters of circles as large as the cells.
   A rung is good if it has `LEAST` cells or more and that size is within a factor of `NEAR` of the
   rung. Of the good ones, that one counts whose cells cover most of the windows.
4. The size that was found is assumed next, until what is found has the size that was assumed,
   within `ENOUGH`. If that does not happen in `ROUNDS` rounds, or no rung is good, the size is
   not known.

In a volume cells are seen in planes, and a plane cuts most of them beside their middle: spheres
that are cut at random have a median diameter of sqrt(3/4) of their own, so what is found is divided
by it.

Invariants: the result depends on the pixels of the windows and on the network alone. Windows and
their number do not depend on how the work is divided.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RUNGS = (6.0, 12.0, 24.0, 48.0, 96.0)
"""Diameters in pixels that are tried first."""
NEAR = 2.2
ENOUGH = 1.25
ROUNDS = 3
LEAST = 3
AGREES = 0.7
SECTION = math.sqrt(0.75)
"""Median diameter of random sections of a sphere, over its own."""
_STEPS = 60
_GATHERED = 3
"""Pixels that have to end in one for it to be the middle of a cell."""
_SMALLEST = 9
"""Pixels of the smallest cell."""

Output = NDArray[np.float32]
"""Of a network for a window, (3, Y, X): 5 x Y flow, 5 x X flow, logit of the probability."""


@dataclass(frozen=True)
class Found:
    """What was found in windows at one scale.

    Attributes
    ----------
    assumed
        The diameter in pixels of the image that was assumed.
    size
        The median diameter that was found; 0 where nothing was.
    cells
        How many cells counted.
    covered
        The part of the windows that they cover.
    windows
        Number of windows.
    """

    assumed: float
    size: float
    cells: int
    covered: float
    windows: int

    @property
    def stands(self) -> bool:
        """Whether there are enough cells, and of about the size that was assumed."""
        return self.cells >= LEAST and 1 / NEAR <= self.size / self.assumed <= NEAR

    @property
    def settled(self) -> bool:
        """Whether what was found has the size that was assumed."""
        return self.cells >= LEAST and 1 / ENOUGH <= self.size / self.assumed <= ENOUGH


def areas_of(output: Output) -> NDArray[np.int64]:
    """Pixels of each cell of a window that counts.

    Parameters
    ----------
    output
        The network's, for all of the window.
    """
    from scipy import ndimage

    nothing = np.zeros(0, np.int64)
    inside = output[2] > 0
    if not inside.any() or not np.isfinite(output).all():
        return nothing
    flows = output[:2] / np.float32(5)
    flows = flows / np.maximum(1, np.hypot(*flows))
    starts = np.stack(np.nonzero(inside))
    ends = _followed(flows, starts)
    gathered = np.zeros(inside.shape, np.int64)
    np.add.at(gathered, tuple(ends), 1)
    middles, count = ndimage.label(gathered >= _GATHERED, np.ones((3, 3)))
    owner = middles[tuple(ends)]
    if not count:
        return nothing
    numbers = np.arange(1, count + 1)
    areas = np.bincount(owner, minlength=count + 1)[1:]
    sums = [np.bincount(owner, weights=along, minlength=count + 1) for along in starts]
    centres = np.stack([total[1:] / np.maximum(1, areas) for total in sums])
    counted = owner > 0
    ways = centres[:, owner[counted] - 1] - starts[:, counted]
    ways /= np.maximum(1e-6, np.hypot(*ways))
    agreement = (ways * flows[:, *starts[:, counted]]).sum(0)
    agreed = np.bincount(owner[counted], weights=agreement, minlength=count + 1)[1:] / areas
    last = np.array(inside.shape)[:, None] - 1
    at_border = ((starts == 0) | (starts == last)).any(0)
    whole = ~np.isin(numbers, owner[at_border])
    chosen: NDArray[np.int64] = areas[whole & (agreed >= AGREES) & (areas >= _SMALLEST)]
    return chosen


def _followed(flows: NDArray[np.float32], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pixels (2, N) in which pixels end that are moved along flows, (2, Y, X)."""
    last = np.array(flows.shape[1:], np.float32)[:, None] - 1
    places = starts.astype(np.float32)
    for _ in range(_STEPS):
        at = np.rint(places).astype(np.int64)
        places = np.clip(places + flows[:, *at], 0, last)
    return np.rint(places).astype(np.int64)


def found_in(
    assumed: float, scale: float, outputs: Sequence[Output], *, solid: bool = False
) -> Found:
    """What was found at one scale.

    Parameters
    ----------
    assumed
        Diameter in pixels of the image.
    scale
        Pixels of the network for one of the image.
    outputs
        The network's, for each window.
    solid
        Whether they are planes of a volume.
    """
    areas = np.concatenate([np.zeros(0, np.int64), *(areas_of(output) for output in outputs)])
    size = float(np.median(np.sqrt(areas * 4 / np.pi))) / scale if len(areas) else 0.0
    size /= SECTION if solid else 1.0
    pixels = sum(math.prod(output.shape[1:]) for output in outputs)
    covered = float(areas.sum()) / max(1, pixels)
    return Found(assumed, size, len(areas), covered, len(outputs))


def search(look: Callable[[float], Found], rungs: Iterable[float]) -> list[Found]:
    """Look at rungs and then at what was found, until it is what was assumed.

    Parameters
    ----------
    look
        What is found where a diameter in pixels is assumed.
    rungs
        Diameters to begin with.

    Returns
    -------
    looks
        All that was looked at, the rung that counts after the others, and then what was found. The
        size was found if the last of them is `settled`.
    """
    looks = [look(rung) for rung in rungs]
    standing = [found for found in looks if found.stands]
    if not standing:
        return looks
    best = max(standing, key=lambda found: found.covered)
    # what was looked at last is what counts, a rung that has settled as well
    looks = [*(found for found in looks if found is not best), best]
    for _ in range(ROUNDS):
        if best.settled or not best.stands:
            break
        best = look(best.size)
        looks.append(best)
    return looks
