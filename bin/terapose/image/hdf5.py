"""HDF5 files with one volume: the dataset `raw`, or the only one, or one named in the address.

The voxel size is the attribute `element_size_um` (z, y, x), as PlantSeg and its like write it.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any, cast

from terapose.errors import InputError
from terapose.image import address as addresses
from terapose.image.axes import unnamed
from terapose.image.model import Image, Source, check_level, is_cut_in_planes, layout_of, names_of
from terapose.image.units import VoxelSize, micrometres, voxel_size_of
from terapose.selection import Selection


def split(address: str) -> tuple[str, str]:
    """Split `folder/file.h5/group/dataset` into the file and the dataset (empty: no such file)."""
    head = address
    while not addresses.is_url(address) and os.path.dirname(head) not in ("", head):
        head = os.path.dirname(head)
        if os.path.isfile(head):
            return head, address[len(head) :].strip("/")
    return address, ""


def open_hdf5(address: str, file_name: str, dataset: str, chosen: Selection) -> Image:
    """Open a dataset of an HDF5 file (see `open_image`).

    Parameters
    ----------
    address
        As the user gave it, with the dataset if it names one.
    file_name, dataset
        The file, and the dataset that the address or ``series`` names; empty: ``raw`` or the only
        one.
    chosen
        What else was chosen.
    """
    import h5py

    if addresses.is_url(address):
        raise InputError(
            "HDF5 is read from a local disk only", where=address, remedy="copy the file first"
        )
    check_level(address, chosen.level, 1)
    try:
        with h5py.File(file_name, "r") as file:
            array = _choose(file_name, file, dataset)
            layout = layout_of(address, unnamed(array.ndim), array.shape, array.dtype, chosen)
            # A dataset without chunks lies in one piece, of which any row can be read.
            row = (1,) * (array.ndim - 1) + array.shape[-1:]
            chunks = layout.spatial(array.chunks or row)
            voxel_size = _voxel_size(array, layout.shape[0])
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
        layout=layout,
        channel_names=names_of((), layout.length("C")),
        dtype=dtype,
        voxel_size=voxel_size,
        selection=chosen,
        levels_shape=(layout.shape,),
        chunks=chunks,
        is_lazy=not is_cut_in_planes(chunks, layout.shape, dtype),
        open_source=partial(_open_source, file_name, name),
        find_identity=partial(_identity, file_name, name),
        series=((name.strip("/"),), 0),
    )


def _identity(file_name: str, dataset: str) -> str:
    return addresses.digest(addresses.file_identity(file_name), dataset)


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
