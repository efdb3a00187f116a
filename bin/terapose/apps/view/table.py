"""The table of cells as a viewer needs it: the values of one column, properties to filter by.

Memory for a column is 4 bytes a cell. Properties are one document that a browser reads as a whole,
so there are none of more than `MOST_PROPERTIES` cells.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.apps.view.derived import MISSING, NOTHING
from terapose.core.errors import InputError
from terapose.core.near import did_you_mean
from terapose.io.tables.reading import Columns, column_names, numbers_of, rows_of

NUMBER = "CellID"
MOST_PROPERTIES = 200_000
"""Cells of which a browser gets all columns: some ten megabytes."""
_DEFAULTS = ("Volume", "Area", "CellProbability")
_DAMAGED = "terapose verify lists what has changed since the run"
_ENDS = (1, 99)
"""Percentiles of a column that are the ends of the colours."""


@dataclass(frozen=True)
class Column:
    """Values of all cells in one column.

    Attributes
    ----------
    name
        Of the column.
    values
        (N + 1,) float32 by the number of the cell (see `terapose.apps.view.derived.Values`).
    low, high
        Ends of the colours.
    """

    name: str
    values: NDArray[np.float32]
    low: float
    high: float


class Cells:
    """A table of cells.

    Parameters
    ----------
    path
        A CSV or Parquet file.
    number
        How many cells it has.
    """

    def __init__(self, path: Path, number: int) -> None:
        self.path, self.number = path, number
        self.names = self._reading(lambda: column_names(path))
        if NUMBER not in self.names:
            raise _damaged(path, f"no column {NUMBER}")

    def chosen(self, name: str | None) -> str:
        """The column to colour by: the one given, or else the first that says how large cells are.

        Raises
        ------
        InputError
            If there is no such column.
        """
        if name is None:
            return next((one for one in _DEFAULTS if one in self.names), NUMBER)
        if name not in self.names:
            raise InputError(
                "there is no such column",
                where=self.path,
                got=name,
                allowed=", ".join(self.names),
                remedy=did_you_mean(name, self.names),
            )
        return name

    def column(self, name: str) -> Column:
        """Read one column.

        Raises
        ------
        InputError
            If it is not a column of numbers, or the table does not have the cells of the run.
        """
        values = np.full(self.number + 1, MISSING, np.float32)
        values[0] = NOTHING
        for rows in self.rows([NUMBER, name]):
            found = rows[name]
            if found.dtype.kind not in "biuf":
                raise InputError(
                    "is not a column of numbers",
                    where=f"{self.path}: {name}",
                    got=found.dtype,
                    remedy="choose another column",
                )
            real = found.astype(np.float32)
            values[rows[NUMBER]] = np.where(np.isfinite(real), real, MISSING)
        there = values[values > MISSING]
        low, high = np.percentile(there, _ENDS) if there.size else (0.0, 1.0)
        return Column(name, values, float(low), float(high) if high > low else float(low) + 1.0)

    def properties(self) -> bytes:
        """All columns of numbers, as Neuroglancer's document of segment properties."""
        parts = list(self.rows(self.names))
        ids = np.concatenate([part[NUMBER] for part in parts]) if parts else np.zeros(0, np.int64)
        properties = []
        for name in self.names:
            values = np.concatenate([part[name] for part in parts]) if parts else ids
            if name == NUMBER or values.dtype.kind not in "biuf":
                continue
            kind, listed = _property(values)
            properties.append({"id": name, "type": "number", "data_type": kind, "values": listed})
        inline = {"ids": [str(n) for n in ids], "properties": properties}
        return json.dumps({"@type": "neuroglancer_segment_properties", "inline": inline}).encode()

    def near(self, place: Sequence[float]) -> tuple[float, float, float] | None:
        """Centroid (z, y, x) of the cell that is nearest to a place; None if there is no cell."""
        best, found = np.inf, None
        names = [f"{axis}_centroid" for axis in "ZYX" if f"{axis}_centroid" in self.names]
        lead = [0.0] * (3 - len(names))
        for rows in self.rows(names, numbers_of) if names else ():
            at = np.stack([rows[name] for name in names], 1).astype(np.float64)
            away = ((at - np.asarray(place)[-len(names) :]) ** 2).sum(1)
            if away.size and away.min() < best:
                nearest = int(away.argmin())
                best = away[nearest]
                z, y, x = (*lead, *(float(n) for n in at[nearest]))
                found = (z, y, x)
        return found

    def rows(
        self,
        names: Sequence[str],
        read: Callable[[Path, Sequence[str]], Iterator[Columns]] = rows_of,
    ) -> Iterator[Columns]:
        """Go through the table, in columns of any type or of those that ``read`` takes.

        Raises
        ------
        InputError
            If it cannot be read, or does not have the cells of the run.
        """
        count = 0
        reading = read(self.path, list(dict.fromkeys(names)))
        while (rows := self._reading(lambda: next(reading, None))) is not None:
            count += len(next(iter(rows.values())))
            if count > self.number or (NUMBER in rows and not self._are_cells(rows[NUMBER])):
                break
            yield rows
        if count != self.number or rows is not None:
            raise _damaged(self.path, f"other cells than the {self.number} of the run")

    def _are_cells(self, numbers: NDArray[Any]) -> bool:
        if numbers.dtype.kind not in "iu":
            return False
        return not numbers.size or (numbers.min() >= 1 and numbers.max() <= self.number)

    def _reading(self, read: Any) -> Any:
        try:
            return read()
        except (OSError, ValueError, KeyError) as error:
            text = f"{type(error).__name__}: {error}".splitlines()[0]
            raise _damaged(self.path, text) from error


def _property(values: NDArray[Any]) -> tuple[str, list[Any]]:
    """Type and values of a property: whole numbers of up to 32 bits, else float32."""
    if values.dtype.kind in "bu" and (not values.size or values.max() < 2**32):
        return "uint32", values.astype(np.int64).tolist()
    if values.dtype.kind == "i" and (not values.size or abs(values).max() < 2**31):
        return "int32", values.tolist()
    # a browser makes a number of the text; null would become 0
    real = values.astype(np.float64)
    return "float32", [n if np.isfinite(n) else "NaN" for n in real.tolist()]


def _damaged(path: Path, got: str) -> InputError:
    return InputError("the table of cells cannot be used", where=path, got=got, remedy=_DAMAGED)
