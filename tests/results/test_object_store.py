"""Results and stores on an object store, by a server of S3 on this machine."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.command import Terapose
from tests.object_store import SECRET, Server, serving
from tests.synthetic import nuclei, write_zarr

from terapose.api.runner import segment_file
from terapose.core.errors import InputError
from terapose.core.params import check
from terapose.io import files, lock, remote_lock
from terapose.io.remote import Remote, folder_of, local_path
from terapose.results.earlier import GOING, RECORD
from terapose.results.upload import upload
from terapose.results.verify import faults

CUT: dict[str, Any] = {"block_shape": "6,24,24", "max_tasks": 2, "cellprob_threshold": -0.5}
BUCKET = "cells"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server")) as running:
        Remote(f"s3://{BUCKET}")._fs.mkdir(BUCKET)
        yield running


@pytest.fixture
def there(server: Server, request: pytest.FixtureRequest) -> Remote:
    """A folder in the bucket that no other test has."""
    server.asked()
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())
    return Remote(f"s3://{BUCKET}/{name}")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A folder with an image, and two kinds of results of it in local folders."""
    folder = tmp_path_factory.mktemp("made")
    image = write_zarr(folder / "image.zarr", nuclei((6, 24, 40))[0].astype(np.uint16))
    for name, more in (
        ("out", {}),
        ("other", {"table": "csv", "mask_tiff": "a.tif", "min_size": 40}),
    ):
        params = check({"model": str(tiny_model), **CUT, **more})
        segment_file(str(image), folder / name, params, store=folder / "store")
    return folder


def content(folder: Path | Remote) -> dict[str, bytes]:
    """All files of a folder; of the record, what does not depend on the clock."""
    if isinstance(folder, Remote):
        found = {key: folder.read(key) or b"" for key in folder.files()}
    else:
        found = {
            str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file() and ".terapose" not in path.parts
        }
    if RECORD in found:
        record = json.loads(found[RECORD])
        found[RECORD] = json.dumps([record["checksums"], record["cells"]]).encode()
    return found


def test_a_report_is_sent_with_the_results_and_goes_with_them(
    server: Server, there: Remote, made: Path, tmp_path: Path, tiny_model: Path, command: Terapose
) -> None:
    words: tuple[object, ...] = ("segment", made / "image.zarr", there, "--model", tiny_model)
    words += ("--jobs", 1, "--store", tmp_path / "store", "--cellprob-threshold", -0.5)
    there.write("report_mqc.json", b"mine")
    assert "not a report of Terapose" in command.refuses(*words, "--report")
    there.remove(["report_mqc.json"])
    said = command(*words, "--report")
    assert said.code == 0, said.err
    assert said.out.endswith(f"\nreport: {there}/report.html\n")
    facts = json.loads(there.read("report.json") or b"")
    assert facts["sample"] == str(there).rpartition("/")[2] and facts["cells"] > 0
    assert b"<!DOCTYPE html>" in (there.read("report.html") or b"")
    assert not faults(there)
    assert command(*words).code == 0
    assert not [name for name in there.names() if name.startswith("report")]


def test_results_are_those_of_a_local_run(
    server: Server, there: Remote, made: Path, tmp_path: Path, tiny_model: Path, command: Terapose
) -> None:
    words = ("--model", tiny_model, "--jobs", 1, "--store", tmp_path / "store")
    words += tuple(w for k, v in CUT.items() for w in (f"--{k.replace('_', '-')}", v))
    said = command("segment", made / "image.zarr", there, *words)
    assert said.code == 0, said.err
    files = ("labels: {}/labels.zarr", "table:  {}/cells.csv", "table:  {}/cells.parquet")
    assert said.out.splitlines() == [line.format(there) for line in files]
    # each object is sent once and read once, to compare it; the record comes last
    asked = server.asked()
    assert content(there) == content(made / "out")
    sent = [path for method, path in asked if method == "PUT" and "/." not in path]
    assert sorted(sent) == sorted(f"/{there.address[5:]}/{key}" for key in content(there))
    assert sent[-1].endswith(RECORD)
    chunks = [(m, path) for m, path in asked if "/c/" in path and "?" not in path]
    assert len(chunks) == 2 * sum("/c/" in key for key in content(there)) > 0

    # again: what is the same stays; in the record are seconds
    server.asked()
    said = command("segment", made / "image.zarr", there, *words)
    assert said.code == 0, said.err
    changed = {path for m, path in server.asked() if m in ("PUT", "DELETE") and "/." not in path}
    assert changed == {f"/{there.address[5:]}/{RECORD}"}
    assert command("verify", there).out == f"{there}: as written\n"
    assert content(there) == content(made / "out")


