"""What becomes of intensities in float32, in which Cellpose and all stages calculate.

Integers of up to 16 bits, float16 and float32 are float32 exactly. Of float64 and of integers
above 2**24 a number may be too large for it, may become 0, or may become its neighbour. Results
should not depend on the unit of an image: one that is multiplied by a power of two has the same
labels, or is refused, and so is one whose differences are lost.

Cellpose takes 0.001 between the percentiles, or less, for an image without contrast, in whatever
unit. An image with less is refused, a constant one apart. With ``normalize`` plane or tile that is
so only where no plane, or no tile, has more: dark ones count as empty, as in Cellpose.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from terapose.core.errors import InputError

LEAST = 1e-3
"""Between the percentiles of an image, as `cellpose.transforms.normalize99` has it."""
_STEPS = 1024
"""Steps of float32 between low and high of an image whose values are rounded: those of 10 bits."""
_MOST = float(np.finfo(np.float32).max)
_EXACT = 2**24
_WHOLE = float(np.finfo(np.float32).tiny) * _EXACT
"""Where numbers 2**24 times smaller still have all their digits."""

EXACT, ROUNDED, VANISHED = 0, 1, 2


def check_held(values: NDArray[Any], address: str, channel: int) -> None:
    """Refuse values that are larger than any in float32.

    Parameters
    ----------
    values
        Finite values of any real type.
    address, channel
        For the message.

    Raises
    ------
    InputError
        If one is.
    """
    if values.dtype != np.float64 or not values.size:
        return
    largest = float(np.abs(values).max())
    if np.isfinite(largest) and largest > _MOST:
        raise InputError(
            "the image has intensities that are too large for 32-bit numbers",
            where=f"{address}, channel {channel}",
            got=f"{largest:g}",
            allowed=f"up to {_MOST:.3g}",
            remedy="divide the image by a constant and write it as float32",
        )


def loss_of(values: NDArray[Any]) -> int:
    """What float32 makes of values: `EXACT`, `ROUNDED`, or `VANISHED` if one becomes 0."""
    kind, size = values.dtype.kind, values.dtype.itemsize
    if (kind == "f" and size <= 4) or (kind in "iu" and size <= 2) or not values.size:
        return EXACT
    if kind in "iu" and int(values.min()) >= -_EXACT and int(values.max()) <= _EXACT:
        return EXACT
    rounded = values.astype(np.float32)
    if ((rounded == 0) & (values != 0)).any():
        return VANISHED
    return ROUNDED if (rounded.astype(np.float64) != values).any() else EXACT


def _lost(ends: NDArray[np.float64], loss: int, *, whole: bool) -> NDArray[np.bool_]:
    """For each pair of low and high, shape (2, N), whether too few steps of float32 are between."""
    top = np.abs(ends).max(axis=0)
    step = np.spacing(top.astype(np.float32)).astype(np.float64)
    # near the end of its range float32 has fewer digits
    lost: NDArray[np.bool_] = (ends[1] - ends[0] < _STEPS * step) | (top < _WHOLE)
    if whole:
        lost &= step > 1
    if loss != VANISHED:
        lost &= ends.any(axis=0)  # zeros are zeros
    return lost


def check_contrast(
    low: ArrayLike,
    high: ArrayLike,
    loss: int,
    *,
    whole: bool,
    given: bool,
    address: str,
    channel: int,
    remedy: str = "multiply the image, for example by 1000, or give lowhigh",
) -> None:
    """Refuse an image whose differences are lost in float32, or count for nothing in Cellpose.

    Parameters
    ----------
    low, high
        What becomes 0 and 1: of the image, or of each plane or tile (NaN where it is constant).
    loss
        What float32 makes of the image (`loss_of`).
    whole
        Whether all values are whole numbers.
    given
        Whether ``low`` and ``high`` are no percentiles: these are used whatever they are.
    address, channel
        For the message.
    remedy
        What can be done about little contrast.

    Raises
    ------
    InputError
        If it is such an image.
    """
    ends = np.array([np.ravel(low), np.ravel(high)], np.float64)
    ends = ends[:, ~np.isnan(ends).any(axis=0)]
    if not ends.size:
        return
    wide = ends[1] - ends[0]
    widest = int(wide.argmax())
    got = f"{ends[0, widest]:g} to {ends[1, widest]:g}"
    if loss != EXACT and _lost(ends, loss, whole=whole).all():
        raise InputError(
            "the differences between intensities are lost in 32-bit numbers",
            where=f"{address}, channel {channel}",
            got=got,
            allowed=f"at least {_STEPS} steps of such a number between low and high",
            remedy="subtract the background, or multiply the image, and write it as float32",
        )
    if not given and 0 < wide[widest] <= LEAST:
        raise InputError(
            "the image has so little contrast that Cellpose would treat it as empty",
            where=f"{address}, channel {channel}",
            got=got,
            allowed=f"more than {LEAST:g} between the percentiles",
            remedy=remedy,
        )
