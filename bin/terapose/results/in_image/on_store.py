"""The labels group of an image on an object store, where nothing can be renamed.

1. A note (`NOTE`) names the label images that are being written: of a run that is killed they may
   lack the attributes by which they are known as those of Terapose.
2. They are taken off the list of the group, and their own documents are removed, so that nobody
   opens them.
3. Objects that do not belong to them are removed, chunks and arrays that are missing or different
   are sent, and their documents last.
4. All is read again and compared, the names are put on the list, and the note is removed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from terapose.io import files, remote_lock
from terapose.io.checksums import of_file
from terapose.io.documents import parse_json
from terapose.io.labels.of_image import Home
from terapose.io.lock import Held
from terapose.io.remote import Remote, at_once
from terapose.results.in_image.group import LIST, refuse_other_formats, relist
from terapose.results.in_image.wanted import Wanted

NOTE = ".terapose.going.json"


@dataclass
class OnStore:
    """A labels group; all is as `terapose.results.in_image.group.Group` says.

    Attributes
    ----------
    home
        Where it is.
    folder
        The same.
    """

    home: Home
    folder: Remote
    _confirm: Held = field(default_factory=lambda: _nothing, init=False)

    def check(self) -> None:
        """Refuse what no label image can be written to."""
        self.folder.probe()
        refuse_other_formats(self)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the group while a block runs."""
        with remote_lock.held(self.folder) as self._confirm:
            yield

    def has(self, name: str) -> bool:
        """Whether anything has a name."""
        return name in self.folder.names()

    def document(self, key: str) -> bytes | None:
        """The content of a small object; None where there is none."""
        return self.folder.read(key)

    def write(self, key: str, content: bytes) -> None:
        """Write a small object in one step."""
        self._confirm()
        files.point(f"{LIST}: before it is written")
        self.folder.write(key, content)
        files.point(f"{LIST}: after it is written")

    def remove(self, key: str) -> None:
        """Remove a small object, if it is there."""
        if self.document(key) is not None:
            self._confirm()
            self._drop([key], "consolidated metadata")

    def is_begun(self, name: str) -> bool:
        """Whether a run that was killed was writing a label image of a name."""
        return name in self._noted()

    def _noted(self) -> list[str]:
        """Names in the note; it counts for nothing if it is not as it was written."""
        try:
            names = parse_json(self.folder.read(NOTE) or b"[]")
        except ValueError:
            return []
        return [str(name) for name in names] if isinstance(names, list) else []

    def faults(self, wanted: Wanted) -> list[str]:
        """What is not as it is to be."""
        sizes = self._sizes(wanted.names)
        return wanted.faults(self._reading(sizes, {}), sizes)

    def _sizes(self, names: Iterable[str]) -> dict[str, int]:
        """Sizes of the objects of label images, by their keys in the group."""
        return {key: size for name in names for key, size in self.folder.files(name).items()}

    def _reading(self, sizes: dict[str, int], known: dict[str, int]) -> Callable[[str], int | None]:
        """What gives checksums of objects: those that are known already, or of what is read."""

        def read(key: str) -> int | None:
            if key in known or key not in sizes:
                return known.get(key)
            return self.folder.checksum(key, sizes[key])

        return read

    def bring(self, wanted: Wanted, gone: Collection[str]) -> None:
        """Bring label images, and remove others of ours."""
        self._confirm()
        files.point("note of label images: before it is written")
        names = sorted({*self._noted(), *wanted.names, *gone})
        self.folder.write(NOTE, json.dumps(names).encode())
        relist(self, off=[*wanted.names, *gone])
        there = self._sizes([*wanted.names, *gone])
        own = [key for key in there if _is_document(key)]
        self._drop(own, "document of an earlier label image")
        chunks = sorted(key for key in wanted.files if not _is_document(key))
        self._drop(there.keys() - {*own, *chunks}, "earlier label image")
        same = self._same(wanted, {key: there[key] for key in chunks if key in there})
        at_once(lambda key: self._send(wanted, key), [key for key in chunks if key not in same])
        at_once(lambda key: self._send(wanted, key), filter(_is_document, wanted.files))
        sizes = self._sizes(wanted.names)
        wanted.confirm(self.folder, self._reading(sizes, same), sizes)
        relist(self, on=wanted.names)
        self._drop([NOTE], "note of label images")

    def _same(self, wanted: Wanted, sizes: dict[str, int]) -> dict[str, int]:
        """Checksums of the objects that are as the files of the results."""
        alike = [key for key, n in sizes.items() if n == wanted.files[key].stat().st_size]
        found = at_once(lambda key: self.folder.checksum(key, sizes[key]), alike)
        return {
            key: crc
            for key, crc in found.items()
            if crc is not None and crc == of_file(wanted.files[key])
        }

    def _send(self, wanted: Wanted, key: str) -> None:
        files.point("label image: before it is sent")
        self.folder.send(key, wanted.files[key])
        files.point("label image: after it is sent")

    def _drop(self, keys: Iterable[str], what: str) -> None:
        files.point(f"{what}: before it is removed")
        self.folder.remove(keys)
        files.point(f"{what}: after it is removed")


def _nothing() -> None:
    """Confirm nothing: the group is not held yet."""


def _is_document(key: str) -> bool:
    """Whether an object is directly in a label image: its own document."""
    return key.count("/") == 1
