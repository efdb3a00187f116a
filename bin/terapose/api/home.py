"""The folder ``.terapose`` beside results: stores of intermediates, cells of a second network.

It may be a link to a folder, which the user made to keep intermediates on another disk. Then only
what a run has made itself is removed from there, and the link stays. What is in the folder may not
be a link: see `terapose.io.own_files`.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from terapose.core.errors import InputError
from terapose.io import files
from terapose.io.documents import kind_of

NAME = ".terapose"
CELLS = "cells"
"""Results of the second network, whose names in it the stores cannot have: those are digests."""
_OURS = re.compile(rf"[0-9a-f]{{16}}|{CELLS}")


def prepare(results: Path) -> Path:
    """Look at what is there before a run, while no other run writes to the folder of results.

    A file in place of a store is damage, and is removed.

    Returns
    -------
    pathlib.Path
        The folder, which may have to be made.

    Raises
    ------
    InputError
        If it is no folder, or a store in it is a link.
    """
    home = results.resolve() / NAME
    if not home.is_dir():
        if os.path.lexists(home):
            raise InputError(
                "is not a folder, and intermediate results cannot be kept there",
                where=home,
                got=kind_of(os.lstat(home).st_mode),
                remedy="remove it, or choose another folder for the results",
            )
        return home
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
    return home


def clear(home: Path, store: Path) -> None:
    """Remove the intermediates of a run that keeps none.

    Parameters
    ----------
    home
        The folder (`prepare`). If it is a link, other stores behind it may be those of other runs.
    store
        Of this run.
    """
    for path in (store, home / CELLS) if home.is_symlink() else (home,):
        files.remove(path)
