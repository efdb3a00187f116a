"""What is served under a path: bytes made for it, or files of a folder.

A folder gives regular files inside it and nothing else: no listing, no hidden file that is not Zarr
metadata, nothing behind a link that leads out of it. The last of these is an error and not a chunk
that is missing, because a missing chunk is shown as background.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

_HIDDEN = frozenset({".zattrs", ".zgroup", ".zarray"})
_KEY = re.compile(r"[^/\x00\\]+(/[^/\x00\\]+)*")


class RefusedError(Exception):
    """There is something under the key that must not be served."""


class Source(Protocol):
    """What is under a prefix of a site."""

    def get(self, key: str) -> bytes | Path | None:
        """Content of a key: bytes, or a file that holds them; None where there is none.

        Raises
        ------
        RefusedError
            If what is there must not be served.
        InputError
            If it cannot be read.
        """
        ...

    def all_keys(self) -> Iterator[str]:
        """All keys that may have content.

        Raises
        ------
        RefusedError
            If they cannot all be found.
        """
        ...


class Documents:
    """A few documents, made when they are first asked for.

    Parameters
    ----------
    made
        Makes the content of each key.
    """

    def __init__(self, made: Mapping[str, Callable[[], bytes]]) -> None:
        self._made = made
        self._kept: dict[str, bytes] = {}

    def get(self, key: str) -> bytes | None:
        """Content of a document."""
        if key in self._made and key not in self._kept:
            self._kept[key] = self._made[key]()
        return self._kept.get(key)

    def all_keys(self) -> Iterator[str]:
        """Names of the documents."""
        yield from self._made


class Folder:
    """Files in a folder.

    Parameters
    ----------
    root
        The folder; it may be a link itself.
    tops
        Names directly in it that are served, with what is below them.
    """

    def __init__(self, root: Path, tops: frozenset[str]) -> None:
        self._root = root.resolve()
        self._tops = tops

    def get(self, key: str) -> Path | None:
        """The file of a key."""
        parts = key.split("/")
        if not _KEY.fullmatch(key) or parts[0] not in self._tops or not all(map(_may, parts)):
            return None
        path = self._root.joinpath(*parts)
        try:
            real = path.resolve(strict=True)
        except (FileNotFoundError, NotADirectoryError):
            if path.is_symlink():
                raise RefusedError(f"{key}: a link to nothing") from None
            return None
        except (OSError, ValueError, RuntimeError) as error:
            if getattr(error, "errno", None) == errno.ENAMETOOLONG:
                return None
            raise RefusedError(f"{key}: cannot be looked at") from error
        if not real.is_relative_to(self._root):
            raise RefusedError(f"{key}: a link that leads out of the folder")
        return real if stat.S_ISREG(real.stat().st_mode) else None

    def all_keys(self) -> Iterator[str]:
        """Names of all files that are served.

        Raises
        ------
        RefusedError
            If a folder is a link: what is in it would be left out.
        """
        for top in sorted(self._tops):
            if (self._root / top).is_file():
                yield top
            for place, folders, names in os.walk(self._root / top):
                folders.sort()
                for name in folders:
                    if (Path(place) / name).is_symlink():
                        raise RefusedError(f"{Path(place) / name}: a link in place of a folder")
                for name in sorted(names):
                    key = (Path(place) / name).relative_to(self._root).as_posix()
                    if all(map(_may, key.split("/"))):
                        yield key


def _may(name: str) -> bool:
    return not name.startswith(".") or name in _HIDDEN
