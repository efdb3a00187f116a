"""The folder of stores of intermediates, and of cells of a second network: ``.terapose`` in that of
the results, or another one that was asked for. It may be on an object store.

``.terapose`` may be a link to a folder, which the user made to keep intermediates on another disk.
Then only what a run has made itself is removed from there, and the link stays. What is in the
folder may not be a link: see `terapose.io.own_files`.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from terapose.core.errors import InputError
from terapose.io import files
from terapose.io.documents import kind_of
from terapose.io.remote import Remote
from terapose.io.remote_lock import Held
from terapose.io.store.store import Store
from terapose.results.upload import upload

NAME = ".terapose"
CELLS = "cells"
"""Results of the second network, whose names in it the stores cannot have: those are digests."""
_OURS = re.compile(rf"[0-9a-f]{{16}}|{CELLS}")


def is_store(name: str) -> bool:
    """Whether a store in the folder has such a name."""
    return name != CELLS and _OURS.fullmatch(name) is not None


@dataclass(frozen=True)
class Home:
    """The folder.

    Attributes
    ----------
    place
        Where it is.
    is_shared
        Whether stores of other runs may be in it.
    """

    place: Path | Remote
    is_shared: bool = False

    def store(self, digest: str) -> Store:
        """The store of a plan."""
        return Store(str(self.place / digest), digest)

    def within(self, name: str) -> Home:
        """The folder for a run that is a part of this one, looked at as `prepare` does."""
        place = self.place / name / NAME
        if isinstance(place, Path):
            prepare(place)
        return Home(place)

    def clear(self, store: Store) -> None:
        """Remove the intermediates of a run that keeps none."""
        if isinstance(self.place, Path):
            clear(self.place, Path(store.address), is_shared=self.is_shared)
            return
        for place in (store.address, self.place / CELLS) if self.is_shared else (self.place,):
            Store(str(place)).remove()


def home_of(results: Path | Remote, store: Path | Remote | None) -> Home:
    """The folder for a run, looked at as `prepare` does.

    Parameters
    ----------
    results
        Folder of the results, to which no other run writes.
    store
        What was asked for in place of ``.terapose`` in it.

    Raises
    ------
    InputError
        As `prepare`.
    """
    place = results / NAME if store is None else store
    if isinstance(place, Path):
        # the folder of results itself may be a link, or be reached through one
        place = place.resolve() if store is not None else place.parent.resolve() / NAME
        prepare(place)
    return Home(place, is_shared=store is not None)


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
        return
    if isinstance(home.place, Path):
        # one of a killed run is found again
        folder = home.place / f"results-{hashlib.sha256(str(results).encode()).hexdigest()[:16]}"
        files.remove(folder)
        folder.mkdir(parents=True)
    else:
        folder = Path(tempfile.mkdtemp(prefix="terapose-"))
    try:
        yield folder
        upload(folder, results, held)
    finally:
        files.remove(folder)


@contextmanager
def local_cells(home: Home) -> Iterator[Path]:
    """A local folder for the results of the second network: in the home, if that is local."""
    if isinstance(home.place, Path):
        yield home.place / CELLS
        return
    with tempfile.TemporaryDirectory(prefix="terapose-") as folder:
        yield Path(folder)


def prepare(home: Path) -> None:
    """Look at what is there before a run, while no other run writes to the folder of results.

    A file in place of a store is damage, and is removed.

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
        files.remove(path)


def clear(home: Path, store: Path, *, is_shared: bool = False) -> None:
    """Remove the intermediates of a run that keeps none.

    Parameters
    ----------
    home
        The folder (`prepare`). If it is a link, other stores behind it may be those of other runs.
    store
        Of this run.
    is_shared
        Whether other stores in it may be those of other runs anyway.
    """
    only = is_shared or home.is_symlink()
    for path in (store, home / CELLS) if only else (home,):
        files.remove(path)
