"""Records of results that were edited, or that another version has written, and `attach`."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter
from tests.command import Terapose
from tests.in_image import placed, segmented, tree

from terapose.io.checksums import sealed, unsealed
from terapose.io.labels.files import LabelFiles, checksums_in, of_path
from terapose.results.earlier import RECORD

Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A folder with an image and results of it."""
    folder = tmp_path_factory.mktemp("made")
    segmented(tiny_model, placed(folder / "image.zarr"), folder / "out")
    return folder


@pytest.fixture
def edit(made: Path, tmp_path: Path) -> Callable[[Change], Path]:
    """Make results whose record was changed, and has the right checksum."""

    def edited(change: Change) -> Path:
        out = tmp_path / "out"
        shutil.copytree(made / "out", out)
        record = unsealed((out / RECORD).read_bytes(), out)
        change(record)
        (out / RECORD).write_text(json.dumps(sealed(record)))
        return out

    return edited


CHANGES: list[tuple[Change, str]] = [
    (lambda record: record.pop("image"), "which image"),
    (lambda record: record.update(image="image.zarr"), "which image"),
    (lambda record: record["image"].pop("selection"), "got selection: Field required"),
    (lambda record: record["image"]["selection"].update(level="x"), r"got selection\.level: "),
    (lambda record: record["image"].pop("whole"), "got whole: Field required"),
    (lambda record: record["image"].update(whole=[6, "x", 40]), r"got whole\.1: "),
    (lambda record: record["image"].pop("voxel_size"), "got voxel_size: Field required"),
    (lambda record: record["image"].update(voxel_size="2,1,1"), "got voxel_size: "),
    (lambda record: record["image"].update(address=3), "got address: "),
    (lambda record: record["image"].pop("identified_by"), "got identified_by: Field required"),
]


@pytest.mark.parametrize(("change", "reason"), CHANGES)
def test_what_is_missing_is_said(
    edit: Callable[[Change], Path], made: Path, command: Terapose, change: Change, reason: str
) -> None:
    before = tree(made)
    out = edit(change)
    for more in ((), (made / "image.zarr",)):
        said = command.refuses("attach", out, *more)
        assert said.startswith(f"{out / RECORD}: the record does not say which image was segmented")
        assert re.search(reason, said), said
    assert tree(made) == before


@pytest.mark.parametrize("name", ["../victim", "..", "mine", "/tmp", ""])
def test_names_lead_nowhere_else(
    edit: Callable[[Change], Path], tmp_path: Path, command: Terapose, name: str
) -> None:
    """The files are there, and their checksums right."""
    image = placed(tmp_path / "image.zarr")

    def change(record: dict[str, Any]) -> None:
        known = record["checksums"]["labels.zarr"]
        labels = tmp_path / "out/labels.zarr"
        if name in ("../victim", "mine"):
            (labels / "cells").rename(labels / name)
        known["files"]["names"] = [name]
        files = TypeAdapter(LabelFiles).validate_python(known["files"])
        found = partial(checksums_in, partial(of_path, labels))
        known["regions"] = list(found(map(files.of_region, files.regions)))
        known["coarse"], known["metadata"] = found([files.of_coarse_levels(), files.of_metadata()])

    out = edit(change)
    before = tree(image)
    said = command.refuses("attach", out, image)
    if name in ("../victim", "mine"):
        assert f"contains no checksums of results; got label images '{name}'" in said
    assert tree(image) == before
