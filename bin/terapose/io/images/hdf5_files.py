"""HDF5 files: opened for reading, links followed by ourselves, filters checked.

A file may hold names whose content is elsewhere: soft links, external links to other files,
virtual datasets that are put together from others, raw data outside the file. HDF5 would follow
them anywhere, and reads fill values where a source of a virtual dataset is missing. So they are
followed here, under these rules:

1. A relative name is looked up in the folder of the file that gives it, an absolute one as it is,
   or, where nothing is there, by its last part in the folder of that file. HDF5 finds the sources
   of virtual datasets by the same rules.
2. The file meant must be in the folder of the image or below, symbolic links resolved.
3. What is not there is an error that names it.
4. All files that a dataset needs are listed, so that they count for the identity of the image.
"""

from __future__ import annotations

import errno
import math
import os
from collections import deque
from collections.abc import Iterator
from itertools import chain, count
from typing import Any, NamedTuple

import numpy as np

from terapose.core.errors import InputError, pass_on
from terapose.io.images.hdf5_filters import check_filters

_MAX_LINKS = 64
_SHOWN = 12


class Node(NamedTuple):
    """A group or dataset, and the files on the way to it.

    Attributes
    ----------
    item
        The open group or dataset of h5py, in the file that holds it.
    files
        Names of all files that lead to it.
    """

    item: Any
    files: frozenset[str]


