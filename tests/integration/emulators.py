"""Azurite and fake-gcs-server on this machine, which npm and Go install, pinned."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.object_store import SECRET, Server, free_port, wait_for

from terapose.io.drivers import driver_of

AZURITE = "azurite@3.35.0"
"""The last version that runs with Node.js 20."""
FAKE_GCS = "github.com/fsouza/fake-gcs-server@v1.56.1"
ACCOUNT = "cells"
KEY = base64.b64encode(SECRET.encode() * 8).decode()


@dataclass(frozen=True)
class Cloud:
    """A service that an emulator stands for.

    Attributes
    ----------
    scheme
        Of its addresses.
    install
        Installs the emulator in a folder, unless it is there; its command without options.
    options
        Of the command, for a port.
    known
        Environment variables by which drivers find a server at an address.
    """

    scheme: str
    tool: str
    install: Callable[[Path], list[object]]
    options: Callable[[int], tuple[object, ...]]
    known: Callable[[str], dict[str, str]]

    def missing(self) -> str:
        """Why it cannot be had here; nothing if it can."""
        return "" if shutil.which(self.tool) else f"no {self.tool} to install the emulator with"

    def make_bucket(self, name: str) -> None:
        """Make a bucket, or a container."""
        self._driver().mkdir(name)

    def drop_bucket(self, name: str) -> None:
        """Remove a bucket, or a container, with all that is in it."""
        while True:
            try:
                self._driver().rm(name, recursive=True)
                return
            except FileExistsError:  # another process has written meanwhile
                time.sleep(0.05)

    def _driver(self) -> Any:
        return driver_of(f"{self.scheme}://any", use_listings_cache=False)[0]


def _azurite(folder: Path) -> list[object]:
    program = folder / "node_modules" / ".bin" / "azurite-blob"
    if not program.exists():
        _call("npm", "install", "--no-audit", "--no-fund", "--prefix", folder, AZURITE)
    return ["node", program]


def _fake_gcs(folder: Path) -> list[object]:
    program = folder / "fake-gcs-server"
    if not program.exists():
        _call("go", "install", FAKE_GCS, GOBIN=str(folder.resolve()))
    return [program]


def connection(address: str, secret: str = f"AccountKey={KEY}") -> str:
    """The connection string of Azure for a server at an address."""
    return (
        f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};{secret};"
        f"BlobEndpoint={address}/{ACCOUNT};"
    )


CLOUDS = {
    "azure": Cloud(
        "az",
        "npm",
        _azurite,
        lambda port: (
            *("--blobPort", port, "--inMemoryPersistence"),
            *("--skipApiVersionCheck", "--disableTelemetry"),
        ),
        lambda address: {"AZURE_STORAGE_CONNECTION_STRING": connection(address)},
    ),
    "google": Cloud(
        "gs",
        "go",
        _fake_gcs,
        lambda port: (
            *("-backend", "memory", "-scheme", "http", "-host", "127.0.0.1", "-port", port),
            *("-public-host", f"127.0.0.1:{port}", "-external-url", f"http://127.0.0.1:{port}"),
        ),
        lambda address: {"STORAGE_EMULATOR_HOST": address},
    ),
}


@contextmanager
def serving(cloud: Cloud, programs: Path, folder: Path) -> Iterator[Server]:
    """Run an emulator, with the environment that drivers find it by.

    Parameters
    ----------
    cloud
        Which.
    programs
        Where it is installed, or will be.
    folder
        For its log.
    """
    port, log = free_port(), folder / "requests.log"
    words = [*cloud.install(programs), *cloud.options(port)]
    address = f"http://127.0.0.1:{port}"
    env = {**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"}
    with log.open("w") as out, at(cloud, address):
        process = subprocess.Popen(
            [*map(str, words)], stdout=out, stderr=subprocess.STDOUT, env=env, cwd=folder
        )
        try:
            wait_for(process, port, log)
            yield Server(address, log)
        finally:
            process.terminate()
            process.wait()


def at(cloud: Cloud, address: str, **more: str) -> AbstractContextManager[None]:
    """The environment by which drivers find a server at an address."""
    return _environment({**cloud.known(address), **more})


@contextmanager
def _environment(known: dict[str, str]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in known.items():
            patch.setenv(name, value)
        _forget()
        try:
            yield
        finally:
            _forget()


def _forget() -> None:
    """Drivers of another server in this process are not asked."""
    for module, name in (("adlfs", "AzureBlobFileSystem"), ("gcsfs", "GCSFileSystem")):
        if module in sys.modules:
            getattr(sys.modules[module], name).clear_instance_cache()


def _call(*words: object, **known: str) -> None:
    done = subprocess.run(
        [*map(str, words)], env={**os.environ, **known}, capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"{words[0]} cannot install the emulator: {done.stderr[-300:]}")