def test_damage_is_found_and_made_again(
    there: Remote, made: Path, tmp_path: Path, command: Terapose
) -> None:
    upload(made / "out", there, lambda: None)
    (chunk, *_) = (key for key in there.files() if "/0/c/" in key)
    whole = there.read(chunk) or b""
    there.write(chunk, whole[:-1] + bytes([whole[-1] ^ 1]))
    there.remove(["cells.csv"])
    there.write("labels.zarr/cells/notes*", b"mine")
    said = command.refuses("verify", there)
    for what in (r"region \d", "cells.csv is missing", r"cells/notes\* was added"):
        assert re.search(what, said), said
    upload(made / "out", there, lambda: None)
    assert content(there) == content(made / "out") and not faults(there)
    # without a record nothing is finished
    there.remove([RECORD])
    assert "there are no results, or they are not complete" in command.refuses("verify", there)


def test_what_others_wrote_is_not_replaced(
    there: Remote, made: Path, tiny_model: Path, command: Terapose
) -> None:
    there.write("labels.zarr/mine", b"mine")
    said = command.refuses("segment", made / "image.zarr", there, "--model", tiny_model)
    assert f"{there}/labels.zarr: would be overwritten, although nothing says" in said
    assert there.files() == {"labels.zarr/mine": 4}


def test_image_store_and_results_on_an_object_store(
    server: Server, there: Remote, made: Path, tiny_model: Path
) -> None:
    for path in (made / "image.zarr").rglob("*"):
        if path.is_file():
            Remote(f"{there}-image").send(str(path.relative_to(made)), path)
    image, out = f"{there}-image/image.zarr", str(there)
    server.asked()
    segment_file(image, out, check({"model": str(tiny_model), **CUT}), workers=2)
    # one request for a chunk: its size is not asked for, only the tag of those of an image
    asked = server.asked()
    assert any(m == "GET" and "/image.zarr/c/" in path for m, path in asked)
    assert any(m == "GET" and "/gradients-yx/c/" in path for m, path in asked)
    assert not [
        path for m, path in asked if m == "HEAD" and "/.terapose/" in path and "/c/" in path
    ]
    results = {k: v for k, v in content(there).items() if not k.startswith(".terapose/")}
    assert results == content(made / "out")
    # what is damaged is computed again, and what is not kept is removed
    (chunk, *_) = (key for key in there.files(".terapose") if "/labels.zarr/cells/0/c/" in key)
    there.write(chunk, b"damaged")
    params = check({"model": str(tiny_model), **CUT, "keep_intermediates": "none"})
    segment_file(image, out, params)
    assert content(there) == content(made / "out")


