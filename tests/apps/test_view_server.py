"""The server of a viewer: what it sends, and what it does not, whoever asks in whatever way."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.command import EXECUTABLE, Terapose, heeding_ctrl_c
from tests.waiting import PATIENCE

from terapose.apps.view.opening import Viewer, open_view
from terapose.core.errors import InputError

CLIENT = "https://example.org/client"


@pytest.fixture
def viewer(viewed: Path) -> Iterator[Viewer]:
    """A viewer of the volume."""
    with open_view(viewed / "volume", browser=False, client=CLIENT) as opened:
        yield opened


def ask(
    url: str, path: str, method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """What a server answers; the path is sent as it is."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=PATIENCE)
    try:
        connection.putrequest(method, place.path + path, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        found = connection.getresponse()
        return found.status, dict(found.headers), found.read()
    finally:
        connection.close()


def test_files_are_sent_as_they_are(viewer: Viewer, viewed: Path) -> None:
    labels, image = viewed / "volume" / "labels.zarr" / "cells", viewed / "volume.zarr"
    for name, folder in (("cells", labels), ("image", image)):
        keys = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]
        assert len(keys) > 2
        for key in keys:
            status, headers, content = ask(viewer.url, f"data/{name}/{key}")
            assert (status, content) == (200, (folder / key).read_bytes())
            assert headers["Access-Control-Allow-Origin"] == "*"
            assert headers["Referrer-Policy"] == "no-referrer"
    status, _, page = ask(viewer.url, "")
    assert status == 200 and b"v/view/index.html" in page
    status, _, page = ask(viewer.url, "v/view/index.html")
    assert status == 200 and json.dumps(CLIENT).encode() in page


def test_a_missing_chunk_is_404(viewer: Viewer) -> None:
    for path in ("data/cells/0/c/9/9/9", "data/image/0/c/0/0/77/0", "data/outlines/0/c/9/0/0"):
        assert ask(viewer.url, path)[0] == 404


@pytest.mark.parametrize(
    ("given", "first", "stop"),
    [
        ("bytes=0-3", 0, 4),
        ("bytes=5-", 5, None),
        ("bytes=-7", -7, None),
        ("bytes=3-99999999", 3, None),
        ("bytes=-99999999", 0, None),
    ],
)
def test_parts_of_files(
    viewer: Viewer, viewed: Path, given: str, first: int, stop: int | None
) -> None:
    for path in ("data/cells/zarr.json", "data/outlines/zarr.json"):
        whole = ask(viewer.url, path)[2]
        status, headers, content = ask(viewer.url, path, Range=given)
        assert (status, content) == (206, whole[first:stop])
        start = first % len(whole) if first else 0
        end = start + len(content) - 1
        assert headers["Content-Range"] == f"bytes {start}-{end}/{len(whole)}"


def test_ranges_that_are_not_there(viewer: Viewer) -> None:
    whole = ask(viewer.url, "state.json")[2]
    for given in (f"bytes={len(whole)}-", "bytes=999999999-999999999999", "bytes=-0", "bytes=5-2"):
        status, headers, content = ask(viewer.url, "state.json", Range=given)
        assert (status, content) == (416, b"")
        assert headers["Content-Range"] == f"bytes */{len(whole)}"
    # what is not understood may be ignored, and all of it is sent
    for given in ("bytes=0-1,3-4", "lines=1-2", "bytes=-", "bytes=a-b", "bytes=" + "9" * 50 + "-"):
        assert ask(viewer.url, "state.json", Range=given)[::2] == (200, whole)


def test_head_has_no_content(viewer: Viewer) -> None:
    length = len(ask(viewer.url, "data/cells/zarr.json")[2])
    status, headers, content = ask(viewer.url, "data/cells/zarr.json", "HEAD")
    assert (status, headers["Content-Length"], content) == (200, str(length), b"")
    assert ask(viewer.url, "data/cells/nothing", "HEAD")[::2] == (404, b"")
    status, headers, _ = ask(viewer.url, "data/cells/zarr.json", "OPTIONS")
    assert status == 204 and headers["Access-Control-Allow-Headers"] == "Range"
    for method in ("POST", "PUT", "DELETE", "TRACE"):
        assert ask(viewer.url, "state.json", method)[0] == 501


