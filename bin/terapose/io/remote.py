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
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from terapose.core.errors import InputError
from terapose.core.param_types import has_control, is_utf8
from terapose.io.checksums import crc32c
from terapose.io.documents import MOST_BYTES, too_large
from terapose.io.drivers import asked, is_marker
from terapose.io.files import ASIDE
from terapose.io.images.address import filesystem, localise

SCHEMES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss")
ALLOWED = "a local folder, s3://BUCKET/FOLDER, gs://BUCKET/FOLDER or az://CONTAINER/FOLDER"
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(/+)")
_KNOWN = (*SCHEMES, "file", "http", "https", "ftp", "memory")
_SIGNS = re.compile(r"[?#*\[\]{}\\]")
_PROBE = re.compile(rf"\.(terapose-)?[0-9a-f]{{32}}{re.escape(ASIDE)}")
PROBE_AGE = 3600.0
"""Seconds after which a probe is no longer that of a run at work."""
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
        # a host only after two slashes
        slashes = "//" if len(found[2]) == 2 else "///"
        return Path(localise(f"file:{slashes}{text[found.end() :]}"))
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
    is_text = is_utf8(path) and not has_control(path)
    wrong = not is_text or _SIGNS.search(path) or {"", ".", ".."} & {bucket, *parts}
    if wrong:
        raise InputError(
            "is not a folder on an object store",
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
        """Read a small object; None where there is none.

        Raises
        ------
        InputError
            As all methods: if the store refuses, cannot be reached, or has no such bucket. Here
            also if the object is a large one.
        """
        with suppress(FileNotFoundError), asked(self, may_lack=True):
            path = self._path(key)
            self._fs.invalidate_cache()
            size = self._fs.size(path) or 0
            if size > MOST_BYTES:
                raise too_large(f"{self}/{key}", size, MOST_BYTES)
            return bytes(self._fs.cat_file(path))
        return None

    def checksum(self, key: str, size: int) -> int | None:
        """CRC-32C of an object whose size is known; None where there is none.

        Raises
        ------
        InputError
            As `read`.
        """
        with suppress(FileNotFoundError), asked(self, may_lack=True):
            if size <= _PART:
                return crc32c(self._fs.cat_file(self._path(key)))
            found = 0
            for start in range(0, size, _PART):
                part = self._fs.cat_file(self._path(key), start, min(size, start + _PART))
                found = crc32c(part, found)
            return found
        return None

    def write(self, key: str, data: bytes) -> None:
        """Write an object.

        Raises
        ------
        InputError
            As `read`.
        """
        with asked(self):
            self._fs.pipe_file(self._path(key), data)

    def create(self, key: str, data: bytes) -> bool:
        """Write an object in one step, where there is none; whether there was none.

        Raises
        ------
        InputError
            As `read`.
        """
        with suppress(FileExistsError), asked(self):
            self._fs.pipe_file(self._path(key), data, mode="create")
            return True
        return False

    def send(self, key: str, path: Path) -> None:
        """Copy a file to an object, in parts if it is large.

        Raises
        ------
        InputError
            As `read`.
        """
        with asked(self):
            self._fs.put_file(str(path), self._path(key))

    def remove(self, keys: Iterable[str]) -> None:
        """Remove objects, those that are there.

        Raises
        ------
        InputError
            As `read`.
        """

        def one(key: str) -> None:
            # not `rm`, which takes names for patterns
            with suppress(FileNotFoundError), asked(self, may_lack=True):
                self._fs.rm_file(self._path(key))

        at_once(one, keys)

    def modified(self, key: str) -> float | None:
        """When an object was written, by the clock of the store; None where there is none.

        Raises
        ------
        InputError
            As `read`.
        """
        with suppress(FileNotFoundError), asked(self, may_lack=True):
            self._fs.invalidate_cache()
            return float(self._fs.modified(self._path(key)).timestamp())
        return None

    def files(self, name: str = "") -> dict[str, int]:
        """Sizes of all objects in the folder, or of the one or the folder of a name, by keys.

        Markers of folders are passed over (`is_marker`).

        Raises
        ------
        InputError
            As `read`.
        """
        found: dict[str, Any] = {}
        top = self._path(name).rstrip("/")
        with suppress(FileNotFoundError), asked(self, may_lack=True):
            # another process may have written since the driver has looked
            self._fs.invalidate_cache()
            listed = self._fs.find(top, detail=True)
            if not isinstance(listed, dict):  # so it is with Azure, of a single object
                listed = {path: self._fs.info(path) for path in listed}
            found = listed
        root = f"{self._place[1]}/"
        return {
            path.removeprefix(root): int(one["size"] or 0)
            for path, one in found.items()
            if path.startswith(root)
            and (path == top or path.startswith(f"{top}/"))
            and not is_marker(path, one["size"])
        }

    def names(self) -> list[str]:
        """Names of objects and folders in it, sorted.

        Raises
        ------
        InputError
            As `read`.
        """
        found: list[str] = []
        with suppress(FileNotFoundError), asked(self, may_lack=True):
            self._fs.invalidate_cache()
            found = self._fs.ls(self._place[1], detail=False)
        root = f"{self._place[1]}/"
        names = (str(path).removeprefix(root).rstrip("/") for path in found)
        # a marker of the folder itself (`is_marker`) is listed in it
        return sorted({name for name in names if name and "/" not in name})

    def probe(self) -> None:
        """Write an object, list, read and remove it: keys may allow one of these and not another.

        What is not allowed should be found out before anything is computed.

        Raises
        ------
        InputError
            As `read`; also if the object is not there as it was written.
        """
        key = f".terapose-{uuid.uuid4().hex}{ASIDE}"
        self.write(key, b"\0")
        try:
            if key not in self.files(key) or self.read(key) != b"\0":
                raise InputError(
                    "an object was written here, and is not there as it was written", where=self
                )
        except InputError:
            with suppress(InputError):  # what went wrong first is what should be said
                self.remove([key])
            raise
        self._clear_probes(key)
        self.remove([key])

    def _clear_probes(self, newest: str) -> None:
        """Remove probes that could not be removed when they were made, `newest` not among them."""
        others = [key for key in self._probes() if key != newest]
        if others and (now := self.modified(newest)) is not None:
            written = at_once(self.modified, others)
            self.remove(key for key, then in written.items() if then and now - then > PROBE_AGE)

    def _probes(self) -> list[str]:
        """Probes in it, those of the clock (`terapose.io.remote_lock`), too."""
        found: list[Any] = []
        with suppress(FileNotFoundError), asked(self, may_lack=True):
            found = self._fs.ls(self._place[1], detail=True)
        root = f"{self._place[1]}/"
        sizes = {str(one["name"]).removeprefix(root): one["size"] for one in found}
        return [key for key, size in sizes.items() if is_probe(key, size)]


def is_probe(name: str, size: int | None) -> bool:
    """Whether something can only be a probe, by its name and size in bytes."""
    found = _PROBE.fullmatch(name)
    return found is not None and size == (1 if found[1] else 0)


def names_in(folder: Path | Remote) -> list[str]:
    """Names of what a folder contains; none where there is no folder.

    Raises
    ------
    InputError
        As `Remote.read`.
    """
    if isinstance(folder, Remote):
        return folder.names()
    return os.listdir(folder) if folder.is_dir() else []


def at_once(work: Callable[[str], T], keys: Iterable[str]) -> dict[str, T]:
    """Do something with objects, several at a time; results by their keys."""
    keys = list(keys)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(zip(keys, pool.map(work, keys), strict=True))
