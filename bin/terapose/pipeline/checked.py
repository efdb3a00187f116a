"""An image that is opened and checked against the parameters, before anything is planned."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

from terapose.core.errors import InputError
from terapose.core.geometry import Box
from terapose.core.normalizing import NORMALIZATIONS
from terapose.core.params import Parameters
from terapose.core.region import box_text
from terapose.io.images.channels import channel_numbers, measured_channels
from terapose.io.images.model import Image, check_type
from terapose.io.images.opening import open_image
from terapose.io.images.watch import settled
from terapose.pipeline import tissue
from terapose.pipeline.upscale import check_cover


def open_checked(address: str, params: Parameters) -> Image:
    """Open an image and check it against the parameters.

    Raises
    ------
    InputError
        If it cannot be opened, has no such channel, or is not a volume.
    """
    image = open_region(address, params)
    check_type(address, image.dtype)
    _check_channels(image, params)
    mode = mode_of(image, params)
    if params.pixel_size is not None and mode != "2d":
        raise InputError(
            "a pixel size does not give the distance between planes",
            where="pixel_size",
            got=params.pixel_size,
            remedy="give voxel_size: Z, Y, X",
        )
    _check_shape(image, mode)
    if mode != "3d" or params.anisotropy is None:
        _check_square(image)
    _check_for_mode(params, mode)
    if image.level and (params.upscale or params.has_outlines):
        check_cover(image, params, mode)
    return image


def open_region(address: str, params: Parameters) -> Image:
    """Open the part of an image that parameters choose; of a mask, the box of the tissue.

    Raises
    ------
    InputError
        If it cannot be opened, changes meanwhile, or the mask cannot be used.
    """
    size = params.voxel_size
    if params.pixel_size is not None:
        size = (params.pixel_size, params.pixel_size, params.pixel_size)
    image = settled(partial(open_image, address, **params.selection.options, voxel_size=size))
    if not params.tissue:
        return image
    box, _ = tissue.find_tissue(params.tissue, image.shape)
    tissue.check_place(params.tissue, image)
    return part_of(image, box)


def part_of(image: Image, box: Box) -> Image:
    """A part of an image, or of a region of one, whose voxels are those of the box."""
    region = box_text(box.moved(image.region.start))
    return replace(image, selection=replace(image.selection, region=region))


def _check_channels(image: Image, params: Parameters) -> None:
    """Refuse channels that the image does not have, and one that is merged with itself."""
    numbers, names = channel_numbers(image, params.channels, params.markers)
    measured_channels(names, params.measure)
    if params.channel_merge != "none" and len(set(numbers)) < len(numbers):
        raise InputError(
            "a channel cannot be merged with itself",
            where="channels",
            got=", ".join(map(str, numbers)),
            allowed="each channel once with channel_merge",
        )


def _check_shape(image: Image, mode: str) -> None:
    """Refuse images that are too small or too large, and planes where volumes are needed."""
    if min(image.shape[1:]) < 2:
        raise InputError(
            "is too small",
            where=image.address,
            got=f"shape {image.shape} (Z, Y, X)",
            allowed="at least 2 pixels along Y and X",
            remedy="check the axes of the file",
        )
    if image.shape[0] < 2 and mode != "2d":
        raise InputError(
            "is not a volume",
            where=image.address,
            got=f"shape {image.shape} (Z, Y, X)",
            allowed=f"at least 2 planes in mode {mode}",
            remedy="give mode 2d, or a Z stack (if its planes are separate files, join them first)",
        )
    if max(image.shape) >= 2**24:
        raise InputError(
            "an axis is too long for float32 to distinguish neighbouring voxels",
            where=image.address,
            got=max(image.shape),
            allowed=f"below {2**24}",
            remedy="segment a coarser pyramid level (level)",
        )


def _check_for_mode(params: Parameters, mode: str) -> None:
    """Refuse parameters that another mode than this one has."""
    for name, given in (("expand", params.expand), ("table", params.has_outlines)):
        if given and mode != "2d":
            raise InputError(
                f"{'`expand`' if name == 'expand' else 'a table in geojson'} needs mode 2d",
                where=name,
                got=getattr(params, name),
                allowed="mode 2d",
                remedy=f"leave it out: the mode of this image is {mode}",
            )
    if mode != "3d" and any(params.flow3d_smooth):
        raise InputError(
            "flows are smoothed along Z, Y and X in mode 3d only",
            where="flow3d_smooth",
            got=list(params.flow3d_smooth),
            allowed=f"0 in mode {mode}",
        )


def mode_of(image: Image, params: Parameters) -> str:
    """The mode: as given, else 3d where there are several planes."""
    if params.mode != "auto":
        return params.mode
    return "3d" if image.shape[0] > 1 else "2d"


def anisotropy_of(image: Image, params: Parameters) -> float:
    """Z step over pixel size: as given, or from the voxel size, else 1."""
    if params.anisotropy is not None:
        return params.anisotropy
    if image.voxel_size is None:
        return 1.0
    _check_square(image)
    z, y, _ = image.voxel_size
    return float(z / y)


def _check_square(image: Image) -> None:
    """Refuse pixels that are not as long along Y as along X: a network knows only one diameter."""
    if image.voxel_size is None:
        return
    _, y, x = image.voxel_size
    if not math.isclose(y, x, rel_tol=0.01):
        raise InputError(
            "pixels are not square",
            where=image.address,
            got=f"voxel size {image.voxel_size} micrometres (Z, Y, X)",
            allowed="the same size along Y and X, within 1 %",
            remedy="resample the image, or give its true voxel_size",
        )


def without_use(image: Image, params: Parameters) -> list[str]:
    """Notes on parameters that change nothing for an image, or say two things.

    Parameters
    ----------
    image
        From `open_checked`.
    params
        All parameters.
    """
    mode = mode_of(image, params)
    fields = Parameters.model_fields
    notes = [
        f"{_said(name, getattr(params, name))} has no effect {where}"
        for name, where in _idle(params, mode, anisotropy_of(image, params)).items()
        if getattr(params, name) != fields[name].default
    ]
    given, size = params.anisotropy, params.voxel_size
    if mode == "3d" and given and size and not math.isclose(given, size[0] / size[1], rel_tol=0.01):
        computed = f"{size[0] / size[1]:g} computed from voxel_size"
        notes.append(f"anisotropy {given:g} overrides the {computed}")
    return notes


def _idle(params: Parameters, mode: str, anisotropy: float) -> dict[str, str]:
    """Parameters that change nothing beside others, and beside which.

    Those that are only about how the work is divided are not among them, nor are those that
    `terapose.core.param_faults` and `open_checked` refuse where they would change nothing.

    Parameters
    ----------
    params
        All parameters.
    mode
        3d, 2d or stitch.
    anisotropy
        Z step over pixel size.

    Returns
    -------
    dict
        By name, the end of a sentence.
    """
    in_mode, normalized = f"in mode {mode}", f"with normalize {params.normalize}"
    below = f"with anisotropy {anisotropy:g}" if anisotropy <= 1 else ""
    takes = NORMALIZATIONS[params.normalize].takes
    percentiles = "with channel_merge gmm" if params.channel_merge == "gmm" else ""
    found = {
        "anisotropy": in_mode if mode != "3d" else "",
        "flow_scaling": in_mode if mode != "3d" else below,
        "stitch_threshold": in_mode if mode != "stitch" else "",
        "tile_overlap": "with augment: tiles overlap by half" if params.augment else "",
        "batch_size": "on a GPU" if params.use_gpu else "",
        "percentiles": percentiles if "percentiles" in takes else normalized,
        "percentile_sampling": normalized if "percentile_sampling" not in takes else "",
        "normalize_tile": normalized if "normalize_tile" not in takes else "",
        "upscale": "" if params.level else "at level 0",
    }
    return {name: where for name, where in found.items() if where}


def _said(name: str, value: object) -> str:
    """A parameter and its value in a sentence."""
    if value is True:
        return name
    return f"{name} {','.join(map(str, value)) if isinstance(value, tuple) else value}"