class Hdf5Files:
    """One HDF5 file and those it links to, opened where they are needed; a context manager.

    Parameters
    ----------
    file_name
        The file, a local path.
    address
        What the user gave, for messages.
    """

    def __init__(self, file_name: str, address: str) -> None:
        self.file = os.path.realpath(file_name)
        self._folder = os.path.dirname(self.file)
        self._address = address
        self._open: dict[str, Any] = {}

    def __enter__(self) -> Hdf5Files:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._open.values():
            file.close()

    def find(self, path: str, start: Node | None = None) -> Node:
        """Follow a path to its group or dataset, through links of every kind.

        Parameters
        ----------
        path
            Names with slashes between them, in the file or below ``start``.
        start
            Where to begin; by default the file's root.

        Raises
        ------
        InputError
            If a name or a file is missing, links run in a circle, or one leads out of the folder.
        """
        item, files = start or Node(self._opened(self.file), frozenset([self.file]))
        steps, links = deque(_parts(path)), 0
        while steps:
            link = _link(item, steps[0])
            if link is None:
                raise self._nothing("/".join(steps) if links else path, item)
            name = steps.popleft()
            kind = type(link).__name__
            if kind == "HardLink":
                item = item[name]
                continue
            links += 1
            if links > _MAX_LINKS:
                raise InputError(
                    "links in the HDF5 file form a cycle",
                    where=self._address,
                    got=path,
                    remedy="name the dataset itself",
                )
            if kind == "ExternalLink":
                target = self._beside(item.file.filename, link.filename)
                item, files = self._opened(target), files | {target}
            elif link.path.startswith("/"):
                item = item.file["/"]
            steps.extendleft(reversed(_parts(link.path)))
        return Node(item, files)

    def datasets(self, start: Node) -> Iterator[tuple[str, Node | InputError]]:
        """All datasets below a group, each once, by path; or why a link leads to none.

        Parameters
        ----------
        start
            A group.
        """
        seen: set[tuple[str, int]] = set()
        groups: deque[tuple[str, Node]] = deque([("", start)])
        while groups:
            prefix, group = groups.popleft()
            for name in group.item:
                path = f"{prefix}{name}"
                try:
                    node = self.find(name, group)
                except InputError as error:
                    yield path, error
                    continue
                place = (node.item.file.filename, _address_of(node.item))
                if place in seen:
                    continue
                seen.add(place)
                if is_dataset(node.item):
                    yield path, node
                elif hasattr(node.item, "keys"):
                    groups.append((f"{path}/", node))

    def sources(self, node: Node) -> frozenset[str]:
        """Check that a dataset can be read, and name all files that it needs.

        Raises
        ------
        InputError
            If a source of a virtual dataset is missing, smaller than what is read of it or of a
            type that does not fit, its voxels are in raw files, or a filter is not installed.
        """
        files: set[str] = set()
        self._check(node, files, set())
        return frozenset(files)

    def _check(self, node: Node, files: set[str], seen: set[tuple[str, str]]) -> None:
        item, more = node
        files |= more
        place = (item.file.filename, item.name)
        if place in seen:
            return
        seen.add(place)
        if item.external:
            raise InputError(
                "keeps its voxels outside the HDF5 file, in raw files, which are not read",
                where=self._address,
                got=item.external[0][0],
                remedy="write them into one file, for example with h5repack",
            )
        check_filters(self._address, item)
        if not item.is_virtual:
            return
        for source in item.virtual_sources():
            for part in self.parts_at(item, source):
                self._check(part, files, seen)
                self._check_source(item, source, part)

    def _check_source(self, dataset: Any, source: Any, part: Node) -> None:
        """Refuse a source of which HDF5 would read fill values, or other numbers than it holds."""
        shape = shape_of(part.item)
        if _holds(shape, dataset, source) and np.can_cast(part.item.dtype, dataset.dtype, "safe"):
            return
        name = os.path.basename(part.item.file.filename)
        raise InputError(
            "a source of a virtual dataset lacks voxels of the dataset, or has another type",
            where=self._address,
            got=f"{name}, {source.dset_name}: {' x '.join(map(str, shape))} {part.item.dtype}",
            allowed=f"a type that {dataset.dtype} can hold, and all voxels that are joined",
            remedy="write the source again, or the virtual dataset from the sources that exist",
        )

    def chunks(self, node: Node) -> tuple[int, ...] | None:
        """Chunks of a dataset, of the first source of one that is put together; None without."""
        item = node.item
        while item.is_virtual:
            first = next(self.parts_of(item), None)
            if first is None or first.item == item:
                return None
            item = first.item
        return tuple(item.chunks) if item.chunks else None

    def parts_of(self, dataset: Any) -> Iterator[Node]:
        """All sources of a virtual dataset, each open until the next."""
        return chain.from_iterable(self.parts_at(dataset, s) for s in dataset.virtual_sources())

    def parts_at(self, dataset: Any, source: Any) -> Iterator[Node]:
        """What an entry of `virtual_sources` means: one dataset, or many, each open in turn."""
        kept = set(self._open)
        for part in self._numbered(dataset, source):
            yield part
            for name in set(self._open) - kept:  # there may be more files than can be open
                self._open.pop(name).close()

    def _numbered(self, dataset: Any, source: Any) -> Iterator[Node]:
        """A source of a virtual dataset; those with a number (%b) up to the last that is there."""
        here, pair = dataset.file.filename, (source.file_name, source.dset_name)
        if "%b" not in "".join(pair):
            yield self._source(here, *pair)
            return
        for number in count():
            file, path = (name.replace("%b", str(number)) for name in pair)
            if number and file != "." and not os.path.exists(_in_folder_of(here, file)):
                break
            try:
                yield self._source(here, file, path)
            except InputError:
                if number and "%b" in source.dset_name:
                    break
                raise

    def _source(self, here: str, file_name: str, path: str) -> Node:
        target = here if file_name == "." else self._beside(here, file_name)
        return self.find(path, Node(self._opened(target)["/"], frozenset([target])))

    def _beside(self, file_name: str, target: str) -> str:
        return file_beside(file_name, target, self._folder, self._address)

    def _opened(self, file_name: str) -> Any:
        if file_name not in self._open:
            address = self._address if file_name == self.file else file_name
            self._open[file_name] = open_file(file_name, address)
        return self._open[file_name]

    def _nothing(self, path: str, group: Any) -> InputError:
        here = group.file.filename
        names = list(group)[:_SHOWN] if hasattr(group, "keys") else []
        return InputError(
            "the HDF5 file has no such dataset",
            where=self._address,
            got=path if here == self.file else f"{path} in {os.path.basename(here)}",
            allowed=", ".join(names) or None,
            remedy="name one that is there",
        )


