"""Files and folders are there as a whole or not at all, whatever happens while they are made."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from terapose.core.errors import InputError
from terapose.io import files


def see_points(monkeypatch: pytest.MonkeyPatch, look: Callable[[], bytes]) -> list[bytes]:
    """What is there at each point that is passed."""
    seen: list[bytes] = []
    monkeypatch.setattr(files, "at_point", lambda _: seen.append(look()))
    return seen


def test_a_file_is_the_old_one_until_it_is_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    seen = see_points(monkeypatch, path.read_bytes)
    with files.written(path) as place:
        place.write_bytes(b"ne")
        assert path.read_bytes() == b"old"
        place.write_bytes(b"new")
    assert seen == [b"old", b"old", b"new"]
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("fails", [False, True])
def test_where_folders_cannot_be_exchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    monkeypatch.setattr(files, "_exchanged", lambda *_: False)
    path, place = tmp_path / "folder", tmp_path / "made"
    for folder in (path, place):
        folder.mkdir()
        (folder / "file").write_text(folder.name)
    if fails:
        place.rename(tmp_path / "gone")
        with pytest.raises(FileNotFoundError):
            files.put_in_place(place, path)
    else:
        files.put_in_place(place, path)
    assert (path / "file").read_text() == ("folder" if fails else "made")
    assert {one.name for one in tmp_path.iterdir()} == {"folder", *(["gone"] if fails else [])}


def test_a_folder_is_the_old_one_until_it_is_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    (path / "file").write_bytes(b"old")
    seen = see_points(monkeypatch, (path / "file").read_bytes)
    with files.made(path) as place:
        place.mkdir()
        assert (path / "file").read_bytes() == b"old"
        (place / "file").write_bytes(b"new")
    assert seen == [b"old", b"old", b"new"]
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("make", [files.written, files.made])
def test_what_fails_leaves_nothing(tmp_path: Path, make: Callable[..., object]) -> None:
    path = tmp_path / "name"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="full"), make(path) as place:  # type: ignore[attr-defined]
        place.write_bytes(b"half")
        raise OSError("full")
    assert path.read_bytes() == b"old"
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("kind", ["pipe", "link to a device"])
def test_a_pipe_or_a_device_is_not_replaced(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "scores.json"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/null")
    with pytest.raises(InputError, match=r"scores\.json: cannot be replaced with a file; got a "):
        files.write_text(path, "3")
    assert stat.S_ISFIFO(path.stat().st_mode) or stat.S_ISCHR(path.stat().st_mode)
    assert [p.name for p in tmp_path.iterdir()] == ["scores.json"]
    with files.written(path, anything=True) as place:
        place.write_text("3")
    assert path.read_text() == "3" and path.is_file() and not path.is_symlink()
