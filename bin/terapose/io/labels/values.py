"""What a label image may hold: whole numbers from 0, of any type."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from terapose.core.errors import InputError


def check_type(dtype: np.dtype[np.generic], where: object) -> None:
    """Refuse voxels that are no whole numbers; a mask of True and False is a label image.

    Parameters
    ----------
    dtype
        Of the voxels.
    where
        The label image, as messages name it.

    Raises
    ------
    InputError
        If it is a type of other numbers.
    """
    if dtype.kind not in "biu":
        raise InputError(
            "a label image must have whole numbers",
            where=where,
            got=dtype,
            allowed="an integer type",
            remedy="save the labels as integers, such as uint32",
        )


def check_signs(labels: NDArray[np.generic], where: object) -> None:
    """Refuse negative labels.

    Parameters
    ----------
    labels
        Whole numbers, in an array of any shape.
    where
        The label image, as messages name it.

    Raises
    ------
    InputError
        If there are any.
    """
    if labels.dtype.kind == "i" and (lowest := int(labels.min(initial=0))) < 0:
        raise InputError(
            "a label image must have whole numbers from 0 up",
            where=where,
            got=lowest,
            remedy="write 0 where there is no cell",
        )
