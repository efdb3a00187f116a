"""Names of images, what a folder of them holds, and what to say of it."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import cache

from terapose.core.errors import InputError, few
from terapose.core.natural import natural_key
from terapose.io.images import patterns
from terapose.io.images.address import is_url
from terapose.io.shipped import shipped_file

_STORE = re.compile(r"(?i).*\.(zarr|n5)(/.*)?", re.DOTALL)
MARKS = ("zarr.json", ".zgroup", ".zarray", ".zattrs", "attributes.json", "NDTiff.index")
"""Files of which a folder that is an image has at least one."""
_SHOWN = 3


@cache
def suffixes() -> tuple[str, ...]:
    """Suffixes of the files that are images, in lower case."""
    return tuple(shipped_file("image-suffixes.txt").read_text(encoding="utf-8").split())


def sample_name(address: str) -> str:
    """An image's name without what identifies its format; of a pattern, what precedes wildcards.

    Where nothing comes before them it is the name of the folder; the root of a disk has none.
    """
    path = address if is_url(address) else os.path.abspath(address)
    folder, name = ["", "", *filter(None, path.split("/"))][-2:]
    is_pattern = not is_url(address) and patterns.is_pattern(address)
    if is_pattern:
        name = re.sub(r"[*?\[{].*", "", name)
    known = "|".join(re.escape(suffix) for suffix in suffixes())
    short = re.sub(rf"(?i)((\.ome)?({known}))+$", "", name)
    return (re.sub(r"[-_. ]+$", "", short) or folder) if is_pattern else short


def is_store(folder: str) -> bool:
    """Whether a folder is itself an image, a Zarr, N5 or NDTiff, or is in one."""
    return _STORE.fullmatch(folder) is not None or any(
        os.path.lexists(f"{folder}/{mark}") for mark in MARKS
    )


def images_in(folder: str) -> tuple[list[str], list[str]]:
    """Images in a folder, and what else is in it, in natural order; hidden files are passed over.

    Parameters
    ----------
    folder
        A folder; those in it are not searched.

    Returns
    -------
    images, others : list of str
        Paths.
    """
    names = [name for name in os.listdir(folder) if not name.startswith(".")]
    paths = sorted((os.path.join(folder, name) for name in names), key=natural_key)
    images: list[str] = []
    others: list[str] = []
    for path in paths:
        (images if _is_image(path) else others).append(path)
    return images, others


def _is_image(path: str) -> bool:
    return is_store(path) if os.path.isdir(path) else path.lower().endswith(suffixes())


def no_image(folder: str, others: Sequence[str]) -> InputError:
    """A folder without images."""
    return InputError(
        "the folder holds no image",
        where=folder,
        got=named(others) or "an empty folder",
        allowed=" ".join(suffixes()),
        remedy="name the folder or the file that holds the image",
    )


def named(paths: Sequence[str]) -> str:
    """The first names of several, for a message."""
    return few([os.path.basename(path) for path in paths], _SHOWN)


def not_one_image(address: str) -> InputError | None:
    """What to say of a folder or pattern where one image is expected; None if it is neither."""
    if patterns.is_pattern(address):
        paths = [one.path for one in patterns.matches(address)]
        what = f"this is a pattern that {_count(len(paths), 'path')} match"
        if not paths:
            return None
    elif os.path.isdir(address):
        paths, others = images_in(address)
        what = f"this is a folder with {_count(len(paths), 'image')} in it"
        if not paths:
            return no_image(address, others)
    else:
        return None
    return InputError(
        what,
        where=address,
        got=named(paths),
        allowed="one image",
        remedy=f"name {'it' if len(paths) == 1 else 'one of them'}, or give stack if they are "
        "planes of one image; terapose segment and the workflow accept all of them as samples",
    )


def _count(number: int, what: str) -> str:
    return f"one {what}" if number == 1 else f"{number} {what}s"