def file_beside(file_name: str, target: str, folder: str, address: str) -> str:
    """Path of a file that another one names, by rules 1 and 2.

    Parameters
    ----------
    file_name, target
        The file that gives the name, and the name.
    folder
        The image's folder, without symbolic links.
    address
        For messages.

    Raises
    ------
    InputError
        If it is outside the folder, or there is none.
    """
    found = os.path.realpath(_in_folder_of(file_name, target))
    if os.path.commonpath([found, folder]) != folder:
        raise InputError(
            f"{os.path.basename(file_name)} leads to a file outside the image's own folder, "
            "which is not followed",
            where=address,
            got=target,
            allowed=f"files in {folder} and below",
            remedy="put the file there, or write the image into one file",
        )
    if not os.path.isfile(found):
        raise InputError(
            "a file that the image leads to is missing",
            where=address,
            got=f"{target}, named in {os.path.basename(file_name)}",
            remedy="copy it beside the image, together with all files that belong to it",
        )
    return found


def open_file(file_name: str, address: str) -> Any:
    """Open a file for reading.

    Raises
    ------
    InputError
        If it is missing, damaged, not allowed to be read, or being written.
    """
    import h5py

    try:
        return h5py.File(file_name, "r", locking="best-effort")
    except OSError as error:
        pass_on(error)
        raise _cannot_open(address, error) from error


def is_dataset(item: Any) -> bool:
    """Whether it is a dataset, not a group or a named type."""
    import h5py

    return isinstance(item, h5py.Dataset)


def shape_of(dataset: Any) -> tuple[int, ...]:
    """Its lengths; none for a dataset that holds nothing."""
    return tuple(int(n) for n in dataset.shape or ())


def _holds(shape: tuple[int, ...], dataset: Any, source: Any) -> bool:
    """Whether a source of this shape has all voxels that a virtual dataset takes of it."""
    from h5py import h5s

    try:
        if source.src_space.get_select_type() == h5s.SEL_ALL:
            lengths = shape_of(dataset)
            if source.vspace.get_select_type() != h5s.SEL_ALL:
                low, high = source.vspace.get_select_bounds()
                lengths = tuple(int(b - a) + 1 for a, b in zip(low, high, strict=True))
                if source.vspace.get_select_npoints() != math.prod(lengths):  # no box
                    return math.prod(shape) == int(source.vspace.get_select_npoints())
            # voxels come in their order: only the first axis may go on behind them
            there, here = ([n for n in one if n > 1] for one in (shape, lengths))
            return there[1:] == here[1:] and there[:1] >= here[:1]
        last = source.src_space.get_select_bounds()[1]
    except (RuntimeError, ValueError):  # without end: as many as there are
        return True
    return len(last) == len(shape) and all(n < m for n, m in zip(last, shape, strict=True))


def _parts(path: str) -> list[str]:
    return [name for name in path.split("/") if name not in ("", ".")]


def _link(item: Any, name: str) -> Any:
    """The link of this name in a group; None where there is none."""
    if not hasattr(item, "keys"):
        return None
    return item.get(name, getlink=True)


def _in_folder_of(file_name: str, target: str) -> str:
    """Where a file that another one names is looked up (rule 1)."""
    if os.path.isabs(target) and not os.path.exists(target):
        target = os.path.basename(target)
    return os.path.join(os.path.dirname(file_name), target)


def _address_of(item: Any) -> int:
    from h5py import h5o

    return int(h5o.get_info(item.id).addr)


def _cannot_open(address: str, error: OSError) -> InputError:
    said = " ".join(str(error).split())
    what = "the HDF5 file cannot be opened"
    remedy = "the file is damaged or incomplete, copy it again"
    if "unable to lock file" in said and error.errno in (errno.EAGAIN, errno.EACCES):
        what = "the HDF5 file is open for writing in another program"
        remedy = "close it there and start again"
    elif "unable to lock file" in said:
        what = "the HDF5 file cannot be locked on this file system"
        remedy = "set HDF5_USE_FILE_LOCKING=FALSE, if no program writes to it"
    elif "already open for" in said:
        what = "the HDF5 file is being written, or was never closed by the program that wrote it"
        remedy = "close it there; if that program has crashed, h5clear -s makes it readable"
    elif isinstance(error, FileNotFoundError):
        what, remedy = "there is no such file", "check the path, and that this machine sees it"
    elif isinstance(error, PermissionError):
        what, remedy = "the HDF5 file may not be read", "check its permissions"
    return InputError(what, where=address, got=said, remedy=remedy)
