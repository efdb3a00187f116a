"""Images on disk that are indexed like arrays, so that a function need not know which it has."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from terapose.core.errors import InputError

if TYPE_CHECKING:
    from terapose.io.images.model import Image

Slices = tuple[slice, slice, slice]


class Voxels(Protocol):
    """What a NumPy array, a zarr array and `Lazy` have in common: (Z, Y, X), read by slices."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(Z, Y, X)."""
        ...

    @property
    def dtype(self) -> Any:
        """Type of the voxels."""
        ...

    def __getitem__(self, region: Any, /) -> Any:
        """Read a region."""
        ...


class Lazy:
    """One channel of an opened image, indexed by three slices of step 1.

    Parameters
    ----------
    image
        From `terapose.io.images.opening.open_image`.
    channel
        From 1.
    """

    def __init__(self, image: Image, channel: int = 1) -> None:
        self.image = image
        self.channel = channel
        self.shape: tuple[int, ...] = image.shape
        self.dtype: Any = image.dtype

    def __getitem__(self, region: Slices) -> np.ndarray:
        """Read a region: (Z, Y, X), of the image's dtype."""
        return self.image.read(region, self.channel)


def open_labels(address: str | os.PathLike[str], *, boolean: bool = True) -> Lazy:
    """Open a label image, or a mask.

    Parameters
    ----------
    address
        As for `terapose.io.images.opening.open_image`; or an OME-Zarr labels group with a single
        label image, or with one that is called ``cells``; on a disk also a grey PNG.
    boolean
        Whether true and false are read, too.

    Returns
    -------
    Lazy

    Raises
    ------
    InputError
        If there is none, the group holds several, or it has several channels.
    """
    from terapose.io.images import address as addresses
    from terapose.io.images import zarr_nodes
    from terapose.io.images.opening import open_image
    from terapose.io.images.zarr_groups import inside

    place = addresses.localise(os.fspath(address))
    names = zarr_nodes.metadata(place).get("labels")
    if isinstance(names, list) and (len(names) == 1 or "cells" in names):
        name = str(names[0]) if len(names) == 1 else "cells"
        place = inside(place, name)
    is_plain = not addresses.is_url(place) and not set(place) & set("*?[]{}")
    if is_plain and place.lower().endswith(".png"):
        # planes of a stack may be PNG: a pattern that only this file matches
        pattern = f"{place[:-1]}[{place[-1]}]"
        image = replace(open_image(pattern, stack=True, boolean=boolean), address=place)
    else:
        image = open_image(place, boolean=boolean)
    if image.channels > 1:
        raise InputError(
            "masks and labels must have one channel",
            where=place,
            got=f"{image.channels} channels",
            remedy="write the intended one to a separate file",
        )
    return Lazy(image)
