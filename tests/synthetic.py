"""Small images in every format that Terapose reads, for the tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile
import zarr

VoxelSize = tuple[float, float, float]


def voxels(*shape: int, dtype: str = "uint16") -> np.ndarray:
    """Random numbers from 0 to 249, the same every time."""
    return np.random.default_rng(0).integers(0, 250, shape).astype(dtype)


def nuclei(
    shape: tuple[int, int, int], *, seed: int = 0, radius: float = 5.0, spacing: int = 14
) -> tuple[np.ndarray, np.ndarray]:
    """Bright balls on a jittered grid, with noise.

    Parameters
    ----------
    shape
        (Z, Y, X).
    seed
        Seed of positions, sizes, brightness and noise.
    radius, spacing
        Mean radius and distance of the centres, in voxels. Balls touch where the distance is
        near twice the radius.

    Returns
    -------
    image : numpy.ndarray of uint16
        (Z, Y, X).
    labels : numpy.ndarray of uint32
        (Z, Y, X); dense IDs from 1 in C order of the grid.
    """
    rng = np.random.default_rng(seed)
    axes = [np.arange(min(spacing // 2, n // 2), n, spacing) for n in shape]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    centres = grid + rng.uniform(-0.1, 0.1, grid.shape) * spacing
    nearest = np.full(shape, np.inf, np.float32)
    labels = np.zeros(shape, np.uint32)
    for number, centre in enumerate(centres, 1):
        size = radius * rng.uniform(0.8, 1.2)
        first = np.maximum(np.floor(centre - size), 0).astype(int)
        last = np.minimum(np.ceil(centre + size) + 1, shape).astype(int)
        box = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
        z, y, x = (np.arange(a, b) - c for a, b, c in zip(first, last, centre, strict=True))
        distance = np.sqrt(z[:, None, None] ** 2 + y[:, None] ** 2 + x**2) / size
        inside = (distance <= 1) & (distance < nearest[box])
        labels[box][inside] = number
        nearest[box][inside] = distance[inside]
    labels = np.unique(labels, return_inverse=True)[1].astype(np.uint32).reshape(shape)
    level = np.concatenate([[0], rng.uniform(600, 1500, int(labels.max()))])
    clean = 100 + level[labels] * np.where(labels > 0, 1 - 0.5 * np.minimum(nearest, 1) ** 2, 0)
    return rng.poisson(clean).astype(np.uint16), labels


def write_zarr(
    path: Path,
    array: np.ndarray,
    *,
    version: Literal[2, 3] = 3,
    chunks: Sequence[int] | None = None,
    dimension_names: Sequence[str] | None = None,
) -> Path:
    """Write one Zarr array without image metadata, with CZYX for names where they are needed."""
    if dimension_names is None and array.ndim > 3:
        dimension_names = "tczyx"[-array.ndim :]
    made = zarr.create_array(
        str(path),
        data=array,
        chunks=tuple(chunks or array.shape),
        zarr_format=version,
        dimension_names=dimension_names if version == 3 else None,
        overwrite=True,
    )
    if version == 2 and dimension_names:
        made.attrs["_ARRAY_DIMENSIONS"] = list(dimension_names)
    return path


def write_ome_zarr(
    path: Path,
    array: np.ndarray,
    *,
    axes: str = "zyx",
    version: Literal["0.4", "0.5"] = "0.5",
    voxel_size: VoxelSize | None = None,
    unit: str | None = "micrometer",
    channel_names: Sequence[str] = (),
    factors: Sequence[int] = (1,),
    chunks: Sequence[int] | None = None,
    shared_scale: Sequence[float] | None = None,
    translations: Sequence[VoxelSize] = (),
) -> Path:
    """Write an OME-Zarr image by hand, with a pyramid in Y and X.

    Parameters
    ----------
    path
        Folder to write.
    array
        Level 0, in the order of `axes`.
    axes
        Letters of t, c, z, y, x in any order.
    version
        "0.4" is Zarr v2, "0.5" Zarr v3.
    voxel_size
        (z, y, x) of level 0, in `unit`; None writes scales of 1 without a unit.
    unit
        Unit of the spatial axes.
    channel_names
        Labels of the channels in the omero metadata.
    factors
        Factor in Y and X of each level.
    chunks
        Chunk shape in the order of `axes`.
    shared_scale
        A scale of the whole multiscale image, in the order of `axes`.
    translations
        (z, y, x) of each level, in `unit`; none writes scales alone.
    """
    sizes = dict(zip("zyx", voxel_size or (1.0, 1.0, 1.0), strict=True))
    kinds = {"t": "time", "c": "channel"}
    written = [
        {"name": axis, "type": kinds.get(axis, "space")}
        | ({"unit": unit} if axis in "zyx" and unit and voxel_size else {})
        for axis in axes
    ]
    is_v3 = version == "0.5"
    root = zarr.create_group(str(path), zarr_format=3 if is_v3 else 2)
    datasets = []
    for level, factor in enumerate(factors):
        step = tuple(slice(None, None, factor if axis in "yx" else 1) for axis in axes)
        data = array[step]
        root.create_array(
            str(level),
            data=data,
            chunks=tuple(min(c, n) for c, n in zip(chunks or data.shape, data.shape, strict=True)),
            chunk_key_encoding={"name": "default" if is_v3 else "v2", "separator": "/"},
            dimension_names=list(axes) if is_v3 else None,
        )
        scale = [sizes.get(axis, 1.0) * (factor if axis in "yx" else 1) for axis in axes]
        transformations: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
        if translations:
            shift = dict(zip("zyx", translations[level], strict=True))
            moved = [shift.get(axis, 0.0) for axis in axes]
            transformations.append({"type": "translation", "translation": moved})
        datasets.append({"path": str(level), "coordinateTransformations": transformations})
    multiscale: dict[str, Any] = {"name": path.stem, "axes": written, "datasets": datasets}
    if shared_scale is not None:
        multiscale["coordinateTransformations"] = [{"type": "scale", "scale": list(shared_scale)}]
    content: dict[str, Any] = {"multiscales": [multiscale]}
    if channel_names:
        content["omero"] = {"channels": [{"label": name} for name in channel_names]}
    if is_v3:
        root.attrs["ome"] = {"version": version, **content}
    else:
        multiscale["version"] = version
        root.attrs.update(content)
    return path


TiffKind = Literal["tiled", "strips", "contiguous", "ome", "imagej"]


def write_tiff(
    path: Path,
    array: np.ndarray,
    *,
    kind: TiffKind = "tiled",
    axes: str = "",
    voxel_size: VoxelSize | None = None,
    unit: str = "µm",
    channel_names: Sequence[str] = (),
    factors: Sequence[int] = (1,),
    byteorder: Literal["<", ">"] = "<",
) -> Path:
    """Write a TIFF file.

    Parameters
    ----------
    path
        File to write.
    array
        In the order of `axes`.
    kind
        "tiled" (deflate, 16 x 16 tiles), "strips" (deflate, 7 rows a strip), "contiguous" (one
        uncompressed array), "ome" (tiled OME-TIFF, with a SubIFD pyramid), "imagej".
    axes
        Letters of TCZYX; by the number of dimensions if empty.
    voxel_size
        (z, y, x) in `unit`; kept by "ome" and "imagej" only.
    channel_names
        Kept by "ome" only.
    factors
        Factor in Y and X of each level ("ome" only).
    byteorder
        Of the file.
    """
    axes = axes or "CZYX"[-array.ndim :]
    tiles: dict[str, Any] = {"tile": (16, 16), "compression": "zlib"}
    if kind == "ome":
        metadata: dict[str, Any] = {"axes": axes}
        if channel_names:
            metadata["Channel"] = {"Name": list(channel_names)}
        for axis, size in zip("ZYX", voxel_size or (), strict=False):
            if axis in axes:
                metadata |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": unit}
        with tifffile.TiffWriter(path, ome=True, byteorder=byteorder) as file:
            extra = len(factors) - 1
            options = {"photometric": "minisblack", **tiles}
            file.write(array, metadata=metadata, subifds=extra, **options)
            for factor in factors[1:]:
                file.write(array[..., ::factor, ::factor], subfiletype=1, metadata=None, **options)
        return path
    if kind == "imagej":
        z, y, x = voxel_size or (1.0, 1.0, 1.0)
        # ImageJ writes ASCII.
        known = {"spacing": z, "unit": unit.replace("µ", "\\u00B5")} if voxel_size else {}
        resolution = (1 / x, 1 / y) if voxel_size else None
        imagej = {"axes": axes, **known}
        tifffile.imwrite(path, array, imagej=True, resolution=resolution, metadata=imagej)
        return path
    layout: dict[str, dict[str, Any]] = {
        "tiled": tiles,
        "strips": {"compression": "zlib", "rowsperstrip": 7},
        "contiguous": {},
    }
    tifffile.imwrite(
        path,
        array,
        byteorder=byteorder,
        photometric="minisblack",
        metadata={"axes": axes},
        **layout[kind],
    )
    return path