def test_several_samples_and_their_cells(
    there: Remote, tmp_path: Path, tiny_model: Path, command: Terapose
) -> None:
    plane = nuclei((5, 24, 28))[0][2].astype(np.uint16)
    for name in ("one", "two"):
        write_zarr(tmp_path / "images" / f"{name}.zarr", plane)
    words = ("--model", tiny_model, "--cell-model", tiny_model, "--jobs", 1)
    local = command("segment", tmp_path / "images", tmp_path / "out", *words, "--store", there)
    assert local.code == 0, local.err
    assert there.names() == ["one", "two"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["one", "two"]
    assert not (tmp_path / "out" / "one" / ".terapose").exists()
    upload(tmp_path / "out" / "one", there / "all" / "one", lambda: None)
    upload(tmp_path / "out" / "two", there / "all" / "two", lambda: None)
    said = command("verify", there / "all")
    assert said.out == f"{there}/all/one: as written\n{there}/all/two: as written\n"
    (there / "all" / "two").remove([RECORD])
    said = command("verify", there / "all")
    assert said.code == 2 and "results of 1 of 2 samples have changed" in said.err


class KilledError(BaseException):
    """A run ends here."""


def test_a_run_that_is_killed_never_looks_finished(
    there: Remote, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each point, over the results of another run."""
    passed: list[str] = []
    points: list[str] = []
    counting = threading.Lock()
    last = 0

    def at_point(name: str) -> None:
        with counting:
            passed.append(name)
            ended = len(passed) == last
        if ended:
            raise KilledError

    first, second = content(made / "out"), content(made / "other")
    monkeypatch.setattr(files, "at_point", at_point)
    finished = False
    while not finished:
        last = 0
        upload(made / "out", there, lambda: None)
        assert content(there) == first
        passed.clear()
        last, finished = len(points) + 1, True
        try:
            upload(made / "other", there, lambda: None)
        except KilledError:
            points.append(passed[last - 1])
            finished = False
            if there.read(RECORD) is not None:
                # then it is whole, and either the one or the other
                assert not faults(there)
                seen = {k: v for k, v in content(there).items() if k != GOING}
                assert seen in (first, second)
    assert len(points) > 10 and {
        "earlier record: after it is removed",
        "result: before it is sent",
    } < {*points}
    assert content(there) == second


def test_results_of_another_image_are_refused(
    there: Remote, made: Path, tmp_path: Path, tiny_model: Path, command: Terapose
) -> None:
    upload(made / "out", there, lambda: None)
    image = write_zarr(tmp_path / "other.zarr", nuclei((5, 24, 28))[0])
    before = content(there)
    for words in (("segment", image, there), ("check", image, "--output", there)):
        said = command.refuses(*words, "--model", tiny_model)
        assert f"{there}: holds the results of another image; got {made}/image.zarr" in said
    image_there = f"{there}/labels.zarr/cells"
    said = command.refuses("segment", image_there, there, "--model", tiny_model)
    assert "would be overwritten by the results" in said
    said = command.refuses("segment", image_there.replace("s3:", "s3a:"), there)
    assert "would be overwritten by the results" in said
    assert content(there) == before


def test_a_folder_is_held_by_one(there: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    with remote_lock.held(there) as confirm:
        with (
            pytest.raises(InputError, match=f"another run is writing here; .* {os.getpid()} on"),
            remote_lock.held(there),
        ):
            pass
        confirm()
        # a run that slept for long may have lost it
        there.write(lock.NAME, b'{"host": "elsewhere", "process": 1}')
        with pytest.raises(InputError, match="another run is writing here; got process 1 on else"):
            confirm()
    assert there.names() == [lock.NAME]
    # of a process that is gone, and of another machine that has not been heard of
    gone = {"host": socket.gethostname(), "process": 2**22 + 1, "started": "1"}
    for holder, patience in ((gone, lock.PATIENCE), ({"host": "elsewhere"}, -1.0)):
        monkeypatch.setattr(lock, "PATIENCE", patience)
        there.write(lock.NAME, json.dumps(holder).encode())
        with remote_lock.held(there):
            pass
        assert there.names() == []


def test_of_many_that_start_at_once_one_holds_a_folder(there: Remote) -> None:
    start, tried = threading.Barrier(8, timeout=300), threading.Barrier(8, timeout=300)

    def work(_: int) -> bool:
        start.wait()
        try:
            with remote_lock.held(there):
                tried.wait()
                return True
        except InputError:
            tried.wait()
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(8))) == 1
    assert there.names() == []


def test_who_has_lost_the_folder_changes_nothing(there: Remote, made: Path) -> None:
    upload(made / "out", there, lambda: None)
    before = content(there)

    def lost() -> None:
        raise InputError("another run is writing here")

    with pytest.raises(InputError, match="another run is writing here"):
        upload(made / "other", there, lost)
    assert content(there) == before


WRONG = {
    "foo://b/out": "results cannot be written to addresses of this type",
    "https://user:hushhush@host/out": "https://***@host/out: results cannot be written",
    "s3://key:hushhush@b/out": "s3://***@b/out: addresses of results may not contain credentials",
    "s3://b/out?sig=hushhush": "is not a folder on an object store",
    "s3://b/../out": "is not a folder on an object store",
    "s3://": "is not a folder on an object store",
    "s3:/nowhere/out": "there is no such bucket",
}


@pytest.mark.parametrize("address", WRONG)
@pytest.mark.usefixtures("server")
def test_addresses_that_cannot_be_written_to_are_refused_at_the_start(
    made: Path,
    tmp_path: Path,
    tiny_model: Path,
    command: Terapose,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    image = made / "image.zarr"
    for words in (("segment", image, address), ("check", image, "--output", address)):
        said = command.refuses(*words, "--model", tiny_model)
        assert WRONG[address] in said and SECRET not in said
    assert not [*tmp_path.iterdir()]


def test_what_an_object_store_cannot_have_is_refused(
    made: Path, tmp_path: Path, command: Terapose, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    image, labels = made / "image.zarr", made / "out" / "labels.zarr"
    assert "cannot be links" in command.refuses(
        "segment", image, "s3://b/out", "--publish-mode", "link"
    )
    assert "writes to a local folder" in command.refuses(
        "segment", "--input", image, "--outdir", "s3://b/out"
    )
    assert "status reads stores on a local disk" in command.refuses("status", "s3://b/out")
    for words in (
        ("plan", image, "--output", "s3://key:hushhush@b/plan.json"),
        ("picture", image, labels, "gs://b/a.png"),
        ("evaluate", labels, labels, "--json", "s3://b/a.json"),
        ("simulate", "s3://b/a.zarr"),
        ("train", made, "--output", "az://b/net.pth"),
        ("fetch", "auto", "--output", "s3://b/"),
        ("cut", image, labels, made / "out" / "cells.csv", "s3://b/a.zarr"),
    ):
        said = command.refuses(*words)
        assert "written to a local disk" in said and SECRET not in said
    assert "results cannot be written to addresses of this type" in command.refuses(
        "plan", image, "--store", "foo://b/store"
    )
    assert not [*tmp_path.iterdir()]


def test_addresses_and_paths() -> None:
    assert folder_of("s3://b/out/") == folder_of(Path("s3://b/out")) == Remote("s3://b/out")
    account = "abfs://c@account.dfs.core.windows.net/a"
    assert folder_of(account) == Remote(account)
    for text in ("a b:c/d", "C:/out", "ab:/c", "/tmp/s3:/b"):
        assert folder_of(text) == local_path(text) == Path(text)
    for text in ("file:///tmp/my%20out", "file:/tmp/my%20out"):
        assert folder_of(text) == local_path(text) == Path("/tmp/my out")
