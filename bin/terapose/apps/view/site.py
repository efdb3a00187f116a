"""Everything that a viewer of results reads, by its path."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from terapose.apps.view import page
from terapose.apps.view.derived import Numbers, Outlines, Values
from terapose.apps.view.direct import DOCUMENTS, has_shards, plain_group
from terapose.apps.view.pixels import Pixels
from terapose.apps.view.results import Results
from terapose.apps.view.sources import Documents, Folder, Source
from terapose.apps.view.state import MOST_COLORS, Channel, state_of
from terapose.apps.view.table import MOST_PROPERTIES, NUMBER, Cells
from terapose.apps.view.volumes import Served
from terapose.core.errors import InputError, few
from terapose.results.outputs import LABELS

STATE = "state.json"
_CHANNELS = 16
"""Channels that are layers, besides those that were segmented."""
_NAMED = 5


@dataclass(frozen=True)
class Site:
    """Paths and what is under them.

    Attributes
    ----------
    parts
        Sources by the prefix of their paths; the empty one is that of the documents of the site.
    state
        Of the viewer, with a mark for the address of the site.
    notes
        What is not shown, and why.
    """

    parts: Mapping[str, Source]
    state: Mapping[str, Any]
    notes: tuple[str, ...]

    def get(self, path: str) -> bytes | Path | None:
        """Content of a path (see `terapose.apps.view.sources.Source.get`)."""
        for prefix, source in self.parts.items():
            if prefix and path.startswith(f"{prefix}/"):
                return source.get(path[len(prefix) + 1 :])
        return self.parts[""].get(path)

    def all_keys(self) -> Iterator[str]:
        """All paths that may have content."""
        for prefix, source in self.parts.items():
            for key in source.all_keys():
                yield f"{prefix}/{key}" if prefix else key


def make_site(
    results: Results, *, color_by: str | None = None, client: str = "", shards: bool = True
) -> Site:
    """Put together what is shown of results.

    Parameters
    ----------
    results
        What is looked at.
    color_by
        Column of the table; None: how large cells are. ``CellID``: each cell another colour.
    client
        Address of a client other than the one that is installed.
    shards
        Whether whoever serves the site serves parts of files.

    Raises
    ------
    InputError
        If there is no such column, or no client.
    """
    notes: list[str] = []
    parts: dict[str, Source] = {}
    place: dict[str, Any] = {"unit": results.unit, "dimensions": results.dimensions}
    version = _add_labels(parts, results, shards, place)
    first = next(iter(results.labels.values()))
    parts["data/outlines"] = Served(Outlines(first, results.levels, **place), "outlines")
    cells = _table(results, color_by, notes)
    column = None
    has_properties = cells is not None and cells.number <= MOST_PROPERTIES
    if cells is not None:
        name = cells.chosen(color_by)
        column = None if name == NUMBER else cells.column(name)
        if has_properties:
            parts["data/table"] = Documents({"info": cells.properties})
        else:
            notes.append(
                f"cells cannot be filtered by columns: more than {MOST_PROPERTIES:,} would be too "
                "many for a browser"
            )
    if column is not None and len(column.values) - 1 > MOST_COLORS:
        values = Values(column.values, first, results.levels, **place)
        parts["data/values"] = Served(values, "values")
    channels = _add_image(parts, results, shards, notes)
    state = state_of(results, channels, _center(results, cells), column, has_properties, version)
    folder = None if client else page.client_folder()
    if folder is not None:
        parts["client"] = Folder(folder, page.client_files(folder))
    parts[""] = Documents(
        {
            "index.html": page.root_page,
            page.PAGE: lambda: page.view_page(folder, client),
            STATE: lambda: json.dumps(state).encode(),
        }
    )
    return Site(parts, state, tuple(notes))


def _add_labels(
    parts: dict[str, Source], results: Results, shards: bool, place: dict[str, Any]
) -> int:
    """The label images, as they are if parts of files are served; returns the version of Zarr."""
    for name, images in results.labels.items():
        root = results.folder / LABELS / name
        arrays = [str(n) for n in range(len(results.levels))]
        if not shards and any(has_shards(str(root / array)) for array in arrays):
            parts[f"data/{name}"] = Served(Numbers(images, results.levels, **place), name)
        else:
            parts[f"data/{name}"] = Folder(root, frozenset((*DOCUMENTS, *arrays)))
    return 3 if (results.folder / LABELS / "zarr.json").exists() else 2


def _table(results: Results, color_by: str | None, notes: list[str]) -> Cells | None:
    number = int(results.record["cells"])
    if results.table is not None and number:
        return Cells(results.table, number)
    if color_by is not None and results.table is None:
        raise InputError(
            "there is no table with columns to colour by",
            where=results.folder,
            allowed="cells.csv or cells.parquet",
            remedy="leave out the column, or segment again with table csv",
        )
    notes.append(
        "cells have colours of their own: there is neither cells.csv nor cells.parquet"
        if number
        else "there are no cells"
    )
    return None


def _add_image(
    parts: dict[str, Source], results: Results, shards: bool, notes: list[str]
) -> list[Channel]:
    """The image, as it is or computed; returns its channels."""
    finest = results.images[0]
    others = [n for n in range(1, finest.channels + 1) if n not in results.channels]
    numbers = [*results.channels, *others[:_CHANNELS]]
    if left := others[_CHANNELS:]:
        what = "channel" if len(left) == 1 else "channels"
        notes.append(
            f"{what} {few([str(n) for n in left], _NAMED)} of the image cannot be chosen: besides "
            f"those that were segmented, {_CHANNELS} are shown"
        )
    as_given = finest.voxel_size == results.own.voxel_size
    plain = plain_group(results.own, results.unit, shards=shards) if as_given else None
    if plain is not None and ("z" in plain.axes) == (results.dimensions == 3):
        parts["data/image"] = plain.files
        has_channels = "c" in plain.axes
        return [
            Channel(n, "data/image", plain.version, n - 1 if has_channels else None)
            for n in numbers
        ]
    for number in numbers:
        volume = Pixels(results.images, number, results.dimensions)
        parts[f"data/channel{number}"] = Served(volume, f"channel {number}")
    return [Channel(n, f"data/channel{n}", 3, None) for n in numbers]


def _center(results: Results, cells: Cells | None) -> tuple[float, float, float]:
    """The voxel of the labels to begin with: the cell nearest to the middle of them."""
    middle = [n / 2 + o for n, o in zip(results.shape, results.offset, strict=True)]
    found = cells.near(middle) if cells is not None else None
    z, y, x = (p - o for p, o in zip(found or middle, results.offset, strict=True))
    return z, y, x
