"""Many pairs of label images: named in a table, or images with the same names in two folders."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from terapose.core.errors import InputError, few
from terapose.core.near import did_you_mean, plain
from terapose.io.images import folders
from terapose.io.images.address import is_url, localise
from terapose.io.text_tables import read_table
from terapose.results.earlier import RECORD
from terapose.results.outputs import LABELS

KINDS = ("instance", "semantic")
"""How the CellMap challenge scores a class."""
_COLUMNS = ("reference", "predicted", "name", "class", "kind")
_SHOWN = 5
_LABELS = (".labels", "-labels", "_labels")
"""Ends of the names of label images, which the images themselves do not have."""


class Pair(NamedTuple):
    """Two label images of one image.

    Attributes
    ----------
    name
        Of the image.
    reference, predicted
        Their addresses.
    label
        Class of what was segmented; empty where the table does not say it.
    kind
        One of `KINDS`, or empty.
    """

    name: str
    reference: str
    predicted: str
    label: str = ""
    kind: str = ""

    @property
    def title(self) -> str:
        """The name, and the class if there is one: there may be several of one image."""
        return f"{self.name} {self.label}".strip()


def is_folder(address: str) -> bool:
    """Whether an address is a local folder that is not itself an image."""
    if is_url(address):
        return False
    place = localise(address)
    return os.path.isdir(place) and not folders.is_store(place)


def label_image(address: str) -> str:
    """The label image of a local folder with the results of one run; of all else, the same address.

    That it is the only image in a folder is enough: results may have been moved without their
    record, but beside the record there may also be masks as TIFF.
    """
    if not is_folder(address):
        return address
    folder = localise(address)
    labels = os.path.join(folder, LABELS)
    if not os.path.isdir(labels):
        return address
    is_result = os.path.lexists(os.path.join(folder, RECORD))
    return labels if is_result or folders.images_in(folder)[0] == [labels] else address


def pairs_in_folders(reference: str, predicted: str) -> list[Pair]:
    """Pairs of images with the same name in two folders.

    Names count without suffix and without ``labels`` at the end. A folder of results of several
    samples may be one of them: a sample has the name of the folder it is in.

    Parameters
    ----------
    reference, predicted
        The folders.

    Raises
    ------
    InputError
        If an image has no partner, or two in a folder have the same name.
    """
    found = [_named(localise(folder)) for folder in (reference, predicted)]
    for one, other, folder in ((*found, predicted), (*found[::-1], reference)):
        alone = sorted(set(one) - set(other))
        if alone:
            raise InputError(
                f"no image with the name of {few(alone, _SHOWN)}",
                where=folder,
                got=few(sorted(other), _SHOWN) or "no images",
                remedy="give both the same name, or name the pairs in a table (--pairs)",
            )
    return [Pair(name, path, found[1][name]) for name, path in found[0].items()]


def pairs_in_table(path: Path) -> list[Pair]:
    """Pairs that a table names, whose paths are from here or from its own folder.

    Parameters
    ----------
    path
        Table with the columns ``reference`` and ``predicted``; ``name``, ``class`` and ``kind``
        may be in it.

    Raises
    ------
    InputError
        If it is no such table, or names are not unique.
    """
    if not path.exists():
        raise InputError("there is no such table", where=path, remedy="check the path")
    table = read_table(path, _COLUMNS)
    columns = _columns(path, table.lines[0] if table.lines else [])
    pairs = []
    for number, fields in zip(table.numbers[1:], table.lines[1:], strict=True):
        row = dict(zip(columns, fields, strict=False))
        pairs.append(_pair(f"{path.name}, line {number}", row, path.parent))
    if not pairs:
        raise InputError("names no pair", where=path, remedy="write one pair on each line")
    counts = Counter(pair.title for pair in pairs)
    doubled = sorted(title for title, number in counts.items() if number > 1)
    if doubled:
        raise InputError(
            "several pairs have the same name",
            where=path,
            got=few(doubled, _SHOWN),
            remedy="give each its own in the column name",
        )
    return pairs


def _named(folder: str) -> dict[str, str]:
    """Label images of a folder, or of results in its folders, by name."""
    images, others = folders.images_in(folder)
    inside = [os.path.join(path, LABELS) for path in others if os.path.isdir(path)]
    named = [(_short(folders.sample_name(path)), path) for path in images]
    if not images:
        results = [path for path in inside if os.path.isdir(path)]
        named = [(os.path.basename(os.path.dirname(path)), path) for path in results]
    if not named:
        raise folders.no_image(folder, others)
    doubled = [name for name, number in Counter(name for name, _ in named).items() if number > 1]
    if doubled:
        raise InputError(
            "several images have the same name",
            where=folder,
            got=few(doubled, _SHOWN),
            remedy="name the pairs in a table (--pairs)",
        )
    return dict(named)


def _short(name: str) -> str:
    return next((name.removesuffix(end) for end in _LABELS if name.endswith(end)), name)


def _columns(path: Path, header: Sequence[str]) -> list[str]:
    known = {plain(name): name for name in _COLUMNS}
    columns = [known.get(plain(name), name) for name in header]
    missing = [name for name in _COLUMNS[:2] if name not in columns]
    if missing:
        raise InputError(
            f"no column {' and '.join(missing)}",
            where=path.name,
            got=", ".join(columns) or "no columns",
            allowed=", ".join(_COLUMNS),
        )
    strange = next((name for name in columns if name not in _COLUMNS), None)
    if strange is not None or len(set(columns)) < len(columns):
        raise InputError(
            "not the columns of a table of pairs",
            where=path.name,
            got=", ".join(columns),
            allowed=f"{', '.join(_COLUMNS)}, each once",
            remedy=None if strange is None else did_you_mean(strange, _COLUMNS),
        )
    return columns


def _pair(where: str, row: Mapping[str, str], folder: Path) -> Pair:
    empty = [name for name in _COLUMNS[:2] if not row.get(name)]
    if empty:
        raise InputError(f"no {' and no '.join(empty)}", where=where, remedy="fill in both columns")
    kind = row.get("kind", "")
    if kind and kind not in KINDS:
        raise InputError("no such kind", where=where, got=kind, allowed=" or ".join(KINDS))
    reference, predicted = (_located(row[name], folder) for name in _COLUMNS[:2])
    # not folders.sample_name of the results: they are all labels.zarr
    name = row.get("name") or _short(folders.sample_name(reference))
    images = (label_image(reference), label_image(predicted))
    return Pair(name, *images, row.get("class", ""), kind)


def _located(address: str, folder: Path) -> str:
    """An address, which may be from the folder of the table."""
    if is_url(address):
        return address
    place = localise(address)
    there = os.path.normpath(folder / place)
    return there if not os.path.exists(place) and os.path.exists(there) else place
