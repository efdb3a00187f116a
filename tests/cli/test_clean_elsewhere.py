"""Stores that are not beside their results: behind links, in the folder of --store, in tasks."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.command import Terapose

from terapose.api.clean import left_by


def test_a_folder_of_intermediates_that_is_a_link_stays_itself(
    command: Terapose, segment: Callable[..., Path], tmp_path: Path
) -> None:
    out, scratch = tmp_path / "out", tmp_path / "scratch"
    out.mkdir()
    scratch.mkdir()
    (scratch / "other").touch()
    (out / ".terapose").symlink_to(scratch)
    store = segment(out)
    assert store.exists()
    assert command("clean", out, "--yes").code == 0
    assert [path.name for path in scratch.iterdir()] == ["other"] and (
        out / ".terapose"
    ).is_symlink()


def test_stores_of_several_samples_are_found_in_a_folder_of_stores(
    command: Terapose, image: Path, tmp_path: Path, tiny_model: Path
) -> None:
    images, out, scratch = (tmp_path / name for name in ("images", "out", "scratch"))
    images.mkdir()
    for name in "ab":
        shutil.copytree(image, images / f"{name}.zarr")
    words = ("segment", images, out, "--model", tiny_model, "--jobs", 1, "--store", scratch)
    assert command(*words).code == 0
    # a sample that is a link is somewhere else
    (out / "b").rename(tmp_path / "b")
    (out / "b").symlink_to(tmp_path / "b")
    said = command("clean", out, "--store", scratch, "--yes")
    assert said.code == 0 and said.out.count("removed   ") == 1, said.out
    assert not (scratch / "a" / ".terapose").exists() and (scratch / "b" / ".terapose").exists()


@pytest.mark.parametrize("second", [False, True])
def test_a_folder_of_stores_that_was_asked_for_is_looked_into(
    command: Terapose,
    segment: Callable[..., Path],
    tmp_path: Path,
    tiny_model: Path,
    second: bool,
) -> None:
    scratch, one, other = (tmp_path / name for name in ("scratch", "one", "other"))
    cells = ("--cell-model", tiny_model, "--cell-diameter", 12) if second else ()
    words = ("--mode", "2d", *cells, "--store", scratch)
    segment(one, *words)
    segment(other, *words, "--diameter", 9)
    home = scratch / ".terapose"
    (home / "notes.txt").touch()
    assert left_by(one) == []
    found = left_by(one, shared=scratch)
    going = [left.path for left in found if not left.kept]
    assert len(going) == 1 + 2 * second and len(found) == len(going) + 1
    assert all("no results of this run are here" in left.kept for left in found if left.kept)
    # a twin that works in it with the same parameters writes markers of the same names
    digest = json.loads((one / "provenance.json").read_text())["plan_digest"]
    marker = next((home / digest).glob("done/combine-*/task-0.json"))
    before = marker.stat().st_mtime
    os.utime(marker, (time.time() + 60,) * 2)
    kept = {left.path.name: left.kept for left in left_by(one, shared=scratch)}
    assert kept[digest] == "a later run has worked in it"
    os.utime(marker, (before,) * 2)
    said = command("clean", one, "--store", scratch, "--yes")
    assert said.code == 0, said.err
    rest = {"notes.txt", json.loads((other / "provenance.json").read_text())["plan_digest"]}
    assert {path.name for path in home.iterdir() if not path.name.startswith("cells-")} == rest
    assert len(list(home.glob("cells-*"))) == second
    assert command("clean", other, "--store", scratch, "--yes").code == 0
    assert [path.name for path in home.iterdir()] == ["notes.txt"]
    assert command("verify", one).code == command("verify", other).code == 0


def test_stores_of_both_networks_in_a_work_folder_go(
    command: Terapose, segment: Callable[..., Path], tmp_path: Path, tiny_model: Path
) -> None:
    out, work = tmp_path / "out", tmp_path / "work"
    store = segment(out, "--mode", "2d", "--cell-model", tiny_model, "--cell-diameter", 12)
    (cells,) = (out / ".terapose/cells/.terapose").iterdir()
    for number, each in enumerate((store, cells)):
        (work / f"{number:02}" / "abc").mkdir(parents=True)
        each.rename(work / f"{number:02}" / "abc" / "store")
    shutil.rmtree(out / ".terapose")
    assert [left.kept for left in left_by(out, work)] == ["", ""]
    # what a record says that has changed decides nothing
    text = (out / "provenance.json").read_text()
    (out / "provenance.json").write_text(text.replace('"mode"', '"Mode"'))
    said = command("clean", out, "--work", work, "--yes")
    assert said.out.count("kept      ") == 2 and said.out.count("is damaged") == 2, said.out
    (out / "provenance.json").write_text(text)
    assert command("clean", out, "--work", work, "--yes").out.count("removed   ") == 2
    assert not list(work.glob("*/*/store")) and command("verify", out).code == 0


def test_results_that_share_a_store_by_links(
    command: Terapose, segment: Callable[..., Path], tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    for name in "ab":
        (tmp_path / "out" / name).mkdir(parents=True)
        (tmp_path / "out" / name / ".terapose").symlink_to(scratch)
        segment(tmp_path / "out" / name)
    said = command("clean", tmp_path / "out" / "a")
    assert "a later run has worked in it" not in said.out and "removable " in said.out
    said = command("clean", tmp_path / "out", "--yes")
    assert said.code == 0 and not list(scratch.iterdir()), said.out


def test_a_store_that_is_found_twice_is_listed_once(
    command: Terapose, segment: Callable[..., Path], tmp_path: Path
) -> None:
    out, link = tmp_path / "out", tmp_path / "link"
    segment(out)
    link.symlink_to(out)
    (alone,) = left_by(out)
    for shared in (out, link):
        assert left_by(out, shared=shared) == [alone]
    said = command("clean", out, "--store", link, "--yes")
    assert said.out.count("removed   ") == 1 and not alone.path.exists(), said.out


def test_what_tune_has_left_goes_when_it_is_finished(
    command: Terapose, segment: Callable[..., Path], image: Path, tmp_path: Path, tiny_model: Path
) -> None:
    out, home = tmp_path / "tuned", tmp_path / "tuned/.terapose"
    words = ("--model", tiny_model, "--regions", 1, "--sweep", "min_size=20")
    # another run was given the folder, and earlier calls had other regions
    segment(tmp_path / "results", "--store", out)
    digest = json.loads((tmp_path / "results/provenance.json").read_text())["plan_digest"]
    for size in ("4,16,16", "4,12,12"):
        assert command("tune", image, out, *words, "--size", size).code == 0
    before = {path.name: path.read_bytes() for path in out.glob("tune.*")}
    lock = {"host": "another", "process": 7, "started": "1", "since": "now"}
    for name, content in (("tune.json", "{}"), ("params.json", ""), (".terapose.lock", lock)):
        if name != ".terapose.lock":
            (out / name).rename(tmp_path / "away")
        if content:
            (out / name).write_text(content if isinstance(content, str) else json.dumps(content))
        assert all(left.kept for left in left_by(out)), name
        (out / name).unlink(missing_ok=True)
        if name != ".terapose.lock":
            (tmp_path / "away").rename(out / name)
    marker = next(path for path in home.glob("*/done/*/*.json") if digest not in str(path))
    then = marker.stat().st_mtime
    os.utime(marker, (time.time() + 60,) * 2)
    assert "a later run has worked in it" in [left.kept for left in left_by(out)]
    os.utime(marker, (then,) * 2)
    said = command("clean", out, "--yes")
    assert said.out.count("kept      ") == 1 and [path.name for path in home.iterdir()] == [digest]
    assert said.out.count("removed   ") >= 2, said.out
    assert {path.name: path.read_bytes() for path in out.glob("tune.*")} == before
    assert (out / "params.json").exists()
