"""A server of S3 on this machine (moto), in a process of its own, and a gateway before it."""

from __future__ import annotations

import http.client
import importlib.util
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

_REQUEST = re.compile(r'"(?:\x1b\[\d+m)*([A-Z]+) (/\S*) HTTP[^"]*"\S* (\d+)')
SECRET = "hushhush"


class Server:
    """The server, and what it was asked for.

    Parameters
    ----------
    address
        Where it listens.
    log
        File in which it writes a line for each request.
    """

    def __init__(self, address: str, log: Path) -> None:
        self.address, self._log = address, log
        self._seen = 0

    def asked(self) -> list[tuple[str, str]]:
        """Methods and paths of the requests since the last call, with queries."""
        found = _REQUEST.findall(self._log.read_text(errors="replace"))
        new, self._seen = found[self._seen :], len(found)
        return [(method, path) for method, path, _ in new]


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Run a server, with the environment that drivers find it by.

    Parameters
    ----------
    folder
        For its log.
    """
    import s3fs

    if importlib.util.find_spec("moto") is None:
        pytest.skip("no moto: make setup")
    log = folder / "requests.log"
    words = [sys.executable, str(Path(__file__).with_name("moto_server.py"))]
    with log.open("w") as out, pytest.MonkeyPatch.context() as patch:
        process = subprocess.Popen(words, stdout=out, stderr=subprocess.STDOUT)
        try:
            address = address_in(log, process)
            patch.setenv("AWS_ENDPOINT_URL", address)
            patch.setenv("AWS_ACCESS_KEY_ID", "testing")
            patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
            patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
            # a machine that stands still for long is no reason to ask twice
            patch.setattr(s3fs.S3FileSystem, "connect_timeout", 600)
            patch.setattr(s3fs.S3FileSystem, "read_timeout", 600)
            # one of another server in this process is not asked
            s3fs.S3FileSystem.clear_instance_cache()
            yield Server(address, log)
        finally:
            process.terminate()
            process.wait()
            s3fs.S3FileSystem.clear_instance_cache()


def address_in(log: Path, process: subprocess.Popen[bytes]) -> str:
    """Where a server listens, once it says so."""
    for _ in range(3000):
        if found := re.search(r"Running on (http://127\.0\.0\.1:\d+)", log.read_text()):
            return found[1]
        assert process.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(f"the server does not listen: {log.read_text()}")


def wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait until a server answers at a port."""
    for _ in range(600):
        assert process.poll() is None, log.read_text()
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(f"the server does not answer: {log.read_text()}")


class Fault(Enum):
    """What becomes of an answer."""

    GONE = auto()
    SHORT = auto()
    OTHER = auto()
    BUSY = auto()


class Gateway:
    """A server in front of another one, that can refuse requests, or be gone.

    Attributes
    ----------
    address
        Where it listens.
    refuses
        Whether a request, by its method and path, is answered with "access denied".
    fault
        What becomes of the answer to a request, by its method and path.
    before
        Called with method and path before a request is passed on.
    body
        Of the request that `before` is called for.
    """

    def __init__(self, behind: str) -> None:
        self.refuses: Callable[[str, str], bool] = lambda method, path: False
        self.fault: Callable[[str, str], Fault | None] = lambda method, path: None
        self.before: Callable[[str, str], None] = lambda method, path: None
        self.is_gone = False
        self.body = b""
        self.behind = behind.removeprefix("http://")
        handler = type("Handler", (_Passing,), {"gateway": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_port}"


class _Passing(BaseHTTPRequestHandler):
    """Passes requests of a gateway on."""

    gateway: Gateway
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else the body may wait 40 ms for the headers to be confirmed

    def handle(self) -> None:
        # a client whose request is refused hangs up on the others that are under way
        with suppress(BrokenPipeError, ConnectionResetError):
            super().handle()

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if self.gateway.is_gone or not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.gateway.body = body
        self.gateway.before(self.command, self.path)
        fault = self.gateway.fault(self.command, self.path)
        if self.gateway.is_gone or fault is Fault.GONE:
            self.close_connection = True
        elif fault is Fault.BUSY:
            self._answer(503, {}, b"<Error><Code>SlowDown</Code></Error>")
        elif self.gateway.refuses(self.command, self.path):
            self._answer(403, {}, b"<Error><Code>AccessDenied</Code></Error>")
        else:
            one = http.client.HTTPConnection(self.gateway.behind)
            one.request(self.command, self.path, body, dict(self.headers))
            found = one.getresponse()
            content = found.read()
            if fault is Fault.OTHER:
                content = content[:-1] + bytes([content[-1] ^ 1])
            self._answer(found.status, dict(found.headers), content, fault)
            one.close()

    def _answer(
        self,
        status: int,
        headers: dict[str, str],
        content: bytes,
        fault: Fault | None = None,
    ) -> None:
        if self.command != "HEAD":
            headers = {k: v for k, v in headers.items() if k.lower() != "content-length"}
            headers["Content-Length"] = str(len(content))
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("connection", "transfer-encoding", "date", "server"):
                self.send_header(name, value)
        self.end_headers()
        if fault is Fault.SHORT:
            content, self.close_connection = content[: len(content) // 2], True
        self.wfile.write(content)

    def log_request(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def passing(server: Server) -> Iterator[Gateway]:
    """Run a gateway in front of a server."""
    gateway = Gateway(server.address)
    thread = threading.Thread(target=gateway.server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield gateway
    finally:
        gateway.server.shutdown()
        gateway.server.server_close()
        thread.join()


@contextmanager
def before(server: Server) -> Iterator[Gateway]:
    """Run a gateway in front of one of S3, with the environment that drivers find it by."""
    import s3fs

    with passing(server) as gateway, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", gateway.address)
        patch.setenv("AWS_MAX_ATTEMPTS", "1")
        s3fs.S3FileSystem.clear_instance_cache()
        try:
            yield gateway
        finally:
            s3fs.S3FileSystem.clear_instance_cache()


def client_of(server: Server) -> Any:
    """A client of the server that is not one of the drivers."""
    import botocore.session

    return botocore.session.get_session().create_client(
        "s3",
        endpoint_url=server.address,
        region_name="us-east-1",
        aws_access_key_id="testing",
        aws_secret_access_key=SECRET,
    )


def drop_bucket(server: Server, bucket: str) -> None:
    """Remove a bucket with all that is in it."""
    client = client_of(server)
    while True:
        for one in client.list_objects_v2(Bucket=bucket).get("Contents", []):
            client.delete_object(Bucket=bucket, Key=one["Key"])
        try:
            client.delete_bucket(Bucket=bucket)
        except client.exceptions.ClientError as error:
            # another process has written meanwhile
            if error.response["Error"]["Code"] != "BucketNotEmpty":
                raise
        else:
            return
