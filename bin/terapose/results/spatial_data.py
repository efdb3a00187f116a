"""Results as a SpatialData store, which scverse programs open: `write_spatial_data`.

The store is in the format that SpatialData 0.7 writes, made without that library:

- ``images/image``, on request (`terapose.results.spatial_image`); where the image is, is in the
  attributes of the store, under ``terapose``;
- ``labels/<name>``: the label images; their files are copied as they are, with the pyramid;
- ``tables/<name>_table``: the AnnData table of each (``<name>.h5ad``); rows are regions of it;
- ``shapes/outlines``: outlines of the cells as GeoParquet, with the numbers of the cells as index,
  if the results have ``cells.geojson``, packed or not. They are read and written some thousand at a
  time. Of a stack each has its plane in the column ``plane``: polygons are to have two axes, and
  with a column ``z``, which SpatialData 0.7 takes for a third one, it cannot find their extent.

The coordinate system ``global`` has pixels of the whole image at the level of the label images; its
origin is the corner of the first pixel. The store gets its name when it is complete.
"""

from __future__ import annotations

import gzip
import json
import logging
import struct
import warnings
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from terapose.core.errors import InputError
from terapose.core.masking import masked_all
from terapose.io import files
from terapose.io.images.address import refuse_inputs
from terapose.io.labels.files import copy_files
from terapose.io.tables.geojson import PACKED
from terapose.results.named_files import refuse_results
from terapose.results.outputs import LABELS, named
from terapose.results.records import complete_record
from terapose.results.spatial_image import NAME, copy_image, reference
from terapose.results.verify import check

log = logging.getLogger(__name__)

_GROUP = ("zarr.json",)
_OUTLINES = ("cells.geojson", f"cells.geojson{PACKED}")
_TABLE = "_table"
"""End of names of tables: names of elements are unique, and a label image has the other."""
_TOGETHER = 8192
_POLYGON, _MULTIPOLYGON = 3, 6
_GEO = {
    "version": "1.0.0",
    "primary_column": "geometry",
    "columns": {"geometry": {"encoding": "WKB", "geometry_types": [], "crs": None}},
}


def write_spatial_data(
    results: Path, out: Path, *, overwrite: bool = False, with_image: bool = False
) -> list[str]:
    """Write results as a SpatialData store.

    Parameters
    ----------
    results
        Folder of the results of one sample, with ``h5ad`` among the tables.
    out
        Folder of the store.
    overwrite
        Whether a Zarr group with this name is replaced.
    with_image
        Whether the image is copied, too; the store says where it is anyway.

    Returns
    -------
    list of str
        Names of the elements.

    Raises
    ------
    InputError
        If the results are damaged or lack the table, or the store cannot be written or would be in
        the place of the image or of results.
    """
    check(results)
    record = complete_record(results)
    names = record["compartments"]
    if lacking := [name for name in names if not (results / f"{name}.h5ad").is_file()]:
        raise InputError(
            "lacks the table that SpatialData needs",
            where=results,
            got=f"no {lacking[0]}.h5ad",
            remedy="run again with --table csv,parquet,h5ad: only the tables are made anew",
        )
    own = [str(results / name) for name in (LABELS, *named(record))]
    refuse_inputs([out], [*own, record["image"]["address"]])
    refuse_results([out])
    files.refuse_present(out, overwrite=overwrite, groups=_GROUP)
    out.parent.mkdir(parents=True, exist_ok=True)
    with files.made(out, "SpatialData store") as place:
        place.mkdir()
        about = {"image": masked_all(reference(record))}
        _group(place, {"spatialdata_attrs": {"version": "0.2"}, "terapose": about})
        _group(place / "labels", {"ome": {"labels": names}})
        for name in names:
            _labels(results / LABELS / name, place / "labels" / name, record)
        _tables(results, place / "tables", names)
        elements = [f"labels/{name}" for name in names]
        elements += [f"tables/{name}{_TABLE}" for name in names]
        if with_image:
            _image(results, place / "images", record)
            elements.append(f"images/{NAME}")
        if (outlines := _outlines(results, record)) is not None:
            axes = _multiscale(results / LABELS / names[0])["axes"]
            _shapes(outlines, place / "shapes", is_stack=len(axes) > 2)
            elements.append("shapes/outlines")
        # another process may have written it meanwhile
        files.refuse_present(out, overwrite=overwrite, groups=_GROUP)
    return elements


