"""HDF5: datasets by name, and the dialects that keep one image in many of them.

BigDataViewer and BigStitcher (`terapose.io.images.bdv`) and Imaris (`terapose.io.images.imaris`)
are known by the names in the file. Of any other file the dataset is taken that the address or
``series`` names; else ``raw``; else the only one that could be an image: numbers in two axes or
more. What its axes are and its voxel size is said by attributes (`terapose.io.images.hdf5_axes`).
"""

from __future__ import annotations

import os
from functools import partial

from terapose.core.errors import InputError, pass_on
from terapose.core.selection import Selection
from terapose.io.images import address as addresses
from terapose.io.images import bdv, bdv_xml, imaris
from terapose.io.images.hdf5_axes import axes_of, voxel_size_in
from terapose.io.images.hdf5_files import Hdf5Files, Node, file_beside, is_dataset, shape_of
from terapose.io.images.hdf5_source import identity_of, open_stack, stored_as
from terapose.io.images.model import Image, check_level, layout_of, names_of
from terapose.io.images.series import find_series, listed

SIGNATURE = b"\x89HDF"
_DEFAULT = "raw"


def split(address: str) -> tuple[str, str]:
    """Split `folder/file.h5/group/name` into the file and the name (empty: no HDF5 file)."""
    head = address
    while not addresses.is_url(address) and os.path.dirname(head) not in ("", head):
        head = os.path.dirname(head)
        if os.path.isfile(head):
            return (head, address[len(head) :].strip("/")) if _is_hdf5(head) else (address, "")
    return address, ""


def open_hdf5(
    address: str, file_name: str, inside: str, chosen: Selection, *, xml_name: str = ""
) -> Image:
    """Open an image of an HDF5 file (see `open_image`).

    Parameters
    ----------
    address
        As the user gave it, with what it names inside the file.
    file_name, inside
        The file, and the group or dataset that the address names; empty: none.
    chosen
        What else was chosen.
    xml_name
        The XML of BigDataViewer that names the file, if the user gave that.
    """
    if addresses.is_url(address):
        raise addresses.local_only("HDF5", address)
    with Hdf5Files(file_name, address) as files:
        try:
            return _open(address, files, inside, chosen, xml_name)
        except InputError:
            raise
        except Exception as error:  # h5py raises whatever the damaged bytes lead to
            pass_on(error)
            raise InputError(
                "the HDF5 file is damaged or incomplete",
                where=address,
                got=f"{type(error).__name__}: {error}",
                remedy="write or copy the file again",
            ) from error


def _is_hdf5(file_name: str) -> bool:
    with open(file_name, "rb") as file:
        return file.read(len(SIGNATURE)) == SIGNATURE


def open_bdv_xml(address: str, chosen: Selection) -> Image:
    """Open the image whose BigDataViewer XML the user gave (see `open_image`)."""
    if addresses.is_url(address):
        raise addresses.local_only("HDF5", address, "the files")
    xml_name = os.path.realpath(address)
    folder = os.path.dirname(xml_name)
    file_name = file_beside(xml_name, bdv_xml.pixels_of(xml_name)[1], folder, address)
    return open_hdf5(address, file_name, "", chosen, xml_name=xml_name)


def _open(address: str, files: Hdf5Files, inside: str, chosen: Selection, xml_name: str) -> Image:
    if bdv.is_bdv(files):
        view = bdv.parse(inside)
        if view:
            return bdv.open_bdv(address, files, view, chosen, xml_name)
        bdv.refuse_notes(address, inside)
    elif imaris.is_imaris(files):
        part = imaris.parse(inside)
        if part:
            return imaris.open_imaris(address, files, part, chosen)
    elif xml_name:
        raise InputError(
            "the HDF5 file that the XML names is not one of BigDataViewer",
            where=address,
            got=files.file,
            allowed="time points (t00000) and setups (s00)",
            remedy="name the image itself",
        )
    return _open_dataset(address, files, inside, chosen)


