"""Folders that results cannot be written to: one sentence, nothing that looks finished."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from tests.command import EXECUTABLE, Terapose, finished, segment_apart
from tests.synthetic import nuclei, write_ome_zarr

from terapose import measure


def test_folder_that_cannot_be_made(
    refused: Callable[..., str], good: Path, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    remedy = "choose a folder you may write to, on a disk with space left"
    assert refused(good, out=blocked) == (
        f"{blocked}: results cannot be written; got File exists; {remedy}"
    )
    assert refused(good, out=blocked / "out") == (
        f"{blocked / 'out'}: results cannot be written; got Not a directory; {remedy}"
    )


def test_folder_that_is_read_only(
    refused: Callable[..., str], good: Path, mount: Callable[[str], Path]
) -> None:
    out = mount("ro,size=1m") / "out"
    assert refused(good, out=out) == (
        f"{out}: results cannot be written; got Read-only file system; "
        "choose a folder you may write to, on a disk with space left"
    )


def test_disk_that_is_full(
    refused: Callable[..., str], good: Path, mount: Callable[[str], Path]
) -> None:
    disk = mount("size=60k")
    said = refused(good, out=disk / "out")
    wanted = r"not enough space for the intermediate results; got \d+\.\d kB free; allowed: "
    assert re.search(wanted + r"\d+\.\d (kB|MB) or more", said)
    (disk / "filler").write_bytes(b"\0" * 30_000)
    with (disk / "more").open("wb", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(b"\0" * 512)
    said = refused(good, out=disk / "out")
    assert "No space left on device" in said and "disk with space left" in said


def test_disk_that_fills_up_on_the_way(
    good: Path, tiny_model: Path, mount: Callable[[str], Path]
) -> None:
    disk = mount("nr_inodes=60,size=50m")
    done = segment_apart(good, disk / "out", "--jobs", 1, "--model", tiny_model)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("terapose: ") and "No space left on device" in last
    assert "make room or choose another folder, and run again: finished work is kept" in last
    assert not finished(disk / "out")


@pytest.mark.slow
def test_disk_that_fills_up_while_results_are_made(
    good: Path, tiny_model: Path, tmp_path: Path, mount: Callable[[str], Path]
) -> None:
    """With any room left it ends in one sentence; and, run again, in the same results."""
    disk = mount("size=2m")
    words = ("--jobs", 1, "--model", tiny_model, "--table", "csv,h5ad", "--thumbnails", 9)
    more = ("--mask-tiff", "cell.ome.tif", "--report", "--store", tmp_path / "store")
    assert segment_apart(good, disk / "out", *words, *more).returncode == 0
    wanted, size = outcome(disk / "out"), room(disk)[0]
    said = []
    for left in range(1, size, size // 3):
        shutil.rmtree(disk / "out")
        (disk / "filler").write_bytes(b"\0" * (room(disk)[1] - left) * 4096)
        done = segment_apart(good, disk / "out", *words, *more)
        assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
        said.append(done.stderr.splitlines()[-1])
        assert said[-1].startswith(f"terapose: {disk}"), said
        assert "No space left on device" in said[-1]
        (disk / "filler").unlink()
        assert segment_apart(good, disk / "out", *words, *more).returncode == 0
        assert outcome(disk / "out") == wanted
    assert len({*said}) > 1, said


def room(disk: Path) -> tuple[int, int]:
    """Blocks of 4096 bytes of a file system that are used, and that are left."""
    status = os.statvfs(disk)
    return status.f_blocks - status.f_bfree, status.f_bfree


def outcome(folder: Path) -> dict[str, bytes]:
    """All files of results, but for those that say how long it took."""
    files = (path for path in folder.rglob("*") if path.is_file())
    timed = ("provenance.json", "report.html", "report.json")
    return {str(p.relative_to(folder)): p.read_bytes() for p in files if p.name not in timed}


def test_folder_with_another_runs_results(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    good: Path,
    tiny_model: Path,
) -> None:
    command, out = Terapose(monkeypatch, capsys), tmp_path / "out"
    words = ("--jobs", 1, "--model", tiny_model)
    assert command("segment", good, out, *words).code == 0
    # the same image by another address is no other one
    monkeypatch.chdir(good.parent)
    assert command("segment", good.name, out, *words).code == 0
    record = (out / "provenance.json").read_bytes()
    other = write_ome_zarr(tmp_path / "other.zarr", nuclei((6, 24, 28), seed=1)[0])
    sentence = (
        f"{out}: holds the results of another image; got {good}; allowed: {other}; "
        "choose another folder, or remove this one"
    )
    assert command.refuses("segment", other, out, *words) == sentence
    assert command.refuses("check", other, "--output", out) == sentence
    assert (out / "provenance.json").read_bytes() == record


@pytest.mark.slow
@pytest.mark.parametrize("kilobytes", [1_500_000])
def test_memory_that_does_not_suffice(
    good: Path, tiny_model: Path, tmp_path: Path, kilobytes: int
) -> None:
    out = tmp_path / "out"
    words = ("segment", good, out, "--model", tiny_model, "--jobs", 1)
    command = shlex.join([sys.executable, str(EXECUTABLE), *map(str, words)])
    limited = f"ulimit -v {kilobytes}; exec {command}"
    done = subprocess.run(["bash", "-c", limited], capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert "there is not enough memory for this" in done.stderr.splitlines()[-1]
    assert not finished(out)


@pytest.mark.slow
def test_memory_that_does_not_suffice_to_compare_results(tmp_path: Path) -> None:
    """As in PUBLISH: what cannot be read for lack of memory is not what has changed."""
    image = write_ome_zarr(tmp_path / "image.zarr", nuclei((6, 24, 28))[0])
    tifffile.imwrite(tmp_path / "labels.tif", nuclei((6, 24, 28))[1].astype(np.uint16))
    given = image, tmp_path / "labels.tif", tmp_path / "out"
    measure(*given, table="csv", workers=1, progress=False)
    command = shlex.join([sys.executable, str(EXECUTABLE), "verify", str(tmp_path / "out")])
    codes = []
    # how far each comes depends on the number of cores
    for kilobytes in (60_000, 160_000, 200_000):
        limited = f"ulimit -v {kilobytes}; exec {command}"
        done = subprocess.run(["bash", "-c", limited], capture_output=True, text=True)
        said = done.stdout + done.stderr
        known = ("as written", "there is not enough memory for this", "OpenBLAS error: Memory")
        assert any(words in said for words in known) and "Traceback" not in said, said
        assert "changed" not in said and "damaged" not in said
        codes.append(done.returncode)
    assert codes[0] == 2