def _group(folder: Path, attributes: Mapping[str, Any]) -> None:
    """Write the document of a Zarr group."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {"attributes": attributes, "zarr_format": 3, "node_type": "group"}
    (folder / "zarr.json").write_text(json.dumps(document, indent=1), encoding="utf-8")


def _space(axes: Sequence[str], name: str) -> dict[str, Any]:
    own = [_axis(axis) | ({} if axis == "c" else {"unit": "unit"}) for axis in axes]
    return {"name": name, "axes": own}


def _axis(name: str) -> dict[str, Any]:
    return {"name": name, "type": "channel" if name == "c" else "space"}


def _placed(axes: Sequence[str], offset: Sequence[float]) -> dict[str, Any]:
    """Where the first voxel of an element is."""
    where = {"input": _space(axes, "".join(axes)), "output": _space(axes, "global")}
    if any(offset):
        return {"type": "translation", "translation": list(map(float, offset)), **where}
    return {"type": "identity", **where}


def _image(results: Path, target: Path, record: Mapping[str, Any]) -> None:
    """Copy the image, on the grid of the label image."""
    multiscale = _multiscale(results / LABELS / record["compartments"][0])
    axes = "".join(axis["name"] for axis in multiscale["axes"])
    _group(target, {})
    names = copy_image(results, target / NAME, record, axes)
    offset = [0, *record["output"]["offset"][-len(axes) :]]
    scale = {"type": "scale", "scale": [1.0] * len(offset)}
    about = {
        "name": NAME,
        "axes": [_axis(axis) for axis in ("c", *axes)],
        "datasets": [{"path": "0", "coordinateTransformations": [scale]}],
        "coordinateTransformations": [_placed(["c", *axes], offset)],
    }
    channels = {"channels": [{"label": name} for name in names]}
    ome = {"version": "0.5-dev-spatialdata", "multiscales": [about], "omero": channels}
    _group(target / NAME, {"ome": ome, "spatialdata_attrs": {"version": "0.3"}})


def _labels(source: Path, target: Path, record: Mapping[str, Any]) -> None:
    """Copy a label image; its metadata place it in pixels."""
    multiscale = _multiscale(source)
    copy_files(source, target, files.copy)
    axes = [axis["name"] for axis in multiscale["axes"]]
    scales = [d["coordinateTransformations"][0]["scale"] for d in multiscale["datasets"]]
    steps = [[a / b for a, b in zip(scale, scales[0], strict=True)] for scale in scales]
    placed = _placed(axes, record["output"]["offset"][-len(axes) :])
    datasets = [
        {"path": dataset["path"], "coordinateTransformations": [{"type": "scale", "scale": step}]}
        for dataset, step in zip(multiscale["datasets"], steps, strict=True)
    ]
    about = {
        "name": source.name,
        "axes": [_axis(axis) for axis in axes],
        "datasets": datasets,
        "coordinateTransformations": [placed],
    }
    ome = {"version": "0.5-dev-spatialdata", "multiscales": [about]}
    _group(target, {"ome": ome, "spatialdata_attrs": {"version": "0.3"}})


def _multiscale(source: Path) -> dict[str, Any]:
    """What a label image says of levels and axes."""
    document = source / "zarr.json"
    if not document.is_file():
        raise InputError(
            "SpatialData needs label images of OME-Zarr 0.5",
            where=source,
            remedy="run again with --ome-zarr-version 0.5: only the label images are made anew",
        )
    (found,) = json.loads(document.read_text(encoding="utf-8"))["attributes"]["ome"]["multiscales"]
    return dict(found)


def _tables(results: Path, target: Path, names: Sequence[str]) -> None:
    """Write the tables; an observation is a region of the label image of the same name."""
    import anndata
    import zarr
    from anndata.io import write_elem

    _group(target, {})
    group = zarr.open_group(target, mode="r+")
    for name in names:
        table = anndata.read_h5ad(results / f"{name}.h5ad")
        with warnings.catch_warnings():
            # of a default that will change
            warnings.simplefilter("ignore", UserWarning)
            write_elem(group, f"{name}{_TABLE}", table)
        keys = table.uns["spatialdata_attrs"]
        group[f"{name}{_TABLE}"].attrs.update(
            {"spatialdata-encoding-type": "ngff:regions_table", "version": "0.2", **keys}
        )


def _outlines(results: Path, record: Mapping[str, Any]) -> Path | None:
    """The file of outlines; None where there is none, or they do not fit the label image."""
    there = [path for name in _OUTLINES if (path := results / name).is_file()]
    # SpatialData refuses shapes without a row
    if not there or not record["cells"]:
        return None
    if level := record["output"]["level"]:
        log.warning(
            "%s: outlines are left out, because they are in pixels of level 0, and the label image "
            "in those of level %d; to have them, run again with --upscale",
            there[0],
            level,
        )
        return None
    return there[0]


def _shapes(outlines: Path, target: Path, *, is_stack: bool) -> None:
    """Write the outlines, some thousand at a time."""
    import pyarrow.parquet as pq

    axes = ("x", "y")
    where = {"input": _space(axes, "xy"), "output": _space(axes, "global")}
    _group(target, {})
    _group(
        target / "outlines",
        {
            "encoding-type": "ngff:shapes",
            "axes": list(axes),
            "coordinateTransformations": [{"type": "identity", **where}],
            "spatialdata_attrs": {"version": "0.3"},
        },
    )
    rows = _rows(outlines)
    part = list(islice(rows, _TOGETHER))
    schema = _table(part, is_stack=is_stack).schema
    with pq.ParquetWriter(target / "outlines" / "shapes.parquet", schema) as writer:
        while part:
            writer.write_table(_table(part, is_stack=is_stack))
            part = list(islice(rows, _TOGETHER))


def _table(rows: Sequence[_Row], *, is_stack: bool) -> pa.Table:
    """Outlines as GeoPandas reads them, with numbers of cells as index."""
    import pandas as pd

    index = pd.Index([row.number for row in rows], dtype="int64", name="CellID")
    frame = pd.DataFrame({"geometry": [row.shape for row in rows]}, index=index, dtype=object)
    fields = [pa.field("geometry", pa.binary()), pa.field("CellID", pa.int64())]
    if is_stack:
        frame["plane"] = [row.plane for row in rows]
        fields.insert(1, pa.field("plane", pa.int64()))
    table = pa.Table.from_pandas(frame, schema=pa.schema(fields))
    known = table.schema.metadata or {}
    return table.replace_schema_metadata({**known, b"geo": json.dumps(_GEO).encode()})


class _Row(NamedTuple):
    """Number of a cell, the plane that it is in, and its outline as WKB."""

    number: int
    plane: int
    shape: bytes


def _rows(outlines: Path) -> Iterator[_Row]:
    """The outlines; each feature is a line of the file."""
    opened = gzip.open if outlines.name.endswith(PACKED) else open
    with opened(outlines, "rt", encoding="utf-8") as file:
        for line in file:
            text = line.strip().rstrip(",")
            if text.startswith('{"type":"Feature",'):
                feature = json.loads(text)
                geometry = feature["geometry"]
                plane = geometry.get("plane", {}).get("z", 0)
                yield _Row(int(feature["properties"]["name"]), plane, _wkb(geometry))


def _wkb(geometry: Mapping[str, Any]) -> bytes:
    """A polygon, or several, as well-known binary."""
    if geometry["type"] == "Polygon":
        return _polygon(geometry["coordinates"])
    parts = geometry["coordinates"]
    return struct.pack("<BII", 1, _MULTIPOLYGON, len(parts)) + b"".join(map(_polygon, parts))


def _polygon(rings: Sequence[Sequence[Sequence[float]]]) -> bytes:
    content = [struct.pack("<BII", 1, _POLYGON, len(rings))]
    for ring in rings:
        flat = [number for corner in ring for number in corner]
        content.append(struct.pack(f"<I{len(flat)}d", len(ring), *flat))
    return b"".join(content)
