"""Level 0 of an image of which a coarser level is segmented, and whether results can go there."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from terapose.core.errors import InputError
from terapose.core.geometry import zyx
from terapose.core.levels import Cover, moved_by
from terapose.core.params import Parameters
from terapose.core.region import box_text
from terapose.io.images.model import Image
from terapose.io.images.opening import open_image
from terapose.io.images.watch import settled


def full_image(image: Image, params: Parameters) -> Image:
    """Level 0 of an image of which another level was opened, with the voxel size that fits.

    Of a region it is the part that the region covers. Where the address names the level itself, as
    in ``image.zarr/1``, that is what is returned.
    """
    size = None
    if params.voxel_size or params.pixel_size:
        z, y, x = (s / f for s, f in zip(image.voxel_size or (), image.factors, strict=True))
        size = (z, y, x)
    chosen = replace(image.selection, level=0, region="")
    full = settled(partial(open_image, image.address, **chosen.options, voxel_size=size))
    cover = cover_of(image.whole, full) if image.selection.region else None
    if cover is None:
        return full
    return replace(full, selection=replace(chosen, region=box_text(cover.over(image.region))))


def cover_of(image: Image, full: Image) -> Cover | None:
    """Which voxels of level 0 those of a level cover; None where there is no level 0 to cover.

    That is so where the address names a level itself, or levels are not in order. Of a region it is
    those of the part of level 0.
    """
    sizes = zip(image.layout.shape, full.layout.shape, strict=True)
    if full.level == image.level or any(a > b for a, b in sizes):
        return None
    whole, part = image.whole, None
    if image.selection.region:
        part = (image.region.start, image.region.stop)
    first, step = full.whole.origin, full.voxel_size or full.factors
    moved = (
        moved_by((a - b) / s, f)
        for a, b, s, f in zip(whole.origin, first, step, image.factors, strict=True)
    )
    return Cover(coarse=whole.shape, fine=full.whole.shape, moved=zyx(moved), part=part)


def check_cover(image: Image, params: Parameters, mode: str) -> None:
    """Refuse a level from which no way leads back to level 0.

    Raises
    ------
    InputError
        If the address names the level itself, the level is larger than level 0, translations in
        the file put it elsewhere, or cells of planes would become volumes.
    """
    full = full_image(image, params)
    if full.level:
        raise InputError(
            "the address names one level, so results cannot be brought to level 0",
            where=image.address,
            remedy=f"give the address of the image, and level {image.level}; "
            "or leave out upscale and geojson",
        )
    cover = cover_of(image, full)
    if cover is None:
        raise InputError(
            "is larger than level 0",
            where=f"{image.address}, level {image.level}",
            got=f"shape {image.shape} (Z, Y, X)",
            allowed=f"at most {full.shape}",
            remedy="write the image again with its levels in order, or segment level 0",
        )
    if any(abs(m) > f for m, f in zip(cover.moved, image.factors, strict=True)):
        raise InputError(
            "does not cover the same area as level 0, according to the translations in the file",
            where=f"{image.address}, level {image.level}",
            got=f"{cover.moved} (Z, Y, X) pixels of level 0 from there",
            remedy="segment level 0, or leave out upscale and geojson",
        )
    if params.upscale and mode == "2d" and cover.fine[0] != cover.coarse[0]:
        raise InputError(
            "has fewer planes than level 0, so cells of planes would become several planes thick",
            where=f"{image.address}, level {image.level}",
            got=f"{cover.coarse[0]} planes",
            allowed=f"{cover.fine[0]} planes, with upscale in mode 2d",
            remedy="segment level 0, or leave out upscale",
        )
