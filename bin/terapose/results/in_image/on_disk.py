"""The labels group of an image on a local disk.

Label images are copied aside, in the group, and compared. Only then are those of the same names
taken off the list of the group; each is replaced by one rename, and put on the list at last. A run
that is killed leaves copies aside, which the next one removes, and a list that is shorter at worst.

No link is followed below the group of the image.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from terapose.core.errors import InputError
from terapose.io import files, lock
from terapose.io.documents import kind_of, read_document
from terapose.io.labels.files import copy_files, keys_in, of_path
from terapose.io.labels.of_image import Home
from terapose.results.in_image.group import LIST, refuse_other_formats, relist
from terapose.results.in_image.wanted import Wanted


@dataclass(frozen=True)
class OnDisk:
    """A labels group; all is as `terapose.results.in_image.group.Group` says.

    Attributes
    ----------
    home
        Where it is.
    folder
        The same.
    """

    home: Home
    folder: Path

    def check(self) -> None:
        """Refuse what no label image can be written to."""
        is_there = os.path.lexists(self.folder)
        if is_there:
            _refuse_odd(self.folder, is_folder=True)
        place = self.folder if is_there else self.folder.parent
        # tried without a file: what is newer in the folder of an image is another image to Nextflow
        if not os.access(place, os.W_OK | os.X_OK):
            raise InputError(
                "label images cannot be written here",
                where=place,
                got="no permission, or a disk that is read-only",
                remedy="ask for permission to write into the image, or leave out labels_in",
            )
        refuse_other_formats(self)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the group, which is made if it is not there, while a block runs."""
        self._make()
        with lock.held(self.folder):
            files.clear_aside(self.folder)
            yield

    def _make(self) -> None:
        image = self.folder.parent
        before = image.stat()
        files.point("labels group: before it is made")
        try:
            self.folder.mkdir()
        except FileExistsError:
            return
        # nothing of the image itself has changed, but by this time Nextflow would take it for
        # another one, and run everything again with -resume; only the owner may set it
        with suppress(OSError):
            os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
        files.point("labels group: after it is made")

    def has(self, name: str) -> bool:
        """Whether anything has a name."""
        return os.path.lexists(self.folder / name)

    def document(self, key: str) -> bytes | None:
        """The content of a small file; None where there is none."""
        path = self.folder
        *above, name = key.split("/")
        for part in above:
            path /= part
            if not os.path.lexists(path):
                return None
            _refuse_odd(path, is_folder=True)
        path /= name
        if not os.path.lexists(path):
            return None
        _refuse_odd(path, is_folder=False)
        return read_document(path)

    def write(self, key: str, content: bytes) -> None:
        """Write a small file in one step."""
        with files.written(self.folder / key, LIST) as place:
            place.write_bytes(content)

    def remove(self, key: str) -> None:
        """Remove a small file, if it is there."""
        if self.document(key) is not None:
            files.point("consolidated metadata: before they are removed")
            files.remove(self.folder / key)

    def is_begun(self, name: str) -> bool:
        """Whether a run that was killed was writing a label image: such are aside."""
        return False

    def faults(self, wanted: Wanted) -> list[str]:
        """What is not as it is to be."""
        return wanted.faults(partial(of_path, self.folder), _keys(self._places(wanted)))

    def _places(self, wanted: Wanted) -> dict[str, Path]:
        return {name: self.folder / name for name in wanted.names}

    def bring(self, wanted: Wanted, gone: Collection[str]) -> None:
        """Bring label images, and remove others of ours."""
        copies = {name: files.aside(path) for name, path in self._places(wanted).items()}
        try:
            for name, place in copies.items():
                files.point("label image: before it is copied")
                copy_files(wanted.source / name, place, files.copy)
                for level in range(wanted.levels, len(wanted.checks.files.factors)):
                    files.remove(place / str(level))
                copy_files(wanted.own / name, place, files.copy)
            wanted.confirm(self.folder, lambda key: _checksum(copies, key), _keys(copies))
            relist(self, off=[*wanted.names, *gone])
            for name, place in copies.items():
                files.move(place, self.folder / name, "label image")
            for name in gone:
                files.point("earlier label image: before it is removed")
                files.remove(self.folder / name)
            relist(self, on=wanted.names)
        finally:
            for place in copies.values():
                files.remove(place)


def _under(places: dict[str, Path], key: str) -> Path:
    name, _, rest = key.partition("/")
    return places[name] / rest


def _checksum(places: dict[str, Path], key: str) -> int | None:
    path = _under(places, key)
    return of_path(path.parent, path.name)


def _keys(places: dict[str, Path]) -> list[str]:
    return [f"{name}/{key}" for name, place in places.items() for key in keys_in(place)]


def _refuse_odd(path: Path, *, is_folder: bool) -> None:
    """Refuse what is no folder, or no file: a link is neither."""
    mode = os.lstat(path).st_mode
    if stat.S_ISDIR(mode) if is_folder else stat.S_ISREG(mode):
        return
    raise InputError(
        "inside an image, only real files and folders are followed or replaced",
        where=path,
        got=kind_of(mode),
        allowed="a folder" if is_folder else "a file",
        remedy="move it away, or leave out labels_in",
    )
