"""What a plan says of the image: which it is, and which part of it is segmented."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from terapose.geometry import ZYX, Box
from terapose.image import Image, open_image
from terapose.image.identity import changed_image, compare, table_of
from terapose.selection import Selection
from terapose.store import Store


class TissuePlan(BaseModel):
    """A mask of tissue and what of it is used.

    Attributes
    ----------
    address, identity
        The mask image.
    shape
        (Z, Y, X) of the mask.
    start, stop
        The part of it that lies under the region, in its own voxels.
    """

    model_config = ConfigDict(frozen=True)

    address: str
    identity: str
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
    brought there.

    ``translation`` is that of the centre of the first voxel, in micrometres, or where the voxel
    size is not known in voxels of level 0.
    """

    model_config = ConfigDict(frozen=True)

    address: str
    identity: str
    full_identity: str
    format: str
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

    def open(self, other: Selection | None = None) -> Image:
        """Open the image again, as the one that was planned, or with another selection."""
        return open_image(self.address, **(other or self.selection).options)


def note_files(image: Image, planned: str, store: Store) -> None:
    """Keep in the store what is known of an image's files: tasks compare what they read with it.

    Parameters
    ----------
    image
        The image, opened anew.
    planned
        Its identity in the plan.
    store
        The store.

    Raises
    ------
    InputError
        If the image is another one than was planned.
    """
    known = image.find_identity()
    if known.digest != planned:
        raise changed_image(image.address)
    store.put_table(_table(image), table_of(known))


def unchanged(image: Image, store: Store) -> None:
    """Refuse an image of which a file was read that is not as it was when the run was planned.

    Raises
    ------
    InputError
        If there is one.
    """
    compare(image.address, image.files_read(), store.get_table(_table(image)))


def _table(image: Image) -> str:
    return f"image/level-{image.level}.npz"
