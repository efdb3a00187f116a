"""Which of several images in one file: by its number from 1, or by its name.

Without either it is the one whose planes are in the file that was named, where several files hold
several images; else the largest, where the others are thumbnails (their planes are clearly smaller,
or the file says that they are reduced) or have the names of what slide scanners add (label,
overview, thumbnail). An image with few planes is no thumbnail where these are as large as the
others': it may be a part of the largest that was stored in another way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from terapose.core.errors import InputError, few

_SHOWN = 12
_COMPARABLE = 0.25
_SMALLER = 0.5
_ASIDE = {
    name + end
    for name in ("label", "macro", "map", "overview", "thumbnail", "slide preview")
    for end in ("", " image")
}


@dataclass(frozen=True)
class Candidate:
    """One of the images at an address.

    Attributes
    ----------
    name
        Its name; may be empty.
    axes, shape
        Its axes and their lengths.
    is_here
        Whether the file that was named holds planes of it.
    is_reduced
        Whether the file says that it is another one at a lower resolution.
    """

    name: str
    axes: str
    shape: tuple[int, ...]
    is_here: bool = True
    is_reduced: bool = False

    @property
    def plane(self) -> tuple[int, int]:
        """(Y, X)."""
        lengths = dict(zip(self.axes, self.shape, strict=True))
        return lengths.get("Y", 1), lengths.get("X", 1)


def choose(address: str, candidates: Sequence[Candidate], wanted: str) -> int:
    """Index (from 0) of the image that is meant.

    Parameters
    ----------
    address
        For the message.
    candidates
        All images, one at least.
    wanted
        A number from 1 or a name; empty: see the module.

    Raises
    ------
    InputError
        If there is none of this number or name, or several may be meant.
    """
    if wanted:
        return find_series(address, [candidate.name for candidate in candidates], wanted)
    numbers = range(len(candidates))
    meant = [n for n in numbers if candidates[n].name.strip().lower() not in _ASIDE] or numbers
    largest = max((candidates[n] for n in meant), key=lambda one: math.prod(one.shape))
    meant = [n for n in meant if not _is_thumbnail(candidates[n], largest)] or [meant[0]]
    here = [n for n in meant if candidates[n].is_here]
    if len(here) == 1:
        return here[0]
    if len(meant) == 1:
        return meant[0]
    alike = len({(one.axes, one.shape) for one in candidates}) == 1 and candidates[0].axes == "YX"
    raise InputError(
        "the file holds several images",
        where=address,
        got=listed([_shown(candidate) for candidate in candidates]),
        allowed="one image (and smaller ones, such as a thumbnail)",
        remedy="choose one by its number or name (series)"
        + (", or write them as one array if they are planes of one image" if alike else ""),
    )


def _is_thumbnail(one: Candidate, largest: Candidate) -> bool:
    """Whether an image is so small, beside the largest, that nobody means it."""
    if math.prod(one.shape) > _COMPARABLE * math.prod(largest.shape):
        return False
    plane, most = math.prod(one.plane), math.prod(largest.plane)
    return plane < most if one.is_reduced else plane <= _SMALLER * most


def _shown(candidate: Candidate) -> str:
    shape = " x ".join(map(str, candidate.shape))
    name = f"{candidate.name}: " if candidate.name else ""
    return f"{name}{candidate.axes} {shape}"


def pick(
    address: str,
    names: Sequence[str],
    wanted: str,
    *,
    what: str = "the file",
    got: str = "",
    remedy: str = "choose one by its number or name (series)",
) -> int:
    """Index (from 0) of the chosen image; without a choice, of the only one.

    Parameters
    ----------
    address
        For the message.
    names
        Names of all images, in their order.
    wanted
        A number from 1 or a name; empty: the only one.
    what
        What holds them.
    got
        What it holds, if that is more than the names.
    remedy
        What to do where there are several.

    Raises
    ------
    InputError
        If there is no such image, none at all, or several may be meant.
    """
    if wanted:
        return find_series(address, names, wanted)
    if len(names) != 1:
        raise InputError(
            f"{what} holds several images" if names else f"{what} holds no image",
            where=address,
            got=got or listed(names) or None,
            remedy=remedy,
        )
    return 0


def find_series(address: str, names: Sequence[str], wanted: str) -> int:
    """Index (from 0) of the image that ``wanted`` names.

    Parameters
    ----------
    address
        For the message.
    names
        Names of all images in the file, in its order; a name may be empty.
    wanted
        A number from 1, or a name. A name that is a number is found by its number only.

    Raises
    ------
    InputError
        If there is none of this number or name, or several have the name.
    """
    if wanted.isdecimal():
        if 1 <= int(wanted) <= len(names):
            return int(wanted) - 1
        found: list[int] = []
    else:
        found = [n for n, name in enumerate(names) if name == wanted]
    if len(found) != 1:
        raise InputError(
            "several images have this name" if found else "there is no such image in the file",
            where=address,
            got=f"series {wanted}",
            allowed=listed(names),
            remedy="give the number of one, counted from 1",
        )
    return found[0]


def listed(names: Sequence[str]) -> str:
    """All images of a file with their numbers, for a message; the first of very many."""
    return few([f"{n} ({name})" if name else str(n) for n, name in enumerate(names, 1)], _SHOWN)
