"""Folders of results on object stores, and which addresses name one.

Nothing can be renamed there, and there are no folders: only objects, each of which is replaced as a
whole. Whoever reads an object after it was written sees it, and so does whoever lists its folder
(S3, Google Cloud Storage and Azure promise both). An object can be made only where there is none
(`Remote.create`), in one step: ``If-None-Match: *`` of S3 and Azure, a generation of 0 of Google.

Addresses of results hold no credentials: drivers find these in the environment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from terapose.core.errors import InputError
from terapose.core.param_types import has_control
from terapose.io.checksums import crc32c
from terapose.io.documents import MOST_BYTES, too_large
from terapose.io.images.address import filesystem, localise

SCHEMES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss")
ALLOWED = "a local folder, s3://BUCKET/FOLDER, gs://BUCKET/FOLDER or az://CONTAINER/FOLDER"
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(/+)")
_KNOWN = (*SCHEMES, "file", "http", "https", "ftp", "memory")
_SIGNS = re.compile(r"[?#*\[\]{}\\]")
_PART = 2**25
_AT_ONCE = 16
T = TypeVar("T")


def folder_of(address: str | os.PathLike[str]) -> Path | Remote:
    """The folder that an address of results names.

    Parameters
    ----------
    address
        A path, a ``file://`` URL, or that of a folder on an object store.

    Raises
    ------
    InputError
        If nothing can be written to such an address.
    """
    text = os.fspath(address)
    found = _url(text)
    if isinstance(found, Path):
        return found
    scheme = found[1].lower()
    if scheme not in SCHEMES:
        raise InputError(
            "results cannot be written to addresses of this type", where=text, allowed=ALLOWED
        )
    path = text[found.end() :].rstrip("/")
    _refuse_odd(text, path)
    return Remote(f"{scheme}://{path}")


def local_path(address: str | os.PathLike[str]) -> Path:
    """The path that an address names, of what is written to a local disk only.

    Raises
    ------
    InputError
        If it is a URL, other than ``file://``.
    """
    text = os.fspath(address)
    found = _url(text)
    if isinstance(found, Path):
        return found
    raise InputError(
        "this is written to a local disk only",
        where=text,
        allowed="a path",
        remedy="write it to a local folder, and copy it from there",
    )


def _url(text: str) -> Path | re.Match[str]:
    """The path that an address names, or its parts, if it is a URL other than ``file://``."""
    found = _URL.match(text)
    # `Path` leaves one slash of the two of a URL
    if found is None or (len(found[2]) == 1 and found[1].lower() not in _KNOWN):
        return Path(text)
    if found[1].lower() == "file":
        return Path(localise(f"file://{text[found.end() - 1 :]}"))
    return found


def _refuse_odd(address: str, path: str) -> None:
    bucket, *parts = path.split("/")
    user, at, _ = bucket.rpartition("@")
    # the container of abfs://CONTAINER@ACCOUNT.dfs.core.windows.net is no user
    if at and (":" in user or not address.lower().startswith("abfs")):
        raise InputError(
            "addresses of results may not contain credentials",
            where=address,
            allowed=ALLOWED,
            remedy="put them into environment variables or a profile (docs/cloud.md)",
        )
    wrong = has_control(path) or _SIGNS.search(path) or {"", ".", ".."} & {bucket, *parts}
    if wrong:
        raise InputError(
            "is no folder on an object store",
            where=address,
            allowed=f"{ALLOWED}; no ? # * [ ] {{ }} \\ and no part that is empty or dots",
        )


