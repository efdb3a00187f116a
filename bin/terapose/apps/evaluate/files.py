"""Files of scores: JSON, and CSV with a line for each pair of images."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from terapose.core.errors import InputError
from terapose.core.param_types import in_utf8
from terapose.io import files
from terapose.io.text_tables import as_cell


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Write scores as JSON.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    text = json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False)
    _write(f"{text}\n", path)


def write_csv(header: Sequence[str], rows: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Write a table; what is not known is empty.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(header)
    table.writerows([_cell(row[name]) for name in header] for row in rows)
    _write(text.getvalue(), path)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else ""
    return as_cell(str(value))


def _write(text: str, path: Path) -> None:
    try:
        with files.written(path, "scores") as partial:
            # names of files may be of other bytes
            partial.write_text(in_utf8(text), encoding="utf-8")
    except OSError as error:
        raise InputError(
            "the scores cannot be written",
            where=path,
            got=f"{type(error).__name__}: {error}",
            remedy="choose a folder that exists and that you may write to",
        ) from error
