"""The images that an input names: one, those of a folder, a pattern or a samplesheet.

`modules/samples.nf` does the same for the workflow, with the same names of samples; what the two
answer is compared in the tests. docs/samples.md is for users.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from terapose.core.errors import InputError
from terapose.core.near import as_file, did_you_mean, plain
from terapose.core.other_names import elsewhere
from terapose.core.param_types import refuse_odd_name
from terapose.core.params import Parameters
from terapose.io.images import folders, patterns
from terapose.io.images.address import is_url, localise
from terapose.io.text_tables import read_table

_SHEET = re.compile(r"(?i).*\.(csv|tsv|txt)")
_WORKBOOK = re.compile(r"(?i).*\.(xlsx?|ods)")
_NEEDED = ("sample", "image")
_NETWORKS = ("model", "cell_model")
_FOLDERS = ("markers", "region")
FILES = (*_NETWORKS, *_FOLDERS, "process")
"""Parameters that may be files, which a samplesheet may name from its own folder."""
_REMEDY = "name it in a samplesheet (columns sample and image)"
_YES = re.compile(r"(?i)true|t|yes|y|on|1")


class Listed(NamedTuple):
    """A sample: its name, its image's address, and its own parameters as text."""

    name: str
    address: str
    own: Mapping[str, str]


class Listing(NamedTuple):
    """Samples that an input names.

    Attributes
    ----------
    samples
        In their order.
    are_several
        Whether the input is a folder, pattern or samplesheet: each sample has a folder of results.
    left_out
        Names of what is in the folder, but is no image.
    """

    samples: list[Listed]
    are_several: bool
    left_out: list[str]


_OURS = ("pipeline_info", "simulated", "labels.zarr", "provenance.json")
"""Files and folders in folders of results."""
_LONGEST = 200
"""Characters of a sample's name: a folder gets it, and what is put beside that."""


def listed(given: str, *, stack: bool) -> Listing:
    """Find the images that an input names.

    Parameters
    ----------
    given
        A path, URL, folder, pattern or samplesheet.
    stack
        Whether a folder or pattern is one image.

    Raises
    ------
    InputError
        If it names none, a samplesheet is wrong, or samples have no plain names or the same.
    """
    if not given:
        raise InputError(
            "nothing given",
            where="input",
            allowed="an image, a folder, a pattern in quotes or a samplesheet",
        )
    if _WORKBOOK.fullmatch(given):
        raise InputError("is a workbook", where=given, remedy="save the sheet as CSV in UTF-8")
    if _SHEET.fullmatch(given):
        found = Listing(_from_sheet(Path(localise(given)), stack=stack), True, [])
    else:
        addresses, are_several, left_out = _addresses(localise(given), stack=stack)
        found = Listing([_named(address) for address in addresses], are_several, left_out)
    if not found.samples:
        raise InputError("names no image", where=given, remedy="check the pattern or the sheet")
    if found.are_several:
        _check_names(given, found.samples)
    return found


def _addresses(place: str, *, stack: bool) -> tuple[list[str], bool, list[str]]:
    """Addresses, whether they are several samples, and what is left out of a folder."""
    if is_url(place) or stack:
        return [place], False, []
    if os.path.isdir(place) and not folders.is_store(place):
        images, others = folders.images_in(place)
        if not images:
            raise folders.no_image(place, others)
        return images, True, [os.path.basename(path) for path in others]
    if not patterns.is_pattern(place):
        return [place], False, []
    if patterns.axes_in(place):
        raise InputError(
            "a pattern with names for axes is one image",
            where=place,
            remedy="give stack, or write * in place of the names for one sample each",
        )
    return [one.path for one in patterns.matches(place)], True, []


def _named(address: str) -> Listed:
    return Listed(folders.sample_name(address), address, {})


def _check_names(given: str, samples: list[Listed]) -> None:
    """Refuse names that cannot be those of folders, or that several samples have."""
    for name, address, _ in samples:
        refuse_odd_name(f"{name} {address}", given, "a name")
        if (
            len(name) > _LONGEST
            or re.search(r"""['"`$/\\]""", name)
            or name.startswith(".")
            or not name
        ):
            raise InputError(
                "cannot be the name of a sample",
                where=address,
                got=name,
                allowed="no quotes, slashes or $, no dot in front, no more than 200 characters",
                remedy=_REMEDY,
            )
        if name in _OURS:
            raise InputError(
                "cannot be the name of a sample",
                where=address,
                got=f"{name}, which this program uses itself",
                remedy=_REMEDY,
            )
    counts = Counter(as_file(name) for name, _, _ in samples)
    doubled = list(dict.fromkeys(name for name, _, _ in samples if counts[as_file(name)] > 1))
    if doubled:
        raise InputError(
            "several samples have the same name",
            where=given,
            got=", ".join(doubled),
            remedy="name each in a samplesheet",
        )


