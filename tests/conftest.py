"""What tests of several modules share and make only once."""

from __future__ import annotations

import http.server
import subprocess
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings
from tests.command import Terapose
from tests.ranges import Ranges
from tests.unets import random_unet, save

import durations

settings.register_profile(
    "terapose",
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("terapose")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests slow by the time that they took (tools/durations.py), the slowest modules first.

    A module is one worker's, so one that takes minutes and begins last would be waited for.
    """
    slow, modules = durations.read(), defaultdict[Path, float](float)
    for item in items:
        seconds = slow.get(item.nodeid.partition("[")[0])
        if seconds is not None:
            item.add_marker("slow")
            modules[item.path] += seconds
    items.sort(key=lambda item: -modules[item.path])


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a U-Net of one input that costs 20 ms a tile; its weights are random."""
    state = random_unet((1, 2)).state_dict()
    # flows of either sign and a probability around 0, so that some voxels belong to cells
    state["output.2.weight"] *= 40
    state["output.2.bias"] = torch.zeros(3)
    path: Path = save(state, tmp_path_factory.mktemp("model") / "tiny.pth")
    return path


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terapose:
    """The command line, in this process."""
    return Terapose(monkeypatch, capsys)


@pytest.fixture
def threads() -> Iterator[None]:
    """Torch's number of threads is put back after the test."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Make a file system in memory; skip where that is not permitted."""
    made: list[Path] = []

    def make(options: str) -> Path:
        folder = tmp_path / "mounted"
        folder.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        try:
            done = subprocess.run(words, capture_output=True, text=True)
        except FileNotFoundError:
            pytest.skip("no mount command")
        if done.returncode:
            pytest.skip(f"may not mount: {done.stderr.strip()}")
        made.append(folder)
        return folder

    yield make
    for folder in made:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Address of a server of the files in `tmp_path`."""
    handler = partial(Ranges, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