ATTACKS = (
    "../provenance.json",
    "data/cells/../../provenance.json",
    "data/cells/%2e%2e/%2e%2e/provenance.json",
    "data/cells/%2e%2e%2f%2e%2e%2fprovenance.json",
    "data/cells/..%5c..%5cprovenance.json",
    "data/cells/0/../../../cells.csv",
    "data/cells/0/%252e%252e/zarr.json",
    "data/cells//etc/passwd",
    "data/cells/%2fetc%2fpasswd",
    "data/cells/0/c",
    "data/cells/",
    "data/cells",
    "data/",
    "data/cells/.terapose",
    "data/cells/zarr.json%00",
    "data/cells/zarr.json/",
    "data/cells/./zarr.json",
    "data/cells/%ff%fe",
    "data/image/labels/cells/zarr.json",
    "client/index.html",
    "file:///etc/passwd",
    "data/channel1/zarr.json",
    "data/cells/0/" + "a" * 300,
)


@pytest.mark.parametrize("path", ATTACKS)
def test_nothing_else_is_sent(viewer: Viewer, path: str) -> None:
    assert ask(viewer.url, path)[0] == 404


def test_only_who_knows_the_token_gets_anything(viewer: Viewer) -> None:
    place = urlsplit(viewer.url)
    token = place.path.strip("/")
    assert len(token) >= 32
    root = f"http://{place.netloc}/"
    for wrong in (
        "",
        "x",
        token[:-1],
        token + "x",
        token.swapcase(),
        "%00",
        "%C3%A9",
        token + "%2f",
    ):
        for path in ("", "state.json", "data/cells/zarr.json"):
            sent = f"{wrong}/{path}".encode().decode("latin-1")
            assert ask(root, sent)[0] == 404, wrong
    assert ask(root, "open/x")[0] == 404
    # nor does an error give it away
    assert token.encode() not in ask(root, "x")[2] + str(ask(root, "x")[1]).encode()


def test_a_ticket_leads_to_the_site_once(viewer: Viewer) -> None:
    ticket = viewer._server.ticket("127.0.0.1")
    token = urlsplit(viewer.url).path
    assert token.strip("/") not in ticket
    status, headers, _ = ask(ticket, "")
    assert (status, headers["Location"]) == (302, token)
    assert ask(ticket, "")[0] == 404


