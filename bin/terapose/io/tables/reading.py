"""Columns of a table of cells, some rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from terapose.core.errors import pass_on

ROWS = 1 << 16
"""Rows that are read at a time, at most."""
Columns = dict[str, NDArray[Any]]


def column_names(path: Path) -> list[str]:
    """Names of the columns of a CSV or Parquet file, in their order.

    Raises
    ------
    OSError, ValueError
        If it cannot be read.
    """
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            # an open file: of ``run:1/cells.parquet`` the beginning may be taken for a scheme
            with path.open("rb") as file:
                return list(pq.ParquetFile(file).schema_arrow.names)
        except pa.ArrowException as error:
            pass_on(error)
            raise ValueError(str(error)) from error
    import pandas as pd

    return [str(name) for name in pd.read_csv(path, nrows=0).columns]


def rows_of(path: Path, names: Sequence[str]) -> Iterator[Columns]:
    """Go through a CSV or Parquet file.

    Parameters
    ----------
    path
        The file.
    names
        Columns that are read.

    Yields
    ------
    dict of numpy.ndarray
        Rows, by column.

    Raises
    ------
    OSError, ValueError
        If it cannot be read.
    """
    if path.suffix == ".parquet":
        yield from _parquet(path, names)
        return
    import pandas as pd

    read = pd.read_csv(path, usecols=names, chunksize=ROWS, float_precision="round_trip")
    for part in read:
        # columns without rows have no type
        if len(part):
            yield {name: part[name].to_numpy() for name in names}


def numbers_of(path: Path, names: Sequence[str]) -> Iterator[Columns]:
    """Go through a CSV or Parquet file, as `rows_of` does, in columns of numbers.

    Raises
    ------
    OSError, ValueError
        If it cannot be read, or something else than numbers is in one of them.
    """
    for rows in rows_of(path, names):
        for name, values in rows.items():
            if values.dtype.kind not in "biuf":
                raise ValueError(f"{name} is not a column of numbers")
        yield rows


def _parquet(path: Path, names: Sequence[str]) -> Iterator[Columns]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as file:
            for batch in pq.ParquetFile(file).iter_batches(ROWS, columns=list(names)):
                yield {name: batch[name].to_numpy(zero_copy_only=False) for name in names}
    except pa.ArrowException as error:
        pass_on(error)
        raise ValueError(str(error)) from error
