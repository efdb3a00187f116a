"""Probes on an object store that could not be removed: later runs and `terapose clean` do it."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.object_store import Server, before, serving

from terapose.api.clean import clean, left_by
from terapose.core.errors import InputError
from terapose.io import remote
from terapose.io.remote import Remote

_DIGITS = uuid.UUID(int=7).hex
_FOREIGN = {
    f".terapose-{_DIGITS}.partial": b"two",
    f".terapose-{_DIGITS[1:]}.partial": b"\0",
    f".terapose-{_DIGITS[1:]}g.partial": b"\0",
    f".terapose-{_DIGITS}.partial.txt": b"\0",
    f"terapose-{_DIGITS}.partial": b"\0",
    f".{_DIGITS}.partial": b"\0",
    ".terapose.lock": b"",
    f"labels/.terapose-{_DIGITS}.partial": b"\0",
}
"""What looks like a probe, or is in another folder."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server")) as running:
        Remote("s3://probes")._fs.mkdir("probes")
        yield running


@pytest.fixture
def left(server: Server, request: pytest.FixtureRequest) -> Remote:
    """A folder with two probes that could not be removed, and what looks like some."""
    folder = Remote(f"s3://probes/{request.node.name}")
    for name, content in _FOREIGN.items():
        folder.write(name, content)
    with before(server) as gateway:
        gateway.refuses = lambda method, path: method == "DELETE"
        for _ in range(2):
            with pytest.raises(InputError, match="the object store refuses"):
                Remote(folder.address).probe()
    folder.write(f".{uuid.uuid4().hex}.partial", b"")  # as of the clock
    assert len(folder.files()) == len(_FOREIGN) + 3
    return Remote(folder.address)


def test_probes_of_runs_at_work_stay(left: Remote) -> None:
    there = left.files()
    left.probe()
    assert left.files() == there


def test_old_probes_are_removed(left: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PROBE_AGE", -1.0)
    left.probe()
    assert set(left.files()) == set(_FOREIGN)


def test_where_nothing_is_left_it_is_not_asked_how_old_it_is(server: Server) -> None:
    folder = Remote("s3://probes/none")
    folder.probe()
    server.asked()
    folder.probe()
    ways = [way for way, _ in server.asked()]
    assert ways.count("PUT") == ways.count("DELETE") == 1 and len(ways) <= 7, ways


def test_clean_removes_those_that_a_copy_of_the_folder_has(tmp_path: Path) -> None:
    sample = tmp_path / "sample"
    (sample / "labels").mkdir(parents=True)
    old = time.time() - 2 * remote.PROBE_AGE
    probes = [folder / f".terapose-{uuid.uuid4().hex}.partial" for folder in (tmp_path, sample)]
    young, link = (sample / f".terapose-{uuid.uuid4().hex}.partial" for _ in range(2))
    for path in (*probes, young):
        path.write_bytes(b"\0")
    for name, content in _FOREIGN.items():
        (sample / name).write_bytes(content)
    (sample / "provenance.json").write_text("{}")
    (tmp_path / "precious").write_bytes(b"\0")
    link.symlink_to(tmp_path / "precious")
    kept = [young, link, tmp_path / "precious", *(sample / name for name in _FOREIGN)]
    for path in (*probes, *(path for path in kept if path != young)):
        os.utime(path, (old, old), follow_symlinks=False)
    (sample / ".terapose.lock").unlink()
    assert [one.path for one in left_by(tmp_path) if not one.kept] == probes
    clean(tmp_path)
    assert not any(map(os.path.lexists, probes))
    assert all(os.path.lexists(path) for path in kept if path.name != ".terapose.lock")
