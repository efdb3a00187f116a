"""Results take their places one by one; the record says that all are there, so it is last."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from terapose.io import files
from terapose.io.checksums import sealed
from terapose.results.earlier import GOING, RECORD, replacing, stale
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
    record = {"tables": ["cells.csv"], "thumbnails": "thumbnails.zarr", "run": 1}
    old, new = json.dumps(sealed(record)), "{}"
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


def test_what_may_be_there_is_known_until_it_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run may be killed at each point."""
    (tmp_path / RECORD).write_text(json.dumps(sealed({"tables": ["cells.csv"]})))
    (tmp_path / "cells.csv").touch()
    (tmp_path / "mask.tif").touch()
    seen: dict[str, list[str]] = {}
    monkeypatch.setattr(files, "at_point", lambda name: seen.update({name: stale(tmp_path, [])}))
    with replacing(tmp_path, {}):
        (tmp_path / RECORD).write_text("{}")
    assert seen == {
        "note of results: before it is made": ["cells.csv"],
        "note of results: before it is renamed": ["cells.csv"],
        "note of results: after it is renamed": ["cells.csv"],
        "earlier record: before it is removed": ["cells.csv"],
        "earlier result: before it is removed": ["cells.csv"],
        "note of results: before it is removed": [],
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mask.tif", RECORD]


@pytest.mark.parametrize("note", ["nothing", "a folder", "damaged"])
def test_what_a_killed_run_put_in_its_place_is_removed_by_the_next(
    tmp_path: Path, note: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, going = tmp_path / "out", tmp_path / "out" / GOING
    out.mkdir()
    if note != "nothing":
        going.mkdir() if note == "a folder" else going.write_text("{")
    results(tmp_path / "aside", "1")
    (tmp_path / "aside" / "mask.tif").touch()

    def killed(name: str) -> None:
        if name == "results: after mask.tif is renamed":
            raise KeyboardInterrupt

    record = {"tables": ["cells.csv"], "thumbnails": "thumbnails.zarr"}
    monkeypatch.setattr(files, "at_point", killed)
    with pytest.raises(KeyboardInterrupt):
        _publish(tmp_path / "aside", out, {**record, "masks": ["mask.tif"]})
    assert (out / "mask.tif").exists() and not (out / RECORD).exists()
    results(tmp_path / "again", "2")
    _publish(tmp_path / "again", out, record)
    assert sorted(path.name for path in out.iterdir()) == sorted((*NAMES, RECORD))
