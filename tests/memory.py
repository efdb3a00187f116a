"""Memory of what a test does, in a process of its own.

In that of the tests, threads that others left and garbage not yet collected count as well.
"""

from __future__ import annotations

import ctypes
import os
import resource
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from terapose.core.errors import InputError
from terapose.io.images.opening import open_image

_ROOM = 400 * 2**20
_ARENAS = -8
"""M_ARENA_MAX of glibc."""


def _said(path: str, channel: Any, room: int, options: dict[str, Any]) -> None:
    # else each thread would get 64 MB of addresses of its own, and how many there are is chance
    ctypes.CDLL(None).mallopt(_ARENAS, 1)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + room,) * 2)
    try:
        image = open_image(path, **options)
        image.read(tuple(slice(0, min(n, 8)) for n in image.shape))  # type: ignore[arg-type]
        channel.send("it was read")
    except InputError as error:
        channel.send(str(error))
    except MemoryError:
        channel.send("no memory")
    os._exit(0)


def said(path: Path | str, *, room: int = _ROOM, **options: Any) -> str:
    """What it ends in to read the first voxels, in a fork that may take 400 MB more than it has.

    Parameters
    ----------
    path
        The image.
    room
        Bytes that it may take, if others: threads of clients of servers ask for much that they
        do not use.
    options
        Of `open_image`.
    """
    if not Path("/proc/self/statm").exists():
        pytest.skip("what a process has cannot be told here")
    context = get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=_said, args=(str(path), there, room, options))
    process.start()
    there.close()  # so that the end of the process is the end of what it says
    try:
        assert here.poll(600), "it waits for something"
        return str(here.recv())
    finally:
        process.kill()
        process.join()


def alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns in a new process, of which only this is asked."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def traced(function: Callable[..., Any], *arguments: Any) -> tuple[Any, int]:
    """What a function returns, and the most bytes that it held at a time."""
    tracemalloc.start()
    try:
        result = function(*arguments)
        return result, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def traced_again(function: Callable[..., Any], *arguments: Any) -> tuple[Any, int]:
    """The same of a second call: a first one imports, and loads what is compiled."""
    function(*arguments)
    return traced(function, *arguments)
