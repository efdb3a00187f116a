"""What a report is made of, checked: the record of results, and the numbers of other reports.

Both are files that anybody may have edited, or that another version has written. What a report
does not read may be anything.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from terapose.core.errors import InputError
from terapose.io.documents import parse_json, read_document
from terapose.results.records import (
    MANY,
    Amount,
    Count,
    ImagePart,
    Model,
    Part,
    Record,
    Share,
    Size,
    Stage,
    complete_record,
    refuse_unlike,
)
from terapose.results.report.numbers import FORMAT

_UNLIKE = "does not hold what a report needs"


class _Params(Part):
    """Parameters; those that a report draws are numbers."""

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


class _Image(ImagePart):
    level: Count
    dtype: str
    voxel_size: Size | None
    channel_names: list[str]


class _Model(Model):
    family: str
    licence: str | None
    diam_mean: Amount
    precision: str
    overlap: Any
    augment: Any
    skip_empty: Any


def _few(value: Any) -> Any:
    if isinstance(value, dict) and len(value) > MANY:
        raise ValueError(f"has {len(value)} entries, allowed: up to {MANY}")
    return value


class _Diameter(Part):
    origin: str = "network"
    pixels: Amount | None = None
    note: str = ""


class _Second(Part):
    model: _Model
    channels: list[int]
    cells: Count | None = None
    diameter: _Diameter = _Diameter()
    intensity: Annotated[_Params, BeforeValidator(_few)] = _Params()


class _Intensity(_Params):
    mode: str
    percentiles: Annotated[list[Share], Field(max_length=2)]


class _Measured(Record):
    """A record of labels that were given."""

    plan_digest: str
    image: _Image
    intensity: Annotated[_Params, BeforeValidator(_few)] = _Params()
    diameter: _Diameter = _Diameter()
    anisotropy: Amount
    expand: Share
    second: _Second | None = None
    notes: Annotated[list[str], Field(max_length=MANY)]
    stages: _Stages  # type: ignore[assignment]


class _Run(_Measured):
    """A record of a run, which has a network."""

    model: _Model
    intensity: Annotated[_Intensity, BeforeValidator(_few)]
    rescale: Amount
    flow_precision: str


def record_in(results: Path, what: str = _UNLIKE) -> dict[str, Any]:
    """The record of complete results, with what parameters are read from.

    Parameters
    ----------
    results
        Their folder.
    what
        What to say if the record lacks it.

    Raises
    ------
    InputError
        As `complete_record`; also if it does not hold what a report needs.
    """
    return complete_record(results, _shape_of, what)


def _shape_of(record: dict[str, Any]) -> type[Record]:
    return _Measured if "given_labels" in record and "model" not in record else _Run


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