def _open_dataset(address: str, files: Hdf5Files, inside: str, chosen: Selection) -> Image:
    check_level(address, chosen.level, 1)
    names, number, node = _choose(address, files, inside, chosen.series)
    used = sorted(files.sources(node))
    array = node.item
    if array.ndim < 2 or array.shape is None:
        raise InputError(
            "the dataset is not an image",
            where=address,
            got=_shown(names[number], node),
            allowed="numbers in 2 to 5 axes",
            remedy="name another dataset",
        )
    axes = axes_of(address, array, are_given=bool(chosen.axes))
    layout = layout_of(address, axes, array.shape, array.dtype, chosen)
    chunks, is_lazy = stored_as(files, node, layout)
    dtype = array.dtype.newbyteorder("=")
    return Image(
        address=address,
        format="hdf5",
        layout=layout,
        channel_names=names_of((), layout.length("C")),
        dtype=dtype,
        voxel_size=voxel_size_in(array, layout.read, layout.shape[0]),
        selection=chosen,
        levels_shape=(layout.shape,),
        chunks=chunks,
        is_lazy=is_lazy,
        open_source=partial(open_stack, files.file, address, (names[number],), (), dtype),
        find_identity=partial(identity_of, (names[number],), used),
        series=(names, number),
    )


def _choose(
    address: str, files: Hdf5Files, inside: str, series: str
) -> tuple[tuple[str, ...], int, Node]:
    """Names of all images, which of them is meant, and its dataset."""
    start = files.find(inside)
    if is_dataset(start.item):
        return (inside,), find_series(address, (inside,), series) if series else 0, start
    images, broken = _images(files, inside, start)
    names = tuple(images)
    if series and (series.isdecimal() or series.strip("/") in images):
        number = find_series(address, names, series if series.isdecimal() else series.strip("/"))
    elif series:  # a name that nothing lists, such as a second name of the same dataset
        node = files.find(series.strip("/"))
        if not is_dataset(node.item):
            raise _several(address, images, f"series {series}, a group")
        return (series.strip("/"),), 0, node
    elif _joined(inside, _DEFAULT) in images:
        number = names.index(_joined(inside, _DEFAULT))
    elif broken and (_joined(inside, _DEFAULT) in broken or not images):
        raise broken.get(_joined(inside, _DEFAULT)) or next(iter(broken.values()))
    elif len(images) == 1:
        number = 0
    else:
        raise _several(address, images)
    return names, number, images[names[number]]


def _images(
    files: Hdf5Files, inside: str, start: Node
) -> tuple[dict[str, Node], dict[str, InputError]]:
    """Datasets below a group that could be images, by path, and links that lead to nothing."""
    images: dict[str, Node] = {}
    broken: dict[str, InputError] = {}
    for path, found in files.datasets(start):
        if isinstance(found, InputError):
            broken[_joined(inside, path)] = found
        elif len(shape_of(found.item)) > 1 and found.item.dtype.kind in "iuf":
            images[_joined(inside, path)] = found
    return images, broken


def _several(address: str, images: dict[str, Node], got: str | None = None) -> InputError:
    shown = listed([_shown(name, node) for name, node in images.items()])
    return InputError(
        "the HDF5 file has several datasets that could be the image"
        if images
        else "the HDF5 file holds no image: no dataset of numbers in two axes or more",
        where=address,
        got=got,
        allowed=shown or None,
        remedy=f"choose one by its number or name (series), or as in {address}/{next(iter(images))}"
        if images
        else "name another file",
    )


def _shown(name: str, node: Node) -> str:
    return f"{name}: {' x '.join(map(str, shape_of(node.item))) or 'no axes'} {node.item.dtype}"


def _joined(group: str, path: str) -> str:
    return f"{group.strip('/')}/{path}" if group.strip("/") else path
