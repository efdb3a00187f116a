"""A site as a folder that any web server or object store can hold.

Everything that the server would send is written under its path. Volumes that are computed are
written chunk by chunk, so memory does not depend on the size of the image.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from terapose.apps.view.results import open_results
from terapose.apps.view.site import Site, make_site
from terapose.apps.view.sources import RefusedError
from terapose.core.errors import InputError
from terapose.io import files

_EVERY = 256


def write_view(
    results: Path,
    folder: Path,
    *,
    image: str = "",
    color_by: str | None = None,
    client: str = "",
    links: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[str, ...]:
    """Write a viewer of results to a folder.

    Parameters
    ----------
    results
        Folder of the results of one sample.
    folder
        What is written; it must not exist, or be empty. It is there whole or not at all.
    image, color_by, client
        As for `terapose.apps.view.opening.open_view`.
    links
        Whether files of the image and of the results are linked, not copied.
    progress
        Called with the number of files done and of all.

    Returns
    -------
    tuple of str
        What is not shown, and why.

    Raises
    ------
    InputError
        If there is something in the folder, or as for `open_view`.
    """
    if os.path.realpath(folder) == os.getcwd():
        raise InputError(
            "is the folder in which the command was given, which cannot be replaced",
            where=folder,
            remedy="give the name of a new folder",
        )
    _refuse_taken(folder)
    # web servers for files alone do not always serve parts of them
    opened = open_results(results, image)
    site = make_site(opened, color_by=color_by, client=client, shards=False)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with files.made(folder, "viewer") as place:
        place.mkdir()
        try:
            _write(site, place, links, progress or (lambda done, total: None))
        except RefusedError as error:
            raise InputError(
                "the files cannot be copied",
                where=results,
                got=error,
                remedy="replace links by what they lead to",
            ) from error
        # that takes long: somebody may have put something there
        _refuse_taken(folder)
    return site.notes


def _refuse_taken(folder: Path) -> None:
    """Refuse a folder with something in it, or what is no folder."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(
            "would be overwritten",
            where=folder,
            remedy="give a folder that does not exist, or is empty",
        )


def _write(site: Site, place: Path, links: bool, progress: Callable[[int, int], None]) -> None:
    total = sum(1 for _ in site.all_keys())
    for done, key in enumerate(site.all_keys(), 1):
        found = site.get(key)
        if found is not None:
            path = place / key
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(found, bytes):
                path.write_bytes(found)
            elif links:
                path.symlink_to(found)
            else:
                shutil.copyfile(found, path)
        if done % _EVERY == 0 or done == total:
            progress(done, total)
