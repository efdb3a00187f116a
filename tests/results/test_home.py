"""The folder of intermediates beside results: it may be a link to a folder, its stores may not."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.command import Terapose
from tests.synthetic import nuclei, write_ome_zarr, write_tiff

from terapose.api.home import Home, home_of, is_store, prepare
from terapose.api.runner import segment_file
from terapose.core.errors import InputError
from terapose.core.params import check
from terapose.results.verify import faults

STORE = "0123456789abcdef"
MAKE: dict[str, Callable[[Path], None]] = {
    "a file": Path.touch,
    "a pipe": os.mkfifo,
    "a symbolic link": lambda path: path.symlink_to("nowhere"),
}


@pytest.mark.parametrize("kind", MAKE)
def test_what_is_no_folder_is_refused_at_the_start(
    tmp_path: Path, tiny_model: Path, kind: str
) -> None:
    image = write_ome_zarr(tmp_path / "plane.zarr", nuclei((5, 24, 28))[0][2], axes="yx")
    (tmp_path / "out").mkdir()
    MAKE[kind](tmp_path / "out" / ".terapose")
    with pytest.raises(InputError, match=rf"out/\.terapose: is not a folder, .*; got {kind};"):
        segment_file(str(image), tmp_path / "out", check({"model": str(tiny_model)}))
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".terapose"]


@pytest.mark.parametrize("name", [STORE, "cells"])
def test_links_in_it_are_refused_and_other_damage_is_removed(tmp_path: Path, name: str) -> None:
    home = tmp_path / ".terapose"
    prepare(home)
    home.mkdir()
    (home / "notes").touch()
    (home / name).touch()
    prepare(home)
    assert [path.name for path in home.iterdir()] == ["notes"]
    (home / name).symlink_to(tmp_path)
    with pytest.raises(InputError, match=f"{name}: is a symbolic link, which is not followed"):
        prepare(home)
    assert (home / name).is_symlink()


def test_behind_a_link_only_what_the_run_made_is_removed(tmp_path: Path, tiny_model: Path) -> None:
    image = write_ome_zarr(tmp_path / "plane.zarr", nuclei((5, 24, 28))[0][2], axes="yx")
    scratch, out = tmp_path / "scratch", tmp_path / "out"
    (scratch / STORE).mkdir(parents=True)
    out.mkdir()
    (out / ".terapose").symlink_to(scratch)
    made: list[str] = []

    def report(*_: object) -> None:
        made.extend(path.name for path in scratch.iterdir())

    params = check({"model": str(tiny_model), "keep_intermediates": "none"})
    segment_file(str(image), out, params, report=report)
    assert len(set(made)) == 2
    assert [path.name for path in scratch.iterdir()] == [STORE]
    assert (out / ".terapose").is_symlink() and (out / "provenance.json").exists()


@pytest.mark.parametrize("keep", ["none", "flows"])
@pytest.mark.parametrize("kind", ["a file", "a folder"])
def test_behind_a_link_there_may_be_anything(
    tmp_path: Path, tiny_model: Path, keep: str, kind: str
) -> None:
    image = write_ome_zarr(tmp_path / "plane.zarr", nuclei((5, 24, 28))[0][2], axes="yx")
    scratch, out = tmp_path / "scratch", tmp_path / "out"
    scratch.mkdir()
    out.mkdir()
    (out / ".terapose").symlink_to(scratch)
    mine = [scratch / STORE, scratch / "cells"]
    for path in mine:
        path.touch() if kind == "a file" else (path / "precious").mkdir(parents=True)
    params = {"model": str(tiny_model), "keep_intermediates": keep, "mode": "2d"}
    second = {"cell_model": str(tiny_model), "cell_diameter": 12.0}
    for more in ({}, second):
        segment_file(str(image), out, check({**params, **more}))
        for path in mine:
            assert path.is_file() if kind == "a file" else (path / "precious").is_dir()
    assert (keep == "none") == (sorted(scratch.iterdir()) == sorted(mine))


def test_results_that_share_a_folder_by_links_have_cells_of_their_own(
    tmp_path: Path, tiny_model: Path
) -> None:
    image = write_ome_zarr(tmp_path / "plane.zarr", nuclei((5, 40, 48))[0][2], axes="yx")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    params = {"model": str(tiny_model), "mode": "2d", "cell_model": str(tiny_model)}
    for name, diameter in (("one", 12.0), ("other", 20.0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / ".terapose").symlink_to(scratch)
        segment_file(str(image), tmp_path / name, check({**params, "cell_diameter": diameter}))
    assert len([*scratch.glob("cells-*/labels.zarr")]) == 2


@pytest.mark.parametrize("damage", ["", "{", "another", "gone", "of another image"])
def test_damaged_cells_of_a_second_network_are_made_again(
    tmp_path: Path, tiny_model: Path, damage: str
) -> None:
    planes = nuclei((5, 40, 48))[0]
    image = write_ome_zarr(tmp_path / "plane.zarr", planes[2], axes="yx")
    out, cells = tmp_path / "out", tmp_path / "out" / ".terapose" / "cells"
    second = {"cell_model": str(tiny_model), "cell_diameter": 12.0}
    params = check({"model": str(tiny_model), "mode": "2d", **second})
    segment_file(str(image), out, params)
    whole = (out / "cells.csv").read_bytes(), (cells / "provenance.json").read_bytes()
    if damage == "gone":
        (cells / "provenance.json").unlink()
    elif damage == "of another image":
        other = write_ome_zarr(tmp_path / "other.zarr", planes[3], axes="yx")
        shutil.rmtree(cells)
        segment_file(str(other), cells, check({"model": str(tiny_model), "mode": "2d"}))
    elif damage == "another":
        changed = whole[1].replace(b'"cells": ', b'"cells": 1')
        (cells / "provenance.json").write_bytes(changed)
    else:
        (cells / "provenance.json").write_text(damage)
    (cells / "notes.txt").touch()
    segment_file(str(image), out, params)
    again = (out / "cells.csv").read_bytes(), (cells / "provenance.json").read_bytes()
    assert again[0] == whole[0] and json.loads(again[1])["stages"].keys() and not faults(cells)
    assert (cells / "notes.txt").exists()


def test_what_is_put_there_meanwhile_is_not_replaced(tmp_path: Path, tiny_model: Path) -> None:
    image = write_ome_zarr(tmp_path / "plane.zarr", nuclei((5, 24, 28))[0][2], axes="yx")
    out, params = tmp_path / "out", check({"model": str(tiny_model)})

    def report(*_: object) -> None:
        (out / "cells.csv").write_text("mine")

    with pytest.raises(InputError, match=r"cells\.csv: would be overwritten"):
        segment_file(str(image), out, params, report=report)
    assert (out / "cells.csv").read_text() == "mine"
    (out / "cells.csv").rename(out / "mine.csv")
    segment_file(str(image), out, params)
    assert not faults(out)


def test_a_folder_goes_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / ".terapose" / STORE).mkdir(parents=True)
    home = Home(tmp_path / ".terapose")
    (tmp_path / ".terapose" / "cells" / "labels.zarr").mkdir(parents=True)
    home.clear(home.store("other"))
    assert not [*tmp_path.iterdir()]


def test_what_is_beside_the_stores_stays(tmp_path: Path) -> None:
    place = tmp_path / ".terapose"
    (place / STORE / "done").mkdir(parents=True)
    (place / "notes.txt").write_text("mine")
    home = Home(place)
    home.clear(home.store(STORE))
    assert [path.name for path in place.iterdir()] == ["notes.txt"]


def test_in_a_shared_folder_only_what_the_run_made_is_removed(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    for name in ("cells", STORE, ".terapose/cells", f".terapose/{STORE}"):
        (shared / name).mkdir(parents=True)
    one, other = (home_of(tmp_path / name, shared) for name in ("one", "other"))
    assert one.cells != other.cells and not is_store(one.cells)
    for home in (one, other):
        (shared / ".terapose" / home.cells).mkdir()
        (shared / ".terapose" / "fedcba9876543210").mkdir(exist_ok=True)
    one.clear(one.store("fedcba9876543210"))
    left = {str(path.relative_to(shared)) for path in shared.rglob("*")}
    assert left == {
        "cells",
        STORE,
        ".terapose",
        ".terapose/cells",
        f".terapose/{STORE}",
        f".terapose/{other.cells}",
    }


@pytest.mark.parametrize("sign", ["\n", "\t", "\x1b", "\x9b", "\u2028", "\u202e"])
def test_control_characters_are_refused(tmp_path: Path, sign: str) -> None:
    """As the workflow does: names reach logs, tables and the record."""
    for what, image, out in (
        ("image", f"a{sign}b.tif", "out"),
        ("image", f"a{sign}b/c.tif", "out"),
        ("folder of results", "a.tif", f"o{sign}ut"),
    ):
        fault = (
            f"^{what}: the name contains control characters; got '.*'; rename the file or folder$"
        )
        with pytest.raises(InputError, match=fault):
            segment_file(str(tmp_path / image), tmp_path / out, check({}))
    assert not [*tmp_path.iterdir()]


def test_names_that_are_not_utf8_are_refused(
    command: Terapose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the plan nor the record can hold them; the folder counts, too."""
    odd = tmp_path / "o\udcff"
    (odd / "folder").mkdir(parents=True)
    monkeypatch.chdir(odd / "folder")
    image = write_tiff(tmp_path / "image.tif", nuclei((5, 24, 28))[0])
    shutil.copyfile(image, odd / "folder" / "image.tif")
    for what, words in (
        ("image", ("segment", "image.tif", tmp_path / "out")),
        ("folder of results", ("segment", image, "out")),
        ("labels", ("measure", image, "image.tif", tmp_path / "out")),
        ("image", ("check", odd / "image.tif")),
    ):
        said = command.refuses(*words)
        assert said.startswith(f"{what}: the name is not in UTF-8; got '"), said
        assert said.endswith("; rename the file or folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["image.tif", "o\udcff"]
