"""Records of complete results (``provenance.json``), checked before anything uses them.

Anybody may have edited such a file, and another version may have written it. What no reader uses
may be anything.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from terapose.core.errors import InputError
from terapose.core.selection import Selection
from terapose.io.remote import Remote
from terapose.results.earlier import RECORD, sealed_record_of

MANY = 1000
Count = Annotated[int, Field(ge=0, le=2**62)]
Number = Annotated[int, Field(ge=1, le=2**53)]
Amount = Annotated[float, Field(ge=1e-9, le=1e9)]
"""Of sizes and factors, in any unit that there is."""
Share = Annotated[float, Field(ge=-1e300, le=1e300)]
Seconds = Annotated[float, Field(ge=0, le=1e12)]
Shape = tuple[Number, Number, Number]
Size = tuple[Amount, Amount, Amount]


class Part(BaseModel):
    """Part of a document, which may have more than is named here."""

    model_config = ConfigDict(extra="allow")


class Stage(Part):
    """What is recorded of a stage."""

    params: dict[str, Any] = {}
    tasks: Count | None = None
    seconds: Seconds
    processor_seconds: Seconds | None = None
    peak_memory: Count | None = None


class ImagePart(Part):
    """The image that was segmented."""

    address: str
    format: str
    identity: str
    shape: Shape
    channels: Annotated[list[Number], Field(min_length=1)]
    selection: Part = Part()


class Output(Part):
    """Where label images and tables are, in the image."""

    selection: Selection
    shape: Shape
    offset: tuple[Count, Count, Count]
    level: Count
    voxel_size: Size | None


class Network(Part):
    """A network, or one of several."""

    name: str
    digest: str
    licence: str | None = None


class Model(Network):
    """The network of a run."""

    members: Annotated[list[Part], Field(max_length=MANY)] = []


class Record(Part):
    """What all readers use. Labels that were given have no network."""

    terapose: str
    package_digest: str
    mode: Literal["2d", "3d", "stitch"]
    cells: Count
    compartments: Annotated[
        list[Literal["cells", "nuclei", "cytoplasm"]], Field(min_length=1, max_length=3)
    ]
    image: ImagePart
    output: Output
    model: Model | None = None
    block: Shape | None = None
    tables: Annotated[list[str], Field(max_length=MANY)]
    masks: Annotated[list[str], Field(max_length=MANY)]
    stages: Annotated[dict[str, Stage], Field(max_length=MANY)]


def complete_record(
    folder: Path | Remote,
    shape_of: Callable[[dict[str, Any]], type[Record]] = lambda _record: Record,
    what: str = "is not a complete record of results",
) -> dict[str, Any]:
    """The record of the complete results of one image.

    Parameters
    ----------
    folder
        Of the results.
    shape_of
        What a reader needs of such a record, if it needs more than all do.
    what
        What to say if the record lacks it.

    Raises
    ------
    InputError
        If there is none, it is not as it was written, or lacks what the reader uses.
    """
    record = sealed_record_of(folder)
    if record is None:
        raise _missing(folder)
    if not record:
        raise InputError(
            "the record of the results is not as it was written",
            where=folder / RECORD,
            remedy="terapose verify lists what has changed since the run",
        )
    known = {name: part for name, part in record.items() if name != "checksums"}
    refuse_unlike(shape_of(record), known, folder / RECORD, what)
    return record


def _missing(folder: Path | Remote) -> InputError:
    several: list[str] = []
    if isinstance(folder, Path) and folder.is_dir():
        several = sorted(path.parent.name for path in folder.glob(f"*/{RECORD}"))
    if several:
        return InputError(
            "contains the results of several samples",
            where=folder,
            got=", ".join(several[:5]),
            remedy=f"name one of them: {folder / several[0]}",
        )
    return InputError(
        "there are no complete results",
        where=folder,
        got=f"no {RECORD}",
        remedy="give the folder of the results of one image; if its run was interrupted, run again",
    )


def refuse_unlike(model: type[BaseModel], document: Any, where: object, what: str) -> None:
    """Refuse a document that lacks something, or has another type of it, or NaN.

    Parameters
    ----------
    model
        What it must have.
    document
        As JSON has it.
    where, what
        For the message.

    Raises
    ------
    InputError
        If it does not.
    """
    try:
        text = json.dumps(document, allow_nan=False, ensure_ascii=False).encode()
        model.model_validate_json(text, strict=True)
    except UnicodeEncodeError as error:
        raise InputError(
            "holds text that is not UTF-8",
            where=where,
            got=error.object[max(error.start - 20, 0) : error.end + 20],
            remedy="if it is the name of a file or folder, rename it, and run again",
        ) from error
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        got: object = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except (ValueError, RecursionError) as error:
        got = error
    else:
        return
    raise InputError(what, where=where, got=got, remedy="run again, to write it anew")
