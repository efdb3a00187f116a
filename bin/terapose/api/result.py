"""Results of a run as an object: labels, table and record are read when they are asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terapose.api.label_array import LabelArray
from terapose.core.errors import InputError
from terapose.io.remote import Remote, folder_of
from terapose.results.earlier import sealed_record_of
from terapose.results.outputs import LABELS
from terapose.results.places import place_of
from terapose.results.records import complete_record

if TYPE_CHECKING:
    import pandas as pd

    from terapose.apps.view.opening import Viewer

_TABLES = ("parquet", "csv")
"""Tables that are read, the one that is read faster first."""


class Result:
    """Complete results in a folder.

    Nothing is read before it is asked for, and the label image never as a whole.

    Parameters
    ----------
    folder
        Where they are.
    record
        Of the run, as in ``provenance.json``.

    Attributes
    ----------
    folder
        Where they are.
    """

    def __init__(self, folder: Path, record: Mapping[str, Any]) -> None:
        self.folder = folder
        self._record = record

    @property
    def provenance(self) -> dict[str, Any]:
        """The record of the run, as in ``provenance.json``."""
        return deepcopy(dict(self._record))

    @property
    def cells(self) -> int:
        """Number of cells."""
        return int(self._record["cells"])

    @property
    def voxel_size(self) -> tuple[float, float, float] | None:
        """(z, y, x) of a voxel of the labels in micrometres, if known."""
        size = self._record["output"]["voxel_size"]
        return None if size is None else (size[0], size[1], size[2])

    @property
    def seconds(self) -> float:
        """Seconds that all tasks of the run took together, in this run or in earlier ones."""
        return float(sum(done["seconds"] for done in self._record["stages"].values()))

    @property
    def labels(self) -> LabelArray:
        """The label image of the cells at its finest level, which is read by slices."""
        self._refuse_replaced()
        return self._labels

    @cached_property
    def _labels(self) -> LabelArray:
        return self.open_labels()

    @property
    def shape(self) -> tuple[int, ...]:
        """(Z, Y, X) of the labels, or (Y, X) of a plane."""
        shape = tuple(self._record["output"]["shape"])
        return shape[1:] if self._record["mode"] == "2d" and shape[0] == 1 else shape

    def open_labels(self, name: str = "cells", *, level: int = 0) -> LabelArray:
        """Open a label image, which is read by slices.

        Parameters
        ----------
        name
            ``cells``, or where these were made of nuclei ``nuclei`` or ``cytoplasm``.
        level
            Of the pyramid; 0 is the finest.

        Raises
        ------
        InputError
            If there is none, or another run has replaced the results.
        """
        self._check_name(name)
        self._refuse_replaced()
        address = os.path.abspath(self.folder / LABELS)
        try:
            return LabelArray(address, name, level)
        except (KeyError, FileNotFoundError) as error:
            raise InputError("there is no such level", where=address, got=level) from error

    def table(self, name: str = "cells", *, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Read a table of cells, a row each.

        Parameters
        ----------
        name
            ``cells``, or where these were made of nuclei ``nuclei`` or ``cytoplasm``.
        columns
            Which columns; all if it is not given. The whole table is in memory: 200 bytes a row for
            all columns, so choose some where there are hundreds of millions of cells.

        Returns
        -------
        pandas.DataFrame
            In the order of ``CellID``.

        Raises
        ------
        InputError
            If the run wrote no table as CSV or Parquet, or it has changed since.
        """
        import pandas as pd

        self._check_name(name)
        there = [f"{name}.{kind}" for kind in _TABLES if f"{name}.{kind}" in self._record["tables"]]
        if not there:
            raise InputError(
                "the run wrote no table that can be read here",
                where=self.folder,
                got=", ".join(self._record["tables"]) or "none",
                remedy="run again with table csv or parquet: only the table is made",
            )
        path = self.folder / there[0]
        self._confirm(path.name)
        chosen = None if columns is None else list(columns)
        try:
            if path.suffix == ".parquet":
                found = pd.read_parquet(path, columns=chosen)
            else:
                found = pd.read_csv(path, usecols=chosen)
        except (ValueError, KeyError) as error:
            raise InputError(
                "has no such column", where=path, got=", ".join(map(str, columns or ()))
            ) from error
        return found if chosen is None else found[chosen]

    @property
    def report(self) -> Path:
        """The page ``report.html`` to judge the results by; made if it is not there yet."""
        from terapose.results.report.own import PAGE, reports_in
        from terapose.results.report.writing import write_report

        self._refuse_replaced()
        if PAGE in reports_in(self.folder):
            return self.folder / PAGE
        return write_report(self.folder, self.folder)

    def verify(self) -> None:
        """Compare all files with the checksums that were noted when they were written.

        Raises
        ------
        StoreError
            If anything is missing or has changed.
        """
        from terapose.results.verify import check

        check(self.folder)

    def view(self, *, color_by: str | None = None, port: int = 0, browser: bool = True) -> Viewer:
        """Show image and labels in a viewer, and return what serves it.

        Parameters
        ----------
        color_by
            Column of the table by which cells are coloured.
        port
            Of the server on this machine; 0 is any that is free.
        browser
            Whether a window of the browser is opened.

        Raises
        ------
        InputError
            If the results or the image cannot be shown, or Neuroglancer is not installed.
        """
        from terapose.apps.view.opening import open_view

        return open_view(self.folder, port=port, browser=browser, color_by=color_by)

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.shape))
        return f"<Result: {self.cells} cells in {shape} voxels, {self.folder}>"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from terapose.api.result_html import shown_in_notebook

        return shown_in_notebook(self)

    def _check_name(self, name: str) -> None:
        """Refuse a label image or table that there is not."""
        names = self._record["compartments"]
        if name not in names:
            raise InputError(
                "there are no labels of this name",
                where=self.folder,
                got=name,
                allowed=", ".join(names),
            )

    def _refuse_replaced(self) -> None:
        """Refuse results of a later run, of which this is not the record."""
        if sealed_record_of(self.folder) != self._record:
            raise InputError(
                "these results have been replaced or removed since they were opened",
                where=self.folder,
                remedy="open them again (terapose.open_result)",
            )

    def _confirm(self, name: str) -> None:
        """Refuse a file that is not as it was written."""
        if place_of(self.folder).tree(name) != self._record["checksums"].get(name):
            raise InputError(
                "has changed since the run",
                where=self.folder / name,
                remedy="run again to restore it, or read it with pandas",
            )


