"""What a plan says of the image: which it is, and which part of it is segmented."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from terapose.geometry import ZYX, Box
from terapose.image import Image, open_image
from terapose.selection import Selection


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

    ``translation`` is that of the centre of the first voxel, in micrometres, or where the voxel
    size is not known in voxels of level 0.
    """

    model_config = ConfigDict(frozen=True)

    address: str
    identity: str
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
