"""Files of the table of cells: CSV, Parquet, AnnData. Rows go to them as they come.

CSV and Parquet hold all columns. AnnData (`.h5ad`) has the mean intensities as its matrix and all
other columns as observations, as `scimap.pp.mcmicro_to_scimap` would make it of the CSV file:
intensities are what is before ``X_centroid``. It is kept in memory until the end, with its matrix
compressed: HDF5 ends the process after it could not write to a file, as to a disk that is full.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from terapose.core.tables import Table

if TYPE_CHECKING:
    import pandas as pd

_FORMULA = ("=", "+", "-", "@")
FORMATS = ("csv", "parquet", "h5ad")


class _Writer(Protocol):
    def add(self, rows: pa.Table) -> None:
        """Append rows."""

    def close(self) -> None:
        """Complete the file."""


class _Csv:
    def __init__(self, path: Path, schema: pa.Schema) -> None:
        # a cell that begins like a formula is one for a spreadsheet: an apostrophe makes it text
        names = [f"'{name}" if name.startswith(_FORMULA) else name for name in schema.names]
        fields = [field.with_name(name) for field, name in zip(schema, names, strict=True)]
        self._schema = pa.schema(fields)
        options = pa.csv.WriteOptions(quoting_style="needed", quoting_header="needed")
        self._file = pa.csv.CSVWriter(path.absolute(), self._schema, write_options=options)

    def add(self, rows: pa.Table) -> None:
        self._file.write_table(rows.rename_columns(self._schema.names))

    def close(self) -> None:
        self._file.close()


class _Parquet:
    def __init__(self, path: Path, schema: pa.Schema) -> None:
        # an open file: of ``run:1/cells.parquet`` the beginning would be taken for a scheme
        self._opened = path.open("wb")
        self._file = pa.parquet.ParquetWriter(self._opened, schema, compression="zstd")

    def add(self, rows: pa.Table) -> None:
        self._file.write_table(rows)

    def close(self) -> None:
        with self._opened:
            self._file.close()


class _AnnData:
    """Encoding: https://anndata.readthedocs.io/en/stable/fileformat-prose.html."""

    def __init__(self, path: Path, schema: pa.Schema, sample: str, region: str) -> None:
        self._sample, self._region = sample, region
        first = schema.names.index("X_centroid")
        self._markers = schema.names[1:first]
        self._rest = ["CellID", *schema.names[first:]]
        self._observations: list[pd.DataFrame] = []
        self._path = path
        self._file = h5py.File(path.absolute(), "w", driver="core", backing_store=False)
        self._matrix = self._file.create_dataset(
            "X",
            shape=(0, len(self._markers)),
            maxshape=(None, len(self._markers)),
            dtype=np.float32,
            chunks=(4096, len(self._markers)),
            compression="gzip",
        )

    def add(self, rows: pa.Table) -> None:
        done = len(self._matrix)
        self._matrix.resize(done + len(rows), axis=0)
        for n, marker in enumerate(self._markers):
            self._matrix[done:, n] = rows[marker].to_numpy()
        self._observations.append(rows.select(self._rest).to_pandas())

    def close(self) -> None:
        with self._file:
            self._complete()
            self._file.flush()
            self._path.write_bytes(self._file.id.get_file_image())

    def _complete(self) -> None:
        import pandas as pd
        from anndata.io import write_elem

        obs = pd.concat(self._observations, ignore_index=True)
        # or there would be two of each row from here on
        self._observations.clear()
        obs.index = pd.Index([f"{self._sample}_{n}" for n in obs["CellID"]])
        obs["imageid"] = pd.Categorical([self._sample] * len(obs))
        obs["region"] = pd.Categorical([self._region] * len(obs), categories=[self._region])
        axes = [a for a in "XYZ" if f"{a}_centroid" in obs]
        self._matrix.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
        self._file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        write_elem(self._file, "obs", obs)
        write_elem(self._file, "var", pd.DataFrame(index=pd.Index(self._markers, dtype=str)))
        spatial = obs[[f"{a}_centroid" for a in axes]].to_numpy()
        write_elem(self._file, "obsm", {"spatial": spatial})
        # by these SpatialData finds the label of an observation
        keys = {"region": self._region, "region_key": "region", "instance_key": "CellID"}
        markers = np.array(self._markers, dtype=object)
        write_elem(self._file, "uns", {"all_markers": markers, "spatialdata_attrs": keys})
        for name in ("layers", "obsp", "varm", "varp"):
            write_elem(self._file, name, {})


def write_table(
    batches: Iterable[Table], paths: Mapping[str, Path], sample: str, region: str
) -> int:
    """Write a table to files.

    Parameters
    ----------
    batches
        Columns by name, of any number of rows each; at least one, all with the same columns. A
        number that is none (NaN) becomes an empty field.
    paths
        Where to write, by format (`FORMATS`).
    sample, region
        Name of the image and of the label image, for AnnData.

    Returns
    -------
    int
        Number of rows.
    """
    count = 0
    with ExitStack() as stack:
        writers: list[_Writer] = []
        for batch in batches:
            rows = pa.table({c: pa.array(v, from_pandas=True) for c, v in batch.items()})
            if not writers:
                names = (sample, region)
                writers = [_open(kind, path, rows.schema, *names) for kind, path in paths.items()]
                for writer in writers:
                    stack.callback(writer.close)
            for writer in writers:
                writer.add(rows)
            count += len(rows)
    return count


def _open(kind: str, path: Path, schema: pa.Schema, sample: str, region: str) -> Any:
    if kind == "h5ad":
        return _AnnData(path, schema, sample, region)
    return {"csv": _Csv, "parquet": _Parquet}[kind](path, schema)
