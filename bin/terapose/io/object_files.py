"""Files of Zarr arrays on object stores: one request for each chunk, by the driver that all use.

A driver keeps its connections in the event loop in which it opened them. zarr has its own, which is
gone when drivers close their connections at the end of a process: those of Google and Azure then
print a traceback. So the driver stays in its loop, and zarr waits for it there.
"""

from __future__ import annotations

import asyncio
import inspect
from contextlib import suppress
from typing import Any

from zarr.storage import FsspecStore

from terapose.io.drivers import driver_of, object_store_options


class ObjectFiles(FsspecStore):
    """A Zarr store on an object store."""

    async def delete(self, key: str) -> None:
        """Remove a file, if it is there: one request, where zarr first asks what is there."""
        self._check_writable()
        with suppress(FileNotFoundError):
            await self.fs._rm_file(f"{self.path}/{key}")


def files_on(address: str, *, read_only: bool = False) -> FsspecStore:
    """The files at a URL, other than that of a web server.

    Raises
    ------
    InputError
        If the driver is not installed, or refuses to start.
    """
    options = object_store_options(address)
    fs, path = driver_of(address, **options)
    if not fs.async_impl:  # it has no loop, and zarr calls it in threads
        return FsspecStore.from_url(address, storage_options=options, read_only=read_only)
    return ObjectFiles(_InItsLoop(fs), read_only=read_only, path=path)


class _InItsLoop:
    """A driver whose coroutines run in its own loop, whichever loop waits for them."""

    async_impl = asynchronous = True

    def __init__(self, fs: Any) -> None:
        self._fs = fs

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._fs, name)
        if not inspect.iscoroutinefunction(method):
            return method

        async def ask(*args: Any, **options: Any) -> Any:
            asked = asyncio.run_coroutine_threadsafe(method(*args, **options), self._fs.loop)
            return await asyncio.wrap_future(asked)

        return ask
