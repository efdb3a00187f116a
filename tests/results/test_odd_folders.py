"""Folders of results whose names a library could take for an address, and what is left in them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.command import EXECUTABLE, Terapose
from tests.synthetic import nuclei, write_ome_zarr, write_zarr
from tests.waiting import PATIENCE, wait_until

from terapose.api.home import Home, laid_out, local_cells
from terapose.api.runner import segment_file
from terapose.core.errors import InputError
from terapose.core.params import check
from terapose.io.files import aside, clear_aside
from terapose.io.images.address import localise
from terapose.io.remote import Remote, folder_of
from terapose.io.store.store import Store
from terapose.results.thumbnails.chosen_cells import _read
from terapose.results.verify import faults

EVERYTHING = {
    "table": "csv,parquet,h5ad,geojson,geojson.gz",
    "mask_tiff": "mask.tif",
    "thumbnails": 8,
}


def results(folder: Path) -> dict[str, bytes]:
    """All results but the record, which holds times."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".terapose" not in path.parts and path.name != "provenance.json"
    }


def test_results_do_not_depend_on_the_name_of_their_folder(
    tmp_path: Path, tiny_model: Path, command: Terapose, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_ome_zarr(tmp_path / "image.zarr", nuclei((5, 40, 48))[0][2], axes="yx")
    words: list[object]
    # the network is a random one: something is found
    words = ["--model", tiny_model, "--jobs", 1, "--cellprob-threshold", -99, "--niter", 10]
    words += ["--flow-threshold", 0, "--min-size", 1, "--max-size-fraction", 1]
    words += [w for k, v in EVERYTHING.items() for w in (f"--{k.replace('_', '-')}", v)]
    made = {}
    for name in ("plain", "run:1", "./col:2", "gs:abc", "in/s3:x/out", "data:3", "a::b", "100%20"):
        said = command("segment", "image.zarr", name, *words)
        assert said.code == 0, said.err
        assert command("verify", name).code == 0
        made[name] = results(tmp_path / name)
    kinds = {Path(name).suffix for name in made["plain"]}
    assert kinds >= {".csv", ".parquet", ".h5ad", ".geojson", ".tif"}
    for name, found in made.items():
        assert found == made["plain"], name
    assert made["plain"]["cells.csv"].count(b"\n") > 2
    for place in (Path("run:1"), Path("gs:abc")):
        table, _ = _read(place / "cells.parquet", ["CellID"])
        pd.testing.assert_frame_equal(table, pd.read_csv(place / "cells.csv")[["CellID"]])


def test_other_outputs_go_to_such_folders(
    tmp_path: Path, command: Terapose, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("plain", "a::b", "run:1"):
        Path(name).mkdir()
        said = command("simulate", f"{name}/a.zarr", "--shape", "8,32,32")
        assert said.code == 0, said.err
    (plain, *others) = (results(tmp_path / name) for name in ("plain", "a::b", "run:1"))
    assert len(plain) > 4 and all(set(found) == set(plain) for found in others)


@pytest.mark.parametrize("name", ["run:1", "data:1", "a::b", "gs:abc"])
def test_a_store_is_a_folder_whatever_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store(name)
    store.put("blob", b"1")
    assert Store(str(tmp_path / name)).get("blob") == store.get("blob") == b"1"
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    "address", ["file://k:hushhush@bkt/x", "file://bkt/x", "FILE://k:hushhush@bkt/x"]
)
def test_a_file_url_of_another_machine_is_refused(
    tmp_path: Path,
    tiny_model: Path,
    command: Terapose,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    image = write_zarr(tmp_path / "image.zarr", np.zeros((2, 16, 16), np.uint16))
    for words in (
        ("segment", image, address),
        ("segment", image, "out", "--store", address),
        ("segment", address, "out"),
        ("check", address),
        ("check", image, "--output", address),
        ("verify", address),
        ("plan", image, "--store", address),
    ):
        said = command.refuses(*words, *(() if words[0] == "verify" else ("--model", tiny_model)))
        assert "a file:// URL names a file of this machine" in said and "hushhush" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["image.zarr"]


def test_file_urls_of_this_machine() -> None:
    for text in ("file:///tmp/my%20out", "file://localhost/tmp/my%20out", "FILE:///tmp/my%20out"):
        assert folder_of(text) == Path(localise(text)) == Path("/tmp/my out")
    with pytest.raises(InputError, match="got the host bkt"):
        localise("file://bkt/x")


def test_what_killed_runs_left_aside_is_removed(tmp_path: Path, tiny_model: Path) -> None:
    image = write_ome_zarr(tmp_path / "plane.zarr", nuclei((5, 24, 28))[0][2], axes="yx")
    out, other = tmp_path / "out", tmp_path / "other"
    for folder in (out, out / "mine", other):
        folder.mkdir()
    (other / "precious").touch()
    left = [aside(out / "x") for _ in range(3)]
    left[0].touch()
    (left[1] / "labels.zarr").mkdir(parents=True)
    (left[1] / "link").symlink_to(other)
    kept = [out / ".partial", out / f".{'g' * 32}.partial", out / f"{left[0].name}.txt"]
    kept += [out / left[0].name[1:], aside(out / "mine" / "x")]
    for path in kept:
        path.touch()
    left[2].symlink_to(other)
    segment_file(str(image), out, check({"model": str(tiny_model)}))
    assert not left[0].exists() and not left[1].exists()
    assert all(path.exists() for path in (*kept, left[2], other / "precious"))
    assert not faults(out)
    # a link in place of the folder itself is one that the user chose
    (tmp_path / "link").symlink_to(out)
    left[0].touch()
    clear_aside(tmp_path / "link")
    assert not left[0].exists()


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_run_that_is_told_to_end_leaves_nothing_temporary(
    tmp_path: Path, tiny_model: Path, jobs: int
) -> None:
    image = write_zarr(tmp_path / "image.zarr", nuclei((6, 24, 40))[0].astype(np.uint16))
    words = ("--model", tiny_model, "--jobs", jobs, "--block-shape", "6,8,8", "--max-tasks", 50)
    line = [*map(str, (sys.executable, EXECUTABLE, "segment", image, tmp_path / "out", *words))]
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as run:
        assert run.stderr is not None
        for said in run.stderr:
            if said.startswith("gradients-yx: 1 of"):
                break
        children = _children(run.pid)
        run.send_signal(signal.SIGTERM)
        _, rest = run.communicate(timeout=PATIENCE)
    assert run.returncode == 143 and "Traceback" not in rest, rest
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {".terapose"}
    wait_until(lambda: not any(Path(f"/proc/{child}").exists() for child in children))
    assert jobs == 1 or len(children) >= 2


def _children(process: int) -> list[int]:
    text = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(word) for word in text.split()]


def test_temporary_folders_of_killed_runs_are_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    there = Remote("s3://bucket/x")
    home = Home(there / ".terapose")
    blocks: list[Callable[[], AbstractContextManager[Path]]] = [
        lambda: laid_out(there, home, lambda: None),
        lambda: local_cells(home),
    ]
    for block in blocks:
        # a killed run gets no further than this
        kept = block()
        first = kept.__enter__()
        (first / "half").touch()
        with suppress(KeyboardInterrupt), block() as second:
            assert second == first and not [*second.iterdir()]
            assert second.stat().st_mode & 0o777 == 0o700
            raise KeyboardInterrupt
        assert not [*tmp_path.iterdir()]
        # what somebody else has put there is neither used nor removed
        victim = tmp_path / "victim"
        victim.mkdir()
        (victim / "precious").touch()
        first.symlink_to(victim)
        with suppress(KeyboardInterrupt), block() as place:
            assert place != first and os.listdir(victim) == ["precious"]
            assert "does not belong to this user" in caplog.text
            raise KeyboardInterrupt
        first.unlink()
        (victim / "precious").unlink()
        victim.rmdir()
        caplog.clear()
