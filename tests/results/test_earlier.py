"""What an earlier run has left: removed where it would not fit, said, and nothing else touched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.command import Terapose
from tests.synthetic import nuclei, write_ome_zarr

from terapose.core.params import check
from terapose.intermediates.compartments import ALL
from terapose.io.checksums import sealed
from terapose.results.earlier import replacing, stale
from terapose.results.outputs import LABELS, named, recorded, result_names
from terapose.stages.check import run as check_run


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return write_ome_zarr(tmp_path / "plane.zarr", nuclei((5, 24, 28))[0][2], axes="yx")


def test_a_run_with_fewer_results_removes_the_others_and_says_so(
    command: Terapose,
    image: Path,
    tmp_path: Path,
    tiny_model: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def removed() -> list[str]:
        return [text for text in caplog.messages if "removed" in text]

    out = tmp_path / "out"
    words = ("segment", image, out, "--model", tiny_model, "--jobs", 1)
    more = ("--table", "csv,h5ad", "--mask-tiff", "mask.tif", "--expand", 2, "--thumbnails", 8)
    first = command(*words, *more)
    assert first.code == 0 and not removed(), first.err
    record = json.loads((out / "provenance.json").read_text())
    gone = [*record["tables"], *record["masks"], record["thumbnails"]]
    assert len(gone) == 10 and all((out / name).exists() for name in gone)

    # the workflow is told before anything is computed
    fewer = check({"model": str(tiny_model), "table": "csv", "mask_tiff": "mask.tif"})
    gone = [n for n in gone if n not in ("cells.csv", "mask.tif")]
    names, values = check_run("s", str(image), fewer, out).lines.splitlines()
    row = dict(zip(names.split("\t"), values.split("\t"), strict=True))
    assert row["stale"].split() == gone

    second = command(*words, "--table", "csv", "--mask-tiff", "mask.tif")
    assert second.code == 0, second.err
    listed = ", ".join(gone)
    assert removed() == [
        f"{out}: removed files of an earlier run that this one does not write: {listed}"
    ]
    left = {"labels.zarr", "cells.csv", "mask.tif", "provenance.json", ".terapose"}
    assert {p.name for p in out.iterdir()} == left
    assert set(result_names(fewer)) | {"provenance.json", ".terapose"} == left

    caplog.clear()
    third = command(*words, "--table", "csv", "--mask-tiff", "mask.tif")
    assert third.code == 0 and not removed(), third.err


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"table": "parquet,geojson", "mask_tiff": "mask.tif"},
        {"expand": 2, "mask_tiff": "cell.ome.tif", "thumbnails": 0},
        {"cell_channels": 2, "table": "csv,h5ad,geojson", "mask_tiff": "a.b-c.tiff"},
    ],
)
def test_record_names_what_a_run_said_that_it_would_write(given: dict[str, Any]) -> None:
    params = check(given)
    parts = ALL if params.expand or params.has_second else ALL[:1]
    record = json.loads(json.dumps(recorded(dict(params), parts)))
    assert [LABELS, *named(record)] == result_names(params)
    assert len(record["masks"]) == (len(parts) if params.mask_tiff else 0)
    assert record["thumbnails"] == ("thumbnails.zarr" if "thumbnails" in given else None)


HOSTILE = [
    "../victim.tif",
    "../../victim.tif",
    "/etc/hostname",
    "folder/victim.tif",
    "folder",
    "labels.zarr",
    "notes.txt",
    "victim.csv",
    ".",
    "..",
    "",
    "cells.csv\n",
    "mask.tif\n",
    "mask.tif\0",
    7,
    None,
    ["cells.csv"],
]


def test_only_files_of_this_program_in_this_folder_are_removed(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    (out / "folder").mkdir(parents=True)
    kept = [
        *(tmp_path / "victim.tif", tmp_path / "deep" / "victim.tif"),
        *(out / name for name in ("folder/victim.tif", "notes.txt", "victim.csv", "labels.zarr")),
    ]
    ours = [out / "cells.csv", out / "nuclei.parquet", out / "my-mask.ome.tif"]
    for path in (*kept, *ours):
        path.touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "kept").touch()
    # results may be links to where they were computed
    (out / "thumbnails.zarr").symlink_to(tmp_path / "elsewhere")
    names = [*HOSTILE, *(p.name for p in ours)]
    for thumbnails in (*HOSTILE, "thumbnails.zarr"):
        record = {"tables": names, "masks": names, "thumbnails": thumbnails}
        (out / "provenance.json").write_text(json.dumps(sealed(record)))
        left = stale(out, ["cells.csv"])
        with replacing(out, {"tables": ["cells.csv"]}):
            pass
        assert set(left) <= {"nuclei.parquet", "my-mask.ome.tif", "thumbnails.zarr"}
        assert all(path.exists() for path in kept)
        assert not any(path.exists() for path in ours) and not (out / "provenance.json").exists()
    assert not (out / "thumbnails.zarr").is_symlink()
    assert (tmp_path / "elsewhere" / "kept").exists()


def test_a_record_that_has_changed_names_nothing(
    command: Terapose, image: Path, tmp_path: Path, tiny_model: Path
) -> None:
    out, words = tmp_path / "out", ("segment", image, tmp_path / "out", "--model", tiny_model)
    assert command(*words, "--table", "csv").code == 0
    (out / "plane.tif").write_text("mine")
    record = json.loads((out / "provenance.json").read_text())
    (out / "provenance.json").write_text(json.dumps({**record, "masks": ["plane.tif"]}))
    assert stale(out, ["labels.zarr"]) == []
    said = command.refuses(*words, "--mask-tiff", "plane.tif")
    assert f"{out}/provenance.json: the record of earlier results is not as it was written" in said
    assert (out / "plane.tif").read_text() == "mine" and (out / "cells.csv").exists()
    # the checksum is of what it says, however it is laid out
    (out / "provenance.json").write_text(json.dumps(record, indent=1))
    assert stale(out, ["labels.zarr"]) == ["cells.csv"]
    assert command(*words, "--table", "csv").code == 0


@pytest.mark.parametrize(
    "damaged",
    [b"", b"\xff\xfe\x00", b"[]", b"7", b'{"tables": 3, "masks": {"a": 1}}', b"[" * 100_000],
)
def test_damaged_record_removes_nothing_and_is_refused(
    command: Terapose, image: Path, tmp_path: Path, tiny_model: Path, damaged: bytes
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "cells.csv").touch()
    (out / "provenance.json").write_bytes(damaged)
    assert stale(out, []) == []
    said = command.refuses("segment", image, out, "--model", tiny_model)
    assert "provenance.json: the record of earlier results is not as it was written" in said
    assert (out / "cells.csv").exists() and (out / "provenance.json").exists()


def test_record_that_is_a_folder_is_refused(
    command: Terapose, image: Path, tmp_path: Path, tiny_model: Path
) -> None:
    (tmp_path / "out" / "provenance.json").mkdir(parents=True)
    said = command.refuses("segment", image, tmp_path / "out", "--model", tiny_model)
    assert "provenance.json: the record of earlier results is not as it was written" in said


@pytest.mark.parametrize("value", ["a\nb.csv", "a\tb", "\x1b[2J", "a\x00"])
def test_control_characters_are_refused(
    command: Terapose, image: Path, tmp_path: Path, value: str
) -> None:
    given = json.dumps({"markers": value, "channels": ["DNA", value]})
    assert command.refuses("check", image, "--sample", "one", "--own", given) == (
        f"parameters of one: markers: got {value!r}, allowed: no control characters; "
        f"channels: got {['DNA', value]!r}, allowed: no control characters; "
        "docs/parameters.md lists them all"
    )
    assert command.refuses("check", image, "--sample", value) == (
        f"sample: the name contains control characters; got {value!r}; rename the file or folder"
    )