def _from_sheet(path: Path, *, stack: bool) -> list[Listed]:
    """The samples of a samplesheet, whose paths are from here or from its own folder."""
    if not path.exists():
        raise InputError("there is no such samplesheet", where=path, remedy="check the path")
    table = read_table(path, [*_NEEDED, *Parameters.model_fields])
    columns = _columns(path, table.lines[0] if table.lines else [])
    samples = []
    for number, fields in zip(table.numbers[1:], table.lines[1:], strict=True):
        where = f"{path.name}, line {number}"
        row = _row(where, columns, fields)
        missing = [name for name in _NEEDED if name not in row]
        if missing:
            raise InputError(
                f"no {' and no '.join(missing)}",
                where=where,
                remedy="fill in the columns sample and image",
            )
        name, image = row.pop("sample"), row.pop("image")
        own = {k: _beside(k, v, path.parent) if k in FILES else v for k, v in row.items()}
        is_stack = _YES.fullmatch(own["stack"]) is not None if "stack" in own else stack
        samples.append(Listed(name, _located(image, path.parent, where, stack=is_stack), own))
    return samples


def _columns(path: Path, header: list[str]) -> list[str]:
    """Names of columns as those of parameters: `Min size` is min_size."""
    known = {plain(name): name for name in (*_NEEDED, *Parameters.model_fields)}
    columns = [known.get(plain(name), name) for name in header]
    missing = [name for name in _NEEDED if name not in columns]
    named = [name for name in columns if name]
    if missing:
        raise InputError(
            f"no column{'s' if len(missing) > 1 else ''} {' and '.join(missing)}",
            where=path.name,
            got=f"the columns {', '.join(named)}" if named else "no columns",
            allowed="sample, image and names of parameters, separated by commas, semicolons or "
            "tabs",
        )
    doubled = [name for name, number in Counter(named).items() if number > 1]
    if doubled:
        raise InputError(
            "several columns with the same name", where=path.name, got=", ".join(doubled)
        )
    strange = next((name for name in named if plain(name) not in known), None)
    if strange:
        raise InputError(
            "no such parameter",
            where=path.name,
            got=f"the column {strange}",
            remedy=elsewhere(strange)
            or did_you_mean(strange, known.values(), "docs/parameters.md lists them all"),
        )
    return columns


def _row(where: str, columns: list[str], fields: list[str]) -> dict[str, str]:
    """The filled fields of a line by the names of their columns."""
    beyond = [field for field in fields[len(columns) :] if field]
    if beyond:
        raise InputError(
            "more cells than columns",
            where=where,
            got=", ".join(beyond),
            remedy="put quotes around a cell that contains the separator",
        )
    filled = {name: field for name, field in zip(columns, fields, strict=False) if field}
    if "" in filled:
        raise InputError("a cell in a column without a name", where=where, got=filled[""])
    return filled


def _beside(name: str, value: str, folder: Path) -> str:
    """A file that a samplesheet names from its own folder, where there is none from here.

    Of several networks each; a folder of that name is no file, but for a mask of tissue.
    """

    def one(value: str) -> str:
        there = folder / value
        is_there = there.exists() if name in _FOLDERS else there.is_file()
        return str(there) if is_there and not os.path.exists(localise(value)) else value

    if is_url(value):
        return value
    whole = (folder / value, Path(localise(value)))
    if name not in _NETWORKS or any(path.exists() for path in whole):
        return one(value)
    return ",".join(one(part.strip()) for part in value.split(",") if part)


def _located(image: str, folder: Path, where: str, *, stack: bool) -> str:
    """The address that a line of a samplesheet names."""
    if is_url(image):
        return image
    places = [localise(image), os.path.normpath(folder / localise(image))]
    for place in places:
        if os.path.exists(place):
            return place
    for place in places:
        if patterns.is_pattern(place) and patterns.matches(place):
            if not stack:
                raise InputError(
                    "names several images",
                    where=where,
                    got=image,
                    allowed="one image, or planes of one with stack true",
                )
            return place
    return places[0]