def test_links_that_lead_out_are_errors(
    viewer: Viewer, viewed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = viewed / "volume" / "labels.zarr" / "cells" / "0" / "c" / "7"
    (tmp_path / "secret").write_text("secret")
    folder.mkdir()
    try:
        (folder / "out").symlink_to(tmp_path / "secret")
        (folder / "nowhere").symlink_to(tmp_path / "nothing")
        (folder / "loop").symlink_to(folder / "loop")
        (folder / "folder").symlink_to(tmp_path)
        (folder / "inside").symlink_to("../../zarr.json")
        os.mkfifo(folder / "pipe")
        # viewers take 403 and 404 for a chunk of nothing
        for name in ("out", "nowhere", "loop", "folder/secret"):
            status, _, content = ask(viewer.url, f"data/cells/0/c/7/{name}")
            assert status == 500 and content != b"secret", name
        assert "a link that leads out of the folder" in caplog.text
        assert ask(viewer.url, "data/cells/0/c/7/pipe")[0] == 404
        assert ask(viewer.url, "data/cells/0/c/7/inside")[0] == 200
    finally:
        for entry in folder.iterdir():
            entry.unlink()
        folder.rmdir()


def test_what_cannot_be_read_is_an_error(
    viewed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open_view(viewed / "plane", browser=False, client=CLIENT) as viewer:
        assert ask(viewer.url, "data/channel1/0/c/0/0")[0] == 200
        content = (viewed / "plane.tif").read_bytes()
        try:
            (viewed / "plane.tif").write_bytes(content[:-2000])
            with open_view(viewed / "plane", browser=False, client=CLIENT):
                pytest.fail("a file that ends too early was opened")
        except InputError:
            pass
        finally:
            (viewed / "plane.tif").write_bytes(content)
        level = viewed / "plane" / "labels.zarr" / "cells" / "0"
        chunk = next(p for p in level.rglob("*") if p.is_file() and not p.name.startswith("."))
        content = chunk.read_bytes()
        try:
            chunk.write_bytes(content[: len(content) // 2])
            assert ask(viewer.url, "data/outlines/0/c/0/0")[0] == 500
            assert "cannot be read" in caplog.text
        finally:
            chunk.write_bytes(content)
        assert ask(viewer.url, "data/outlines/0/c/0/0")[0] == 200


def test_huge_and_broken_requests_end(viewer: Viewer) -> None:
    place = urlsplit(viewer.url)
    sent = {
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n": b" 414 ",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n": b" 431 ",
        b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 200 + b"\r\n": b" 431 ",
        b"\x16\x03\x01\x00\xa5\r\n\r\n": b" 400 ",
        b"GET / HTTP/9.9\r\n\r\n": b" 505 ",
    }
    for request, answer in sent.items():
        with socket.create_connection((str(place.hostname), place.port), 60) as made:
            made.sendall(request)
            assert answer in made.recv(1000).partition(b"\r\n")[0]
    # connections that say nothing keep nobody waiting
    silent = [socket.create_connection((str(place.hostname), place.port), 60) for _ in range(20)]
    assert ask(viewer.url, "state.json")[0] == 200
    for one in silent:
        one.close()


def test_several_at_a_time_get_the_same(viewer: Viewer) -> None:
    expected = ask(viewer.url, "data/outlines/0/c/0/0/0")[2]
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(ask(viewer.url, "data/outlines/0/c/0/0/0")[2]))
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 12


def test_it_listens_on_this_machine_alone_and_closes(viewed: Path) -> None:
    viewer = open_view(viewed / "volume", browser=False, client=CLIENT)
    assert urlsplit(viewer.url).hostname == "127.0.0.1"
    assert f":127.0.0.1:{urlsplit(viewer.url).port} " in viewer.tunnel
    assert viewer.state["layers"][0]["source"].startswith(f"zarr3://{viewer.url}data/")
    port = urlsplit(viewer.url).port
    with pytest.raises(InputError, match="cannot listen there; got Address already in use"):
        open_view(viewed / "volume", browser=False, client=CLIENT, port=port or 0)
    viewer.close()
    with pytest.raises(OSError):
        ask(viewer.url, "state.json")


def test_the_command_serves_until_ctrl_c(viewed: Path, tmp_path: Path) -> None:
    words = ["view", viewed / "volume", "--no-browser", "--client", CLIENT]
    process = subprocess.Popen(
        [sys.executable, str(EXECUTABLE), *map(str, words), "--state", str(tmp_path / "s.json")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heeding_ctrl_c,
    )
    try:
        assert process.stdout
        first, second = process.stdout.readline(), process.stdout.readline()
        url = first.removeprefix("viewer: ").strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{32}/", url)
        port = urlsplit(url).port
        assert f"ssh -N -L {port}:127.0.0.1:{port} " in second
        assert ask(url, "state.json")[0] == 200
        state = json.loads((tmp_path / "s.json").read_text())
        assert state["layers"][0]["source"].startswith(f"zarr3://{url}")
        # the server answers before the command waits
        assert process.stderr and process.stderr.readline() == "Ctrl-C closes it\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == 0
    assert said == "closed\n"


def test_options_that_would_do_nothing_are_refused(
    command: Terapose, viewed: Path, tmp_path: Path
) -> None:
    results = viewed / "volume"
    said = command.refuses("view", results, "--static", tmp_path / "a", "--port", 1)
    assert said == "--port: has no use with --static; leave it out"
    assert "--links" in command.refuses("view", results, "--links", "--no-browser")
    said = command.refuses("view", results, "--viewer", "napari", "--static", tmp_path / "a")
    assert said == "--static: has no use with --viewer napari; leave it out"
    assert not (tmp_path / "a").exists()


def test_what_is_not_installed_is_said(
    command: Terapose, viewed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "neuroglancer", None)
    monkeypatch.setitem(sys.modules, "napari", None)
    said = command.refuses("view", viewed / "volume", "--no-browser")
    assert said.startswith(
        "viewer: Neuroglancer is not installed; install Terapose from its folder with pip install "
        "'/path/to/terapose[view]'"
    )
    said = command.refuses("view", viewed / "volume", "--viewer", "napari")
    assert said.startswith("viewer: napari is not installed; install napari[all]")
