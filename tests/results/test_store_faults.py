"""What an object store refuses, and what it loses, is said in one sentence."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.command import Terapose, segment_apart
from tests.object_store import SECRET, Gateway, Server, before, client_of, drop_bucket, serving
from tests.synthetic import nuclei, write_zarr

from terapose.api.runner import segment_file
from terapose.core.errors import InputError, StoreError
from terapose.core.geometry import Box
from terapose.core.params import check
from terapose.io import lock, remote_lock
from terapose.io.remote import Remote
from terapose.io.store.store import Store
from terapose.results.upload import upload
from terapose.results.verify import faults

NO_BUCKET = "there is no such bucket, or it cannot be seen"
REFUSED = "the object store refuses, or cannot be reached"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def bucket(server: Server, request: pytest.FixtureRequest) -> str:
    """A bucket that no other test has."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[-50:].strip("-")
    client_of(server).create_bucket(Bucket=name)
    return name


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("image")
    return write_zarr(folder / "image.zarr", nuclei((6, 24, 40))[0].astype(np.uint16))


def _no_credentials(gateway: Gateway, patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.delenv("AWS_ACCESS_KEY_ID")
    patch.delenv("AWS_SECRET_ACCESS_KEY")
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        patch.setenv(name, str(folder / "none"))


def _gone(gateway: Gateway, patch: pytest.MonkeyPatch, folder: Path) -> None:
    gateway.is_gone = True


def _unlisted(gateway: Gateway, patch: pytest.MonkeyPatch, folder: Path) -> None:
    gateway.refuses = lambda method, path: "list-type=2" in path


def _unread(gateway: Gateway, patch: pytest.MonkeyPatch, folder: Path) -> None:
    gateway.refuses = lambda method, path: method == "GET" and "list-type=2" not in path


def _unremoved(gateway: Gateway, patch: pytest.MonkeyPatch, folder: Path) -> None:
    gateway.refuses = lambda method, path: method == "DELETE"


@pytest.mark.parametrize("what", ["results", "store"])
@pytest.mark.parametrize(
    "fault", [_no_credentials, _gone, _unlisted, _unread, _unremoved], ids=lambda f: f.__name__
)
def test_a_store_is_tried_before_anything_is_computed(
    server: Server,
    bucket: str,
    image: Path,
    tmp_path: Path,
    tiny_model: Path,
    command: Terapose,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    fault: Callable[[Gateway, pytest.MonkeyPatch, Path], None],
) -> None:
    with before(server) as gateway:
        fault(gateway, monkeypatch, tmp_path)
        there = f"s3://{bucket}/x"
        places = (there,) if what == "results" else (tmp_path / "out", "--store", there)
        said = command("segment", image, *places, "--model", tiny_model, "--jobs", 1)
    assert said.code == 2 and not said.out, said
    (sentence,) = said.err.splitlines()  # no progress
    assert REFUSED in sentence and SECRET not in sentence
    kept = client_of(server).list_objects_v2(Bucket=bucket).get("Contents", [])
    assert len(kept) == (fault is _unremoved)


@pytest.mark.usefixtures("server")
def test_a_store_without_a_bucket_is_refused(
    image: Path, tmp_path: Path, tiny_model: Path, command: Terapose
) -> None:
    words = ("segment", image, tmp_path / "out", "--store", "s3://nowhere/x")
    assert NO_BUCKET in command.refuses(*words, "--model", tiny_model, "--jobs", 1)


def test_a_driver_without_credentials_is_installed(
    image: Path, tiny_model: Path, command: Terapose, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in filter(lambda name: name.startswith("AZURE_"), dict(os.environ)):
        monkeypatch.delenv(name)
    said = command.refuses("segment", image, "az://container/x", "--model", tiny_model)
    assert REFUSED in said and "credentials" in said


@pytest.mark.parametrize("point", ["gradients-yx/c/", "done/"])
@pytest.mark.parametrize("fault", ["server", "bucket"])
def test_a_store_that_is_lost_halfway_is_said_in_one_sentence(
    server: Server,
    bucket: str,
    image: Path,
    tmp_path: Path,
    tiny_model: Path,
    point: str,
    fault: str,
) -> None:
    """Also by the processes of the pool."""
    lost: list[str] = []
    one = threading.Lock()

    def lose(method: str, path: str) -> None:
        if method != "PUT" or point not in path:
            return
        with one:
            if lost:
                return
            lost.append(path)
            if fault == "server":
                gateway.is_gone = True
            else:
                drop_bucket(server, bucket)

    with before(server) as gateway:
        gateway.before = lose
        words = ("--model", tiny_model, "--jobs", 2, "--block-shape", "6,24,24", "--max-tasks", 2)
        ended = segment_apart(image, tmp_path / "out", "--store", f"s3://{bucket}/x", *words)
    assert lost and ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr and SECRET not in ended.stderr
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("terapose: ") and (NO_BUCKET if fault == "bucket" else REFUSED) in last
    assert not (tmp_path / "out" / "provenance.json").exists()


def test_every_method_of_a_store_says_what_is_so(server: Server, bucket: str) -> None:
    store = Store(f"s3://{bucket}/x")
    store.create("a", (4, 4, 4), (4, 4, 4), "uint8")
    with pytest.raises(StoreError, match="is no longer in the store"):
        store.get("blob")
    box = Box((0, 0, 0), (4, 4, 4))
    with pytest.raises(StoreError, match="is no longer in the store"):
        store.read("a", box)
    ones = np.ones((4, 4, 4), np.uint8)
    with before(server) as gateway:
        store = Store(f"s3://{bucket}/x")
        store.open("a")
        gateway.refuses = lambda method, path: True
        asks: list[Callable[[], object]] = [
            lambda: store.put("blob", b""),
            lambda: store.put_plain("plain", b""),
            lambda: store.get("blob"),
            lambda: store.find_json("blob"),
            lambda: store.checksum("blob"),
            lambda: store.has("blob"),
            lambda: store.names("done"),
            lambda: store.drop("blob"),
            lambda: store.drop_box("a", box),
            lambda: store.fetch("a", Path("/nowhere")),
            lambda: store.read("a", box),
            lambda: store.write("a", box, ones),
            lambda: store.missing("a", box),
            lambda: store.remove(),
        ]
        for ask in asks:
            with pytest.raises(InputError, match=REFUSED) as caught:
                ask()
            assert not isinstance(caught.value, StoreError)


def test_a_lock_that_is_gone_is_not_one_of_another_run(server: Server, bucket: str) -> None:
    there = Remote(f"s3://{bucket}/x")
    with remote_lock.held(there) as confirm:
        there.remove([lock.NAME])
        with pytest.raises(InputError, match="the lock of this run was removed"):
            confirm()
        drop_bucket(server, bucket)
        with pytest.raises(InputError, match=NO_BUCKET):
            confirm()
    for ask in (lambda: there.read("a"), lambda: there.files(), lambda: there.names()):
        with pytest.raises(InputError, match=NO_BUCKET):
            ask()


def test_objects_that_stand_for_folders_are_passed_over(
    server: Server, bucket: str, image: Path, tmp_path: Path, tiny_model: Path, command: Terapose
) -> None:
    there = Remote(f"s3://{bucket}/x")
    params = check({"model": str(tiny_model)})
    segment_file(str(image), tmp_path / "out", params, store=tmp_path / "store")
    upload(tmp_path / "out", there, lambda: None)
    whole, names = there.files(), there.names()
    for key in ("", "labels.zarr/", "labels.zarr/cells/", "labels.zarr/cells/0/c/"):
        client_of(server).put_object(Bucket=bucket, Key=f"x/{key}", Body=b"")
    assert there.files() == whole and there.names() == names
    assert not faults(there)
    server.asked()
    upload(tmp_path / "out", there, lambda: None)
    assert not [path for method, path in server.asked() if method in ("PUT", "DELETE")][1:]
    # of a store, too
    store = Store(f"s3://{bucket}/store")
    store.put("done/a", b"1")
    for key in ("store/", "store/done/"):
        client_of(server).put_object(Bucket=bucket, Key=key, Body=b"")
    assert store.names("done") == ["done/a"] and store.get("done/a") == b"1"
    store.drop("done")
    assert store.names("done") == []
