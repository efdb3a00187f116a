"""Azure and Google Cloud Storage, by emulators on this machine: what S3 is tested with, and more.

`make test-integration` runs it where npm, and Go, can install the emulators; TERAPOSE_EMULATORS may
name a folder in which they stay.
"""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.asked import only_if_asked
from tests.command import Terapose, segment_apart
from tests.integration.emulators import ACCOUNT, CLOUDS, KEY, Cloud, at, connection, serving
from tests.object_store import Server, passing
from tests.requests_of_chunks import of_an_array, of_an_image, of_labels
from tests.results.test_object_store import (
    CUT,
    content,
    made,
    test_a_folder_is_held_by_one,
    test_a_run_that_is_killed_never_looks_finished,
    test_damage_is_found_and_made_again,
    test_of_many_that_start_at_once_one_holds_a_folder,
    test_results_of_another_image_are_refused,
    test_several_samples_and_their_cells,
    test_what_others_wrote_is_not_replaced,
    test_who_has_lost_the_folder_changes_nothing,
)

from terapose.io.remote import Remote

__all__ = [
    "made",
    "test_a_folder_is_held_by_one",
    "test_a_run_that_is_killed_never_looks_finished",
    "test_damage_is_found_and_made_again",
    "test_of_many_that_start_at_once_one_holds_a_folder",
    "test_results_of_another_image_are_refused",
    "test_several_samples_and_their_cells",
    "test_what_others_wrote_is_not_replaced",
    "test_who_has_lost_the_folder_changes_nothing",
]
pytestmark = [
    pytest.mark.slow,
    only_if_asked,
]

