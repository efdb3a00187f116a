"""The table of cells as AnnData (`.h5ad`), written some rows at a time.

The mean intensities are its matrix, all other columns observations, as
`scimap.pp.mcmicro_to_scimap` would make it of the CSV file: intensities are what is before
``X_centroid``. In memory are the rows that are written and the caches of HDF5, not the file.

HDF5 ends the process, or never comes back, after a write that failed, as to a disk that is full. So
it writes to an object that keeps what could not be written, and the error is raised once HDF5 has
returned (`_Patient`).

Encoding: https://anndata.readthedocs.io/en/stable/fileformat-prose.html.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
from numpy.typing import DTypeLike, NDArray

_ROWS = 8192
"""Of a chunk of each array, if it is not too wide, and how many are written at once."""
_CACHE = 2**20
"""What HDF5 keeps of each array, in bytes. It compresses a chunk that is larger anew each time some
rows are added to it."""


class _Patient(io.RawIOBase):
    """A new file for HDF5, on which no write fails.

    Attributes
    ----------
    fault
        The first error. What is written from then on is in memory, and is little: whoever writes
        asks after each batch.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("w+b", buffering=0)
        self._at = 0
        self._kept: list[tuple[int, bytes]] = []
        self.fault: OSError | None = None

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Where to go on."""
        kept = max((at + len(data) for at, data in self._kept), default=0)
        size = max(os.fstat(self._file.fileno()).st_size, kept)
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: size}[whence]
        return self._at

    def write(self, data: Any) -> int:
        """Write all of it, or keep it."""
        left = memoryview(data).cast("B")
        size = len(left)
        while len(left) and self.fault is None:
            try:
                done = os.pwrite(self._file.fileno(), left, self._at)
            except OSError as error:
                self._failed(error)
            else:
                self._at, left = self._at + done, left[done:]
        if len(left):
            self._kept.append((self._at, bytes(left)))
            self._at += len(left)
        return size

    def readinto(self, buffer: Any) -> int:
        """Read what was written; HDF5 asks for no more."""
        into = memoryview(buffer).cast("B")
        found = os.pread(self._file.fileno(), len(into), self._at)
        into[: len(found)] = found
        stop = self._at + len(into)
        for at, data in self._kept:
            first, last = max(at, self._at), min(at + len(data), stop)
            if first < last:
                into[first - self._at : last - self._at] = data[first - at : last - at]
        self._at = stop
        return len(into)

    def truncate(self, size: int | None = None) -> int:
        """Make it as long as HDF5 needs it."""
        size = self._at if size is None else size
        try:
            os.ftruncate(self._file.fileno(), size)
        except OSError as error:
            self._failed(error)
        return size

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    def _failed(self, error: OSError) -> None:
        self.fault = self.fault or OSError(error.errno, error.strerror, str(self._path))


class AnnDataFile:
    """A writer of rows.

    Parameters
    ----------
    path
        Of the file.
    schema
        Columns of the table of cells.
    sample, region
        Name of the image and of the label image.
    """

    def __init__(self, path: Path, schema: pa.Schema, sample: str, region: str) -> None:
        self._sample, self._region = sample, region
        first = schema.names.index("X_centroid")
        self._markers = schema.names[1:first]
        self._rest = ["CellID", *schema.names[first:]]
        self._axes = [name for a in "XYZ" if (name := f"{a}_centroid") in schema.names]
        types = {name: schema.field(name).type.to_pandas_dtype() for name in self._rest}
        self._raw = _Patient(path)
        self._file = h5py.File(self._raw, "w", rdcc_nbytes=_CACHE)
        self._obs = self._file.create_group("obs")
        self._file.create_group("obsm")
        self._matrix = self._array("X", np.float32, len(self._markers))
        self._index = self._array("obs/_index", h5py.string_dtype(), kind="string-array")
        self._columns = [self._array(f"obs/{name}", types[name]) for name in self._rest]
        self._codes = [self._array(f"obs/{name}/codes", np.int8) for name in ("imageid", "region")]
        centre = np.result_type(*(types[name] for name in self._axes))
        self._spatial = self._array("obsm/spatial", centre, len(self._axes))

    def _array(
        self, name: str, dtype: DTypeLike, width: int | None = None, kind: str = "array"
    ) -> h5py.Dataset:
        """An array without rows, and with as many columns."""
        row = () if width is None else (width,)
        most = _CACHE // (np.dtype(dtype).itemsize * math.prod(row))
        array = self._file.create_dataset(
            name,
            shape=(0, *row),
            maxshape=(None, *row),
            dtype=dtype,
            chunks=(max(1, min(_ROWS, most)), *row),
            compression="gzip",  # or the chunk of a few cells would take the place of a whole one
        )
        _encoded(array, kind, "0.2.0")
        return array

    def add(self, rows: pa.Table) -> None:
        """Append rows.

        Raises
        ------
        OSError
            If they cannot be written.
        """
        for first in range(0, len(rows), _ROWS):
            self._add(rows.slice(first, _ROWS))
        self._refuse_fault()

    def _add(self, rows: pa.Table) -> None:
        _append(self._matrix, _side_by_side(rows, self._markers))
        names = [f"{self._sample}_{number}" for number in rows["CellID"].to_pylist()]
        _append(self._index, np.array(names, dtype=object))
        for array, name in zip(self._columns, self._rest, strict=True):
            _append(array, rows[name].to_numpy())
        for array in self._codes:
            _append(array, np.zeros(len(rows), np.int8))
        _append(self._spatial, _side_by_side(rows, self._axes))

    def close(self) -> None:
        """Complete the file.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        try:
            with self._file:
                self._complete()
        finally:
            self._raw.close()
        self._refuse_fault()

    def _refuse_fault(self) -> None:
        if self._raw.fault is not None:
            raise self._raw.fault

    def _complete(self) -> None:
        _encoded(self._file, "anndata", "0.1.0")
        _encoded(self._file["obsm"], "dict", "0.1.0")
        _frame(self._obs, [*self._rest, "imageid", "region"])
        for name, value in (("imageid", self._sample), ("region", self._region)):
            _encoded(self._obs[name], "categorical", "0.2.0")
            self._obs[name].attrs["ordered"] = False
            _strings(self._obs[name], "categories", [value])
        _frame(self._file.create_group("var"), [])
        _strings(self._file["var"], "_index", self._markers)
        for name in ("uns", "uns/spatialdata_attrs", "layers", "obsp", "varm", "varp"):
            _encoded(self._file.create_group(name), "dict", "0.1.0")
        _strings(self._file["uns"], "all_markers", self._markers)
        # by these SpatialData finds the label of an observation
        keys = {"region": self._region, "region_key": "region", "instance_key": "CellID"}
        for name, value in keys.items():
            text = self._file["uns/spatialdata_attrs"].create_dataset(name, data=value)
            _encoded(text, "string", "0.2.0")


def _encoded(item: h5py.Group | h5py.Dataset, kind: str, version: str) -> None:
    item.attrs.update({"encoding-type": kind, "encoding-version": version})


def _frame(group: h5py.Group, columns: list[str]) -> None:
    _encoded(group, "dataframe", "0.2.0")
    group.attrs.update({"_index": "_index", "column-order": columns})


def _strings(group: h5py.Group, name: str, values: list[str]) -> None:
    text = group.create_dataset(name, data=values, dtype=h5py.string_dtype())
    _encoded(text, "string-array", "0.2.0")


def _append(array: h5py.Dataset, values: NDArray[Any]) -> None:
    done = len(array)
    array.resize(done + len(values), axis=0)
    array[done:] = values


def _side_by_side(rows: pa.Table, names: Sequence[str]) -> NDArray[Any]:
    """Columns as an array of rows."""
    return np.stack([rows[name].to_numpy() for name in names], axis=1)