@dataclass(frozen=True)
class Remote:
    """A folder on an object store.

    Attributes
    ----------
    address
        Its URL, without a slash at the end.
    """

    address: str

    def __str__(self) -> str:
        return self.address

    def __truediv__(self, name: str) -> Remote:
        """A folder in it; itself, if the name is empty."""
        return Remote(f"{self.address}/{name}") if name else self

    @cached_property
    def _place(self) -> tuple[Any, str]:
        fs, root = filesystem(self.address)
        return fs, str(root).rstrip("/")

    def _path(self, key: str) -> str:
        return f"{self._place[1]}/{key}"

    @property
    def _fs(self) -> Any:
        return self._place[0]

    def read(self, key: str) -> bytes | None:
        """Read a small object; None where there is none."""
        path = self._path(key)
        with self._asked():
            self._fs.invalidate_cache()
            try:
                size = self._fs.size(path) or 0
                content = self._fs.cat_file(path) if size <= MOST_BYTES else b""
            except FileNotFoundError:
                return None
        if size > MOST_BYTES:
            raise too_large(f"{self}/{key}", size, MOST_BYTES)
        return bytes(content)

    def checksum(self, key: str, size: int) -> int | None:
        """CRC-32C of an object whose size is known; None where there is none."""
        found = 0
        with self._asked():
            try:
                if size <= _PART:
                    return crc32c(self._fs.cat_file(self._path(key)))
                for start in range(0, size, _PART):
                    part = self._fs.cat_file(self._path(key), start, min(size, start + _PART))
                    found = crc32c(part, found)
            except FileNotFoundError:
                return None
        return found

    def write(self, key: str, data: bytes) -> None:
        """Write an object."""
        with self._asked():
            self._fs.pipe_file(self._path(key), data)

    def create(self, key: str, data: bytes) -> bool:
        """Write an object in one step, where there is none; whether there was none."""
        with self._asked():
            try:
                self._fs.pipe_file(self._path(key), data, mode="create")
            except FileExistsError:
                return False
        return True

    def send(self, key: str, path: Path) -> None:
        """Copy a file to an object, in parts if it is large."""
        with self._asked():
            self._fs.put_file(str(path), self._path(key))

    def remove(self, keys: Iterable[str]) -> None:
        """Remove objects, those that are there."""

        def one(key: str) -> None:
            # not `rm`, which takes names for patterns
            with self._asked(), suppress(FileNotFoundError):
                self._fs.rm_file(self._path(key))

        at_once(one, keys)

    def modified(self, key: str) -> float | None:
        """When an object was written, by the clock of the store; None where there is none."""
        with self._asked():
            self._fs.invalidate_cache()
            try:
                return float(self._fs.modified(self._path(key)).timestamp())
            except FileNotFoundError:
                return None

    def files(self, name: str = "") -> dict[str, int]:
        """Sizes of all objects in the folder, or of the one or the folder of a name, by keys."""
        top = self._path(name).rstrip("/")
        with self._asked():
            # another process may have written since the driver has looked
            self._fs.invalidate_cache()
            try:
                found = self._fs.find(top, detail=True)
                if not isinstance(found, dict):  # so it is with Azure, of a single object
                    found = {path: self._fs.info(path) for path in found}
            except FileNotFoundError:
                return {}
        root = f"{self._place[1]}/"
        return {
            path.removeprefix(root): int(one["size"] or 0)
            for path, one in found.items()
            if path.startswith(root) and (path == top or path.startswith(f"{top}/"))
        }

    def names(self) -> list[str]:
        """Names of objects and folders in it, sorted."""
        with self._asked():
            self._fs.invalidate_cache()
            try:
                found = self._fs.ls(self._place[1], detail=False)
            except FileNotFoundError:
                return []
        root = f"{self._place[1]}/"
        names = (str(path).rstrip("/").removeprefix(root) for path in found)
        return sorted(name for name in names if name and "/" not in name)

    @contextmanager
    def _asked(self) -> Iterator[None]:
        """Say in one sentence what a driver says."""
        try:
            yield
        except (InputError, FileExistsError):
            raise
        except FileNotFoundError as error:
            raise InputError(
                "there is no such bucket, or it cannot be seen",
                where=self,
                got=str(error),
                remedy="check the address and your permissions",
            ) from error
        except Exception as error:  # every driver has kinds of its own
            raise InputError(
                "the object store refuses, or cannot be reached",
                where=self,
                got=f"{type(error).__name__}: {str(error).partition(chr(10))[0]}",
                remedy="check the address, the network and your permissions (docs/cloud.md)",
            ) from error


def at_once(work: Callable[[str], T], keys: Iterable[str]) -> dict[str, T]:
    """Do something with objects, several at a time; results by their keys."""
    keys = list(keys)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(zip(keys, pool.map(work, keys), strict=True))