NO_BUCKET = "there is no such bucket, or it cannot be seen"
REFUSED = "the object store refuses, or cannot be reached"
WORDS = tuple(w for k, v in CUT.items() for w in (f"--{k.replace('_', '-')}", v))


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the emulators are installed."""
    named = os.environ.get("TERAPOSE_EMULATORS")
    folder = Path(named).resolve() if named else tmp_path_factory.mktemp("programs")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module", params=list(CLOUDS))
def cloud(request: pytest.FixtureRequest) -> Cloud:
    """The service."""
    found = CLOUDS[request.param]
    if found.missing():
        pytest.skip(found.missing())
    return found


@pytest.fixture(scope="module")
def server(
    cloud: Cloud, programs: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Its emulator."""
    with serving(cloud, programs, tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def there(server: Server, cloud: Cloud, request: pytest.FixtureRequest) -> Remote:
    """A folder in a bucket that no other test has."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[-50:].strip("-")
    cloud.make_bucket(name)
    server.asked()
    return Remote(f"{cloud.scheme}://{name}/x")


def test_image_store_and_results(
    there: Remote, made: Path, tmp_path: Path, tiny_model: Path
) -> None:
    """In processes of their own, which say nothing when they end."""
    for path in filter(Path.is_file, (made / "image.zarr").rglob("*")):
        Remote(f"{there}-image").send(str(path.relative_to(made)), path)
    words = ("--model", tiny_model, *WORDS)
    image = f"{there}-image/image.zarr"
    ended = segment_apart(image, there, *words, "--jobs", 2)
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr and "Could not" not in ended.stderr, ended.stderr
    files = ("labels: {}/labels.zarr", "table:  {}/cells.csv", "table:  {}/cells.parquet")
    assert ended.stdout.splitlines() == [line.format(there) for line in files]
    results = {k: v for k, v in content(there).items() if not k.startswith(".terapose/")}
    assert results == content(made / "out")
    # what is damaged in the store is computed again, and what is not kept is removed
    (chunk, *_) = (key for key in there.files(".terapose") if "/labels.zarr/cells/0/c/" in key)
    there.write(chunk, b"damaged")
    ended = segment_apart(image, there, *words, "--jobs", 1, "--keep-intermediates", "none")
    assert ended.returncode == 0, ended.stderr
    assert content(there) == content(made / "out")
    # results there, the store on a disk: what is the same stays
    ended = segment_apart(image, there, *words, "--jobs", 1, "--store", tmp_path / "store")
    assert ended.returncode == 0, ended.stderr
    assert content(there) == content(made / "out")


def test_a_chunk_is_one_request(server: Server, there: Remote, tmp_path: Path) -> None:
    of_an_array(server, there)
    of_labels(server, there)
    of_an_image(server, there, tmp_path)


@pytest.mark.parametrize("what", ["results", "store"])
def test_a_missing_bucket_is_refused(
    server: Server,
    cloud: Cloud,
    made: Path,
    tmp_path: Path,
    tiny_model: Path,
    command: Terapose,
    what: str,
) -> None:
    nowhere = f"{cloud.scheme}://nowhere/x"
    places = (nowhere,) if what == "results" else (tmp_path / "out", "--store", nowhere)
    words = ("segment", made / "image.zarr", *places, "--model", tiny_model)
    assert NO_BUCKET in command.refuses(*words)
    command.refuses("verify", nowhere)


@pytest.mark.parametrize("what", ["results", "store"])
def test_a_missing_permission_is_found_before_anything_is_computed(
    server: Server,
    cloud: Cloud,
    there: Remote,
    made: Path,
    tmp_path: Path,
    tiny_model: Path,
    command: Terapose,
    what: str,
) -> None:
    """Azurite knows permissions; the emulator of Google does not, so a gateway refuses."""

    def refused() -> None:
        places = (there,) if what == "results" else (tmp_path / "out", "--store", there)
        said = command("segment", made / "image.zarr", *places, "--model", tiny_model)
        assert said.code == 2 and not said.out, said
        (sentence,) = said.err.splitlines()  # no progress
        assert REFUSED in sentence
        assert KEY not in sentence and "sig=" not in sentence

    with passing(server) as gateway, at(cloud, gateway.address):
        for method in ("PUT" if cloud.scheme == "az" else "POST", "DELETE"):
            gateway.refuses = partial(_is, method)
            refused()
    if cloud.scheme == "az":
        known = connection(server.address, f"SharedAccessSignature={_read_only()}")
        with at(cloud, server.address, AZURE_STORAGE_CONNECTION_STRING=known):
            refused()
        wrong = connection(server.address, f"AccountKey={KEY[::-1].strip('=')}")
        with at(cloud, server.address, AZURE_STORAGE_CONNECTION_STRING=wrong):
            refused()


def _is(refused: str, method: str, path: str) -> bool:
    return method == refused


def _read_only() -> str:
    from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas

    until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    return generate_account_sas(
        ACCOUNT,
        KEY,
        ResourceTypes(service=True, container=True, object=True),
        AccountSasPermissions(read=True, list=True),
        until,
    )


def test_a_bucket_that_is_lost_halfway(
    server: Server, cloud: Cloud, there: Remote, made: Path, tmp_path: Path, tiny_model: Path
) -> None:
    lost: list[str] = []

    def lose(method: str, path: str) -> None:
        sent = method in ("PUT", "POST") and "gradients-yx/c/" in f"{path} {gateway.body!r}"
        if sent and not lost:
            lost.append(path)
            with at(cloud, server.address):
                cloud.drop_bucket(there.address.split("/")[2])

    with passing(server) as gateway, at(cloud, gateway.address):
        gateway.before = lose
        words = ("--model", tiny_model, "--jobs", 2, *WORDS)
        ended = segment_apart(made / "image.zarr", tmp_path / "out", "--store", there, *words)
    assert lost and ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr and KEY not in ended.stderr
    last = ended.stderr.splitlines()[-1]
    # Google says the same of an object that is missing and of one whose bucket is
    whys = (NO_BUCKET, "is no longer in the store")[: 2 if cloud.scheme == "gs" else 1]
    assert last.startswith("terapose: ") and any(why in last for why in whys), ended.stderr
    assert not (tmp_path / "out" / "provenance.json").exists()