def open_result(folder: str | os.PathLike[str]) -> Result:
    """Open results that exist.

    Parameters
    ----------
    folder
        Of the results of one image, on a local disk.

    Raises
    ------
    InputError
        As `complete_record`.

    Examples
    --------
    >>> result = terapose.open_result("results/brain")  # doctest: +SKIP
    >>> result.labels[10, :512, :512]  # doctest: +SKIP
    """
    place = local(folder)
    return Result(place, complete_record(place))


def address(
    given: object,
    where: str,
    what: str = "the path or URL of an image",
    remedy: str | None = None,
) -> str:
    """An address that was given to a function.

    Parameters
    ----------
    given
        What is to be one.
    where
        Name of the argument.
    what
        What it should be.
    remedy
        What to do with something else, such as an array.

    Raises
    ------
    InputError
        If it is something else.
    """
    if not isinstance(given, str | os.PathLike):
        raise InputError(f"is not {what}", where=where, got=type(given).__name__, remedy=remedy)
    return os.fspath(given)


def local(folder: str | os.PathLike[str], where: str = "folder") -> Path:
    """The folder of an address, which must be on a local disk.

    Parameters
    ----------
    folder
        What was given.
    where
        Name of the argument.

    Raises
    ------
    InputError
        If it is no address, or one on an object store.
    """
    place = folder_of(address(folder, where, "the path of a folder"))
    if isinstance(place, Remote):
        raise InputError(
            "only results on a local disk can be opened",
            where=place,
            remedy="copy them to a local folder first",
        )
    return place
