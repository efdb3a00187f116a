"""The labels group of an OME-Zarr image: where it is, and what its documents say.

An image has label images in the group ``labels`` inside its own, whose metadata list their names::

    image.zarr/
        0/  1/  ...
        labels/             labels: ["cells", ...]
            cells/          image-label: {"source": {"image": "../.."}}

Readers take scales of both as they stand, whatever the units are, and label images of three axes
for those of all time points. So not every image can have every label image (`home_of`), and lengths
are written in the units of the image (`inside`). The specification asks for as many levels as the
image has: coarse ones that are too many are left out, those that are missing are made.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from terapose.core.errors import InputError
from terapose.core.geometry import zyx
from terapose.io import files
from terapose.io.images import address as addresses
from terapose.io.images import zarr_groups, zips
from terapose.io.images import zarr_nodes as nodes
from terapose.io.images.model import Image
from terapose.io.images.opening import open_image
from terapose.io.images.units import VoxelSize, micrometres
from terapose.io.labels.ome_zarr import (
    CHUNKS,
    FLAT_CHUNKS,
    NAME,
    create,
    downsample,
    open_level,
)
from terapose.io.remote import SCHEMES, Remote, folder_of

LABELS = "labels"
DOCUMENTS = {"0.5": "zarr.json", "0.4": ".zattrs"}
"""What holds the attributes of a group, by the version of OME-Zarr."""
CONSOLIDATED = ".zmetadata"
"""What holds the metadata of all nodes of a group, of version 0.4; in 0.5 it is in its document."""
_IN_DOCUMENT = "consolidated_metadata"
_FORMATS = {f"ome-zarr-{version}": version for version in DOCUMENTS}
_LEAVE = "leave out labels_in: the results contain the label images"


@dataclass(frozen=True)
class Home:
    """The labels group of an image.

    Attributes
    ----------
    folder
        Where it is, or would be.
    version
        Of OME-Zarr.
    units
        Those of the image's axes, by the first letters of these; None where it gives none.
    levels
        How many the image has.
    is_consolidated
        Whether the image has consolidated metadata, which do not know what is written here.
    """

    folder: Path | Remote
    version: str
    units: Mapping[str, str | None]
    levels: int
    is_consolidated: bool


def home_of(image: Image, version: str, voxel_size: VoxelSize | None) -> Home:
    """The labels group of an image.

    Parameters
    ----------
    image
        The image, or the level or the part of it that is segmented.
    version
        Of OME-Zarr, of the label images.
    voxel_size
        (z, y, x) in micrometres that these have at the level of the image; None: lengths are in
        voxels.

    Raises
    ------
    InputError
        If the image cannot have such label images.
    """
    # without a voxel size that was given in the place of its own
    own = open_image(image.address, **image.selection.options)
    _refuse_other_formats(own, version)
    if own.selection.axes:
        raise _unfit(
            own,
            "axes that differ from those in its metadata",
            remedy="leave out axes, or labels_in",
        )
    if (times := own.layout.length("T")) > 1:
        raise InputError(
            "has several time points, and a label image of one would be taken for all of them",
            where=own.address,
            got=f"{times} time points",
            remedy=_LEAVE,
        )
    address = group_of(own)
    multiscale = nodes.metadata(address)["multiscales"][0]
    _refuse_other_sizes(own, multiscale, voxel_size)
    units = {axis[0].lower(): unit for axis, unit in _axes(multiscale)}
    folder = folder_of(addresses.join(address, LABELS))
    return Home(folder, version, units, len(multiscale["datasets"]), _is_consolidated(address))


def _is_consolidated(address: str) -> bool:
    """Whether a group has consolidated metadata."""
    content = nodes.documents(address).get(DOCUMENTS["0.5"])
    if content is None:
        return addresses.read_bytes(addresses.join(address, CONSOLIDATED)) is not None
    return nodes.parse(address, DOCUMENTS["0.5"], content).get(_IN_DOCUMENT) is not None


def _axes(multiscale: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """Names of axes, and their units."""
    entries = multiscale.get("axes") or [*"tczyx"]
    named = [entry if isinstance(entry, dict) else {"name": entry} for entry in entries]
    return [(str(entry["name"]), entry.get("unit")) for entry in named]


def _refuse_other_formats(image: Image, version: str) -> None:
    """Refuse what is no OME-Zarr of the version in a folder that can be written to."""
    address, found = image.address, _FORMATS.get(image.format)
    kind = "" if found else f"an image of the format {image.format}"
    if addresses.is_url(address) and address.partition("://")[0].lower() not in SCHEMES:
        kind = "an address that cannot be written to"
    elif found and zips.find_node(address) is not None:
        kind = "a ZIP archive"
    if kind:
        raise InputError(
            "cannot have label images inside it",
            where=address,
            got=kind,
            allowed="OME-Zarr 0.4 or 0.5, in a local folder or on an object store",
            remedy=_LEAVE,
        )
    if found != version:
        raise InputError(
            "the image and the label images inside it have to be of one version of OME-Zarr",
            where=address,
            got=f"an image of version {found}, label images of version {version}",
            remedy=f"give ome_zarr_version {found}",
        )


def group_of(image: Image) -> str:
    """Address of the group that holds an image, which may have been named by a level."""
    address = addresses.localise(image.address).rstrip("/")
    names, number = image.series
    if names:
        address = zarr_groups.inside(address, names[number])
    if nodes.metadata(address).get("multiscales"):
        return address
    above = zarr_groups.image_of(address)
    if above is None:
        raise _unfit(image, "no group with multiscales")
    return above.address


def _refuse_other_sizes(
    image: Image, multiscale: Mapping[str, Any], voxel_size: VoxelSize | None
) -> None:
    """Refuse label images whose scale would not be that of the image."""
    known = image.voxel_size
    if known is None and voxel_size is None:
        # in voxels of level 0, so that is what the image has to count in
        names = [name[0].lower() for name, _ in _axes(multiscale)]
        finest = multiscale["datasets"][0]
        scales = [_scales(holder, len(names)) for holder in (finest, multiscale)]
        steps = {name: math.prod(both) for name, *both in zip(names, *scales, strict=True)}
        if all(step == 1 for name, step in steps.items() if name in "zyx"):
            return
        raise _unfit(image, "scales in units that are not known")
    same = known and voxel_size and all(map(math.isclose, known, voxel_size))
    if not same:
        raise InputError(
            "label images inside an image need the voxel size that its metadata give",
            where=image.address,
            got=f"{_said(voxel_size)}; the metadata give {_said(known)}",
            remedy="leave out voxel_size and pixel_size (anisotropy says how far planes are apart),"
            " or labels_in",
        )


def _said(size: VoxelSize | None) -> str:
    return "none" if size is None else f"{', '.join(f'{n:g}' for n in size)} micrometres"


def _scales(holder: Mapping[str, Any], dimensions: int) -> list[float]:
    """The scale that transformations come to."""
    scale = [1.0] * dimensions
    for one in holder.get("coordinateTransformations") or []:
        if one.get("type") == "scale":
            scale = [a * float(b) for a, b in zip(scale, one["scale"], strict=True)]
    return scale


def _unfit(image: Image, got: str, remedy: str = _LEAVE) -> InputError:
    return InputError(
        "label images inside it would not match it", where=image.address, got=got, remedy=remedy
    )


def attributes(where: object, content: bytes | None, version: str) -> dict[str, Any]:
    """The attributes of a group by its document; none where that is not there.

    Raises
    ------
    InputError
        If it is damaged.
    """
    if content is None:
        return {}
    document = nodes.parse(str(where), DOCUMENTS[version], content)
    found = document.get("attributes") or {} if version == "0.5" else document
    if not isinstance(found, dict):
        raise _damaged(where, found)
    return found


def names_in(where: object, content: bytes | None, version: str) -> list[str]:
    """Names of the label images that the document of a labels group lists.

    Raises
    ------
    InputError
        If it is damaged.
    """
    found = attributes(where, content, version)
    about = found.get("ome", {}) if version == "0.5" else found
    names = about.get("labels", []) if isinstance(about, dict) else about
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise _damaged(where, names)
    return names


def _damaged(where: object, got: object) -> InputError:
    return InputError(
        "the metadata of the labels group cannot be understood",
        where=where,
        got=repr(got),
        allowed="a list of names",
        remedy="repair them, or move the group away",
    )


def listing(where: object, content: bytes | None, version: str, names: Sequence[str]) -> bytes:
    """The document of a labels group with another list; all else in it stays.

    But not consolidated metadata: readers would take what they say for what is there.

    Raises
    ------
    InputError
        If it is damaged.
    """
    found = attributes(where, content, version)
    names_in(where, content, version)
    if version == "0.4":
        return _written({**found, "labels": list(names)})
    document = json.loads(content) if content else {"zarr_format": 3, "node_type": "group"}
    document.pop(_IN_DOCUMENT, None)
    about = {"version": version, **found.get("ome", {}), "labels": list(names)}
    return _written({**document, "attributes": {**found, "ome": about}})


def inside(label: Path, home: Home, target: Path) -> None:
    """Write what is another one in a label image inside an image: its document, further levels.

    Parameters
    ----------
    label
        A label image, as Terapose has written it.
    home
        The labels group that it is for.
    target
        Folder for the files, which is made.
    """
    own = DOCUMENTS[home.version]
    document = json.loads((label / own).read_bytes())
    about = document["attributes"]["ome"] if home.version == "0.5" else document
    about["image-label"]["source"] = {"image": "../.."}
    (multiscale,) = about["multiscales"]
    target.mkdir(parents=True)
    datasets = multiscale["datasets"]
    datasets += _made_levels(label, datasets[-1], home.levels - len(datasets), home, target)
    del datasets[home.levels :]
    _convert(multiscale, home.units)
    (target / own).write_bytes(_written(document))


def _made_levels(
    label: Path, last: Mapping[str, Any], missing: int, home: Home, target: Path
) -> list[dict[str, Any]]:
    """Write levels that are coarser than the last; what the metadata say of them."""
    if missing < 1:
        return []
    voxels = np.asarray(zarr.open_array(label / last["path"], mode="r")[...])
    axes = voxels.ndim
    lengths = (*(1,) * (3 - axes), *voxels.shape)
    factors = [(1, 1, 1)]
    for _ in range(missing):
        pairs = zip(factors[-1], lengths, strict=True)
        factors.append(zyx(f * 2 if f < n else f for f, n in pairs))
    made = target / "made"
    create(
        str(made),
        shape=voxels.shape,
        dtype=voxels.dtype,
        voxel_size=None,
        factors=factors,
        chunks=CHUNKS if lengths[0] > 1 else FLAT_CHUNKS,
        version="0.5" if home.version == "0.5" else "0.4",
    )
    datasets = []
    for number, factor in enumerate(factors[1:], 1):
        path = str(int(last["path"]) + number)
        open_level(str(made), number)[...] = downsample(voxels, factor[-axes:], (0,) * axes)
        files.move(made / NAME / str(number), target / path, "level")
        scale, *shift = deepcopy(last["coordinateTransformations"])
        steps = zip(scale["scale"], factor[-axes:], strict=True)
        scaled = {"type": "scale", "scale": [step * f for step, f in steps]}
        datasets.append({"path": path, "coordinateTransformations": [scaled, *shift]})
    shutil.rmtree(made)
    return datasets


def _convert(multiscale: dict[str, Any], units: Mapping[str, str | None]) -> None:
    """Write micrometres in other units."""
    for index, axis in enumerate(multiscale["axes"]):
        unit = units.get(axis["name"])
        factor = micrometres(1.0, unit)
        if "unit" not in axis or factor is None:
            continue
        axis["unit"] = unit
        for dataset in multiscale["datasets"]:
            for one in dataset["coordinateTransformations"]:
                values = one[one["type"]]
                # a product keeps round numbers round
                values[index] *= round(1 / factor) if factor < 1 else 1 / factor


def _written(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=2).encode()
