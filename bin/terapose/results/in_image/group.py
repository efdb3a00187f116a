"""What can be done with the labels group of an image, wherever that is.

Whatever is done in it, at each moment the metadata of the group list no label image that is not
complete, and all those of others that were listed before.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager
from typing import Protocol

from terapose.core.errors import InputError
from terapose.io.labels.of_image import CONSOLIDATED, DOCUMENTS, Home, attributes, listing, names_in
from terapose.results.in_image.wanted import Wanted

LIST = "list of label images"
"""How the points are named at which the metadata of the group are written."""


class Group(Protocol):
    """The labels group of an image, or where it would be."""

    @property
    def home(self) -> Home:
        """Where it is."""

    def check(self) -> None:
        """Refuse what no label image can be written to.

        Raises
        ------
        InputError
            If it is something else than a group, or cannot be written to.
        """

    def held(self) -> AbstractContextManager[None]:
        """Hold the group, which is made if it is not there, while a block runs.

        Raises
        ------
        InputError
            If another run holds it.
        """

    def has(self, name: str) -> bool:
        """Whether anything has a name."""

    def document(self, key: str) -> bytes | None:
        """The content of a small file; None where there is none.

        Raises
        ------
        InputError
            If it is no file, or is reached through a link.
        """

    def write(self, key: str, content: bytes) -> None:
        """Write a small file in one step."""

    def remove(self, key: str) -> None:
        """Remove a small file, if it is there."""

    def is_begun(self, name: str) -> bool:
        """Whether a run that was killed was writing a label image of a name."""

    def faults(self, wanted: Wanted) -> list[str]:
        """What is not as it is to be."""

    def bring(self, wanted: Wanted, gone: Collection[str]) -> None:
        """Bring label images, and remove others of ours; what is removed or replaced is not listed.

        Parameters
        ----------
        wanted
            What is to be there.
        gone
            Names of what is removed.

        Raises
        ------
        InputError
            If anything is not as it is to be when it is there.
        """


def is_ours(group: Group, name: str) -> bool:
    """Whether a label image of a name is there that Terapose has written, or begun to write."""
    key = f"{name}/{DOCUMENTS[group.home.version]}"
    where = f"{group.home.folder}/{name}"
    about = attributes(where, group.document(key), group.home.version)
    return "terapose" in about or group.is_begun(name)


def listed(group: Group) -> list[str]:
    """Names of the label images that the metadata list."""
    return names_in(group.home.folder, group.document(_own(group)), group.home.version)


def relist(group: Group, off: Collection[str] = (), on: Collection[str] = ()) -> None:
    """Take names off the list, and put others on it; names of others stay, in their order."""
    home, content = group.home, group.document(_own(group))
    before = names_in(home.folder, content, home.version)
    after = [name for name in before if name not in off]
    after += [name for name in on if name not in after]
    if after == (before if content is not None else []):
        return
    if home.version == "0.4":
        if group.document(".zgroup") is None:
            group.write(".zgroup", b'{\n  "zarr_format": 2\n}')
        # readers would take what it says for what is there
        group.remove(CONSOLIDATED)
    group.write(_own(group), listing(home.folder, content, home.version, after))


def refuse_foreign(group: Group, names: Collection[str]) -> None:
    """Refuse to replace label images that Terapose has not written.

    Raises
    ------
    InputError
        If something else has one of the names.
    """
    for name in names:
        if group.has(name) and not is_ours(group, name):
            raise InputError(
                "would be overwritten, although nothing says that Terapose has written it",
                where=f"{group.home.folder}/{name}",
                got=f"attributes without the key terapose in its {_own(group)}",
                remedy="move it away, or leave out labels_in",
            )


def refuse_other_formats(group: Group) -> None:
    """Refuse a group of another Zarr format than that of the image."""
    other = {"0.5": ".zgroup", "0.4": "zarr.json"}[group.home.version]
    if group.document(other) is not None:
        raise InputError(
            "the labels group is of another Zarr format than the image",
            where=group.home.folder,
            got=other,
            allowed=_own(group),
            remedy="move it away",
        )
    listed(group)


def _own(group: Group) -> str:
    return DOCUMENTS[group.home.version]
