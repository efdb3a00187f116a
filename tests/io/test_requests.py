"""An object store is asked once for a chunk: when it is written, read, removed, or missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.object_store import Server, client_of, serving
from tests.requests_of_chunks import of_an_array, of_an_image, of_labels

from terapose.io.remote import Remote


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server")) as running:
        client_of(running).create_bucket(Bucket="cells")
        yield running


@pytest.fixture
def there(server: Server) -> Remote:
    return Remote("s3://cells/x")


def test_chunks_of_the_store(server: Server, there: Remote) -> None:
    of_an_array(server, there)


def test_chunks_of_label_images(server: Server, there: Remote) -> None:
    of_labels(server, there)


def test_chunks_of_images(server: Server, there: Remote, tmp_path: Path) -> None:
    of_an_image(server, there, tmp_path)
