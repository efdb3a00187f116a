"""What a run writes beside the label image: its names, in the record and by its parameters.

Each kind of results is described once, in `OUTPUTS`. From this follow what a run will write, what
its record says that it wrote, and which results of an earlier run it has to remove.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from terapose.core.errors import InputError
from terapose.core.near import as_file
from terapose.core.params import OUTLINES, Parameters
from terapose.intermediates.compartments import ALL, CELLS, MASKS, table_names

LABELS = "labels.zarr"
THUMBNAILS = "thumbnails.zarr"
IMAGES = ALL
"""Names of all label images that there may be in the first."""
MOST_NAMES = 100
"""Names of results in a record, several times as many as there can be: more are none of ours."""

Given = Mapping[str, Any]
"""Parameters by name; those of **finish** are enough."""


class Output(NamedTuple):
    """A kind of results.

    Attributes
    ----------
    field
        Its field in the record: names of files.
    pattern
        Names that this program gives to such files.
    names
        Names of those that parameters ask for, given the names of the compartments.
    is_single
        Whether there is one file at most: the field is its name, or null.
    """

    field: str
    pattern: re.Pattern[str]
    names: Callable[[Given, Sequence[str]], list[str]]
    is_single: bool = False

    def of_record(self, record: Given) -> list[str]:
        """Names in a record; anything else in it, whatever it is, is none."""
        found = record.get(self.field)
        names = found if isinstance(found, list | tuple) else [found]
        if len(names) > MOST_NAMES:
            return []
        return [name for name in names if isinstance(name, str) and self.pattern.fullmatch(name)]

    def to_record(self, params: Given, parts: Sequence[str]) -> Any:
        """The value of the field."""
        names = self.names(params, parts)
        return next(iter(names), None) if self.is_single else names


def mask_files(params: Given, parts: Sequence[str]) -> dict[str, str]:
    """Label images as OME-TIFF, if requested, by compartment; that of the cells as given."""
    given = params["mask_tiff"]
    return {name: given if name == CELLS else MASKS[name] for name in parts} if given else {}


def _any_of(names: Collection[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, names)))


OUTPUTS = (
    Output(
        "tables",
        _any_of(table_names(ALL, ("csv", "parquet", "h5ad", *OUTLINES))),
        lambda params, parts: table_names(parts, params["table"]),
    ),
    Output(
        "masks",
        re.compile(r"[\w.-]+\.tiff?"),
        lambda params, parts: [*mask_files(params, parts).values()],
    ),
    Output(
        "thumbnails",
        _any_of([THUMBNAILS]),
        lambda params, parts: [THUMBNAILS] if params["thumbnails"] is not None else [],
        is_single=True,
    ),
)
"""All kinds of results beside the label image."""


def named(record: Given) -> list[str]:
    """Names of the results in a record, those this program gives."""
    return [name for output in OUTPUTS for name in output.of_record(record)]


def recorded(params: Given, parts: Sequence[str]) -> dict[str, Any]:
    """The fields of a record that name results.

    Parameters
    ----------
    params
        Those of **finish**.
    parts
        Names of the compartments.
    """
    return {output.field: output.to_record(params, parts) for output in OUTPUTS}


def result_names(params: Parameters) -> list[str]:
    """Names of the files and folders that a run writes.

    Raises
    ------
    InputError
        If the name that a user gave one of them is that of another, or differs from it in case or
        in how letters are composed alone: some file systems would take both for one file.
    """
    parts = ALL if params.expand or params.has_second else (CELLS,)
    given = dict(params)
    names = [LABELS, *(name for output in OUTPUTS for name in output.names(given, parts))]
    mask = params.mask_tiff
    alike = [name for name in names if as_file(name) == as_file(mask)]
    if len(alike) > 1:
        raise InputError(
            "is the name of another result",
            where="mask_tiff",
            got=mask,
            allowed="a name that differs in more than case from " + ", ".join(MASKS.values()),
            remedy="choose another name, such as cell.ome.tif",
        )
    return names
