"""The folder of intermediates beside results: it may be a link to a folder, its stores may not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.synthetic import nuclei, write_ome_zarr

from terapose.api.home import Home, home_of, is_store, prepare
from terapose.api.runner import segment_file
from terapose.core.errors import InputError
from terapose.core.params import check

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
        with pytest.raises(
            InputError, match=f"^{what}: the name contains control characters; got '"
        ):
            segment_file(str(tmp_path / image), tmp_path / out, check({}))
    assert not [*tmp_path.iterdir()]
