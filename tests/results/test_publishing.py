"""Results take their places one by one; the record says that all are there, so it is last."""

from __future__ import annotations

from pathlib import Path

import pytest

from terapose.io import files
from terapose.results.earlier import RECORD, forget, stale
from terapose.stages.finish import _publish

NAMES = ("cells.csv", "labels.zarr", "thumbnails.zarr")


def results(folder: Path, content: str) -> None:
    """Results that all say the same; two are folders."""
    folder.mkdir()
    for name in (*NAMES, RECORD):
        path = folder / name
        if name.endswith(".zarr"):
            path.mkdir()
            path /= "zarr.json"
        path.write_text(content)


def said(path: Path) -> str | None:
    """What a result says; None where there is none."""
    path = path / "zarr.json" if path.suffix == ".zarr" else path
    return path.read_text() if path.exists() else None


def test_where_the_record_is_the_rest_belongs_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    old, new = '{"tables": ["cells.csv"], "thumbnails": "thumbnails.zarr", "run": 1}', "{}"
    results(out, old)
    results(tmp_path / "aside", new)
    seen: list[tuple[str | None, ...]] = []
    monkeypatch.setattr(
        files, "at_point", lambda _: seen.append(tuple(said(out / n) for n in (RECORD, *NAMES)))
    )
    _publish(tmp_path / "aside", out, {"tables": ["cells.csv"], "thumbnails": "thumbnails.zarr"})
    assert all(set(state) == {state[0]} for state in seen if state[0])
    assert seen[0] == (old,) * 4 and seen[-1] == (new,) * 4
    assert sum(state[0] is None for state in seen) > 4


def test_an_earlier_record_is_moved_and_removed_at_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run may be killed at each: what the record names is known until it is gone."""
    (tmp_path / RECORD).write_text('{"tables": ["cells.csv"]}')
    (tmp_path / "cells.csv").touch()
    (tmp_path / "mask.tif").touch()
    seen: dict[str, list[str]] = {}
    monkeypatch.setattr(files, "at_point", lambda name: seen.update({name: stale(tmp_path, [])}))
    forget(tmp_path, [])
    assert seen == {
        "earlier record: before it is renamed": ["cells.csv"],
        "earlier record: after it is renamed": ["cells.csv"],
        "earlier result: before it is removed": ["cells.csv"],
        "earlier record: before it is removed": [],
    }
    assert [path.name for path in tmp_path.iterdir()] == ["mask.tif"]
    forget(tmp_path, [])  # nothing is there
