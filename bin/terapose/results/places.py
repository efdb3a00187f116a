"""Where results are, on a local disk or an object store: what `terapose.results.verify` reads."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from terapose.io.documents import refuse_special
from terapose.io.labels.files import checksums_in, keys_in, of_path
from terapose.io.remote import Remote
from terapose.results.publishing import of_tree


class Place(Protocol):
    """A folder of results."""

    def document(self, name: str) -> bytes:
        """The content of a small file."""

    def checksum(self, key: str) -> int | None:
        """CRC-32C of a file; None where there is none."""

    def tree(self, name: str) -> int | None:
        """Checksum of a file, or of all files of a folder; None where there is nothing."""

    def keys(self, name: str) -> Iterable[str]:
        """Keys of all files in a folder of the results, in that folder."""


class OnDisk:
    """A folder on a local disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def document(self, name: str) -> bytes:
        """The content of a small file."""
        refuse_special(self._folder / name)
        return (self._folder / name).read_bytes()

    def checksum(self, key: str) -> int | None:
        """CRC-32C of a file; None where there is none."""
        return of_path(self._folder, key)

    def tree(self, name: str) -> int | None:
        """Checksum of a file, or of all files of a folder; None where there is nothing."""
        refuse_special(self._folder / name)
        return of_tree(self._folder / name)

    def keys(self, name: str) -> Iterable[str]:
        """Keys of all files in a folder of the results, in that folder."""
        return keys_in(self._folder / name)


class OnStore:
    """A folder on an object store. Listings are kept, so that no object is asked for in vain.

    Parameters
    ----------
    folder
        The folder.
    known
        Checksums of objects that have been read, by keys.
    """

    def __init__(self, folder: Remote, known: dict[str, int] | None = None) -> None:
        self._folder, self._known = folder, known or {}
        self._listed: dict[str, dict[str, int]] = {}

    def document(self, name: str) -> bytes:
        """The content of a small file."""
        content = self._folder.read(name)
        if content is None:
            raise FileNotFoundError(2, "there is no such object", f"{self._folder}/{name}")
        return content

    def _files(self, name: str) -> dict[str, int]:
        if name not in self._listed:
            self._listed[name] = self._folder.files(name)
        return self._listed[name]

    def checksum(self, key: str) -> int | None:
        """CRC-32C of a file; None where there is none."""
        size = self._files(key.partition("/")[0]).get(key)
        if size is None or key in self._known:
            return self._known.get(key) if size is not None else None
        return self._folder.checksum(key, size)

    def tree(self, name: str) -> int | None:
        """Checksum of a file, or of all files of a folder; None where there is nothing."""
        files = self._files(name)
        if name in files or not files:
            return self.checksum(name)
        (found,) = checksums_in(
            lambda key: self.checksum(f"{name}/{key}"), [sorted(self.keys(name))]
        )
        return found

    def keys(self, name: str) -> Iterable[str]:
        """Keys of all files in a folder of the results, in that folder."""
        return [key.removeprefix(f"{name}/") for key in self._files(name) if key != name]


def place_of(folder: Path | Remote) -> Place:
    """What reads a folder of results."""
    return OnStore(folder) if isinstance(folder, Remote) else OnDisk(folder)
