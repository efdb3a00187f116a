"""What a report is made of, checked: the record of results, and the numbers of other reports.

Both are files that anybody may have edited, or that another version has written. What a report
does not read may be anything.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from terapose.core.errors import InputError
from terapose.core.selection import Selection
from terapose.io.documents import parse_json, read_document
from terapose.results.earlier import RECORD, sealed_record_of
from terapose.results.report.numbers import FORMAT

_MANY = 1000
_Count = Annotated[int, Field(ge=0, le=2**62)]
_Number = Annotated[int, Field(ge=1, le=2**53)]
_Amount = Annotated[float, Field(ge=1e-9, le=1e9)]
"""Of sizes and factors, in any unit that there is."""
_Share = Annotated[float, Field(ge=-1e300, le=1e300)]
_Shape = tuple[_Number, _Number, _Number]
_Size = tuple[_Amount, _Amount, _Amount]


class _Params(BaseModel):
    """Parameters; those that a report draws are numbers."""

    model_config = ConfigDict(extra="allow")

    min_size: _Share | None = None
    cellprob_threshold: _Share | None = None
    flow_threshold: _Share | None = None


class _Stage(BaseModel):
    params: _Params
    tasks: _Count | None = None
    seconds: _Share
    processor_seconds: _Share | None = None
    peak_memory: _Count | None = None
    checksum: str = ""
    ran_on: Annotated[dict[str, dict[str, Any]], Field(max_length=_MANY)] = {}
    low: list[_Share] = []
    high: list[_Share] = []


class _Export(_Stage):
    checksum: str


class _Stages(BaseModel):
    __pydantic_extra__: dict[str, _Stage]
    model_config = ConfigDict(extra="allow")

    export: _Export


class _Image(BaseModel):
    address: str
    format: str
    identity: str
    shape: _Shape
    level: _Count
    dtype: str
    voxel_size: _Size | None
    channels: Annotated[list[_Number], Field(min_length=1)]
    channel_names: list[str]


class _Output(BaseModel):
    selection: Selection
    shape: _Shape
    offset: tuple[_Count, _Count, _Count]
    level: _Count
    voxel_size: _Size | None


class _Model(_Params):
    name: str
    family: str
    licence: str | None
    digest: str
    diam_mean: _Amount
    precision: str
    overlap: Any
    augment: Any
    skip_empty: Any


class _Intensity(_Params):
    mode: str
    percentiles: Annotated[list[_Share], Field(max_length=2)]


class _Measured(BaseModel):
    """A record of labels that were given."""

    terapose: str
    package_digest: str
    plan_digest: str
    mode: Literal["2d", "3d", "stitch"]
    cells: _Count
    image: _Image
    output: _Output
    anisotropy: _Amount
    block: _Shape | None = None
    expand: _Share
    tables: list[str]
    notes: Annotated[list[str], Field(max_length=_MANY)]
    stages: _Stages


class _Record(_Measured):
    """A record of a run, which has a network."""

    model: _Model
    intensity: _Intensity
    rescale: _Amount
    flow_precision: str


def record_in(results: Path) -> dict[str, Any]:
    """The record of complete results.

    Raises
    ------
    InputError
        If there is none, it is damaged, or does not hold what a report needs.
    """
    record = sealed_record_of(results)
    if record is None:
        raise InputError(
            "there are no complete results",
            where=results,
            got=f"no {RECORD}",
            remedy="give the folder of a sample that is finished",
        )
    if not record:
        raise InputError(
            "the record of the results is not as it was written",
            where=results / RECORD,
            remedy="terapose verify lists what has changed since the run",
        )
    for name in ("stages", "intensity"):
        if len(part := record.get(name) or ()) > _MANY:
            raise _unlike(results / RECORD, f"{name} with {len(part)} entries")
    _check(_Measured if "given_labels" in record else _Record, record, results / RECORD)
    return record


class _Median(BaseModel):
    median: _Share | None = None


class _Statistics(BaseModel):
    size: _Median
    flow_error: _Median
    touching_border: _Count | None


class _Used(BaseModel):
    used: _Share | None


class _Address(BaseModel):
    address: str


class _Warning(BaseModel):
    name: str


class _Facts(BaseModel):
    sample: str
    cells: _Count
    mode: str
    image: _Address
    diameter: _Used
    statistics: _Statistics | None
    warnings: Annotated[list[_Warning], Field(max_length=2 * _MANY)]


def facts_in(path: Path) -> dict[str, Any]:
    """The numbers of a sample's report.

    Raises
    ------
    InputError
        If it is none, or of another version.
    """
    try:
        found = parse_json(read_document(path))
    except (OSError, ValueError) as error:
        raise InputError("is not a report", where=path, got=error) from error
    if not isinstance(found, dict) or found.get("format") != FORMAT or "sample" not in found:
        raise InputError(
            "is not the report of a sample",
            where=path,
            remedy="make it again with this version: terapose report RESULTS",
        )
    _check(_Facts, found, path)
    return found


def _check(model: type[BaseModel], document: dict[str, Any], where: Path) -> None:
    """Refuse a document that lacks something, or has another type of it, or NaN."""
    try:
        model.model_validate_json(json.dumps(document, allow_nan=False), strict=True)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise _unlike(where, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except ValueError as error:
        raise _unlike(where, error) from error


def _unlike(where: Path, got: object) -> InputError:
    return InputError(
        "does not hold what a report needs",
        where=where,
        got=got,
        remedy="run again, to write it anew",
    )
