"""What a web server sends is read as far as it was asked for, and no further."""

from __future__ import annotations

import asyncio
import gzip
import http.server
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import zarr
from tests.checks import same
from tests.memory import said
from tests.ranges import Ranges
from tests.synthetic import voxels, write_ome_zarr
from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype

from terapose.core.errors import InputError
from terapose.io.images import address as addresses
from terapose.io.images import zarrs
from terapose.io.images.noted_store import Noted
from terapose.io.images.opening import open_image

_PART = bytes(2**20)
_ENDLESS = 2000


class _Liar(http.server.BaseHTTPRequestHandler):
    """Sends documents as they are, and of chunks more than it should.

    ``/KIND/a.zarr/c/0/0``: ``endless`` has no length, ``long`` has the length that it says,
    ``packed`` is compressed, ``whole`` knows no ranges, ``small`` sends more than the range.
    """

    protocol_version = "HTTP/1.1"
    root: Path

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        _, kind, *names = self.path.split("/")
        path = self.root.joinpath(*names)
        if not path.is_file():
            self._start(404, 0)
        elif path.name == "zarr.json" or kind == "whole":
            content = path.read_bytes()
            self._start(200, len(content))
            self._send(content)
        elif kind == "small":
            content = path.read_bytes()
            self._start(206, len(content) + 9)
            self._send(content + b"more than")
        elif kind == "packed":
            content = gzip.compress(_PART, 9) * _ENDLESS
            self._start(206, len(content), encoding="gzip")
            self._send(content)
        else:
            self._start(206, None if kind == "endless" else _ENDLESS * len(_PART))
            for _ in range(_ENDLESS):
                if not self._send(_PART):
                    break

    def _start(self, status: int, length: int | None, encoding: str = "") -> None:
        self.send_response(status)
        self.close_connection = True
        if length is not None:
            self.send_header("Content-Length", str(length))
        if encoding:
            self.send_header("Content-Encoding", encoding)
        self.send_header("Connection", "close")
        self.end_headers()

    def _send(self, content: bytes) -> bool:
        if self.command == "HEAD":
            return False
        try:
            self.wfile.write(content)
        except OSError:  # who reads has had enough
            return False
        return True

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def liar(tmp_path: Path) -> Iterator[str]:
    """Address of a server of an array of 8 x 8 voxels of value 7."""
    array = zarr.create_array(tmp_path / "a.zarr", shape=(8, 8), chunks=(8, 8), dtype="u2")
    array[:] = 7
    handler = type("Handler", (_Liar,), {"root": tmp_path})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


@pytest.mark.parametrize("kind", ["endless", "long", "packed"])
def test_chunks_that_are_longer(liar: str, kind: str) -> None:
    assert "c/0/0: is too large for a file of this type" in said(
        f"{liar}/{kind}/a.zarr", room=2**30
    )


@pytest.mark.parametrize(
    "part", [RangeByteRequest(1, 2**40), OffsetByteRequest(1), SuffixByteRequest(2**40), None]
)
def test_parts_that_are_longer(tmp_path: Path, part: ByteRequest | None) -> None:
    """As a damaged index of a shard may say."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a/c").write_bytes(bytes(100))
    store = Noted(f"local://{tmp_path}/a", set())
    read = partial(store.get_partial_values, default_buffer_prototype())
    store.most = 200
    (content,) = asyncio.run(read([("c", part)]))
    assert content is not None and len(content) == (
        99 if part and not hasattr(part, "suffix") else 100
    )
    store.most = 50
    with pytest.raises(InputError, match=r"c: is too large .* got 51 bytes"):
        asyncio.run(read([("c", part)]))


def test_chunks_as_they_should_be(liar: str) -> None:
    """A server that does not know ranges sends all."""
    image = open_image(f"{liar}/whole/a.zarr")
    assert (image.read((slice(0, 1), slice(0, 8), slice(0, 8))) == np.uint16(7)).all()


def test_parts(liar: str, tmp_path: Path) -> None:
    content = (tmp_path / "a.zarr/c/0/0").read_bytes()
    assert addresses.read_bytes(f"{liar}/small/a.zarr/c/0/0", 0, 4) == content[:4]
    assert addresses.read_bytes(f"{liar}/whole/a.zarr/c/0/0", 0, 4) == content[:4]
    assert addresses.read_bytes(f"{liar}/whole/a.zarr/c/0/1") is None
    for start, stop in ((2, 4), (-2, None)):
        with pytest.raises(InputError, match="the server cannot send parts of files"):
            addresses.read_bytes(f"{liar}/whole/a.zarr/c/0/0", start, stop)


def test_documents_without_end(liar: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "MOST_BYTES", 2**20)
    with pytest.raises(InputError, match=r"is too large .* got 1048577 bytes"):
        addresses.read_bytes(f"{liar}/endless/a.zarr/c/0/0")


class _Obliging(http.server.BaseHTTPRequestHandler):
    """Has the same document under every name, but for the group that was asked for."""

    protocol_version = "HTTP/1.1"
    group = (
        b'{"zarr_format": 3, "node_type": "group",'
        b' "attributes": {"ome": {"bioformats2raw.layout": 3}}}'
    )
    other = b""
    is_of_numbers = False

    def do_GET(self) -> None:
        parts = self.path.split("/")
        content = self.group if len(parts) == 3 else self.other
        is_there = len(parts) == 3 or not self.is_of_numbers or parts[2].isdigit()
        self.send_response(200 if is_there else 404)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.mark.parametrize(
    ("document", "is_of_numbers"),
    [
        (b"<html>Welcome</html>", False),
        (b'"ready"', False),
        (b'{"zarr_format": 3, "node_type": "group"}', False),
        (b'{"zarr_format": 3, "node_type": "group"}', True),
    ],
)
def test_a_server_that_has_everything(
    document: bytes, is_of_numbers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing lists the images of a group, one after another is asked for."""
    monkeypatch.setattr(zarrs, "_MOST_NUMBERED", 20)
    fields = {"other": document, "is_of_numbers": is_of_numbers}
    handler = type("Handler", (_Obliging,), fields)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        with pytest.raises(InputError, match=r"a\.zarr: the group does not list its images"):
            open_image(f"http://127.0.0.1:{running.server_address[1]}/a.zarr")
        running.shutdown()


class _Signed(Ranges):
    """Serves who signs alone."""

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        if self.path.partition("?")[2] == "sig=ab/c%3D":
            return True
        self.send_error(403)
        return False


@pytest.mark.parametrize("name", ["a.zarr", "a.zarr/0", "a.zarr.zip", "a.zarr.zip/0"])
def test_signed_addresses_of_zarr(tmp_path: Path, name: str) -> None:
    """What signs them stays behind the key of each file, and may hold a slash."""
    array = voxels(2, 4, 40, 52)
    write_ome_zarr(tmp_path / "a.zarr", array, axes="czyx", version="0.4", chunks=(1, 2, 20, 26))
    with zipfile.ZipFile(tmp_path / "a.zarr.zip", "w") as archive:
        for path in (p for p in (tmp_path / "a.zarr").rglob("*") if p.is_file()):
            archive.write(path, path.relative_to(tmp_path / "a.zarr"))
    handler = partial(_Signed, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/{name}?sig=ab/c%3D"
        # a level alone does not say what its axes are
        axes = "CZYX" if name.endswith("0") else ""
        image = open_image(address, axes=axes)
        assert same(image, array)
        assert image.identity == open_image(address, axes=axes).identity
        server.shutdown()
