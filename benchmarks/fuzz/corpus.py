"""Small good inputs of each kind, and the folders in which commands find them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHAPE = (4, 40, 48)
PLANE = (2, 40, 48)


def make(folder: Path) -> None:
    """Write all good inputs.

    Parameters
    ----------
    folder
        To be made. It gets a folder for each kind, with one input in each of its folders.
    """
    warnings.simplefilter("ignore")
    for kind, writers in WRITERS.items():
        for number, write in enumerate(writers):
            place = folder / kind / str(number)
            place.mkdir(parents=True)
            write(place)
    common = folder / "common"
    common.mkdir()
    _tiff(common / "image.tif", "CYX", PLANE)
    _tiff(common / "labels.tif", "YX", PLANE[1:], labels=True)
    _write_table(common / "cells.csv")
    _small_model(common / "model.pth", legacy=False)


def voxels(shape: tuple[int, ...], *, labels: bool = False) -> NDArray[Any]:
    """Spots on a dim ground, or their labels; always the same."""
    rng = np.random.default_rng(7)
    *_, height, width = shape
    y, x = np.mgrid[:height, :width]
    number = (y // 10) * 5 + x // 10 + 1
    inside = (y % 10 - 5) ** 2 + (x % 10 - 5) ** 2 < 14
    if labels:
        plane = np.where(inside, number, 0)
        return np.asarray(np.broadcast_to(plane, shape), np.uint32)
    return np.asarray(rng.integers(90, 110, shape) + 800 * inside, np.uint16)


# -- images -------------------------------------------------------------------------------------


def _tiff(
    path: Path, axes: str, shape: tuple[int, ...], *, labels: bool = False, **options: Any
) -> None:
    import tifffile

    metadata = {"axes": axes} | options.pop("metadata", {})
    options = {"photometric": "minisblack", "metadata": metadata} | options
    tifffile.imwrite(path, voxels(shape, labels=labels), **options)


def _plain_tiff(folder: Path) -> None:
    _tiff(folder / "input.tif", "ZYX", SHAPE)


def _tiled_tiff(folder: Path) -> None:
    _tiff(folder / "input.tif", "CYX", PLANE, tile=(16, 16), compression="zlib", predictor=True)


def _imagej_tiff(folder: Path) -> None:
    told = {"unit": "um", "spacing": 2.0}
    _tiff(folder / "input.tif", "ZYX", SHAPE, imagej=True, metadata=told, resolution=(2, 2))


def _ome_tiff(folder: Path) -> None:
    import tifffile

    sizes = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    told = {"axes": "CYX", "Channel": {"Name": ["DNA", "CD3"]}, **sizes}
    plane = voxels(PLANE)
    options: dict[str, Any] = {"photometric": "minisblack", "tile": (16, 16), "compression": "zlib"}
    with tifffile.TiffWriter(folder / "input.tif", ome=True, bigtiff=True) as file:
        file.write(plane, subifds=1, metadata=told, **options)
        file.write(plane[:, ::2, ::2], subfiletype=1, **options)


def _lzw_tiff(folder: Path) -> None:
    _tiff(folder / "input.tif", "YX", PLANE[1:], compression="lzw", rowsperstrip=7)


def _ome_zarr(folder: Path, version: str) -> None:
    import zarr

    form: Any = {"0.4": 2, "0.5": 3}[version]
    group = zarr.open_group(folder / "input.zarr", mode="w", zarr_format=form)
    axes = [{"name": "c", "type": "channel"}]
    axes += [{"name": a, "type": "space", "unit": "micrometer"} for a in "zyx"]
    datasets = []
    for level in (0, 1):
        step = 1 + level
        data = np.stack([voxels(SHAPE)] * 2)[:, :, ::step, ::step]
        keys: Any = {"chunk_key_encoding": {"name": "v2", "separator": "/"}} if form == 2 else {}
        array = group.create_array(
            str(level), shape=data.shape, dtype=data.dtype, chunks=(1, 2, 16, 16), **keys
        )
        array[...] = data
        scale = [1, 2.0, 0.5 * step, 0.5 * step]
        transforms = [{"type": "scale", "scale": scale}]
        datasets.append({"path": str(level), "coordinateTransformations": transforms})
    told: dict[str, Any] = {"axes": axes, "datasets": datasets, "name": "image"}
    omero: Any = {"channels": [{"label": "DNA"}, {"label": "CD3"}]}
    if form == 2:
        group.attrs.update({"multiscales": [told | {"version": version}], "omero": omero})
    else:
        group.attrs["ome"] = {"version": version, "multiscales": [told], "omero": omero}


def _plain_zarr(folder: Path) -> None:
    import zarr

    array = zarr.create_array(
        folder / "input.zarr",
        shape=SHAPE,
        dtype=np.uint16,
        chunks=(2, 16, 16),
        shards=(4, 32, 32),
        dimension_names=["z", "y", "x"],
    )
    array[...] = voxels(SHAPE)


def _hdf5(folder: Path, **options: Any) -> None:
    import h5py

    with h5py.File(folder / "input.h5", "w", **options) as file:
        raw = file.create_dataset("raw", data=voxels(SHAPE), chunks=(2, 16, 16), compression="gzip")
        raw.attrs["axes"] = "zyx"
        raw.attrs["element_size_um"] = (2.0, 0.5, 0.5)
        file.create_dataset("label", data=voxels(SHAPE, labels=True), chunks=(4, 20, 20))
        file.create_group("more").attrs["named"] = ["a", "b"]


def _hdf5_axes(folder: Path) -> None:
    import h5py

    with h5py.File(folder / "input.h5", "w") as file:
        raw = file.create_dataset("raw", data=voxels(SHAPE))
        for n, name in enumerate("zyx"):
            raw.dims[n].label = name


# -- what goes with them -------------------------------------------------------------------------

PARAMETERS: dict[str, Any] = {
    "mode": "2d",
    "channels": [1, 2],
    "channel_merge": "max",
    "diameter": 9.5,
    "percentiles": [1, 99.5],
    "region": "0:40,0:48",
    "pixel_size": 0.5,
    "model": "auto",
    "min_size": 15,
    "measure": ["all"],
    "table": ["csv", "parquet"],
    "mask_tiff": "mask.ome.tif",
    "block_shape": [1, 32, 32],
    "flow_threshold": None,
    "invert": False,
    "time": 1,
    "series": "1",
    "axes": "CYX",
    "thumbnails": 0,
    "markers": "",
}


def _params(folder: Path) -> None:
    (folder / "input.json").write_text(json.dumps(PARAMETERS, indent=1))


def _short_params(folder: Path) -> None:
    (folder / "input.json").write_text(
        '{"diameter": 9, "channels": "channel 1, channel 2", "normalize": "tile"}'
    )


def _sheet(folder: Path) -> None:
    (folder / "input.csv").write_text(
        "sample,image,channels,diameter,stack,pixel_size\n"
        'a,image.tif,"1,2",9,,0.5\nb,other/image.tif,1,,false,\n"c",image.tif,,12.5,,\n'
    )


def _other_sheet(folder: Path) -> None:
    text = "sep=;\r\nSample;Image;Min size\r\none;image.tif;15\r\ntwo;*.tif;\r\n"
    (folder / "input.csv").write_bytes(text.encode("utf-16"))


def _markers(folder: Path) -> None:
    (folder / "input.csv").write_text(
        "channel_number,cycle_number,marker_name,Filter\n1,1,DNA_1,DAPI\n2,1,CD3,FITC\n"
    )


def _names(folder: Path) -> None:
    (folder / "input.csv").write_text("DNA\nCD3\n")


def _write_table(path: Path) -> None:
    lines = ["CellID,DNA,X_centroid,Y_centroid,Z_centroid,Area"]
    lines += [
        f"{y * 5 + x + 1},900.5,{10 * x + 5},{10 * y + 5},0,41" for y in range(4) for x in range(4)
    ]
    path.write_text("\n".join(lines) + "\n")


def _table(folder: Path) -> None:
    _write_table(folder / "input.csv")


def _parquet(folder: Path) -> None:
    import pandas as pd

    _write_table(folder / "cells.csv")
    pd.read_csv(folder / "cells.csv").to_parquet(folder / "input.parquet")
    (folder / "cells.csv").unlink()


def _small_model(path: Path, *, legacy: bool) -> None:
    import torch

    from terapose.networks.unet import UNet

    torch.manual_seed(0)
    state = dict(UNet((1, 2)).state_dict())
    torch.save(state, path, _use_new_zipfile_serialization=not legacy)


def _model(folder: Path) -> None:
    _small_model(folder / "input.pth", legacy=False)


def _legacy_model(folder: Path) -> None:
    _small_model(folder / "input.pth", legacy=True)


def _mask(folder: Path) -> None:
    _tiff(folder / "input.tif", "YX", PLANE[1:], labels=True, tile=(16, 16), compression="zlib")


def _mask_zarr(folder: Path) -> None:
    import zarr

    form: Any = 3
    group = zarr.open_group(folder / "input.zarr", mode="w", zarr_format=form)
    group.attrs["ome"] = {"version": "0.5", "labels": ["cells"]}
    cells = group.create_group("cells")
    axes = [{"name": a, "type": "space"} for a in "yx"]
    cells.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [{"axes": axes, "datasets": [{"path": "0"}]}],
        "image-label": {},
    }
    data = voxels(PLANE[1:], labels=True)
    cells.create_array("0", data=data, chunks=(16, 16))


def _provenance(folder: Path) -> None:
    record = {
        "image": {"address": "image.tif", "shape": [1, 40, 48], "channels": ["DNA", "CD3"]},
        "parameters": PARAMETERS,
        "tables": ["cells.csv", "cells.h5ad"],
        "masks": ["mask.ome.tif"],
        "thumbnails": "thumbnails.zarr",
        "notes": [],
    }
    (folder / "input.json").write_text(json.dumps(record))


def _outlines(folder: Path, *, several: bool = False) -> None:
    square = [[[2, 2], [12, 2], [12, 12], [2, 12], [2, 2]], [[4, 4], [6, 4], [6, 6], [4, 4]]]
    other = [[[20.5, 20], [30, 21], [25, 33.25]]]
    shapes: list[dict[str, Any]] = [{"type": "Polygon", "coordinates": square}]
    if several:
        shapes.append({"type": "MultiPolygon", "coordinates": [other], "plane": {"z": 0}})
    features = [
        {"type": "Feature", "properties": {"name": str(n)}, "geometry": shape}
        for n, shape in enumerate(shapes, 1)
    ]
    document = {"type": "FeatureCollection", "features": features}
    (folder / "input.geojson").write_text(json.dumps(document))


def _manifest(folder: Path) -> None:
    lines = ["crop_name,dataset,class_label,voxel_size,translation,shape"]
    lines += [
        f"{n},jrc,{name},[4.0;4.0;4.0],[0;0;0],[1;40;48]" for n, name in ((1, "er"), (2, "a"))
    ]
    (folder / "input.csv").write_text("\n".join(lines) + "\n")


WRITERS: dict[str, list[Callable[[Path], None]]] = {
    "tiff": [_plain_tiff, _tiled_tiff, _imagej_tiff, _ome_tiff, _lzw_tiff],
    "zarr": [lambda f: _ome_zarr(f, "0.4"), lambda f: _ome_zarr(f, "0.5"), _plain_zarr],
    "hdf5": [_hdf5, lambda f: _hdf5(f, libver="latest"), _hdf5_axes],
    "params": [_params, _short_params],
    "samplesheet": [_sheet, _other_sheet],
    "markers": [_markers, _names],
    "model": [_model, _legacy_model],
    "mask": [_mask, _mask_zarr],
    "table": [_table, _parquet],
    "provenance": [_provenance],
    "outlines": [_outlines, lambda folder: _outlines(folder, several=True)],
    "manifest": [_manifest],
}
"""What writes the good inputs of each kind, into a folder, under the name ``input``."""
