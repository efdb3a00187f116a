"""A server of S3 on this machine (moto), in a process of its own."""

from __future__ import annotations

import importlib.util
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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


def _free_port() -> int:
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
    port, log = _free_port(), folder / "requests.log"
    words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with log.open("w") as out, pytest.MonkeyPatch.context() as patch:
        process = subprocess.Popen(words, stdout=out, stderr=subprocess.STDOUT)
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        try:
            _wait(process, port, log)
            # one of another server in this process is not asked
            s3fs.S3FileSystem.clear_instance_cache()
            yield Server(f"http://127.0.0.1:{port}", log)
        finally:
            process.terminate()
            process.wait()
            s3fs.S3FileSystem.clear_instance_cache()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    for _ in range(600):
        assert process.poll() is None, log.read_text()
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(f"the server does not answer: {log.read_text()}")
