"""The folder of stores of intermediates, and of cells of a second network: ``.terapose`` in that of
the results, or in another one that was asked for. It may be on an object store.

``.terapose`` may be a link to a folder, which the user made to keep intermediates on another disk.
Such a folder may be that of other results, too, or contain anything else: only what a run has made
itself is removed from there, and the link stays. What is in the folder may not be a link: see
`terapose.io.own_files`.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from terapose.core.errors import InputError, StoreError, few
from terapose.io import files
from terapose.io.documents import kind_of
from terapose.io.lock import Held
from terapose.io.remote import Remote, names_in
from terapose.io.store.store import Store
from terapose.pipeline.plan import KEPT, Plan
from terapose.results.upload import upload

log = logging.getLogger(__name__)

NAME = ".terapose"
CELLS = "cells"
"""Results of the second network, whose names in it the stores cannot have: those are digests.
Where there may be those of other runs, a digest of the address of the results follows."""
_STORE = re.compile(r"[0-9a-f]{16}")
_OURS = re.compile(rf"{_STORE.pattern}|{CELLS}(-{_STORE.pattern})?|results-{_STORE.pattern}")


def is_store(name: str) -> bool:
    """Whether a store in the folder has such a name."""
    return _STORE.fullmatch(name) is not None


def stores_in(folder: Path) -> list[Path]:
    """Stores in a folder of them, those without a plan, too: a run may work where one was."""
    return sorted(path for path in folder.glob("*/") if is_store(path.name))


def plan_in(store: Path) -> Plan:
    """The plan of a store, to look at: one of other code is as good, for nothing is computed.

    Raises
    ------
    StoreError
        If it is missing or damaged, or of a version with other fields.
    """
    try:
        return Plan.model_validate(Store(str(store)).of("").get_json(KEPT))
    except ValidationError as error:
        raise StoreError(
            "is not a plan of this version",
            where=store / KEPT,
            got=few([".".join(map(str, one["loc"])) for one in error.errors()], 3),
            remedy="run with the version that wrote it, or remove the store",
        ) from error


@dataclass(frozen=True)
class Home:
    """The folder.

    Attributes
    ----------
    place
        Where it is.
    is_shared
        Whether something else than what runs with these results have left may be in it.
    cells
        Name in it of the results of the second network.
    """

    place: Path | Remote
    is_shared: bool = False
    cells: str = CELLS

    def store(self, digest: str) -> Store:
        """The store of a plan."""
        return Store(str(self.place / digest), digest)

    def of_cells(self) -> Home:
        """The folder for the run of the second network, looked at as `prepare` does."""
        place = self.place / self.cells / NAME
        if isinstance(place, Path):
            prepare(place)
            return Home(place, is_shared=place.is_symlink())
        return Home(place)

    def clear(self, store: Store) -> None:
        """Remove the intermediates of a run that keeps none, and those of earlier runs.

        Not those of runs that write other results (a folder that was asked for, or a link to one),
        nor what was put there by others.
        """
        own = (Path(store.address).name, self.cells)
        for name in own if self.is_shared else self._names():
            if isinstance(self.place, Path):
                files.remove(self.place / name)
            else:
                Store(str(self.place / name)).remove()
        if not self.is_shared and isinstance(self.place, Path):
            with suppress(OSError):  # somebody has put something there
                self.place.rmdir()

    def _names(self) -> list[str]:
        """What runs have left in the folder."""
        return [name for name in names_in(self.place) if _OURS.fullmatch(name)]


def home_of(results: Path | Remote, store: Path | Remote | None) -> Home:
    """The folder for a run, looked at as `prepare` does.

    Parameters
    ----------
    results
        Folder of the results, to which no other run writes.
    store
        The folder that was asked for in place of that of the results.

    Raises
    ------
    InputError
        As `prepare`, or `Remote.probe` of a store that was asked for.
    """
    place = (results if store is None else store) / NAME
    if isinstance(place, Path):
        # the folder of results itself may be a link, or be reached through one
        place = place.parent.resolve() / NAME
        prepare(place)
    elif store is not None:
        # a folder of results has been looked at
        place.probe()
    if store is None and not (isinstance(place, Path) and place.is_symlink()):
        return Home(place)
    return Home(place, is_shared=True, cells=shared_cells(results))


def shared_cells(results: Path | Remote) -> str:
    """Name of the results of the second network where stores of other runs may be, too."""
    return f"{CELLS}-{_digest(results)}"


def _digest(results: Path | Remote) -> str:
    """What distinguishes the results of one run from those of others that share a folder."""
    address = str(results.resolve() if isinstance(results, Path) else results)
    return hashlib.sha256(os.fsencode(address)).hexdigest()[:16]


@contextmanager
def laid_out(results: Path | Remote, home: Home, held: Held) -> Iterator[Path]:
    """A local folder in which a block makes results, which are then where they should be.

    Parameters
    ----------
    results
        The folder; if it is local, it is the one.
    home
        Of the run. If it is local, the folder is in it, so that files can be links.
    held
        Refuses to go on if another run has taken the folder of results.
    """
    if isinstance(results, Path):
        yield results
        # else the other run's may be among these
        held()
        return
    if isinstance(home.place, Path):
        # one of a killed run is found again
        folder = home.place / f"results-{_digest(results)}"
        files.remove(folder)
        folder.mkdir(parents=True)
    else:
        folder = _temporary(results)
    try:
        yield folder
        upload(folder, results, held)
    finally:
        files.remove(folder)


@contextmanager
def local_cells(home: Home) -> Iterator[Path]:
    """A local folder for the results of the second network: in the home, if that is local."""
    if isinstance(home.place, Path):
        yield home.place / home.cells
        return
    folder = _temporary(home.place / home.cells)
    try:
        yield folder
    finally:
        files.remove(folder)


def _temporary(address: Remote) -> Path:
    """An empty folder for temporary files, in which that of a killed run is found again.

    Parameters
    ----------
    address
        What it is for, while no other run writes there.
    """
    folder = Path(tempfile.gettempdir()) / f"terapose-{_digest(address)}"
    with suppress(FileNotFoundError):
        if _is_own(folder.lstat()):
            files.remove(folder)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        other = Path(tempfile.mkdtemp(prefix="terapose-"))
        log.warning("%s: does not belong to this user; %s is used in its place", folder, other)
        return other
    return folder


def _is_own(status: os.stat_result) -> bool:
    """Whether it is a folder in which nobody else can have put anything."""
    others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not others


def prepare(home: Path) -> None:
    """Look at what is there before a run, while no other run writes to the folder of results.

    A file in place of a store is damage, and is removed, but where the folder is one of the user's.

    Raises
    ------
    InputError
        If it is no folder, or a store in it is a link.
    """
    if not home.is_dir():
        if os.path.lexists(home):
            raise InputError(
                "is not a folder, and intermediate results cannot be kept there",
                where=home,
                got=kind_of(os.lstat(home).st_mode),
                remedy="remove it, or choose another folder for the results",
            )
        return
    for path in home.iterdir():
        mode = os.lstat(path).st_mode
        if not _OURS.fullmatch(path.name) or stat.S_ISDIR(mode):
            continue
        if stat.S_ISLNK(mode):
            raise InputError(
                "is a symbolic link, which is not followed",
                where=path,
                got=f"a link to {os.readlink(path)}",
                allowed=f"a folder; {home} itself may be a link to one",
                remedy="remove the link and run again",
            )
        if not home.is_symlink():
            files.remove(path)
