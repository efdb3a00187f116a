"""HDF5 files with one volume: the dataset `raw`, or the only one, or one named in the address.

The voxel size is the attribute `element_size_um` (z, y, x), as PlantSeg and its like write it.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any, cast

from terapose.errors import InputError
from terapose.image import address as addresses
from terapose.image.model import Image, Source, check_level, is_cut_in_planes, names_of, normalise
from terapose.image.units import VoxelSize, micrometres, voxel_size_of

_AXES = {2: "YX", 3: "ZYX", 4: "CZYX"}


def split(address: str) -> tuple[str, str]:
    """Split `folder/file.h5/group/dataset` into the file and the dataset (empty: no such file)."""
    head = address
    while not addresses.is_url(address) and os.path.dirname(head) not in ("", head):
        head = os.path.dirname(head)
        if os.path.isfile(head):
            return head, address[len(head) :].strip("/")
    return address, ""


def open_hdf5(address: str, dataset: str, level: int) -> Image:
    """Open a dataset of an HDF5 file; without a name `raw` or the only one (see `open_image`)."""
    import h5py

    if addresses.is_url(address):
        raise InputError(
            "HDF5 is read from a local disk only", where=address, remedy="copy the file first"
        )
    check_level(address, level, 1)
    try:
        with h5py.File(address, "r") as file:
            array = _choose(address, file, dataset)
            axes = _AXES.get(array.ndim, "")
            shape, channels = normalise(address, axes, array.shape if axes else (), array.dtype)
            # A dataset without chunks lies in one piece, of which any row can be read.
            z, y, x = (1, 1, *(array.chunks or (1, 1, shape[2])))[-3:]
            voxel_size = _voxel_size(array, shape[0])
            name, dtype = str(array.name), array.dtype.newbyteorder("=")
    except OSError as error:
        raise InputError(
            "the HDF5 file cannot be opened",
            where=address,
            got=str(error),
            remedy="the file is damaged or incomplete, copy it again",
        ) from error
    return Image(
        address=address,
        format="hdf5",
        axes=axes,
        shape=shape,
        channels=channels,
        channel_names=names_of((), channels),
        dtype=dtype,
        voxel_size=voxel_size,
        level=level,
        levels_shape=(shape,),
        chunks=(z, y, x),
        is_lazy=not is_cut_in_planes((z, y, x), shape, dtype),
        open_source=partial(_open_source, address, name),
        find_identity=partial(addresses.file_identity, address),
    )


def _open_source(address: str, name: str) -> Source:
    import h5py

    return cast(Source, h5py.File(address, "r")[name])


def _choose(address: str, file: Any, dataset: str) -> Any:
    import h5py

    names: list[str] = []
    file.visititems(lambda n, o: names.append(n) if isinstance(o, h5py.Dataset) else None)
    wanted = dataset or ("raw" if "raw" in names else names[0] if len(names) == 1 else "")
    if wanted not in names:
        raise InputError(
            "the HDF5 file has no such dataset" if wanted else "the HDF5 file has several datasets",
            where=address,
            got=wanted or None,
            allowed=", ".join(names) or None,
            remedy=f"name one, as in {address}/{names[0] if names else 'raw'}",
        )
    return file[wanted]


def _voxel_size(array: Any, planes: int) -> VoxelSize | None:
    sizes = array.attrs.get("element_size_um")
    if sizes is None or len(sizes) != 3:
        return None
    z, y, x = (micrometres(float(size), "um") for size in sizes)
    return voxel_size_of(z, y, x, planes)
