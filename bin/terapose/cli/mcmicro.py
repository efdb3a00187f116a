"""What MCMICRO wants of a module that segments, beside the mask.

Its call is ``terapose segment --outdir . --input IMAGE --channel 1 3 ...`` in a folder of the task.
It takes every TIFF in that folder for a mask, publishes what is in ``qc``, and leaves the rest
behind. Its images are planes with channels. All samples of a project share the published folder of
``qc``, so its contents are in a folder of the image's name.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from terapose.core.errors import InputError
from terapose.core.params import Parameters
from terapose.io import files
from terapose.io.images.folders import sample_name
from terapose.io.images.opening import open_image
from terapose.io.remote import Remote

MASK = "cell.ome.tif"
"""The name under which MCMICRO looks for a mask of cells."""


def as_called(options: dict[str, Any]) -> dict[str, Any]:
    """Options as given, and those that MCMICRO's call implies where nothing was given.

    The mask has MCMICRO's name and fits the image, and no intermediates stay in a folder that
    nothing is taken from. Intensities are left to its own measurement, unless a table was asked
    for.
    """
    meant: dict[str, Any] = {"mask_tiff": MASK, "keep_intermediates": "none"}
    if options["level"] not in (None, "", "0"):
        meant["upscale"] = True
    if not options["table"]:
        meant["measure"] = "shape"
    return {
        name: meant.get(name) if value in (None, "") else value for name, value in options.items()
    }


def check_folder(folder: Path | Remote) -> None:
    """Refuse to write to an object store: MCMICRO takes the results from the task's folder."""
    if isinstance(folder, Remote):
        raise InputError(
            "a call from MCMICRO (--input) writes to a local folder",
            where=folder,
            allowed="a path",
            remedy="give IMAGE and OUT, without --input",
        )


def check_plane(address: str, params: Parameters) -> None:
    """Refuse a volume, unless a mode was asked for, and a mask that would not fit the image.

    Raises
    ------
    InputError
        If the image has several planes. A TIFF that does not state its axes has, too: its channels
        would be taken for the planes of a volume. Or if a coarser level is not to be brought back.
    """
    if params.level and not params.upscale:
        raise InputError(
            "a mask of a coarser level does not fit the image that MCMICRO measures",
            where="level",
            got=params.level,
            remedy="leave out --no-upscale, or segment level 0",
        )
    image = open_image(address, **params.selection.options)
    if image.shape[0] > 1 and params.mode == "auto":
        raise InputError(
            "is a volume, or a file that does not declare its planes to be channels",
            where=address,
            got=f"axes {image.axes}, {image.shape[0]} planes of {image.shape[1:]} (Y, X)",
            allowed="a plane with channels, as MCMICRO expects",
            remedy="write it as OME-TIFF with the axes CYX; for a volume, give --mode",
        )


def write_qc(address: str, out: Path, params: Parameters, record: dict[str, Any]) -> None:
    """Put into ``qc`` what a user wants to see of a result: picture, table, provenance.

    Parameters
    ----------
    address
        The image.
    out
        Folder of the results.
    params
        All parameters.
    record
        Of the run, as in ``provenance.json``.
    """
    from terapose.apps.picture import three_views
    from terapose.apps.zoom_window import fullest
    from terapose.io.images.array_like import Lazy
    from terapose.io.images.channels import channel_numbers
    from terapose.io.images.watch import Watch
    from terapose.results.earlier import RECORD, records_in
    from terapose.results.outputs import named

    name = sample_name(address)
    folder = out / "qc" / name
    folder.mkdir(parents=True, exist_ok=True)
    own = (*record["tables"], RECORD)
    # what an earlier run has left, and nothing else that somebody keeps there
    for file in {*own, *(file for one in records_in(folder) for file in named(one))}:
        files.remove(folder / file)
    watch = Watch()
    image = watch.open(partial(open_image, address, **record["output"]["selection"]))
    (first, *_), _ = channel_numbers(image, params.channels, params.markers)
    size = record["output"]["voxel_size"]
    cells = watch.labels(out / "labels.zarr")
    nuclei = out / "labels.zarr" / "nuclei"
    three_views(
        Lazy(image, first),
        cells,
        folder / "outlines.png",
        title=f"{name}: {record['cells']} cells",
        reference=watch.labels(nuclei) if nuclei.exists() else None,
        voxel_size=tuple(size) if size else None,
        at=fullest(cells),
        confirm=watch.confirm,
    )
    for file in own:
        files.link(out / file, folder / file)
