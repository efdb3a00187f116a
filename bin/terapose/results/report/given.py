"""What a report is made of, checked: the record of results, and the numbers of other reports.

Both are files that anybody may have edited, or that another version has written. What a report
does not read may be anything.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from terapose.core.errors import InputError
from terapose.io.documents import parse_json, read_document
from terapose.results.earlier import RECORD
from terapose.results.records import (
    MANY,
    Amount,
    Count,
    Number,
    Output,
    Shape,
    Share,
    Size,
    Stage,
    complete_record,
    refuse_unlike,
)
from terapose.results.report.numbers import FORMAT

_UNLIKE = "does not hold what a report needs"


class _Params(BaseModel):
    """Parameters; those that a report draws are numbers."""

    model_config = ConfigDict(extra="allow")

    min_size: Share | None = None
    cellprob_threshold: Share | None = None
    flow_threshold: Share | None = None


class _Stage(Stage):
    params: _Params  # type: ignore[assignment]
    checksum: str = ""
    ran_on: dict[str, dict[str, Any]] = Field({}, max_length=MANY)
    low: list[Share] = Field([])
    high: list[Share] = Field([])


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
    shape: Shape
    level: Count
    dtype: str
    voxel_size: Size | None
    channels: Annotated[list[Number], Field(min_length=1)]
    channel_names: list[str]


class _Model(_Params):
    name: str
    family: str
    licence: str | None
    digest: str
    diam_mean: Amount
    precision: str
    overlap: Any
    augment: Any
    skip_empty: Any


class _Intensity(_Params):
    mode: str
    percentiles: Annotated[list[Share], Field(max_length=2)]


class _Measured(BaseModel):
    """A record of labels that were given."""

    terapose: str
    package_digest: str
    plan_digest: str
    mode: Literal["2d", "3d", "stitch"]
    cells: Count
    image: _Image
    output: Output
    anisotropy: Amount
    block: Shape | None = None
    expand: Share
    tables: list[str]
    notes: Annotated[list[str], Field(max_length=MANY)]
    stages: _Stages


class _Record(_Measured):
    """A record of a run, which has a network."""

    model: _Model
    intensity: _Intensity
    rescale: Amount
    flow_precision: str


def record_in(results: Path) -> dict[str, Any]:
    """The record of complete results.

    Raises
    ------
    InputError
        As `complete_record`; or if it does not hold what a report needs.
    """
    record = complete_record(results)
    known = {name: part for name, part in record.items() if name != "checksums"}
    if len(part := known.get("intensity") or ()) > MANY:
        known["intensity"] = f"{len(part)} entries"
    shape = _Measured if "given_labels" in record else _Record
    refuse_unlike(shape, known, results / RECORD, _UNLIKE)
    return record


class _Median(BaseModel):
    median: Share | None = None


class _Statistics(BaseModel):
    size: _Median
    flow_error: _Median
    touching_border: Count | None


class _Used(BaseModel):
    used: Share | None


class _Address(BaseModel):
    address: str


class _Warning(BaseModel):
    name: str


class _Facts(BaseModel):
    sample: str
    cells: Count
    mode: str
    image: _Address
    diameter: _Used
    statistics: _Statistics | None
    warnings: Annotated[list[_Warning], Field(max_length=2 * MANY)]


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
    refuse_unlike(_Facts, found, path, _UNLIKE)
    return found
