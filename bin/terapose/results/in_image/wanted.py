"""What is to be in the labels group of an image, and whether it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from terapose.core.errors import InputError, few
from terapose.io.checksums import AGAIN
from terapose.io.labels.files import keys_in, of_path
from terapose.io.labels.of_image import Home, inside
from terapose.results.publishing import Checks

Read = Callable[[str], int | None]
"""Gives the checksum of the file of a key, or None where there is none."""


@dataclass(frozen=True)
class Wanted:
    """Label images as they are to be in an image.

    Attributes
    ----------
    source
        Their group in the results, on a local disk.
    checks
        The checksums of the files there.
    own
        Folder of files that the results do not have, or have in another form.
    levels
        How many there are.
    """

    source: Path
    checks: Checks
    own: Path
    levels: int

    @classmethod
    def of(cls, source: Path, checks: Checks, home: Home, own: Path) -> Wanted:
        """Those of results, for the labels group of an image.

        Parameters
        ----------
        source, checks
            The results.
        home
            The group.
        own
            A folder, in which what is another one is made.
        """
        for name in checks.files.names:
            inside(source / name, home, own / name)
        return cls(source, checks, own, home.levels)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the label images."""
        return self.checks.files.names

    @cached_property
    def files(self) -> dict[str, Path]:
        """All files, by their keys in the group."""
        found = {
            f"{name}/{key}": self.source / name / key
            for name in self.names
            for key in keys_in(self.source / name)
            if not self._is_left_out(f"{name}/{key}")
        }
        return found | {key: self.own / key for key in keys_in(self.own)}

    def _is_left_out(self, key: str) -> bool:
        """Whether a file of the results is that of a level which the image does not have."""
        level = key.split("/")[1]
        return level.isdecimal() and int(level) >= self.levels

    def faults(self, read: Read, keys: Iterable[str]) -> list[str]:
        """What in a labels group is not as it is to be.

        Parameters
        ----------
        read
            Of the group.
        keys
            Of all that is in its label images of these names.
        """

        def checksum(key: str) -> int | None:
            # the document of the group is the image's
            is_other = "/" not in key or self._is_left_out(key) or (self.own / key).exists()
            return of_path(self.source, key) if is_other else read(key)

        wrong = self.checks.differences(checksum)
        wrong += [key for key in keys_in(self.own) if read(key) != of_path(self.own, key)]
        return wrong + [f"{key} was added" for key in sorted({*keys} - self.files.keys())]

    def confirm(self, where: object, read: Read, keys: Iterable[str]) -> None:
        """Refuse copies that are not as they are to be.

        Raises
        ------
        InputError
            If anything in them differs.
        """
        if wrong := self.faults(read, keys):
            raise InputError(
                "the label images changed while they were being copied",
                where=where,
                got=f"other checksums of {few(wrong, 5)}",
                remedy=f"nothing there looks finished; {AGAIN}",
            )
