"""What a plan says of the image: which it is, and which part of it is segmented."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from terapose.core.errors import InputError
from terapose.core.geometry import ZYX, Box
from terapose.core.selection import Selection
from terapose.io.images.identity import changed_image, compare, table_of
from terapose.io.images.model import Image
from terapose.io.images.opening import open_image
from terapose.io.store.store import Store
from terapose.pipeline.code import code_of

FILES = "image"
"""Folder of the store for what is known of the image's files."""


class TissuePlan(BaseModel):
    """A mask of tissue and what of it is used.

    Attributes
    ----------
    address, identity, reader
        The mask image, and what reads it (`reader_of`).
    shape
        (Z, Y, X) of the mask.
    start, stop
        The part of it that is under the region, in its own voxels.
    """

    model_config = ConfigDict(frozen=True)

    address: str
    identity: str
    reader: str
    shape: ZYX
    start: ZYX
    stop: ZYX

    @property
    def box(self) -> Box:
        """The part of the mask that is used."""
        return Box(self.start, self.stop)


class ImagePlan(BaseModel):
    """What is segmented. Shapes are (Z, Y, X), the voxel size is in micrometres.

    ``shape`` is that of the region that is segmented, ``whole`` that of the image at this level,
    and ``offset`` where the region begins in it.

    ``full_identity`` is that of level 0, where a coarser level is segmented and results may be
    brought there. ``identified_by`` says what identities are made of (`identity_of`), ``reader``
    which code reads the image (`reader_of`).

    ``translation`` is that of the centre of the first voxel, in micrometres, or where the voxel
    size is not known in voxels of level 0.
    """

    model_config = ConfigDict(frozen=True)

    address: str
    identity: str
    full_identity: str
    identified_by: Literal["stat", "content"]
    format: str
    reader: str
    selection: Selection
    level: int
    channels: tuple[int, ...]
    channel_names: tuple[str, ...]
    shape: ZYX
    whole: ZYX
    offset: ZYX
    tissue: TissuePlan | None
    dtype: str
    voxel_size: tuple[float, float, float] | None
    translation: tuple[float, float, float]
    convert: bool

    @property
    def itemsize(self) -> int:
        """Bytes of a voxel of a channel."""
        return np.dtype(self.dtype).itemsize

    @property
    def all_channels(self) -> range:
        """Numbers of the channels of the image, of which some are segmented and others measured."""
        return range(1, len(self.channel_names) + 1)

    def open(self, other: Selection | None = None) -> Image:
        """Open the image again, as the one that was planned, or with another selection.

        Raises
        ------
        InputError
            If it cannot be opened, or is read by other code than was planned.
        """
        image = open_image(self.address, **(other or self.selection).options)
        if (found := reader_of(image)) != self.reader:
            raise InputError(
                "is read by another version of the code than was planned",
                where=self.address,
                got=found,
                allowed=self.reader,
                remedy="run again (the workflow with -resume)",
            )
        return image


def reader_of(image: Image) -> str:
    """Digest of the code that reads an image."""
    return code_of(image.reader)[:16]


def identity_of(image: Image, by: str) -> str:
    """What identifies an image.

    Parameters
    ----------
    image
        The image.
    by
        ``stat``: sizes, times and inodes of the files; ``content``: what they hold.

    Raises
    ------
    InputError
        If the image has changed since it was opened (`terapose.io.images.watch.settled`), where
        content counts.
    """
    opened = image.identity
    if by == "stat":
        return opened
    content = image.find_identity().by_content().digest
    if image.find_identity().digest != opened:
        raise changed_image(image.address, since="it was opened")
    return content


def note_files(image: Image, planned: str, by: str, store: Store) -> None:
    """Keep in the store what is known of an image's files: tasks compare what they read with it.

    Parameters
    ----------
    image
        The image, opened anew.
    planned
        Its identity in the plan.
    by
        What that is made of, as in `identity_of`.
    store
        The store.

    Raises
    ------
    InputError
        If the image is another one than was planned.
    """
    known = image.find_identity()
    content = known.by_content() if by == "content" else None
    if (content or known).digest != planned:
        raise changed_image(image.address)
    store.put_table(_table(image), table_of(known, content))


def note_planned(planned: ImagePlan, full: Selection | None, store: Store) -> None:
    """Keep what is known of the files of a planned image, and of level 0 if that is read.

    Parameters
    ----------
    planned
        The image.
    full
        Of level 0, where results are brought there.
    store
        The store.

    Raises
    ------
    InputError
        If it is another image than was planned.
    """
    note_files(planned.open(), planned.identity, planned.identified_by, store)
    if full is not None:
        note_files(planned.open(full), planned.full_identity, planned.identified_by, store)


def unchanged(image: Image, store: Store) -> None:
    """Refuse an image of which a file was read that is not as it was when the run was planned.

    Raises
    ------
    InputError
        If there is one.
    """
    compare(image.address, image.files_read(), store.get_table(_table(image)))


def same_content(image: Image, planned: str) -> None:
    """Refuse an image whose content is not that which was planned: all of it is read.

    Raises
    ------
    InputError
        If it is another one.
    """
    if image.find_identity().by_content(afresh=True).digest != planned:
        raise changed_image(image.address)


def _table(image: Image) -> str:
    return f"{FILES}/level-{image.level}.npz"
