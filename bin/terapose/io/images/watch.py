"""Images that must not change while a program reads them.

A task of a run compares what it reads with the plan's table (`terapose.pipeline.image_plan`). Here
is the same for programs without a plan, and for whoever makes one:

1. `settled` opens an image, finds its identity, and opens it once more: what was looked into (the
   shape, the type, where values are in the file) belongs to the identity only if this is the same
   before and after. Otherwise another image could take its place between the two, and its values
   would be read by the metadata of the first.
2. `Watch` keeps what is known of the images that were opened, and compares with it what has been
   read, before anything is written.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

from terapose.io.images.array_like import Lazy, open_labels
from terapose.io.images.identity import Table, changed_image, compare, table_of
from terapose.io.images.model import Image

_SINCE = "it was opened"


def settled(opening: Callable[[], Image]) -> Image:
    """Open an image whose identity is that of what was looked into.

    Parameters
    ----------
    opening
        Opens it; called twice.

    Returns
    -------
    Image
        With its identity, which is `Image.known`.

    Raises
    ------
    InputError
        If it cannot be opened, or changes meanwhile.
    """
    return _settled(opening)[0]


def _settled(opening: Callable[[], Image]) -> tuple[Image, Table]:
    before = opening().find_identity().digest
    image = opening()
    found = image.find_identity()
    if found.digest != before:
        raise changed_image(image.address, since=_SINCE)
    return replace(image, known=before), table_of(found)


class Watch:
    """Images that are opened, read, and compared with what they were before anything is written."""

    def __init__(self) -> None:
        self._watched: list[tuple[Image, Table]] = []

    def open(self, opening: Callable[[], Image]) -> Image:
        """Open an image and watch it (see `settled`)."""
        image, table = _settled(opening)
        self._watched.append((image, table))
        return image

    def labels(self, address: str | os.PathLike[str]) -> Lazy:
        """Open a label image and watch it (see `terapose.io.images.array_like.open_labels`)."""
        return Lazy(self.open(lambda: open_labels(address).image))

    def add(self, image: Image) -> None:
        """Watch an image that somebody else has opened, unless it is watched already."""
        if not any(image.find_identity is one.find_identity for one, _ in self._watched):
            self._watched.append((image, table_of(image.find_identity())))

    def confirm(self) -> None:
        """Call after reading, before writing.

        Raises
        ------
        InputError
            If a file that was read is not as it was when its image was opened.
        """
        for image, table in self._watched:
            compare(image.address, image.files_read(), table, _SINCE)
