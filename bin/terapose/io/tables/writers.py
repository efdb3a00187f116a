"""Files of the table of cells: CSV, Parquet, AnnData. Rows go to them as they come.

CSV and Parquet hold all columns; AnnData is in `terapose.io.tables.h5ad`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from terapose.core.tables import Table
from terapose.io.tables.h5ad import AnnDataFile
from terapose.io.text_tables import as_cell

FORMATS = ("csv", "parquet", "h5ad")


class _Writer(Protocol):
    def add(self, rows: pa.Table) -> None:
        """Append rows."""

    def close(self) -> None:
        """Complete the file."""


class _Csv:
    def __init__(self, path: Path, schema: pa.Schema) -> None:
        fields = [field.with_name(_heading(field.name, schema.names)) for field in schema]
        self._schema = pa.schema(fields)
        options = pa.csv.WriteOptions(quoting_style="needed", quoting_header="needed")
        self._file = pa.csv.CSVWriter(path.absolute(), self._schema, write_options=options)

    def add(self, rows: pa.Table) -> None:
        self._file.write_table(rows.rename_columns(self._schema.names))

    def close(self) -> None:
        self._file.close()


def _heading(name: str, names: Collection[str]) -> str:
    """A name as a heading that no other column has."""
    heading = as_cell(name)
    while heading != name and heading in names:
        heading = f"'{heading}"
    return heading


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
        return AnnDataFile(path, schema, sample, region)
    return {"csv": _Csv, "parquet": _Parquet}[kind](path, schema)
